import {
  compareAddresses,
  formatIpv4,
  formatIpv4Cidr,
  type Ipv4Cidr,
  ipv4Contains,
  ipv4Last,
  ipv4Overlaps,
  parseIpv4,
  parseIpv4Cidr,
} from '../base/addr.ts';
import { FimbriaError } from '../base/errors.ts';
import { ownerKey, ownerText } from './owner.ts';
import type { AddressOwner, Allocation, PoolUsage } from './types.ts';

interface Block {
  readonly cidr: Ipv4Cidr;
  /** First allocatable address. */
  readonly first: number;
  /** How many addresses are allocatable. */
  readonly count: number;
}

/** First and last address stay free, so that the block also works as a subnet; /31 and /32 have none to spare. */
function blockOf(text: string): Block {
  const cidr = parseIpv4Cidr(text);
  const reserved = cidr.prefixLength >= 31 ? 0 : 1;
  return { cidr, first: cidr.network + reserved, count: ipv4Last(cidr) - cidr.network + 1 - 2 * reserved };
}

/**
 * The addresses of a node's blocks and who has them. In memory only: callers persist ownership and claim it back
 * after a restart, before anything is allocated. Not for several threads; every call is atomic within one.
 */
export class AddressPool {
  readonly #blocks: readonly Block[];
  readonly #capacity: number;
  readonly #random: () => number;
  readonly #owners = new Map<number, AddressOwner>();

  /**
   * @param cidrs blocks in canonical text, without overlaps
   * @param options.random numbers in [0, 1), for tests
   */
  constructor(cidrs: readonly string[], options: { random?: () => number } = {}) {
    this.#blocks = cidrs.map(blockOf);
    for (const [index, block] of this.#blocks.entries()) {
      const other = this.#blocks.slice(0, index).find(earlier => ipv4Overlaps(earlier.cidr, block.cidr));
      if (other === undefined) continue;
      throw new FimbriaError({
        code: 'INVALID',
        op: 'create',
        object: 'address pool',
        why: `${formatIpv4Cidr(block.cidr)} overlaps ${formatIpv4Cidr(other.cidr)}`,
      });
    }
    this.#capacity = this.#blocks.reduce((sum, block) => sum + block.count, 0);
    this.#random = options.random ?? Math.random;
  }

  /** The blocks, canonical, in the order given. */
  get cidrs(): string[] {
    return this.#blocks.map(block => formatIpv4Cidr(block.cidr));
  }

  /**
   * Takes a free address: from a random place onward, so that an address just released is rarely the next one given.
   * Throws RANGE_FULL, whose `why` is exactly `range is full`.
   */
  allocate(owner: AddressOwner): string {
    const start = Math.floor(this.#random() * this.#capacity);
    for (let step = 0; step < this.#capacity && this.#owners.size < this.#capacity; step++) {
      const address = this.#at((start + step) % this.#capacity);
      if (this.#owners.has(address)) continue;
      this.#owners.set(address, owner);
      return formatIpv4(address);
    }
    throw new FimbriaError({
      code: 'RANGE_FULL',
      op: 'allocate',
      object: `address for ${ownerText(owner)}`,
      why: 'range is full',
    });
  }

  /**
   * Takes this very address. Taking what the same owner already has is fine.
   * Throws IN_USE when somebody else has it, NOT_IN_RANGE when it is no allocatable address of the blocks.
   */
  claim(address: string, owner: AddressOwner): void {
    const value = parseIpv4(address);
    const holder = this.#owners.get(value);
    if (holder !== undefined && ownerKey(holder) !== ownerKey(owner)) {
      throw new FimbriaError({
        code: 'IN_USE',
        op: 'claim',
        object: `address ${address} for ${ownerText(owner)}`,
        why: `IP ${address} is already in use by ${ownerText(holder)}`,
      });
    }
    if (!this.#allocatable(value)) {
      throw new FimbriaError({
        code: 'NOT_IN_RANGE',
        op: 'claim',
        object: `address ${address} for ${ownerText(owner)}`,
        why: `provided IP is not in the valid range. The range of valid IPs is ${this.cidrs.join(', ') || 'empty'}`,
      });
    }
    this.#owners.set(value, owner);
  }

  /** Gives an address back. False, and nothing changes, when this owner does not have it. */
  release(address: string, owner: AddressOwner): boolean {
    const value = parseIpv4(address);
    const holder = this.#owners.get(value);
    if (holder === undefined || ownerKey(holder) !== ownerKey(owner)) return false;
    return this.#owners.delete(value);
  }

  ownerOf(address: string): AddressOwner | undefined {
    return this.#owners.get(parseIpv4(address));
  }

  /** Everything in use, by ascending address. */
  allocations(): Allocation[] {
    return [...this.#owners]
      .map(([address, owner]) => ({ address: formatIpv4(address), owner }))
      .sort((a, b) => compareAddresses(a.address, b.address));
  }

  usage(): PoolUsage {
    return { used: this.#owners.size, capacity: this.#capacity };
  }

  #at(index: number): number {
    let rest = index;
    for (const block of this.#blocks) {
      if (rest < block.count) return block.first + rest;
      rest -= block.count;
    }
    throw new RangeError(`index ${index} is outside a pool of ${this.#capacity}`);
  }

  #allocatable(address: number): boolean {
    return this.#blocks.some(
      ({ cidr, first, count }) => ipv4Contains(cidr, address) && address >= first && address < first + count,
    );
  }
}
