import { readFileSync } from 'node:fs';
import { native } from './addon.ts';
import { makeDirectories } from './libbpf/pin.ts';

/** One line of /proc/self/mountinfo. */
export interface MountEntry {
  mountPoint: string;
  fstype: string;
}

/** Parses mountinfo text; the kernel writes blanks and such in octal. Pure. */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    const mountPoint = fields[4];
    const fstype = fields[dash + 1];
    if (dash < 0 || mountPoint === undefined || fstype === undefined) continue;
    entries.push({
      mountPoint: mountPoint.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
      fstype,
    });
  }
  return entries;
}

/** What is mounted in this process's mount namespace, in mount order. */
export function mounts(): MountEntry[] {
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Makes sure that `path` is a bpffs: mounts one unless there is one already. Returns whether it mounted. */
export async function mountBpffs(path: string): Promise<boolean> {
  const top = mounts()
    .filter(entry => entry.mountPoint === path)
    .at(-1);
  if (top?.fstype === 'bpf') return false;
  makeDirectories(path);
  await native().mount('bpffs', path, 'bpf');
  return true;
}
