import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';

/** Where the machine's cgroup2 tree is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid host. */
export function findCgroup2(mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8')): string {
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const [, , , root, mountPoint] = before?.split(' ') ?? [];
    if (after?.startsWith('cgroup2 ') && root === '/' && mountPoint) return mountPoint;
  }
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'find',
    object: 'cgroup2 tree',
    why: 'none is mounted',
    hint: 'mount one: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified',
  });
}

/** The cgroups of one lab; `dir` is made of nothing but the lab's name, so that it is found again without records. */
export interface LabCgroups {
  readonly dir: string;
  /** The part that the node's own mount namespace shows as its whole tree. */
  node(name: string): string;
  /** For processes beside the nodes: `control`, `underlay`, `outside`. */
  beside(name: string): string;
}

/** Names the lab's cgroups; makes nothing. */
export function labCgroups(lab: string, root: string = findCgroup2()): LabCgroups {
  const dir = join(root, `fimbria-lab-${lab}`);
  return { dir, node: name => join(dir, 'nodes', name), beside: name => join(dir, name) };
}

/** Makes a cgroup and those above it. Repeatable. */
export function makeCgroup(dir: string): string {
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** Ends every process in the cgroup and below, at once and without a race against their forks. Repeatable. */
export function killCgroup(dir: string): void {
  try {
    writeFileSync(join(dir, 'cgroup.kill'), '1');
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

function below(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const children = readdirSync(dir, { withFileTypes: true }).filter(entry => entry.isDirectory());
  return [...children.flatMap(child => below(join(dir, child.name))), dir];
}

/** Pids in the cgroup and below. */
export function cgroupPids(dir: string): number[] {
  return below(dir).flatMap(path => {
    try {
      return readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
}

/**
 * Kills what is in the cgroup and removes it with all below. Repeatable.
 * A killed process leaves its cgroup a moment later, hence the patience.
 * @throws FimbriaError when something is still in it at the deadline
 */
export async function removeCgroup(dir: string, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    killCgroup(dir);
    try {
      for (const path of below(dir)) rmdirSync(path);
      if (!existsSync(dir)) return;
    } catch (error) {
      if (performance.now() > deadline) {
        throw new FimbriaError({
          code: codeOf(error) ?? 'EBUSY',
          op: 'remove',
          object: `cgroup ${dir}`,
          why: messageOf(error),
          hint: `look for processes in ${dir}/cgroup.procs`,
          cause: error,
        });
      }
    }
    await delay(20);
  }
}
