import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, MAP_FLAGS } from '../kernel/libbpf/index.ts';
import {
  allowAllKey,
  POLICY_KEY_SIZE,
  POLICY_MAX_ENTRIES,
  POLICY_VALUE_SIZE,
  policyMap,
} from '../maps/tables.ts';
import type { Programs } from './programs.ts';

const PREFIX = 'cilium_policy_';

/** Name of an endpoint's pin. */
export function policyMapName(endpointId: number): string {
  return `${PREFIX}${endpointId}`;
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
    const map = BpfMap.create({
      type: 'lpm_trie',
      name: `${PREFIX}${endpointId}`.slice(0, 15),
      keySize: POLICY_KEY_SIZE,
      valueSize: POLICY_VALUE_SIZE,
      maxEntries: POLICY_MAX_ENTRIES,
      flags: MAP_FLAGS.NO_PREALLOC,
      btfFrom: { object: this.#programs.lxc, map: 'cilium_policy' },
    });
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
      const match = /^cilium_policy_(\d+)$/.exec(name);
      if (match && !ids.has(Number(match[1]))) rmSync(join(this.#root, name), { force: true });
    }
  }

  path(endpointId: number): string {
    return join(this.#root, policyMapName(endpointId));
  }
}
