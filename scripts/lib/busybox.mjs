/** A static busybox for images: shell and small tools for whoever looks into a container. */
import { chmodSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { outputOf, withPackages } from './apt.mjs';
import { say } from './project.mjs';

const SUITE = 'bookworm';

/** Its path in the cache outside the checkout; fetched out of Debian's package on first use, nothing is installed. */
export function busyboxPath() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const target = join(cache, 'fimbria', 'busybox', SUITE, 'busybox');
  if (existsSync(target)) return target;
  say(`busybox-static (${SUITE}): shell and tools of the image; out of Debian's package`);
  withPackages([{ suite: SUITE, package: 'busybox-static' }], ([folder]) => {
    mkdirSync(dirname(target), { recursive: true });
    const fresh = `${target}.${process.pid}`;
    outputOf('cp', [join(folder, 'bin/busybox'), fresh]);
    chmodSync(fresh, 0o755);
    renameSync(fresh, target);
  });
  return target;
}
