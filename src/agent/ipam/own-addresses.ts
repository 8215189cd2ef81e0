import { codeOf } from '../../base/errors.ts';
import type { AddressPools } from '../../ipam/pools.ts';
import type { BlockStore } from './multi-pool.ts';

/** What the node itself has addresses for. */
export type OwnKind = 'router' | 'health';

const keyOf = (kind: OwnKind): string => `address/${kind}`;

/** The node's own address by its journal; undefined when it has none yet. */
export function storedAddress(store: Pick<BlockStore, 'get'>, kind: OwnKind): string | undefined {
  return store.get<string>(keyOf(kind));
}

/**
 * The node's own address: what the journal says for as long as that lies in a block of the node, else a new one.
 * Must come before any pod's. @throws FimbriaError RANGE_FULL when the pool has none; nothing changed then
 */
export function claimOwnAddress(pools: AddressPools, pool: string, store: BlockStore, kind: OwnKind): string {
  const before = storedAddress(store, kind);
  if (before !== undefined) {
    try {
      pools.claim(before, { kind });
      return before;
    } catch (error) {
      if (codeOf(error) !== 'NOT_IN_RANGE') throw error;
    }
  }
  const address = pools.allocate(pool, { kind });
  store.put(keyOf(kind), address);
  return address;
}

/** Forgets it, so that the next claim takes a new one. Only while no pod lives that routes by it. */
export function forgetOwnAddress(store: BlockStore, kind: OwnKind): void {
  store.delete(keyOf(kind));
}
