import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Target } from '../base/reconcile.ts';
import { BpfMap } from '../kernel/libbpf/index.ts';
import { makeDirectories } from '../kernel/libbpf/pin.ts';
import type { PolicyMaps } from './policy-maps.ts';
import type { Programs } from './programs.ts';

/** What must be pinned under a name: the shared map of that name, or the policy map of an endpoint. */
export type PinSpec = { mapId: number } | { endpointId: number };

/**
 * The pins of our maps below `<bpf-root>/tc/globals` as a reconciler's target. A shared map lives as long as the
 * programs do, so a lost pin is put back with everything in it; a policy map lives by its pin and is made anew.
 */
export class PinTarget implements Target<PinSpec, number> {
  readonly name = 'pins';
  readonly #programs: Programs;
  readonly #policyMaps: PolicyMaps;
  readonly #root: string;

  constructor(programs: Programs, policyMaps: PolicyMaps, bpfRoot: string) {
    this.#programs = programs;
    this.#policyMaps = policyMaps;
    this.#root = join(bpfRoot, 'tc', 'globals');
  }

  /** Id of the map behind each pin of a name that is ours; 0 for what is no map. */
  async read(): Promise<Map<string, number>> {
    if (!existsSync(this.#root)) return new Map();
    const shared = new Set(this.#programs.pinnedMaps);
    const names = readdirSync(this.#root);
    return new Map(
      names.flatMap(name => {
        if (shared.has(name)) return [[name, this.#idAt(name)]];
        return /^cilium_policy_\d+$/.test(name) ? [[name, 0]] : [];
      }),
    );
  }

  /** A policy map has no other owner than its pin: whatever is there is it. */
  same = (want: PinSpec, have: number): boolean => 'endpointId' in want || have === want.mapId;

  async update(name: string, want: PinSpec): Promise<void> {
    makeDirectories(this.#root);
    if ('endpointId' in want) return this.#policyMaps.ensure(want.endpointId);
    rmSync(join(this.#root, name), { force: true });
    this.#programs.map(name).pin(join(this.#root, name));
  }

  async delete(name: string): Promise<void> {
    rmSync(join(this.#root, name), { force: true });
  }

  #idAt(name: string): number {
    let map: BpfMap | undefined;
    try {
      map = BpfMap.fromPin(join(this.#root, name));
      return map.id;
    } catch {
      return 0;
    } finally {
      map?.close();
    }
  }
}
