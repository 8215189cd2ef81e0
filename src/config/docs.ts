import { flatText } from './read.ts';
import { type Setting, settings } from './settings.ts';

function kindOf(row: Setting): string {
  const type = row.type;
  switch (type.kind) {
    case 'boolean':
      return 'true or false';
    case 'integer':
      return `${type.min} to ${type.max}`;
    case 'choice':
      return type.values.join(', ');
    case 'ipv4Range':
      return 'an IPv4 range';
    case 'ipv4Ranges':
      return 'IPv4 ranges';
    case 'pools':
      return 'pools by name';
    case 'amounts':
      return 'numbers by name';
    case 'text':
    case 'texts':
      return type.meaning ?? 'a text';
    case 'any':
      return '';
  }
}

/** A Markdown table with columns padded to their widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = widths.map(width => '-'.repeat(width));
  return [line(rows[0]!), line(rule), ...rows.slice(1).map(line)];
}

/** The table of values as Markdown: `VALUES.md` beside this file, which a test keeps true. */
export function settingsMarkdown(): string {
  const rows = settings
    .filter(row => row.status === 'built')
    .map(row => {
      const initial = row.default === undefined ? '' : flatText(row.default);
      return [
        `\`${row.path}\``,
        row.flat === undefined ? '' : `\`${row.flat}\``,
        kindOf(row),
        initial && `\`${initial}\``,
        row.doc,
      ];
    });
  const lines = [
    '# Helm values',
    '',
    'Generated from `settings.ts`. Values written for Cilium that are in neither list only cause a warning; keys that',
    'Cilium does not have either are refused.',
    '',
    ...table([['value', 'flat key', 'takes', 'default', 'meaning'], ...rows]),
    '',
    'Known, but not built yet, and so refused unless switched off:',
    '',
    ...settings.filter(row => row.status === 'not-yet').map(row => `- \`${row.path}\`: ${row.doc}`),
  ];
  return `${lines.join('\n')}\n`;
}
