import type {
  BpfAffinityRow,
  BpfBackendRow,
  BpfMaglevRow,
  BpfRevNatRow,
  BpfSourceRangeRow,
} from '../api/bpf.ts';
import type { ServiceMaps } from '../datapath/services/writes.ts';
import { type AffinityKey, type AffinityRecord, LbBackendState, LbScope } from '../maps/services.ts';
import type { TypedMap } from '../maps/typed.ts';
import { proto } from './service-views.ts';

/** Parts of the load balancer beside its frontends, as they are in the maps. Each call reads them anew. */

/** `bpf lb list --backends`. */
export function backendRows({ backends }: ServiceMaps): BpfBackendRow[] {
  return [...backends.entries()].map(([id, { address, port, l4Proto, state }]) => ({
    id,
    address: `${address}:${port}/${proto(l4Proto)}`,
    state: state === LbBackendState.LB_BACKEND_TERMINATING ? 'terminating' : 'active',
  }));
}

/** `bpf lb list --revnat`. */
export function revNatRows({ reverseNat }: ServiceMaps): BpfRevNatRow[] {
  return [...reverseNat.entries()].map(([id, { address, port }]) => ({ id, frontend: `${address}:${port}` }));
}

/** Frontends and backends by their numbers, as rows name them. */
function namesOf(maps: ServiceMaps): {
  frontend(revNat: number): { frontend?: string };
  backend(id: number): { backend?: string };
} {
  const frontends = new Map(revNatRows(maps).map(row => [row.id, row.frontend]));
  const backends = new Map(backendRows(maps).map(row => [row.id, row.address]));
  return {
    frontend: revNat => (frontends.has(revNat) ? { frontend: frontends.get(revNat)! } : {}),
    backend: id => (backends.has(id) ? { backend: backends.get(id)! } : {}),
  };
}

/** `bpf lb list --source-ranges`. */
export function sourceRangeRows(maps: ServiceMaps): BpfSourceRangeRow[] {
  const names = namesOf(maps);
  return [...maps.sourceRanges.entries()].map(([{ revNatIndex, cidr }]) => ({
    revNat: revNatIndex,
    ...names.frontend(revNatIndex),
    cidr,
  }));
}

/** `bpf lb maglev list`. */
export function maglevRows(maps: ServiceMaps): BpfMaglevRow[] {
  const names = namesOf(maps);
  return [...maps.maglev.entries()].map(([{ revNatIndex, scope }, table]) => {
    const places = new Map<number, number>();
    for (const id of table) places.set(id, (places.get(id) ?? 0) + 1);
    return {
      revNat: revNatIndex,
      ...names.frontend(revNatIndex),
      scope: scope === LbScope.LB_SCOPE_INTERNAL ? 'internal' : 'external',
      shares: [...places]
        .sort(([a], [b]) => a - b)
        .map(([backendId, count]) => ({ backendId, ...names.backend(backendId), places: count })),
      table: [...table],
    };
  });
}

/** `bpf lb list --affinity`. */
export function affinityRows(
  maps: ServiceMaps,
  affinity: TypedMap<AffinityKey, AffinityRecord>,
): BpfAffinityRow[] {
  const names = namesOf(maps);
  const now = process.hrtime.bigint();
  return [...affinity.entries()].map(([{ client, revNatIndex }, { backendId, lastUsedNs }]) => ({
    client,
    revNat: revNatIndex,
    ...names.frontend(revNatIndex),
    backendId,
    ...names.backend(backendId),
    lastUsedS: Math.floor(Number(now - lastUsedNs) / 1e9),
  }));
}
