import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { allImports, importsOf, root, sourceFiles } from './imports.ts';

/** A folder under `src/` imports only from folders above it in this table, never from one beside it. */
const ROWS = [
  ['base'],
  ['config', 'model', 'kernel'],
  ['maps', 'cluster', 'api'],
  ['datapath'],
  ['ipam', 'identity', 'policy', 'service', 'routing', 'l2', 'monitor'],
  ['endpoint', 'connectivity'],
  ['agent', 'operator', 'apiserver', 'controllers', 'lab', 'install'],
  ['cli'],
];

/** What the command line may load at start; all else is for the command that needs it, by `import()`. */
const CLI_STATIC = ['cli', 'base', 'config', 'api', 'model', 'cluster'];

const folderOf = (path: string): string => path.split('/')[0] ?? '';
const rowOf = (path: string): number => ROWS.findIndex(row => row.includes(folderOf(path)));
const imports = allImports();

test('every file lies in a folder of the table', t => {
  t.deepEqual(
    sourceFiles().filter(file => rowOf(file) < 0),
    [],
  );
});

test('the reader of imports sees every way of writing one', t => {
  const source = [
    "import a from './a.ts';",
    "import type { B } from '../b.ts';",
    "import { type C, type D } from 'c';",
    "import { type E, f } from './f.ts';",
    "export * from './g.ts';",
    "export type { H } from './h.ts';",
    "import './i.ts';",
    "const j = await import('./j.ts');",
    "let k: import('./k.ts').K;",
    "const l = await import('./' + name);",
    'const m = await import(`./m.ts`);',
    'export const text = \'import x from "./x.ts"\';',
  ].join('\n');
  t.deepEqual(
    importsOf('dir/x.ts', source).map(({ line, to, kind }) => [line, to, kind]),
    [
      [1, 'dir/a.ts', 'static'],
      [2, 'b.ts', 'type'],
      [3, 'c', 'type'],
      [4, 'dir/f.ts', 'static'],
      [5, 'dir/g.ts', 'static'],
      [6, 'dir/h.ts', 'type'],
      [7, 'dir/i.ts', 'static'],
      [8, 'dir/j.ts', 'dynamic'],
      [9, 'dir/k.ts', 'type'],
      [10, undefined, 'dynamic'],
      [11, 'dir/m.ts', 'dynamic'],
    ],
  );
});

test('folders import only from lower rows, types included', t => {
  const upward = imports
    .filter(i => i.ours && i.to !== undefined && folderOf(i.from) !== folderOf(i.to))
    .filter(i => rowOf(i.to ?? '') >= rowOf(i.from) || rowOf(i.to ?? '') < 0)
    .map(i => `${i.from}:${i.line} imports ${i.to}`);
  t.deepEqual(upward, []);
});

test('the command line loads nothing heavy before it knows the command', t => {
  const heavy = imports
    .filter(i => folderOf(i.from) === 'cli' && i.ours && i.kind === 'static')
    .filter(i => !CLI_STATIC.includes(folderOf(i.to ?? '')))
    .map(i => `${i.from}:${i.line} imports ${i.to}`);
  t.deepEqual(heavy, []);
});

test('what is imported is written down, not computed', t => {
  const computed = imports.filter(i => i.to === undefined).map(i => `${i.from}:${i.line}`);
  t.deepEqual(computed, []);
});

/** The first cycle among files, or undefined. Types count: a cycle of types is a cycle of ideas between folders. */
function findCycle(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const walk = (node: string): string[] | undefined => {
    const at = path.indexOf(node);
    if (at >= 0) return [...path.slice(at), node];
    if (done.has(node)) return undefined;
    path.push(node);
    for (const next of edges.get(node) ?? []) {
      const cycle = walk(next);
      if (cycle) return cycle;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const cycle = walk(node);
    if (cycle) return cycle;
  }
  return undefined;
}

function edgesBy(key: (path: string) => string, keep: (kind: string) => boolean): Map<string, Set<string>> {
  const edges = new Map<string, Set<string>>();
  for (const i of imports) {
    if (!i.ours || i.to === undefined || !keep(i.kind) || key(i.from) === key(i.to)) continue;
    const from = edges.get(key(i.from)) ?? new Set();
    edges.set(key(i.from), from.add(key(i.to)));
  }
  return edges;
}

test('folders have no cycles, whatever the kind of import', t => {
  t.is(findCycle(edgesBy(folderOf, () => true)), undefined);
});

test('files have no cycles when they are loaded', t => {
  t.is(
    findCycle(
      edgesBy(
        path => path,
        kind => kind !== 'type',
      ),
    ),
    undefined,
  );
});

test('a cycle would be found', t => {
  const edges = new Map([
    ['a', new Set(['b', 'c'])],
    ['c', new Set(['d'])],
    ['d', new Set(['c'])],
  ]);
  t.deepEqual(findCycle(edges), ['c', 'd', 'c']);
});

test('only src/kernel loads the addon', t => {
  const loads = /addonPath|process\.dlopen|createRequire|fimbria\.node/;
  const found = sourceFiles().filter(
    file => !file.startsWith('kernel/') && loads.test(readFileSync(join(root, 'src', file), 'utf8')),
  );
  t.deepEqual(
    found.filter(file => file !== 'base/paths.ts'),
    [],
  );
});

test('the public library stands alone: of ours it imports only errors, paths and the addon', t => {
  const allowed = ['base/errors.ts', 'base/paths.ts', 'kernel/addon.ts'];
  const others = imports
    .filter(i => i.from.startsWith('kernel/libbpf/') && i.ours)
    .filter(i => !i.to?.startsWith('kernel/libbpf/') && !allowed.includes(i.to ?? ''))
    .map(i => `${i.from}:${i.line} imports ${i.to}`);
  t.deepEqual(others, []);
});
