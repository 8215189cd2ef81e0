import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FimbriaError } from './errors.ts';

let root: string | undefined;

/**
 * The folder of the installed package: the nearest one above this module whose package.json is ours.
 * The same for sources, bundles and an unpacked tarball.
 */
export function packageRoot(): string {
  if (root !== undefined) return root;
  for (let dir = dirname(fileURLToPath(import.meta.url)); dir !== '/'; dir = dirname(dir)) {
    const manifest = join(dir, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'fimbria') {
      root = dir;
      return dir;
    }
  }
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'find',
    object: 'package root',
    why: 'no package.json named fimbria above this file',
  });
}

/**
 * Absolute path of a file that the build made, such as `build/bpf/lxc.o`.
 * @throws FimbriaError ENOENT when it was not built
 */
export function assetPath(relative: string): string {
  const path = join(packageRoot(), relative);
  if (existsSync(path)) return path;
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'find',
    object: relative,
    why: 'it was not built',
    hint: 'run `npm run build`',
  });
}

/** The package's version. */
export function packageVersion(): string {
  return JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')).version;
}
