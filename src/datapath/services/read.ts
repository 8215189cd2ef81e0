import type { BackendRecord } from '../../maps/services.ts';
import { frontendKey } from './types.ts';
import type { ServiceMaps } from './writes.ts';

/** Backends of one scope by place, and what its master says. */
export interface HeldScope {
  ids: number[];
  flags: number;
  affinityTimeoutS: number;
}

/** A frontend as it is in the maps; scopes by `LbScope`. */
export interface HeldFrontend {
  at: { address: string; port: number; l4Proto: number };
  revNatIndex: number;
  scopes: [HeldScope | undefined, HeldScope | undefined];
}

/**
 * Frontends and backends as an earlier run left them, also half-way: slots without a master are passed over, and go
 * with the first pass that prunes. Reads only.
 */
export function adoptServices(maps: ServiceMaps): {
  frontends: Map<string, HeldFrontend>;
  backends: Map<number, BackendRecord>;
} {
  const frontends = new Map<string, HeldFrontend>();
  const all = [...maps.services.entries()];
  for (const [key, value] of all) {
    if (key.slot !== 0) continue;
    const { address, port, l4Proto, scope } = key;
    const name = frontendKey(key);
    const held = frontends.get(name) ?? {
      at: { address, port, l4Proto },
      revNatIndex: value.revNatIndex,
      scopes: [undefined, undefined],
    };
    const { flags, affinityTimeoutS, count } = value;
    held.scopes[scope === 0 ? 0 : 1] = { ids: new Array<number>(count).fill(0), flags, affinityTimeoutS };
    frontends.set(name, held);
  }
  for (const [key, { backendId }] of all) {
    const scope =
      key.slot === 0 ? undefined : frontends.get(frontendKey(key))?.scopes[key.scope === 0 ? 0 : 1];
    if (scope && key.slot <= scope.ids.length) scope.ids[key.slot - 1] = backendId;
  }
  return { frontends, backends: new Map(maps.backends.entries()) };
}
