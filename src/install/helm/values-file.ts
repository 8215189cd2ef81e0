import { stringify } from 'yaml';
import { deploymentSettings } from '../../config/deployment.ts';
import { settings } from '../../config/settings.ts';

interface Entry {
  doc: string;
  /** Undefined where absence means something of its own. */
  initial: unknown;
}

interface Branch {
  [key: string]: Branch | Leaf;
}

class Leaf {
  readonly entry: Entry;
  constructor(entry: Entry) {
    this.entry = entry;
  }
}

/** `values.yaml`: every value that does something, with its default and what it is. Pure. */
export function helmValues(): string {
  const tree: Branch = {};
  for (const row of settings)
    if (row.status === 'built') put(tree, row.path, { doc: row.doc, initial: row.default });
  for (const row of deploymentSettings) put(tree, row.path, { doc: row.doc, initial: row.default });
  return [
    '# Generated from src/config: change settings.ts or deployment.ts, then npm run generate.',
    ...branchLines(tree, 0),
    '',
  ].join('\n');
}

function put(tree: Branch, path: string, entry: Entry): void {
  const steps = path.split('.');
  const last = steps.pop()!;
  let at = tree;
  for (const step of steps) {
    at[step] ??= {};
    at = at[step] as Branch;
  }
  at[last] = new Leaf(entry);
}

function branchLines(branch: Branch, indent: number): string[] {
  const space = ' '.repeat(indent);
  return Object.entries(branch).flatMap(([key, below]) => {
    if (!(below instanceof Leaf)) return [`${space}${key}:`, ...branchLines(below, indent + 2)];
    const { doc, initial } = below.entry;
    if (initial === undefined) return [`${space}# ${doc}`, `${space}# ${key}:`];
    const text = stringify({ [key]: initial }, { lineWidth: 0 })
      .trimEnd()
      .split('\n');
    return [`${space}# ${doc}`, ...text.map(line => `${space}${line}`)];
  });
}
