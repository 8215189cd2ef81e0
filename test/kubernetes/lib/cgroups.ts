import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from '../../../src/base/errors.ts';

/** One cgroup hierarchy as it is mounted on the machine: v1 with its controllers, or the cgroup2 tree. */
export interface Hierarchy {
  mountPoint: string;
  version: 1 | 2;
  /** What `mount -o` takes: `cpu,cpuacct`, `none,name=systemd`; empty for version 2. */
  options: string;
}

/** All hierarchies below /sys/fs/cgroup. Pure. */
export function hierarchies(mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8')): Hierarchy[] {
  return mountinfo.split('\n').flatMap((line): Hierarchy[] => {
    const [before = '', after = ''] = line.split(' - ');
    const mountPoint = before.split(' ')[4] ?? '';
    const [type, , superOptions = ''] = after.split(' ');
    if (!/^\/sys\/fs\/cgroup(\/|$)/.test(mountPoint)) return [];
    if (type === 'cgroup2') return [{ mountPoint, version: 2, options: '' }];
    if (type !== 'cgroup') return [];
    const words = superOptions.split(',').filter(word => !/^(rw|ro|xattr|release_agent=.*)$/.test(word));
    const named = words.some(word => word.startsWith('name='));
    return [{ mountPoint, version: 1, options: [...(named ? ['none'] : []), ...words].join(',') }];
  });
}

/** The one cgroup of a node in every hierarchy of the machine. Only the directories that bear its name are touched. */
export class NodeCgroups {
  readonly name: string;
  readonly all: readonly Hierarchy[];

  constructor(name: string, all: readonly Hierarchy[] = hierarchies()) {
    this.name = name;
    this.all = all;
  }

  /** Where the node's part of the cgroup2 tree is, as the machine sees it. */
  get unified(): string {
    const tree = this.all.find(({ version }) => version === 2);
    if (!tree) throw new Error('find cgroup2 tree: none is mounted below /sys/fs/cgroup');
    return join(tree.mountPoint, this.name);
  }

  make(): void {
    for (const { mountPoint, version } of this.all) {
      const dir = join(mountPoint, this.name);
      mkdirSync(dir, { recursive: true });
      // Nobody may enter a cpuset of version 1 that names no CPU.
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        if (version === 1 && existsSync(join(dir, file)))
          writeFileSync(join(dir, file), readFileSync(join(mountPoint, file)));
      }
    }
    // No cgroup2 that holds processes can give controllers to those below: processes of the node itself are in a leaf.
    mkdirSync(join(this.unified, 'init'), { recursive: true });
  }

  /** Files that a process writes 0 to, to become one of the node's own. */
  entries(): string[] {
    return this.all.map(({ mountPoint, version }) =>
      join(mountPoint, this.name, version === 2 ? 'init' : '', 'cgroup.procs'),
    );
  }

  /** Ends everything in it, containers included, and removes the directories. Repeatable. */
  async remove(timeoutMs = 30_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      try {
        if (existsSync(this.unified)) writeFileSync(join(this.unified, 'cgroup.kill'), '1');
        for (const { mountPoint } of this.all) removeTree(join(mountPoint, this.name));
        return;
      } catch (error) {
        // What was killed leaves its cgroups a moment later.
        if (performance.now() > deadline) throw error;
        await delay(25);
      }
    }
  }

  /** Names of the cgroups that begin with `prefix`, on this machine. */
  static named(prefix: string): string[] {
    const found = hierarchies().flatMap(({ mountPoint }) =>
      readdirSync(mountPoint, { withFileTypes: true })
        .filter(entry => entry.isDirectory() && entry.name.startsWith(prefix))
        .map(entry => basename(entry.name)),
    );
    return [...new Set(found)];
  }
}

function removeTree(dir: string): void {
  let children: string[];
  try {
    children = readdirSync(dir, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => join(dir, entry.name));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  for (const child of children) removeTree(child);
  try {
    rmdirSync(dir);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
