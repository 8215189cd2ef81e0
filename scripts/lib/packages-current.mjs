/**
 * Exit status 0 when node_modules holds exactly what package-lock.json names, 1 when `npm ci` is needed.
 * npm writes what it installed to node_modules/.package-lock.json, so nothing has to be walked.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './project.mjs';

const packagesOf = path => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;

function current() {
  if (!existsSync(join(root, 'node_modules/.package-lock.json'))) return false;
  const locked = packagesOf('package-lock.json');
  const found = packagesOf('node_modules/.package-lock.json');
  for (const [path, entry] of Object.entries(locked)) {
    if (path === '' || (entry.optional && !found[path])) continue;
    if (found[path]?.version !== entry.version || found[path]?.integrity !== entry.integrity) return false;
  }
  return Object.keys(found).every(path => path in locked);
}

process.exitCode = current() ? 0 : 1;
