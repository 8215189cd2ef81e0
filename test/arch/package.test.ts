import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { root } from './imports.ts';

const run = promisify(execFile);

interface Packed {
  files: { path: string; mode: number }[];
}

/** What `npm pack` would put into the package. */
async function packed(): Promise<Packed['files']> {
  const { stdout } = await run(
    'npm',
    ['pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=error'],
    {
      cwd: root,
      maxBuffer: 16 << 20,
    },
  );
  return (JSON.parse(stdout) as Packed[])[0]?.files ?? [];
}

test('the package holds everything a node runs, compiled', async t => {
  const files = new Map((await packed()).map(file => [file.path, file.mode]));
  const needed = [
    'build/native/Release/fimbria.node',
    ...['lxc', 'host', 'overlay', 'netdev', 'sock'].map(name => `build/bpf/${name}.o`),
    'build/bin/fimbria-cni',
    'build/bin/fimbria-pause',
    'dist/fimbria.js',
    'dist/fimbria-agent.js',
    'dist/fimbria-operator.js',
    'dist/libbpf.js',
    'dist/types/kernel/libbpf/index.d.ts',
    'scripts/install-native.mjs',
    'LICENSE',
    'README.md',
  ];
  t.deepEqual(
    needed.filter(path => !files.has(path)),
    [],
  );
  for (const path of ['build/bin/fimbria-cni', 'build/bin/fimbria-pause', 'dist/fimbria.js']) {
    t.is((files.get(path) ?? 0) & 0o111, 0o111, `${path} is executable`);
  }
});

test('the package can build its addon again where the shipped one does not fit', async t => {
  const files = new Set((await packed()).map(file => file.path));
  const sources = readFileSync(join(root, 'native/sources.txt'), 'utf8').trim().split('\n');
  const needed = [
    'binding.gyp',
    'native/CMakeLists.txt',
    'native/package.json',
    'native/sources.txt',
    'scripts/build.mjs',
    'scripts/lib/project.mjs',
    ...sources.map(name => `native/${name}`),
  ];
  t.deepEqual(
    needed.filter(path => !files.has(path)),
    [],
  );
});

test('the package holds no tests, no intermediate files and no state of a checkout', async t => {
  const stray = (await packed())
    .map(file => file.path)
    .filter(path =>
      /^(test|\.ci|\.git|node_modules)\/|\.test\.|^build\/(?!native\/Release\/|bpf\/|bin\/)|\.tmp/.test(path),
    );
  t.deepEqual(stray, []);
});
