/** Files out of Debian's packages, without installing anything. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const TIMEOUT_MS = 180_000;

/** Stdout of a command. Throws an error that says which command failed, and how. */
export function outputOf(command, args, cwd) {
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

/** Debian's mirror by what apt knows of its sources; nothing while it has no lists of them. */
function knownMirror() {
  const format = '$(ORIGIN)|$(COMPONENT)|$(REPO_URI)';
  const targets = outputOf('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']).split(
    '\n',
  );
  return targets
    .map(line => line.split('|'))
    .find(([origin, part]) => origin === 'Debian' && part === 'main')?.[2];
}

/** Where this machine gets Debian's packages from. */
function mirror() {
  if (process.env.FIMBRIA_DEBIAN_MIRROR) return process.env.FIMBRIA_DEBIAN_MIRROR;
  const known = knownMirror();
  if (known) return known;
  outputOf('apt-get', ['-q', 'update']);
  const found = knownMirror();
  if (found) return found;
  throw new Error("find a mirror: none of the sources of apt is Debian's; set FIMBRIA_DEBIAN_MIRROR to one");
}

/**
 * apt-get with sources, lists and cache of its own, so that the machine's stay as they are. `types` says which indices
 * are fetched: `deb` for packages, `deb-src` for their sources.
 */
function privateApt(work, suites, types = ['deb']) {
  if (!existsSync(KEYRING)) {
    throw new Error(
      `read ${KEYRING}: it is not there; install debian-archive-keyring, which Debian's packages are checked with`,
    );
  }
  for (const folder of ['state/lists/partial', 'cache/archives/partial']) {
    mkdirSync(join(work, folder), { recursive: true });
  }
  const uri = mirror();
  const sources = types.flatMap(type =>
    suites.map(suite => `${type} [signed-by=${KEYRING}] ${uri} ${suite} main\n`),
  );
  writeFileSync(join(work, 'sources.list'), sources.join(''));
  const settings = {
    'Dir::State': join(work, 'state'),
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::Cache': join(work, 'cache'),
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': 'root',
    'APT::Update::Error-Mode': 'any',
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  return (args, cwd) => outputOf('apt-get', ['-q', ...options, ...args], cwd);
}

/**
 * Unpacks packages of Debian into folders that go when `use` returns. They come from the mirror that apt is configured
 * for (or FIMBRIA_DEBIAN_MIRROR), whatever release this machine runs, and apt checks Debian's signature.
 * `wanted` is a list of {suite, package}; `use` gets the folder of each, in that order.
 */
export function withPackages(wanted, use) {
  const work = mkdtempSync(join(tmpdir(), 'fimbria-packages-'));
  try {
    const apt = privateApt(work, [...new Set(wanted.map(({ suite }) => suite))]);
    apt(['update']);
    const folders = wanted.map(({ suite, package: name }, index) => {
      const folder = join(work, String(index));
      mkdirSync(folder);
      apt(['download', `${name}/${suite}`], folder);
      const deb = readdirSync(folder).find(file => file.endsWith('.deb'));
      outputOf('dpkg-deb', ['-x', deb, 'root'], folder);
      return join(folder, 'root');
    });
    return use(folders);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Downloads the source package `{suite, package}` into `folder` as the mirror has it: archives and description, nothing
 * unpacked. apt checks Debian's signature. Returns the names of the files.
 */
export function downloadSource({ suite, package: name }, folder) {
  const work = mkdtempSync(join(tmpdir(), 'fimbria-source-'));
  try {
    const apt = privateApt(work, [suite], ['deb-src']);
    apt(['update']);
    apt(['source', '--download-only', name], folder);
    return readdirSync(folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
