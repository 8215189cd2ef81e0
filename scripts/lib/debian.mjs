/** Debian packages that tests run programs of: unpacked into a cache outside the checkout, never installed. */
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { withPackages } from './apt.mjs';
import { say } from './project.mjs';

/** Where a package's files are, or will be: `<cache>/fimbria/debian/<suite>/<package>/usr/bin/…`. */
export function unpackedPath({ suite, package: name }) {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(cache, 'fimbria', 'debian', suite, name);
}

/**
 * Fetches those that are not there yet, all in one go, and returns the folder of each, in the order of `wanted`
 * ({suite, package}). Repeatable; several processes may be about the same. Throws where a package cannot be had.
 */
export function unpackedPackages(wanted) {
  const missing = wanted.filter(one => !existsSync(unpackedPath(one)));
  if (missing.length > 0) {
    const list = missing.map(one => `${one.package} (${one.suite})`).join(', ');
    say(`unpacking ${list}: out of Debian's packages, nothing is installed`);
    withPackages(missing, folders => {
      for (const [index, one] of missing.entries()) keep(folders[index], unpackedPath(one));
    });
  }
  return wanted.map(unpackedPath);
}

/** Into place in one step, so that a folder that is there is whole. */
function keep(folder, target) {
  mkdirSync(dirname(target), { recursive: true });
  const fresh = `${target}.${process.pid}`;
  cpSync(folder, fresh, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  try {
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
}
