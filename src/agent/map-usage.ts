import { existsSync } from 'node:fs';
import type { MapUsage } from '../api/types.ts';
import { BpfMap } from '../kernel/libbpf/index.ts';
import { POLICY_MAX_ENTRIES } from '../maps/tables.ts';
import type { AgentParts } from './agent.ts';

/** From this share of a map on, status warns. */
const WARN_FROM = 0.9;
/** How long a count that needs a walk is good for. */
const CACHE_MS = 10_000;

/**
 * How full the maps are. Tables that the agent writes are counted by their reconcilers, which costs nothing;
 * small maps that others write are walked, not more often than every ten seconds. Policy maps are one row: the
 * fullest of them.
 */
export class MapUsages {
  readonly #parts: Pick<AgentParts, 'datapath' | 'endpoints' | 'flowGc'>;
  readonly #counts = new Map<string, { entries: number; atMs: number }>();

  constructor(parts: Pick<AgentParts, 'datapath' | 'endpoints' | 'flowGc'>) {
    this.#parts = parts;
  }

  list(): MapUsage[] {
    const { datapath } = this.#parts;
    const { programs } = datapath;
    const row = (name: string, map: string, entries?: number): MapUsage => ({
      name,
      map,
      size: programs.map(map).maxEntries,
      ...(entries === undefined ? {} : { entries: Math.min(entries, programs.map(map).maxEntries) }),
    });
    return [
      row('Endpoints', 'cilium_lxc', datapath.endpoints.entries),
      this.#policy(),
      row('Endpoint policy slots', 'cilium_policy_maps'),
      row('Events (bytes)', 'cilium_events'),
      row('IP cache', 'cilium_ipcache', datapath.ipcache.entries),
      ...this.#services(row),
      ...this.#flows(row),
      row(
        'Metrics',
        'cilium_metrics',
        this.#cached('cilium_metrics', () => count(programs.map('cilium_metrics'))),
      ),
    ];
  }

  #services(row: (name: string, map: string, entries?: number) => MapUsage): MapUsage[] {
    const table = this.#parts.datapath.services;
    if (!table) return [];
    const { slots, backends, frontends } = table.entries;
    return [
      row('Service', 'cilium_lb4_services_v2', slots),
      row('Service backend', 'cilium_lb4_backends_v3', backends),
      row('Service reverse NAT', 'cilium_lb4_reverse_nat', frontends),
    ];
  }

  /** As the last sweep counted them. */
  #flows(row: (name: string, map: string, entries?: number) => MapUsage): MapUsage[] {
    const { results } = this.#parts.flowGc;
    return [
      row('TCP connection tracking', 'cilium_ct4_global', results.get('tcp')?.alive),
      row('Non-TCP connection tracking', 'cilium_ct_any4_global', results.get('any')?.alive),
      row('NAT', 'cilium_snat_v4_external', results.get('nat')?.alive),
    ];
  }

  #policy(): MapUsage {
    const { datapath, endpoints } = this.#parts;
    const entries = this.#cached('cilium_policy', () => {
      let most = 0;
      for (const { id } of endpoints.store.list()) {
        const path = datapath.policyMapPath(id);
        if (!existsSync(path)) continue;
        const map = BpfMap.fromPin(path);
        try {
          most = Math.max(most, count(map));
        } finally {
          map.close();
        }
      }
      return most;
    });
    return { name: 'Endpoint policy', map: 'cilium_policy', size: POLICY_MAX_ENTRIES, entries };
  }

  #cached(name: string, walk: () => number): number {
    const known = this.#counts.get(name);
    const now = performance.now();
    if (known && now - known.atMs < CACHE_MS) return known.entries;
    const entries = walk();
    this.#counts.set(name, { entries, atMs: now });
    return entries;
  }
}

function count(map: BpfMap): number {
  let entries = 0;
  for (const _ of map.keys()) entries++;
  return entries;
}

/** Share of a map that is in use, 0 to 1; undefined where that means nothing. Pure. */
export function pressureOf(usage: MapUsage): number | undefined {
  return usage.entries === undefined ? undefined : usage.entries / usage.size;
}

/** One line for each map that is nearly full. Pure. */
export function mapWarnings(usages: readonly MapUsage[]): string[] {
  return usages
    .filter(usage => (pressureOf(usage) ?? 0) >= WARN_FROM)
    .map(
      ({ name, map, entries, size }) =>
        `map ${map ?? name} is ${Math.floor((100 * entries!) / size)} % full (${entries} of ${size})`,
    );
}
