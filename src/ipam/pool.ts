import {
  compareIpv4Cidr,
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
import { FreeSlots } from './free-slots.ts';
import { ownerKey, ownerText } from './owner.ts';
import type { AddressOwner, Allocation, PoolUsage } from './types.ts';

interface Block {
  readonly cidr: Ipv4Cidr;
  readonly text: string;
  /** First allocatable address. */
  readonly first: number;
  /** By distance from `first`. */
  readonly slots: FreeSlots;
  /** Gives nothing new. */
  closed: boolean;
}

/** The widest block that a node may have. */
const WIDEST = 8;

/** First and last address stay free, so that the block also works as a subnet; /31 and /32 have none to spare. */
function blockOf(text: string): Block {
  const cidr = parseIpv4Cidr(text);
  if (cidr.prefixLength < WIDEST) {
    throw new FimbriaError({
      code: 'INVALID',
      op: 'use',
      object: `block ${text}`,
      why: 'it is too wide for one node',
      hint: `use a mask of ${WIDEST} or more`,
    });
  }
  const reserved = cidr.prefixLength >= 31 ? 0 : 1;
  const slots = new FreeSlots(ipv4Last(cidr) - cidr.network + 1 - 2 * reserved);
  return { cidr, text: formatIpv4Cidr(cidr), first: cidr.network + reserved, slots, closed: false };
}

/**
 * The addresses of a node's blocks and who has them. In memory only: callers persist ownership and claim it back
 * after a restart, before anything is allocated. Not for several threads; every call is atomic within one.
 */
export class AddressPool {
  /** In the order in which they are filled: by address. */
  #blocks: Block[] = [];
  readonly #random: () => number;
  readonly #owners = new Map<number, AddressOwner>();

  /**
   * @param cidrs blocks in canonical text, without overlaps
   * @param options.random numbers in [0, 1), for tests
   */
  constructor(cidrs: readonly string[], options: { random?: () => number } = {}) {
    this.#random = options.random ?? Math.random;
    for (const cidr of cidrs) this.addBlock(cidr);
  }

  /** The blocks, canonical, by address. */
  get cidrs(): string[] {
    return this.#blocks.map(block => block.text);
  }

  /** Blocks and how full each is, by address. */
  get blocks(): { cidr: string; used: number; usable: number; closed: boolean }[] {
    return this.#blocks.map(({ text, slots, closed }) => ({
      cidr: text,
      used: slots.taken,
      usable: slots.size,
      closed,
    }));
  }

  /** From now on its addresses are given, too. @throws FimbriaError INVALID when it overlaps another block */
  addBlock(cidr: string): void {
    const block = blockOf(cidr);
    const other = this.#blocks.find(present => ipv4Overlaps(present.cidr, block.cidr));
    if (other !== undefined) {
      throw new FimbriaError({
        code: 'INVALID',
        op: 'add',
        object: `block ${block.text} to address pool`,
        why: `${block.text} overlaps ${other.text}`,
      });
    }
    this.#blocks = [...this.#blocks, block].sort((a, b) => compareIpv4Cidr(a.cidr, b.cidr));
  }

  /** Takes an empty block away; false, and nothing changes, when it is not there or in use. */
  removeBlock(cidr: string): boolean {
    const block = this.#blocks.find(present => present.text === cidr);
    if (block === undefined || block.slots.taken > 0) return false;
    this.#blocks = this.#blocks.filter(present => present !== block);
    return true;
  }

  /** A closed block keeps what lives in it and gives nothing new. */
  setClosed(cidr: string, closed: boolean): void {
    const block = this.#blocks.find(present => present.text === cidr);
    if (block !== undefined) block.closed = closed;
  }

  /**
   * Takes a free address of the first block that has one: from a random place onward, so that an address just released
   * is rarely the next one given. Throws RANGE_FULL, whose `why` is exactly `range is full`.
   */
  allocate(owner: AddressOwner): string {
    for (const { first, slots, closed } of this.#blocks) {
      if (closed || slots.taken === slots.size) continue;
      const slot = slots.takeFrom(Math.floor(this.#random() * slots.size));
      this.#owners.set(first + slot, owner);
      return formatIpv4(first + slot);
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
    const block = this.#blockOf(value);
    if (block === undefined) {
      throw new FimbriaError({
        code: 'NOT_IN_RANGE',
        op: 'claim',
        object: `address ${address} for ${ownerText(owner)}`,
        why: `provided IP is not in the valid range. The range of valid IPs is ${this.cidrs.join(', ') || 'empty'}`,
      });
    }
    block.slots.take(value - block.first);
    this.#owners.set(value, owner);
  }

  /** Gives an address back. False, and nothing changes, when this owner does not have it. */
  release(address: string, owner: AddressOwner): boolean {
    const value = parseIpv4(address);
    const holder = this.#owners.get(value);
    if (holder === undefined || ownerKey(holder) !== ownerKey(owner)) return false;
    const block = this.#blockOf(value);
    block?.slots.free(value - block.first);
    return this.#owners.delete(value);
  }

  /** Whether an address lies in one of the blocks, reserved ones included. @throws FimbriaError INVALID_ADDRESS */
  covers(address: string): boolean {
    const value = parseIpv4(address);
    return this.#blocks.some(({ cidr }) => ipv4Contains(cidr, value));
  }

  ownerOf(address: string): AddressOwner | undefined {
    return this.#owners.get(parseIpv4(address));
  }

  /** Everything in use, by ascending address. */
  allocations(): Allocation[] {
    return [...this.#owners]
      .sort(([a], [b]) => a - b)
      .map(([address, owner]) => ({ address: formatIpv4(address), owner }));
  }

  usage(): PoolUsage {
    return {
      used: this.#owners.size,
      capacity: this.#blocks.reduce((sum, { slots }) => sum + slots.size, 0),
    };
  }

  #blockOf(address: number): Block | undefined {
    return this.#blocks.find(
      ({ cidr, first, slots }) =>
        ipv4Contains(cidr, address) && address >= first && address < first + slots.size,
    );
  }
}
