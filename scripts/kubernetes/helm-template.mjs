/**
 * Builds the stand-in for `helm template` that the chart is tested with (test/kubernetes/helm/main.go), from Debian's
 * packages alone, once a machine and version of its source; nothing is installed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { withPackages } from '../lib/apt.mjs';
import { root, say } from '../lib/project.mjs';
import { COMPILER, GOROOT, REPLACED_ROOT, SUITE } from './recipe.mjs';

const LIBRARIES = [
  'golang-github-masterminds-sprig-dev',
  'golang-github-masterminds-semver-dev',
  'golang-github-masterminds-goutils-dev',
  'golang-github-huandu-xstrings-dev',
  'golang-github-google-uuid-dev',
  'golang-github-imdario-mergo-dev',
  'golang-github-shopspring-decimal-dev',
  'golang-github-mitchellh-copystructure-dev',
  'golang-github-mitchellh-reflectwalk-dev',
  'golang-github-spf13-cast-dev',
  'golang-golang-x-crypto-dev',
];
const PROGRAM = 'helm-template';

/** The program's path in the cache outside the checkout. Throws an error that says what could not be done. */
export function helmTemplateProgram() {
  const source = join(root, 'test/kubernetes/helm/main.go');
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const target = join(cache, 'fimbria', PROGRAM, hash);
  if (existsSync(target)) return target;
  say(
    `${PROGRAM}: the chart is tested with Go's own templates; out of Debian's packages, about a minute, once`,
  );
  const work = mkdtempSync(join(tmpdir(), 'fimbria-helm-'));
  try {
    const wanted = [...COMPILER, ...LIBRARIES].map(name => ({ suite: SUITE, package: name }));
    withPackages(wanted, folders => {
      for (const folder of folders)
        cpSync(folder, join(work, 'root'), { recursive: true, verbatimSymlinks: true });
    });
    const goroot = join(work, 'root', GOROOT);
    mkdirSync(join(work, 'gopath/src', PROGRAM), { recursive: true });
    cpSync(source, join(work, 'gopath/src', PROGRAM, 'main.go'));
    const fresh = join(work, PROGRAM);
    const { status, error, stderr } = spawnSync(
      join(goroot, 'bin/go'),
      ['build', '-trimpath', '-o', fresh, PROGRAM],
      {
        encoding: 'utf8',
        env: {
          PATH: process.env.PATH,
          HOME: work,
          GOROOT: goroot,
          GOPATH: [join(work, 'gopath'), join(work, 'root', dirname(REPLACED_ROOT))].join(':'),
          GOCACHE: join(work, 'cache'),
          GO111MODULE: 'off',
          GOPROXY: 'off',
          CGO_ENABLED: '0',
        },
      },
    );
    if (status !== 0) throw new Error(`build ${PROGRAM}: ${error?.message ?? stderr.trim()}`);
    mkdirSync(dirname(target), { recursive: true });
    // Into place in one step: another checkout may be about the same.
    cpSync(fresh, `${target}.${process.pid}`);
    renameSync(`${target}.${process.pid}`, target);
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
