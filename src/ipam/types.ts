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

/** How full a pool is. `capacity` counts allocatable addresses only. */
export interface PoolUsage {
  readonly used: number;
  readonly capacity: number;
}
