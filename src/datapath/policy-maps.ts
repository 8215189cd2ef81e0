import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, type BpfObject } from '../kernel/libbpf/index.ts';
import { allowAllKey, policyMap } from '../maps/tables.ts';
import type { Programs } from './programs.ts';

const PREFIX = 'cilium_policy_';

/** Name of an endpoint's pin. */
export function policyMapName(endpointId: number): string {
  return `${PREFIX}${endpointId}`;
}

/** Id of the endpoint whose policy map is pinned under that name. Pure. */
export function policyMapOwner(name: string): number | undefined {
  const match = /^cilium_policy_(\d+)$/.exec(name);
  return match ? Number(match[1]) : undefined;
}

/** An empty policy map of the layout that a loaded object declares; the caller owns it. */
export function createPolicyMap(object: BpfObject, endpointId: number): BpfMap {
  const declared = object.maps.find(map => map.name === 'cilium_policy')!;
  return BpfMap.create({
    ...declared,
    name: policyMapName(endpointId),
    btfFrom: { object, map: 'cilium_policy' },
  });
}

/**
 * One policy map per endpoint, pinned as `cilium_policy_<id>`. Until a policy selects the endpoint it holds two
 * entries that allow everything, and the endpoint's entry says that nothing is enforced: the map is made on the ADD
 * path for 6 µs, while its slot in the map of maps, which costs an RCU grace period, is written only when needed.
 */
export class PolicyMaps {
  readonly #programs: Programs;
  readonly #root: string;

  constructor(programs: Programs, bpfRoot: string) {
    this.#programs = programs;
    this.#root = join(bpfRoot, 'tc', 'globals');
  }

  /** Makes and pins the endpoint's map unless it is there. */
  ensure(endpointId: number): void {
    const pin = this.path(endpointId);
    if (existsSync(pin)) return;
    const map = createPolicyMap(this.#programs.lxc, endpointId);
    try {
      const typed = policyMap(map);
      for (const direction of ['ingress', 'egress'] as const)
        typed.set(allowAllKey(direction), { deny: false });
      map.pin(pin);
    } finally {
      map.close();
    }
  }

  remove(endpointId: number): void {
    rmSync(this.path(endpointId), { force: true });
  }

  /** Removes the maps of endpoints that are not among `ids`. */
  sweep(ids: ReadonlySet<number>): void {
    if (!existsSync(this.#root)) return;
    for (const name of readdirSync(this.#root)) {
      const owner = policyMapOwner(name);
      if (owner !== undefined && !ids.has(owner)) rmSync(join(this.#root, name), { force: true });
    }
  }

  path(endpointId: number): string {
    return join(this.#root, policyMapName(endpointId));
  }
}
