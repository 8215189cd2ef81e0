#!/usr/bin/env node
/**
 * Fetches the kubectls that tests need out of Debian's packages into a cache outside the checkout. Nothing is installed:
 * apt works in a folder of its own, against the mirror that it is configured for, and checks Debian's signature.
 * A matter of milliseconds when both are there.
 *
 *   node scripts/fetch-kubectl.mjs          FIMBRIA_DEBIAN_MIRROR=URI names a mirror where apt has none of Debian's
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { kubectlPath, missingKubectls } from './lib/kubectl.mjs';
import { say } from './lib/project.mjs';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const TIMEOUT_MS = 180_000;

/** Stdout of a command. Throws an error that says which command failed, and how. */
function output(command, args, cwd) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 64 << 20,
  });
  if (result.error) throw new Error(`run ${command}: ${result.error.message}`);
  if (result.status === 0) return result.stdout;
  const why = `${result.stderr}${result.stdout}`.trim().split('\n').slice(-3).join(' ');
  throw new Error(`run ${command} ${args.at(-1)}: ${why || `exit status ${result.status}`}`);
}

/** Where this machine gets Debian's packages from. */
function mirror() {
  if (process.env.FIMBRIA_DEBIAN_MIRROR) return process.env.FIMBRIA_DEBIAN_MIRROR;
  const format = '$(ORIGIN)|$(COMPONENT)|$(REPO_URI)';
  const targets = output('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']).split('\n');
  const debian = targets
    .map(line => line.split('|'))
    .find(([origin, part]) => origin === 'Debian' && part === 'main');
  if (debian) return debian[2];
  throw new Error(
    'find a mirror: apt knows none of Debian (or its lists are missing); set FIMBRIA_DEBIAN_MIRROR to one',
  );
}

/** apt-get with sources, lists and cache of its own, so that the machine's stay as they are. */
function privateApt(work, sources) {
  for (const folder of ['state/lists/partial', 'cache/archives/partial']) {
    mkdirSync(join(work, folder), { recursive: true });
  }
  writeFileSync(join(work, 'sources.list'), sources);
  const settings = {
    'Dir::State': join(work, 'state'),
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::Cache': join(work, 'cache'),
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': 'root',
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  return (args, cwd) => output('apt-get', ['-q', ...options, ...args], cwd);
}

function fetch(missing, work) {
  if (!existsSync(KEYRING)) {
    throw new Error(
      `read ${KEYRING}: it is not there; install debian-archive-keyring, which Debian's packages are checked with`,
    );
  }
  const uri = mirror();
  const apt = privateApt(
    work,
    missing.map(({ suite }) => `deb [signed-by=${KEYRING}] ${uri} ${suite} main\n`).join(''),
  );
  apt(['-o', 'APT::Update::Error-Mode=any', 'update']);
  for (const kubectl of missing) {
    const folder = join(work, kubectl.suite);
    mkdirSync(folder);
    apt(['download', `${kubectl.package}/${kubectl.suite}`], folder);
    const deb = readdirSync(folder).find(name => name.endsWith('.deb'));
    output('dpkg-deb', ['-x', deb, 'root'], folder);
    const program = join(folder, 'root/usr/bin/kubectl');
    chmodSync(program, 0o755);
    const { clientVersion } = JSON.parse(output(program, ['version', '--client', '-o', 'json']));
    // Into place in one step: another checkout may be about the same.
    const target = kubectlPath(kubectl);
    mkdirSync(dirname(target), { recursive: true });
    output('mv', ['-f', program, `${target}.${process.pid}`]);
    renameSync(`${target}.${process.pid}`, target);
    say(`kubectl ${clientVersion.gitVersion} is at ${target}`);
  }
}

const missing = missingKubectls();
if (missing.length > 0) {
  const list = missing.map(one => `${one.version} (${one.suite})`).join(', ');
  say(
    `kubectl ${list}: tests drive the API server with them; out of Debian's packages, nothing is installed`,
  );
  const work = mkdtempSync(join(tmpdir(), 'fimbria-kubectl-'));
  try {
    fetch(missing, work);
  } catch (error) {
    process.stderr.write(
      `warning: fetch kubectl: ${error.message}; all but the tests with kubectl works without\n`,
    );
    process.exitCode = 1;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
