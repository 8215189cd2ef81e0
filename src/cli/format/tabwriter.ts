/**
 * Elastic tab stops as Go's text/tabwriter lays them out, which is what makes the tables look as people know
 * them: a cell is text ended by a tab; the text after a line's last tab belongs to no column; a column is a run of
 * consecutive lines that have a cell there, as wide as its widest cell, and ends where a line has none.
 */
export interface TabwriterOptions {
  /** Least width of a column, padding included. */
  minWidth?: number;
  /** Blanks added to the widest cell. */
  padding?: number;
}

/** Go counts code points, whatever they look like. */
function width(cell: string): number {
  let count = 0;
  for (const _ of cell) count++;
  return count;
}

/** Lays out text whose lines end with `\n` and whose cells end with `\t`. Pure; total for every input. */
export function tabulate(text: string, options: TabwriterOptions = {}): string {
  const { minWidth = 0, padding = 3 } = options;
  const lines = text.split('\n').map(line => line.split('\t'));
  // columns[line][column]: width of the column that the cell belongs to, shared by the whole run.
  const columns: number[][] = lines.map(() => []);
  for (let column = 0, found = true; found; column++) {
    found = false;
    for (let from = 0; from < lines.length; ) {
      const hasCell = (line: number): boolean => column < (lines[line]?.length ?? 0) - 1;
      if (!hasCell(from)) {
        from++;
        continue;
      }
      found = true;
      let to = from;
      let widest = minWidth;
      for (; hasCell(to); to++) widest = Math.max(widest, width(lines[to]?.[column] ?? '') + padding);
      for (; from < to; from++) columns[from]?.push(widest);
    }
  }
  const render = (cells: string[], line: number): string =>
    cells
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (columns[line]?.[column] ?? 0) - width(cell))))
      .join('');
  return lines.map(render).join('\n');
}

/** Lays out rows of cells; with `trailing` the last cell is padded too, as some of Cilium's tables have it. */
export function table(rows: string[][], options: TabwriterOptions & { trailing?: boolean } = {}): string {
  const end = options.trailing ? '\t\n' : '\n';
  return tabulate(rows.map(row => row.join('\t') + end).join(''), { minWidth: 5, padding: 3, ...options });
}
