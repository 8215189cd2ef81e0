/**
 * Who holds an address. Two owners are the same when their `ownerKey` texts are equal, so that a late DEL of an
 * earlier container cannot free the address of the one that has it now.
 */
export type AddressOwner =
  | {
      readonly kind: 'endpoint';
      readonly containerId: string;
      readonly ifname: string;
      /** `namespace/name`, for people; not part of who it is. */
      readonly podName?: string;
    }
  | { readonly kind: 'router' }
  | { readonly kind: 'health' }
  /** Taken over the API by a caller that names itself. */
  | { readonly kind: 'named'; readonly name: string };

/** One address in use. */
export interface Allocation {
  readonly address: string;
  readonly owner: AddressOwner;
}

/** One address in use, and the pool that it is from. */
export interface PoolAllocation extends Allocation {
  readonly pool: string;
}

/** A block that a node holds, and the pool that it is from. */
export interface PoolBlock {
  readonly pool: string;
  /** Canonical. */
  readonly cidr: string;
}

/** The pool of modes that have one only, and the one that Pods get where nothing else is said. */
export const DEFAULT_POOL = 'default';

/** How full a pool is. `capacity` counts allocatable addresses only. */
export interface PoolUsage {
  readonly used: number;
  readonly capacity: number;
}
