import { FimbriaError } from '../base/errors.ts';
import type { PoolState } from './demand.ts';
import { ownerText } from './owner.ts';
import { AddressPool } from './pool.ts';
import { overlaps, parsePrefix } from './prefix.ts';
import type { AddressOwner, PoolAllocation, PoolBlock, PoolUsage } from './types.ts';

/**
 * The address pools of one node by name. A pool is there while it has a block; no two blocks overlap, so an address
 * belongs to one pool. Ownership rules are those of `AddressPool`. Not for several threads.
 */
export class AddressPools {
  readonly #pools = new Map<string, AddressPool>();
  readonly #random: (() => number) | undefined;
  readonly #listeners = new Set<() => void>();

  /** @param options.random numbers in [0, 1), for tests */
  constructor(blocks: readonly PoolBlock[] = [], options: { random?: () => number } = {}) {
    this.#random = options.random;
    for (const { pool, cidr } of blocks) this.addBlock(pool, cidr);
  }

  /** Names of the pools that have a block here, sorted. */
  get names(): string[] {
    return [...this.#pools.keys()].sort();
  }

  /** All blocks by pool and address. */
  blocks(): PoolBlock[] {
    return this.names.flatMap(pool => this.#pools.get(pool)!.cidrs.map(cidr => ({ pool, cidr })));
  }

  /** Told when an address may have become free: a release or a new block. Returns how to end it. */
  onRoom(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @throws FimbriaError INVALID when it overlaps a block of any pool */
  addBlock(pool: string, cidr: string): void {
    const block = parsePrefix(cidr);
    const other = this.blocks().find(present => overlaps(parsePrefix(present.cidr), block));
    if (other !== undefined) {
      throw new FimbriaError({
        code: 'INVALID',
        op: 'add',
        object: `block ${cidr} of pool ${pool}`,
        why: `it overlaps ${other.cidr} of pool ${other.pool}`,
      });
    }
    const present = this.#pools.get(pool);
    if (present !== undefined) present.addBlock(cidr);
    else
      this.#pools.set(
        pool,
        new AddressPool([cidr], this.#random === undefined ? {} : { random: this.#random }),
      );
    this.#tellRoom();
  }

  /** Takes an empty block away; false, and nothing changes, when it is not there or in use. */
  removeBlock(pool: string, cidr: string): boolean {
    const present = this.#pools.get(pool);
    if (present?.removeBlock(cidr) !== true) return false;
    if (present.cidrs.length === 0) this.#pools.delete(pool);
    return true;
  }

  /** A closed block keeps what lives in it and gives nothing new. */
  setClosed(pool: string, cidr: string, closed: boolean): void {
    this.#pools.get(pool)?.setClosed(cidr, closed);
  }

  /** Takes a free address of a pool. @throws FimbriaError RANGE_FULL (`range is full`), also when it has no block here */
  allocate(pool: string, owner: AddressOwner): string {
    return (this.#pools.get(pool) ?? new AddressPool([])).allocate(owner);
  }

  /** Takes this very address of whichever pool has it. @throws FimbriaError IN_USE, NOT_IN_RANGE */
  claim(address: string, owner: AddressOwner): void {
    const pool = this.poolOf(address);
    if (pool !== undefined) this.#pools.get(pool)!.claim(address, owner);
    else
      throw new FimbriaError({
        code: 'NOT_IN_RANGE',
        op: 'claim',
        object: `address ${address} for ${ownerText(owner)}`,
        why: `provided IP is not in the valid range. The range of valid IPs is ${
          this.blocks()
            .map(({ cidr }) => cidr)
            .join(', ') || 'empty'
        }`,
      });
  }

  /** Gives an address back. False, and nothing changes, when this owner does not have it. */
  release(address: string, owner: AddressOwner): boolean {
    for (const pool of this.#pools.values()) {
      if (!pool.release(address, owner)) continue;
      this.#tellRoom();
      return true;
    }
    return false;
  }

  ownerOf(address: string): AddressOwner | undefined {
    for (const pool of this.#pools.values()) {
      const owner = pool.ownerOf(address);
      if (owner !== undefined) return owner;
    }
    return undefined;
  }

  /** Which pool an address belongs to; undefined when it is in no block of this node. @throws FimbriaError INVALID_ADDRESS */
  poolOf(address: string): string | undefined {
    for (const [name, pool] of this.#pools) if (pool.covers(address)) return name;
    return undefined;
  }

  /** Everything in use, by pool and address. */
  allocations(): PoolAllocation[] {
    return this.names.flatMap(pool =>
      this.#pools
        .get(pool)!
        .allocations()
        .map(allocation => ({ ...allocation, pool })),
    );
  }

  /** Of one pool, or of all together. */
  usage(pool?: string): PoolUsage {
    const pools =
      pool === undefined ? [...this.#pools.values()] : [this.#pools.get(pool) ?? new AddressPool([])];
    return pools
      .map(each => each.usage())
      .reduce((sum, one) => ({ used: sum.used + one.used, capacity: sum.capacity + one.capacity }), {
        used: 0,
        capacity: 0,
      });
  }

  /** What the demand is computed from, for the pools that have blocks and those named. */
  states(
    names: Iterable<string>,
    facts: { pending(pool: string): number; preAllocation(pool: string): number },
  ): PoolState[] {
    return [...new Set([...this.#pools.keys(), ...names])].sort().map(pool => ({
      pool,
      blocks: (this.#pools.get(pool)?.blocks ?? []).map(({ closed, ...use }) => ({
        ...use,
        outdated: closed,
      })),
      pending: facts.pending(pool),
      preAllocation: facts.preAllocation(pool),
    }));
  }

  #tellRoom(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
