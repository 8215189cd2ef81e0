import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { findCgroup2 } from '../../src/lab/cgroup.ts';
import { isAlive } from '../../src/lab/processes.ts';
import type { Place } from './labs.ts';
import type { Peers, PodPlaces } from './peers.ts';

const PREFIX = 'fimbria-bench-';

/**
 * Two cgroups as deep in the tree as a pod's: between tasks of different cgroups the scheduler accounts for every
 * level (pressure stall information), which costs a round trip about 0.25 µs. Without them only our own pods would
 * pay it.
 */
export class PeerCgroups {
  readonly #root = join(findCgroup2(), `${PREFIX}${process.pid}`);
  #made: string[] = [];

  /** For client and server, at the depth of `pod`. @returns them, made */
  asDeepAs(pod: string): [string, string] {
    const levels = relative(findCgroup2(), pod).split('/').length;
    const ends = ['client', 'server'].map(end =>
      join(this.#root, ...Array.from({ length: levels - 2 }, () => 'level'), end),
    ) as [string, string];
    for (const end of ends) {
      mkdirSync(end, { recursive: true });
      for (let dir = end; dir.length >= this.#root.length; dir = dirname(dir)) this.#made.push(dir);
    }
    return ends;
  }

  /** Removes them; nothing may run in them any more. Repeatable. */
  remove(): void {
    for (const dir of new Set(this.#made.sort((a, b) => b.length - a.length))) removeEmpty(dir);
    this.#made = [];
  }

  /** Removes those of runs that did not live to do it. */
  static sweep(): void {
    for (const name of readdirSync(findCgroup2())) {
      const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length)) : Number.NaN;
      if (pid > 0 && !isAlive(pid)) removeTree(join(findCgroup2(), name));
    }
  }
}

function removeTree(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(dir, entry.name));
  removeEmpty(dir);
}

function removeEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** The same peers with their processes in these cgroups. Pure. */
export function inCgroups(peers: Peers, [client, server]: [string, string]): Peers {
  const pair = ([from, to]: [Place, Place]): [Place, Place] => [
    { ...from, cgroup: client },
    { ...to, cgroup: server },
  ];
  const pods = ({ here, near, far }: PodPlaces): PodPlaces => ({
    here: { ...here, cgroup: client },
    near: { ...near, cgroup: server },
    far: { ...far, cgroup: server },
  });
  return {
    bareVeth: pair(peers.bareVeth),
    floor: pair(peers.floor),
    bareNodes: pair(peers.bareNodes),
    kernelVxlan: pair(peers.kernelVxlan),
    ptp: pods(peers.ptp),
    bridge: pods(peers.bridge),
    flannel: pods(peers.flannel),
  };
}
