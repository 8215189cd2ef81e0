#!/usr/bin/env node
/**
 * Builds everything that runs: the addon, the eBPF objects, the two static C programs and the bundles.
 * Incremental: a part is rebuilt only when it is older than its sources.
 *
 *   node scripts/build.mjs [--only native|bpf|bin|bundle]… [--force]
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  filesBelow,
  installed,
  outdated,
  output,
  packageFile,
  root,
  run,
  say,
  scriptArguments,
} from './lib/project.mjs';

const BPF_OBJECTS = ['lxc', 'host', 'overlay', 'netdev', 'sock'];
const BIN_PROGRAMS = { 'fimbria-cni': 'native/cni', 'fimbria-pause': 'native/pause' };
const BUNDLES = {
  fimbria: 'src/cli/main.ts',
  'fimbria-agent': 'src/agent/main.ts',
  'fimbria-operator': 'src/operator/main.ts',
  libbpf: 'src/kernel/libbpf/index.ts',
};
/** The bundle that is imported and not started. */
const LIBRARY = 'libbpf';

const args = scriptArguments(import.meta.url);
const { values: options } = parseArgs({
  args,
  options: { only: { type: 'string', multiple: true }, force: { type: 'boolean', default: false } },
});
/** Sources that are not there: the rest is built all the same, and the end is an error. */
const missing = [];
/** The recipes themselves are a source of everything they make. */
const recipes = [join(root, 'scripts/build.mjs')];

const stale = (target, sources) => options.force || outdated(target, [...sources, ...recipes]);

/** Notes a source that is not there and says whether it is. */
function present(path, what) {
  if (existsSync(join(root, path))) return true;
  missing.push(`${what}: ${path} is not there`);
  return false;
}

/** Makes `target` through a temporary name: a build that is stopped half-way leaves no half file behind. */
function produce(target, make) {
  const temporary = `${target}.tmp${process.pid}`;
  try {
    make(temporary);
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** `build/native/Release/fimbria.node`: the Node-API addon, by cmake-js. */
function buildNative() {
  if (!present('native/CMakeLists.txt', 'addon')) return;
  const notOurs = ['native/cni/', 'native/pause/'].map(path => join(root, path));
  const sources = filesBelow(join(root, 'native'), path => !notOurs.some(prefix => path.startsWith(prefix)));
  const addon = join(root, 'build/native/Release/fimbria.node');
  if (!stale(addon, sources)) return;
  say('addon: build/native/Release/fimbria.node (about half a minute the first time)');
  run(process.execPath, [
    packageFile('cmake-js', 'bin/cmake-js'),
    'build',
    '-d',
    'native',
    '-O',
    'build/native',
    '-p',
    '2',
    '-l',
    'warn',
  ]);
  if (!existsSync(addon)) throw new Error('build addon: cmake-js made no build/native/Release/fimbria.node');
  // make leaves a target alone whose content cannot have changed; without this we would ask it again every time.
  run('touch', [addon]);
}

/** The newest-named clang of the machine: plain `clang`, else the versioned name a distribution gives it. */
function findLlvm(tool) {
  const candidates = [tool];
  for (let version = 22; version >= 14; version--) candidates.push(`${tool}-${version}`);
  return candidates.find(installed);
}

/** `build/bpf/*.o`: every `bpf/*.c`, with BTF and without DWARF. */
function buildBpf() {
  for (const name of BPF_OBJECTS) present(`bpf/${name}.c`, 'eBPF object');
  const headers = filesBelow(join(root, 'bpf'), path => path.endsWith('.h'));
  const entries = existsSync(join(root, 'bpf'))
    ? readdirSync(join(root, 'bpf')).filter(name => name.endsWith('.c'))
    : [];
  const jobs = entries
    .map(name => ({ source: `bpf/${name}`, object: join(root, 'build/bpf', `${basename(name, '.c')}.o`) }))
    .filter(({ source, object }) => stale(object, [join(root, source), ...headers]));
  if (jobs.length === 0) return;
  const clang = findLlvm('clang');
  if (!clang) throw new Error('build eBPF objects: clang is not installed; npm run setup installs it');
  const strip = findLlvm('llvm-strip');
  const multiarch =
    output('gcc', ['-print-multiarch']) || `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  mkdirSync(join(root, 'build/bpf'), { recursive: true });
  for (const { source, object } of jobs) {
    say(`eBPF object: build/bpf/${basename(object)}`);
    produce(object, temporary => {
      run(clang, [
        '-O2',
        '-g',
        '-Wall',
        '-Wextra',
        '-Werror',
        '-target',
        'bpf',
        '-mcpu=v3',
        `-I/usr/include/${multiarch}`,
        '-Ibpf',
        `-ffile-prefix-map=${root}=.`,
        '-c',
        source,
        '-o',
        temporary,
      ]);
      // Drops DWARF, keeps .BTF and .BTF.ext: a tenth of the size, and nothing the kernel reads is lost.
      if (strip) run(strip, ['-g', temporary]);
    });
  }
}

/** `build/bin/*`: static C programs that start in about a millisecond and need nothing of the machine. */
function buildBin() {
  for (const [program, folder] of Object.entries(BIN_PROGRAMS)) {
    const files = filesBelow(join(root, folder), path => /\.[ch]$/.test(path));
    const units = files.filter(path => path.endsWith('.c')).map(path => path.slice(root.length + 1));
    if (units.length === 0) {
      missing.push(`program ${program}: no C file in ${folder}`);
      continue;
    }
    const target = join(root, 'build/bin', program);
    if (!stale(target, files)) continue;
    say(`program: build/bin/${program}`);
    mkdirSync(join(root, 'build/bin'), { recursive: true });
    produce(target, temporary =>
      run('gcc', [
        '-std=gnu11',
        '-O2',
        '-Wall',
        '-Wextra',
        '-Werror',
        '-U_FORTIFY_SOURCE',
        '-D_FORTIFY_SOURCE=2',
        '-fstack-protector-strong',
        '-ffunction-sections',
        '-fdata-sections',
        '-static',
        '-s',
        '-Wl,--gc-sections',
        '-o',
        temporary,
        ...units,
      ]),
    );
  }
}

/** `dist/*.js`: one ESM file per program, packages included; the addon is found by path when it runs. */
async function buildBundles() {
  const sources = filesBelow(join(root, 'src'));
  const installedPackages = join(root, 'node_modules/.package-lock.json');
  const jobs = Object.entries(BUNDLES)
    .filter(([name, entry]) => present(entry, `bundle ${name}`))
    .filter(([name]) => stale(join(root, 'dist', `${name}.js`), [...sources, installedPackages]));
  if (jobs.length === 0) return;
  const { build } = await import('esbuild');
  for (const [name, entry] of jobs) {
    say(`bundle: dist/${name}.js`);
    const isProgram = name !== LIBRARY;
    // CommonJS packages inside an ES module ask for `require`; put on globalThis it cannot clash with a module's own.
    const banner = `#!/usr/bin/env node
import { createRequire as __createRequire } from 'node:module';
globalThis.require ??= __createRequire(import.meta.url);`;
    const target = join(root, 'dist', `${name}.js`);
    await build({
      absWorkingDir: root,
      entryPoints: [entry],
      outfile: target,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      legalComments: 'none',
      logLevel: 'warning',
      ...(isProgram ? { banner: { js: banner } } : {}),
    });
    if (isProgram) chmodSync(target, 0o755);
  }
}

/** `npx fimbria` in the checkout: npm links the programs of dependencies, but not those of the project itself. */
function linkPrograms() {
  const folder = join(root, 'node_modules/.bin');
  if (!existsSync(folder)) return;
  for (const name of Object.keys(BUNDLES).filter(bundle => bundle !== LIBRARY)) {
    const link = join(folder, name);
    rmSync(link, { force: true });
    symlinkSync(`../../dist/${name}.js`, link);
  }
}

/** `dist/types`: declarations of the public library `fimbria/libbpf`. */
function buildTypes() {
  const entry = BUNDLES[LIBRARY];
  if (!existsSync(join(root, entry))) return;
  const declarations = join(root, 'dist/types/kernel/libbpf/index.d.ts');
  const sources = ['src/kernel', 'src/base'].flatMap(folder => filesBelow(join(root, folder)));
  if (!stale(declarations, sources)) return;
  say('declarations: dist/types');
  run(process.execPath, [
    packageFile('typescript', 'bin/tsc'),
    entry,
    '--declaration',
    '--emitDeclarationOnly',
    '--rootDir',
    'src',
    '--outDir',
    'dist/types',
    '--target',
    'ES2023',
    '--module',
    'NodeNext',
    '--strict',
    '--skipLibCheck',
    '--types',
    'node',
    '--allowImportingTsExtensions',
    '--verbatimModuleSyntax',
  ]);
  run('touch', [declarations]);
}

const PARTS = {
  bpf: buildBpf,
  bin: buildBin,
  native: buildNative,
  bundle: async () => {
    await buildBundles();
    buildTypes();
    linkPrograms();
  },
};

/** Two builds in one checkout would tread on each other: the whole run holds a lock that the kernel drops with it. */
function underLock() {
  if (process.env.FIMBRIA_BUILD_LOCK === root) return true;
  mkdirSync(join(root, 'build'), { recursive: true });
  const child = spawnSync(
    'flock',
    [join(root, 'build/.lock'), process.execPath, fileURLToPath(import.meta.url), ...args],
    {
      stdio: 'inherit',
      env: { ...process.env, FIMBRIA_BUILD_LOCK: root },
    },
  );
  if (child.error) throw new Error(`take build lock: ${child.error.message}; install util-linux`);
  process.exitCode = child.status ?? 1;
  return false;
}

async function main() {
  const wanted = options.only ?? Object.keys(PARTS);
  for (const part of wanted) {
    if (!PARTS[part])
      throw new Error(`build ${part}: no such part; choose among ${Object.keys(PARTS).join(', ')}`);
  }
  if (!underLock()) return;
  const failures = [];
  for (const part of wanted) {
    try {
      await PARTS[part]();
    } catch (error) {
      failures.push(error.message);
    }
  }
  for (const text of [...missing, ...failures]) process.stderr.write(`fimbria build: ${text}\n`);
  if (missing.length + failures.length > 0) process.exitCode = 1;
  else say(`built: ${wanted.join(', ')}`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`fimbria build: ${error.message}\n`);
  process.exitCode = 2;
}
