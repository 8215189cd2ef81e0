import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { FimbriaError } from '../base/errors.ts';
import { type MountEntry, mounts } from './mount.ts';

const CGROUP2_MAGIC = 0x63677270;

/** A mount may lie under a later one of the same name, or of a folder above it. */
function isVisible(path: string): boolean {
  try {
    return statfsSync(path).type === CGROUP2_MAGIC;
  } catch {
    return false;
  }
}

/**
 * Where the cgroup v2 hierarchy is mounted: `/sys/fs/cgroup` on v2 hosts, `/sys/fs/cgroup/unified` on hybrid
 * ones. @throws FimbriaError ENOENT when it is mounted nowhere
 */
export function findCgroup2Root(
  entries: MountEntry[] = mounts(),
  visible: (path: string) => boolean = isVisible,
): string {
  // The latest mount is the one that is meant: a lab's node has its own over those of the machine.
  const found = entries.findLast(entry => entry.fstype === 'cgroup2' && visible(entry.mountPoint));
  if (found !== undefined) return found.mountPoint;
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'find',
    object: 'cgroup v2',
    why: 'no cgroup2 file system is mounted',
    hint: 'mount -t cgroup2 none /sys/fs/cgroup',
  });
}

/**
 * The cgroup v2 hierarchy that is mounted on a folder, or below it as `unified` on hybrid hosts.
 * @throws FimbriaError ENOENT when there is none
 */
export function cgroup2At(folder: string): string {
  const found = [folder, join(folder, 'unified')].find(isVisible);
  if (found !== undefined) return found;
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'find',
    object: `cgroup v2 at ${folder}`,
    why: 'no cgroup2 file system is mounted there',
    hint: 'name where one is with --cgroup-root',
  });
}
