import { type BackendRecord, LbScope, LbServiceFlag, type ServiceSlot } from '../../maps/services.ts';
import type { HeldScope } from './scopes.ts';
import { frontendKey } from './types.ts';
import type { ServiceMaps } from './writes.ts';

/** A frontend as it is in the maps; scopes by `LbScope`. */
export interface HeldFrontend {
  at: { address: string; port: number; l4Proto: number };
  revNatIndex: number;
  scopes: [HeldScope | undefined, HeldScope | undefined];
}

/**
 * Frontends and backends as an earlier run left them, also half-way: what no external master
 * stands for is passed over, and goes with the first sweep. Reads only.
 */
export function adoptServices(maps: ServiceMaps): {
  frontends: Map<string, HeldFrontend>;
  backends: Map<number, BackendRecord>;
} {
  const frontends = new Map<string, HeldFrontend>();
  const all = [...maps.services.entries()];
  const masters = all.filter(([key]) => key.slot === 0);
  const scopeOf = ({ flags, affinityTimeoutS, count }: ServiceSlot): HeldScope => ({
    ids: new Array<number>(count).fill(0),
    flags,
    affinityTimeoutS,
  });
  for (const [key, value] of masters) {
    if (key.scope !== LbScope.LB_SCOPE_EXTERNAL) continue;
    const { address, port, l4Proto } = key;
    frontends.set(frontendKey(key), {
      at: { address, port, l4Proto },
      revNatIndex: value.revNatIndex,
      scopes: [scopeOf(value), undefined],
    });
  }
  for (const [key, value] of masters) {
    const held = frontends.get(frontendKey(key));
    if (key.scope !== LbScope.LB_SCOPE_INTERNAL || held?.revNatIndex !== value.revNatIndex) continue;
    if (held.scopes[0]!.flags & LbServiceFlag.LB_F_TWO_SCOPES) held.scopes[1] = scopeOf(value);
  }
  for (const [key, { backendId }] of all) {
    const scope =
      key.slot === 0 ? undefined : frontends.get(frontendKey(key))?.scopes[key.scope === 0 ? 0 : 1];
    if (scope && key.slot <= scope.ids.length) scope.ids[key.slot - 1] = backendId;
  }
  return { frontends, backends: new Map(maps.backends.entries()) };
}
