import test from 'ava';
import fc from 'fast-check';
import { table, tabulate } from '../../src/cli/format/tabwriter.ts';

test('a column is as wide as its widest cell and ends where a line has none', t => {
  t.is(tabulate('a\tb\nlong\tc\n'), 'a      b\nlong   c\n');
  t.is(
    tabulate('a\tb\nno cell here, however long\nlonger\tc\n'),
    'a   b\nno cell here, however long\nlonger   c\n',
  );
});

test('text after the last tab belongs to no column', t => {
  t.is(tabulate('a\tvery long last text\tx\nb\tc\n'), 'a   very long last text   x\nb   c\n');
  t.is(tabulate('a\tvery long last text\nb\tc\td\n'), 'a   very long last text\nb   c   d\n');
});

test('a cell that is ended is padded even when it is the last', t => {
  t.is(tabulate('KVStore:\tDisabled\t\n'), 'KVStore:   Disabled   \n');
  t.is(tabulate('a\t\tb\n', { minWidth: 5 }), 'a        b\n'.replace('a        b', `a    ${' '.repeat(5)}b`));
});

test('inner columns break on their own', t => {
  const text = 'a\tb\tc\nd\te\nf\tgggg\th\n';
  t.is(tabulate(text), 'a   b   c\nd   e\nf   gggg   h\n');
});

test('width counts code points', t => {
  t.is(tabulate('µs\tx\nabc\ty\n'), 'µs    x\nabc   y\n');
  t.is(tabulate('\u{1f600}\tx\nab\ty\n'), '\u{1f600}    x\nab   y\n');
});

test('rows get a least width of five and trailing cells on request', t => {
  t.is(
    table([
      ['A', 'B'],
      ['1', '2'],
    ]),
    'A    B\n1    2\n',
  );
  t.is(table([['A', 'B']], { trailing: true }), 'A    B    \n');
});

/** Go's recursion as it is written there, cell by cell: the model that the shorter form must agree with. */
function model(text: string, minWidth: number, padding: number): string {
  const lines = text.split('\n').map(line => line.split('\t'));
  const size = (cell: string | undefined): number => [...(cell ?? '')].length;
  let out = '';
  const widths: number[] = [];
  const write = (from: number, to: number): void => {
    for (let i = from; i < to; i++) {
      (lines[i] as string[]).forEach((cell, j) => {
        out += cell;
        const width = widths[j];
        if (width !== undefined) out += ' '.repeat(Math.max(0, width - size(cell)));
      });
      if (i + 1 < lines.length) out += '\n';
    }
  };
  const format = (from: number, to: number): void => {
    const column = widths.length;
    let start = from;
    for (let i = from; i < to; i++) {
      if (column >= (lines[i] as string[]).length - 1) continue;
      write(start, i);
      start = i;
      let width = minWidth;
      for (; i < to; i++) {
        const line = lines[i] as string[];
        if (column >= line.length - 1) break;
        width = Math.max(width, size(line[column]) + padding);
      }
      widths.push(width);
      format(start, i);
      widths.pop();
      start = i;
    }
    write(start, to);
  };
  format(0, lines.length);
  return out;
}

const cell = fc.string({ maxLength: 6 }).map(text => text.replaceAll(/[\t\n]/g, '-'));
const lines = fc.array(fc.array(cell, { minLength: 1, maxLength: 5 }), { maxLength: 12 });

test('it agrees with the recursive algorithm for every text', t => {
  fc.assert(
    fc.property(lines, fc.nat(8), fc.nat(4), (rows, minWidth, padding) => {
      const text = rows.map(row => row.join('\t')).join('\n');
      return tabulate(text, { minWidth, padding }) === model(text, minWidth, padding);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('nothing but blanks is added, and no tab is left', t => {
  fc.assert(
    fc.property(lines, rows => {
      const text = rows.map(row => row.join('\t')).join('\n');
      const result = tabulate(text);
      return !result.includes('\t') && result.replaceAll(' ', '') === text.replaceAll(/[\t ]/g, '');
    }),
  );
  t.pass();
});
