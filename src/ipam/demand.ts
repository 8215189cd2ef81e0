/** One block of a pool on a node. */
export interface BlockUse {
  readonly cidr: string;
  readonly used: number;
  readonly usable: number;
  /** Outside its pool's ranges by now: what lives in it stays, it gives nothing new. */
  readonly outdated?: boolean;
}

/** What a node has of one pool, and who waits for an address of it. */
export interface PoolState {
  readonly pool: string;
  /** In the order in which they are filled. */
  readonly blocks: readonly BlockUse[];
  /** Owners that wait for an address. */
  readonly pending: number;
  /** Addresses that shall be ready before somebody asks. */
  readonly preAllocation: number;
}

/**
 * How many addresses a node shall have of a pool: what is in use, what is waited for and what shall be ready, rounded
 * up to a multiple of the latter so that not every pod changes it. Without pre-allocation exactly what is needed. Pure.
 */
export function neededAddresses(inUse: number, pending: number, preAllocation: number): number {
  const demand = inUse + pending + preAllocation;
  return preAllocation === 0 ? demand : Math.ceil(demand / preAllocation) * preAllocation;
}

/** What a node needs of one pool by what lives now. Addresses in outdated blocks are not to be replaced. Pure. */
export function neededOf(state: PoolState): number {
  const inUse = state.blocks.reduce((sum, block) => sum + (block.outdated ? 0 : block.used), 0);
  return neededAddresses(inUse, state.pending, state.preAllocation);
}

/** `spec.ipam.pools.requested`: sorted by pool, without pools that nothing is needed of. Pure. */
export function requestedPools(
  states: readonly PoolState[],
): { pool: string; needed: { 'ipv4-addrs': number } }[] {
  return states
    .map(state => ({ pool: state.pool, needed: { 'ipv4-addrs': neededOf(state) } }))
    .filter(({ needed }) => needed['ipv4-addrs'] > 0)
    .sort((a, b) => (a.pool < b.pool ? -1 : 1));
}

/**
 * Blocks to give back: empty ones without which there is still enough, the last filled first, and outdated ones as
 * soon as they are empty. What stays is always enough, so nobody has to give it again. Pure.
 */
export function surplusBlocks(state: PoolState): string[] {
  const needed = neededOf(state);
  let usable = state.blocks.reduce((sum, block) => sum + (block.outdated ? 0 : block.usable), 0);
  const surplus: string[] = [];
  for (const block of [...state.blocks].reverse()) {
    if (block.used > 0) continue;
    if (block.outdated) surplus.push(block.cidr);
    else if (usable - block.usable >= needed) {
      usable -= block.usable;
      surplus.push(block.cidr);
    }
  }
  return surplus;
}
