#!/usr/bin/env node
/**
 * Builds kube-apiserver, kube-controller-manager, kube-scheduler and kubelet from Debian's source package, once a
 * machine: some 6 minutes of two cores, 2 GB of disk while it works, no package installed. A matter of milliseconds when
 * they are there.
 *
 *   node scripts/kubernetes/build.mjs [--force]
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { downloadSource, outputOf, withPackages } from '../lib/apt.mjs';
import { kubernetesBuilt, kubernetesCache, kubernetesFolder } from '../lib/kubernetes.mjs';
import { say, scriptArguments, warn } from '../lib/project.mjs';
import {
  COMPILER,
  GOROOT,
  LINKER_FLAGS,
  MODULE,
  OPENAPI,
  PROGRAMS,
  REPLACED,
  REPLACED_ROOT,
  SOURCE,
  SUITE,
  TAGS,
  VERSION,
} from './recipe.mjs';

const NEEDED_GIB = 3;
const PROGRESS_EVERY_MS = 15_000;
const TAIL_LINES = 15;
/** Of `flock`, when somebody else has the lock. */
const LOCKED = 75;
const WORK_PREFIX = 'work-';

const startMs = performance.now();
const seconds = () => `${Math.round((performance.now() - startMs) / 1000)} s`;

/** Folder, compiler's environment and source tree of one build. */
function layout(work) {
  const gopath = join(work, 'gopath');
  return {
    work,
    gopath,
    source: join(gopath, 'src', MODULE),
    goroot: join(work, 'go', GOROOT),
    programs: join(work, 'bin'),
  };
}

function checkDisk(folder) {
  const { bavail, bsize } = statfsSync(folder);
  const gib = (bavail * bsize) / 2 ** 30;
  if (gib < NEEDED_GIB) {
    throw new Error(
      `use ${folder}: ${gib.toFixed(1)} GiB are free, a build needs ${NEEDED_GIB}; free some, or set XDG_CACHE_HOME to a larger disk`,
    );
  }
}

/** The source tree as it is compiled, and the compiler. */
function fetch({ work, source }) {
  const archives = join(work, 'archives');
  mkdirSync(archives);
  mkdirSync(source, { recursive: true });
  say(`downloading the source of Kubernetes ${VERSION} (34 MB) and a Go compiler (70 MB) from Debian`);
  downloadSource({ suite: SUITE, package: SOURCE.package }, archives);
  const archive = join(archives, SOURCE.archive);
  const sum = createHash('sha256').update(readFileSync(archive)).digest('hex');
  if (sum !== SOURCE.sha256) {
    throw new Error(`check ${SOURCE.archive}: its SHA-256 is ${sum}, not ${SOURCE.sha256}`);
  }
  outputOf('tar', ['-xzf', archive, '-C', source, '--strip-components=1']);
  const packages = [...COMPILER, ...REPLACED.map(one => one.package)];
  withPackages(
    packages.map(name => ({ suite: SUITE, package: name })),
    folders => {
      for (const folder of folders.splice(0, COMPILER.length)) {
        cpSync(folder, join(work, 'go'), { recursive: true, verbatimSymlinks: true });
      }
      for (const [index, { path }] of REPLACED.entries()) {
        replaceLibrary(join(folders[index], REPLACED_ROOT, path), join(source, 'vendor', path));
      }
    },
  );
}

/** The files of one package that is compiled: no tests, no folders below. */
function replaceLibrary(from, to) {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (/\.(go|s)$/.test(name) && !name.endsWith('_test.go')) cpSync(join(from, name), join(to, name));
  }
}

/** Runs a program of the build. Throws with the last lines of what it said. */
async function compile({ work, gopath, goroot, source }, command, args, onLine = () => {}) {
  const env = {
    PATH: `${join(goroot, 'bin')}:${process.env.PATH}`,
    HOME: work,
    TMPDIR: work,
    GOROOT: goroot,
    GOPATH: gopath,
    GOCACHE: join(work, 'cache'),
    GO111MODULE: 'off',
    GOPROXY: 'off',
    GOFLAGS: '',
    CGO_ENABLED: '0',
  };
  const child = spawn(command, args, { cwd: source, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = [];
  const read = async stream => {
    for await (const line of createInterface({ input: stream })) {
      lines.push(line);
      onLine(line);
    }
  };
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  await Promise.all([read(child.stdout), read(child.stderr)]);
  const status = await ended;
  if (status === 0) return lines;
  throw new Error(
    `run ${command} ${args[0]}: it ended with ${status}:\n${lines.slice(-TAIL_LINES).join('\n')}`,
  );
}

async function generateOpenapi(build) {
  const generator = join(build.programs, 'openapi-gen');
  await compile(build, 'go', ['build', '-o', generator, OPENAPI.generator]);
  const staged = readdirSync(join(build.source, OPENAPI.staging))
    .filter(name => !OPENAPI.left.test(name))
    .map(name => join(OPENAPI.staging, name));
  const grep = ['-rl', '--include=*.go', OPENAPI.mark, ...OPENAPI.folders, ...staged];
  const files = outputOf('grep', grep, build.source).split('\n').filter(Boolean);
  const folders = files.map(file => dirname(file).replace(/^staging\/src\//, 'vendor/'));
  const inputs = [...new Set(folders)].sort().map(folder => `${MODULE}/${folder}`);
  const output = ['-p', OPENAPI.output, '-O', 'zz_generated.openapi', '-o', join(build.gopath, 'src')];
  const quiet = ['-h', OPENAPI.header, '-r', '/dev/null'];
  await compile(build, generator, ['-i', inputs.join(','), ...output, ...quiet]);
  rmSync(generator);
}

async function buildPrograms(build) {
  const packages = PROGRAMS.map(name => `${MODULE}/cmd/${name}`);
  const total = (await compile(build, 'go', ['list', '-deps', '-tags', TAGS, ...packages])).length;
  let done = 0;
  let saidMs = performance.now();
  const options = ['-v', '-tags', TAGS, '-trimpath', '-ldflags', LINKER_FLAGS, '-o', `${build.programs}/`];
  await compile(build, 'go', ['build', ...options, ...packages], () => {
    done++;
    if (performance.now() - saidMs < PROGRESS_EVERY_MS) return;
    saidMs = performance.now();
    say(`compiling: ${done} of about ${total} packages (${seconds()})`);
  });
}

/** Builds into a folder of its own; what is there under the final name is always whole. */
async function build() {
  const target = kubernetesFolder();
  const work = mkdtempSync(join(kubernetesCache(), WORK_PREFIX));
  const ours = layout(work);
  try {
    checkDisk(work);
    mkdirSync(ours.programs);
    fetch(ours);
    say(`generating the API's definitions (${seconds()})`);
    await generateOpenapi(ours);
    say(`compiling ${PROGRAMS.join(', ')}: 5 minutes on two free cores (${seconds()})`);
    await buildPrograms(ours);
    for (const name of PROGRAMS) {
      const said = outputOf(join(ours.programs, name), ['--version']).trim();
      if (!said.includes(VERSION)) throw new Error(`check ${name}: it says "${said}", not ${VERSION}`);
    }
    rmSync(target, { recursive: true, force: true });
    renameSync(ours.programs, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  say(`Kubernetes ${VERSION} is at ${target} (${seconds()})`);
}

/** Folders of builds that were killed; nobody else is at work, since we hold the lock. */
function sweep() {
  for (const name of readdirSync(kubernetesCache())) {
    if (name.startsWith(WORK_PREFIX)) {
      rmSync(join(kubernetesCache(), name), { recursive: true, force: true });
    }
  }
}

/** Runs this script again under the lock, which the kernel takes back however it ends. */
function relock(args) {
  const lock = join(kubernetesCache(), 'lock');
  const again = [process.execPath, fileURLToPath(import.meta.url), '--locked', ...args];
  const attempt = wait => spawnSync('flock', [...wait, lock, ...again], { stdio: 'inherit' });
  let result = attempt(['--nonblock', '--conflict-exit-code', `${LOCKED}`]);
  if (result.status === LOCKED) {
    say('somebody else is building Kubernetes: waiting for that');
    result = attempt([]);
  }
  if (result.error) throw new Error(`run flock: ${result.error.message}; install util-linux`);
  return result.status ?? 1;
}

async function main() {
  const args = scriptArguments(import.meta.url);
  const force = args.includes('--force');
  const built = () => kubernetesBuilt() && !force;
  if (built()) return 0;
  mkdirSync(kubernetesCache(), { recursive: true });
  if (!args.includes('--locked')) return relock(args);
  sweep();
  // Whoever had the lock before may have done it.
  if (!built()) await build();
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  warn(`build Kubernetes ${VERSION}: ${error.message}`);
  warn('the tests of test/kubernetes/ need it, and fail without');
  process.exitCode = 1;
}
