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
    case 'text':
    case 'texts':
      return type.meaning ?? 'a text';
    case 'any':
      return '';
  }
}

/** The table of values as Markdown: `VALUES.md` beside this file, which a test keeps true. */
export function settingsMarkdown(): string {
  const lines = [
    '# Helm values',
    '',
    'Generated from `settings.ts`. Values written for Cilium that are in neither list only cause a warning; keys that',
    'Cilium does not have either are refused.',
    '',
    '| value | flat key | takes | default | meaning |',
    '|---|---|---|---|---|',
  ];
  for (const row of settings.filter(row => row.status === 'built')) {
    const initial = row.default === undefined ? '' : `\`${flatText(row.default)}\``.replace('``', '');
    lines.push(`| \`${row.path}\` | \`${row.flat}\` | ${kindOf(row)} | ${initial} | ${row.doc} |`);
  }
  lines.push('', 'Known, but not built yet, and so refused unless switched off:', '');
  for (const row of settings.filter(row => row.status === 'not-yet'))
    lines.push(`- \`${row.path}\`: ${row.doc}`);
  return `${lines.join('\n')}\n`;
}
