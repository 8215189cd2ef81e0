import {
  formatIpv4,
  formatIpv6,
  ipv4Last,
  ipv6Last,
  parseIpv4,
  parseIpv4Cidr,
  parseIpv6,
  parseIpv6Cidr,
} from '../base/addr.ts';

/** The two families of addresses, as CiliumPodIPPool names them. */
export type Family = 'ipv4' | 'ipv6';

export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

const BITS = { ipv4: 32, ipv6: 128 } as const;

/** A range or block of either family; `first` and `last` are addresses as numbers. Immutable. */
export interface Prefix {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
  readonly prefixLength: number;
  /** Canonical text. */
  readonly text: string;
}

/** Parses a range of either family. @throws FimbriaError INVALID_ADDRESS */
export function parsePrefix(text: string): Prefix {
  if (text.includes(':')) {
    const cidr = parseIpv6Cidr(text);
    return prefixAt('ipv6', cidr.network, ipv6Last(cidr), cidr.prefixLength);
  }
  const cidr = parseIpv4Cidr(text);
  return prefixAt('ipv4', BigInt(cidr.network), BigInt(ipv4Last(cidr)), cidr.prefixLength);
}

/** Parses a range that somebody else wrote; undefined when it is none. */
export function tryParsePrefix(text: string): Prefix | undefined {
  try {
    return parsePrefix(text);
  } catch {
    return undefined;
  }
}

function prefixAt(family: Family, first: bigint, last: bigint, prefixLength: number): Prefix {
  const address = family === 'ipv4' ? formatIpv4(Number(first)) : formatIpv6(first);
  return { family, first, last, prefixLength, text: `${address}/${prefixLength}` };
}

/** How many addresses a block of `maskSize` has. */
export function blockSize(family: Family, maskSize: number): bigint {
  return 1n << BigInt(BITS[family] - maskSize);
}

/** The block of `maskSize` that begins at `first`. */
export function blockAt(family: Family, first: bigint, maskSize: number): Prefix {
  return prefixAt(family, first, first + blockSize(family, maskSize) - 1n, maskSize);
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** Whether `inner` lies wholly inside `outer`. */
export function covers(outer: Prefix, inner: Prefix): boolean {
  return outer.family === inner.family && outer.first <= inner.first && inner.last <= outer.last;
}

/** Whether an address text lies in the range. @throws FimbriaError INVALID_ADDRESS */
export function holdsAddress(range: Prefix, address: string): boolean {
  const value = address.includes(':') ? parseIpv6(address) : BigInt(parseIpv4(address));
  return address.includes(':') === (range.family === 'ipv6') && range.first <= value && value <= range.last;
}

/**
 * How many addresses of a block can be given out: without the first and the last, unless it has no more than two
 * (/31, /32, /127, /128).
 */
export function usableAddresses(block: Prefix): number {
  const size = Number(block.last - block.first) + 1;
  return size <= 2 ? size : size - 2;
}

/** Orders by family, then by address, the wider range first. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) return a.family === 'ipv4' ? -1 : 1;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  return a.prefixLength - b.prefixLength;
}
