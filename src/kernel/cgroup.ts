import { FimbriaError } from '../base/errors.ts';
import { type MountEntry, mounts } from './mount.ts';

/**
 * Where the cgroup v2 hierarchy is mounted: `/sys/fs/cgroup` on v2 hosts, `/sys/fs/cgroup/unified` on hybrid
 * ones. @throws FimbriaError ENOENT when it is mounted nowhere
 */
export function findCgroup2Root(entries: MountEntry[] = mounts()): string {
  const found = entries.find(entry => entry.fstype === 'cgroup2');
  if (found !== undefined) return found.mountPoint;
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'find',
    object: 'cgroup v2',
    why: 'no cgroup2 file system is mounted',
    hint: 'mount -t cgroup2 none /sys/fs/cgroup',
  });
}
