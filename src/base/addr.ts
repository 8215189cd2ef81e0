import { FimbriaError } from './errors.ts';

/*
 * IPv4 and IPv6 addresses and prefixes.
 *
 * An IPv4 address is an unsigned number (0..2³²-1), an IPv6 address a bigint; every text that leaves this
 * file is canonical. Parsing is strict: no leading zeros, no blanks, no short forms (`10.1`), no zone.
 * Everything is pure.
 */

const V4_BITS = 32;
const V6_BITS = 128;
const V4_MAX = 0xffffffff;

function invalid(what: string, text: string, why: string, hint?: string): FimbriaError {
  return new FimbriaError({
    code: 'INVALID_ADDRESS',
    op: 'parse',
    object: `${what} "${text}"`,
    why,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Decimal number of a run of digits without leading zero, at most `max`; -1 when it is none. */
function decimal(text: string, max: number): number {
  if (text.length === 0 || text.length > 3) return -1;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return (text.length > 1 && text.charCodeAt(0) === 48) || value > max ? -1 : value;
}

function tryIpv4(text: string): number | undefined {
  const octets = text.split('.');
  if (octets.length !== 4) return undefined;
  let value = 0;
  for (const octet of octets) {
    const number = decimal(octet, 255);
    if (number < 0) return undefined;
    value = value * 256 + number;
  }
  return value;
}

/** The address as an unsigned number, host order. Throws INVALID_ADDRESS. */
export function parseIpv4(text: string): number {
  const value = tryIpv4(text);
  if (value === undefined) throw invalid('IPv4 address', text, 'not four numbers of 0 to 255 joined by dots');
  return value;
}

export function isIpv4(text: string): boolean {
  return tryIpv4(text) !== undefined;
}

/** Dotted text of an unsigned 32-bit number. */
export function formatIpv4(value: number): string {
  return `${(value >>> 24) & 255}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** The four bytes in network order. */
export function ipv4Bytes(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

/** An IPv4 prefix. `network` has no host bits set. */
export interface Ipv4Cidr {
  /** First address, unsigned. */
  readonly network: number;
  /** 0 to 32. */
  readonly prefixLength: number;
}

/** Unsigned netmask of a prefix length (0..32). */
export function ipv4Mask(prefixLength: number): number {
  return prefixLength === 0 ? 0 : (V4_MAX << (V4_BITS - prefixLength)) >>> 0;
}

/** How many addresses a prefix length spans: 2^(32-n), exact up to /0. */
export function ipv4Size(prefixLength: number): number {
  return 2 ** (V4_BITS - prefixLength);
}

function splitCidr(what: string, text: string, bits: number): [string, number] {
  const slash = text.indexOf('/');
  if (slash < 0)
    throw invalid(what, text, 'the prefix length is missing', `write ${text}/${bits} for one address`);
  const prefixLength = decimal(text.slice(slash + 1), bits);
  if (prefixLength < 0) throw invalid(what, text, `the prefix length is not a number of 0 to ${bits}`);
  return [text.slice(0, slash), prefixLength];
}

/**
 * Parses `10.0.0.0/8`. Host bits are refused unless `options.hostBits` says to clear them.
 * Throws INVALID_ADDRESS.
 */
export function parseIpv4Cidr(text: string, options: { hostBits?: 'refuse' | 'clear' } = {}): Ipv4Cidr {
  const [addressText, prefixLength] = splitCidr('IPv4 range', text, V4_BITS);
  const address = tryIpv4(addressText);
  if (address === undefined) throw invalid('IPv4 range', text, 'the address is not four numbers of 0 to 255');
  const network = (address & ipv4Mask(prefixLength)) >>> 0;
  if (network !== address && options.hostBits !== 'clear') {
    const canonical = formatIpv4Cidr({ network, prefixLength });
    throw invalid('IPv4 range', text, 'bits behind the prefix are set', `write ${canonical}`);
  }
  return { network, prefixLength };
}

export function formatIpv4Cidr(cidr: Ipv4Cidr): string {
  return `${formatIpv4(cidr.network)}/${cidr.prefixLength}`;
}

/** The range of `prefixLength` that holds `address`. */
export function ipv4CidrOf(address: number, prefixLength: number): Ipv4Cidr {
  return { network: (address & ipv4Mask(prefixLength)) >>> 0, prefixLength };
}

/** Last address of the range: the broadcast address where there is one. */
export function ipv4Last(cidr: Ipv4Cidr): number {
  return cidr.network + ipv4Size(cidr.prefixLength) - 1;
}

export function ipv4Contains(cidr: Ipv4Cidr, address: number): boolean {
  return (address & ipv4Mask(cidr.prefixLength)) >>> 0 === cidr.network;
}

/** Whether `inner` lies wholly inside `outer` (or equals it). */
export function ipv4Covers(outer: Ipv4Cidr, inner: Ipv4Cidr): boolean {
  return inner.prefixLength >= outer.prefixLength && ipv4Contains(outer, inner.network);
}

/** Whether two ranges share an address. Prefixes do so only when one covers the other. */
export function ipv4Overlaps(a: Ipv4Cidr, b: Ipv4Cidr): boolean {
  return ipv4Covers(a, b) || ipv4Covers(b, a);
}

/** Orders by first address, then the wider range first. */
export function compareIpv4Cidr(a: Ipv4Cidr, b: Ipv4Cidr): number {
  return a.network - b.network || a.prefixLength - b.prefixLength;
}

/** Every address of the range in order, network and broadcast included. */
export function* ipv4Addresses(cidr: Ipv4Cidr): Generator<number> {
  for (let address = cidr.network, last = ipv4Last(cidr); address <= last; address++) yield address;
}

/** How many blocks of `prefixLength` the range holds; 0 when the block is wider than the range. */
export function ipv4SubnetCount(cidr: Ipv4Cidr, prefixLength: number): number {
  return prefixLength < cidr.prefixLength ? 0 : 2 ** (prefixLength - cidr.prefixLength);
}

/** The blocks of `prefixLength` in the range, in order. */
export function* ipv4Subnets(cidr: Ipv4Cidr, prefixLength: number): Generator<Ipv4Cidr> {
  const step = ipv4Size(prefixLength);
  const count = ipv4SubnetCount(cidr, prefixLength);
  for (let index = 0; index < count; index++) yield { network: cidr.network + index * step, prefixLength };
}

/* IPv6 */

function tryIpv6(text: string): bigint | undefined {
  if (text.length < 2 || text.length > 45) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string): number[] | undefined => {
    if (half === '') return [];
    const result: number[] = [];
    const parts = half.split(':');
    for (const [index, part] of parts.entries()) {
      if (part.includes('.')) {
        const v4 = index === parts.length - 1 ? tryIpv4(part) : undefined;
        if (v4 === undefined) return undefined;
        result.push(v4 >>> 16, v4 & 0xffff);
      } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
        result.push(Number.parseInt(part, 16));
      } else {
        return undefined;
      }
    }
    return result;
  };
  // An embedded IPv4 address is allowed at the very end only, never before the gap.
  if (halves.length === 2 && halves[0]!.includes('.')) return undefined;
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of [...head, ...new Array<number>(missing).fill(0), ...tail]) {
    value = (value << 16n) | BigInt(group);
  }
  return value;
}

/** The address as a 128-bit number. Throws INVALID_ADDRESS. */
export function parseIpv6(text: string): bigint {
  const value = tryIpv6(text);
  if (value === undefined) throw invalid('IPv6 address', text, 'not an IPv6 address');
  return value;
}

export function isIpv6(text: string): boolean {
  return tryIpv6(text) !== undefined;
}

/** Canonical text (RFC 5952): lower case, the longest run of two or more zero groups as `::`, the first of equals. */
export function formatIpv6(value: bigint): string {
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: number[]): string => part.map(group => group.toString(16)).join(':');
  // Addresses that only carry an IPv4 one are written with it.
  if (value >> 32n === 0xffffn) return `::ffff:${formatIpv4(Number(value & 0xffffffffn))}`;
  if (best.start < 0) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}

/** The sixteen bytes in network order. */
export function ipv6Bytes(value: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let index = 15, rest = value; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 255n);
  return bytes;
}

/** The number of sixteen bytes in network order. */
export function ipv6FromBytes(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let index = 0; index < 16; index++) value = (value << 8n) | BigInt(bytes[index]!);
  return value;
}

/** An IPv6 prefix. `network` has no host bits set. */
export interface Ipv6Cidr {
  readonly network: bigint;
  /** 0 to 128. */
  readonly prefixLength: number;
}

function ipv6Mask(prefixLength: number): bigint {
  return ((1n << BigInt(prefixLength)) - 1n) << BigInt(V6_BITS - prefixLength);
}

/** Parses `fd00::/8`. Host bits are refused unless `options.hostBits` says to clear them. Throws INVALID_ADDRESS. */
export function parseIpv6Cidr(text: string, options: { hostBits?: 'refuse' | 'clear' } = {}): Ipv6Cidr {
  const [addressText, prefixLength] = splitCidr('IPv6 range', text, V6_BITS);
  const address = tryIpv6(addressText);
  if (address === undefined) throw invalid('IPv6 range', text, 'the address is not an IPv6 address');
  const network = address & ipv6Mask(prefixLength);
  if (network !== address && options.hostBits !== 'clear') {
    const canonical = formatIpv6Cidr({ network, prefixLength });
    throw invalid('IPv6 range', text, 'bits behind the prefix are set', `write ${canonical}`);
  }
  return { network, prefixLength };
}

export function formatIpv6Cidr(cidr: Ipv6Cidr): string {
  return `${formatIpv6(cidr.network)}/${cidr.prefixLength}`;
}

/** Last address of the range. */
export function ipv6Last(cidr: Ipv6Cidr): bigint {
  return cidr.network + (1n << BigInt(V6_BITS - cidr.prefixLength)) - 1n;
}

export function ipv6Contains(cidr: Ipv6Cidr, address: bigint): boolean {
  return (address & ipv6Mask(cidr.prefixLength)) === cidr.network;
}

/** Whether two ranges share an address. */
export function ipv6Overlaps(a: Ipv6Cidr, b: Ipv6Cidr): boolean {
  const wider = a.prefixLength <= b.prefixLength ? a : b;
  return ipv6Contains(wider, wider === a ? b.network : a.network);
}

/** The blocks of `prefixLength` in the range, in order; lazily, since there may be very many. */
export function* ipv6Subnets(cidr: Ipv6Cidr, prefixLength: number): Generator<Ipv6Cidr> {
  if (prefixLength < cidr.prefixLength) return;
  const step = 1n << BigInt(V6_BITS - prefixLength);
  for (let network = cidr.network, last = ipv6Last(cidr); network <= last; network += step) {
    yield { network, prefixLength };
  }
}

/* Either family */

/** 4, 6, or undefined when the text is no address. */
export function addressFamily(text: string): 4 | 6 | undefined {
  if (isIpv4(text)) return 4;
  return isIpv6(text) ? 6 : undefined;
}

/** Orders address texts: IPv4 before IPv6, by number within a family. Throws INVALID_ADDRESS. */
export function compareAddresses(a: string, b: string): number {
  const [v4a, v4b] = [tryIpv4(a), tryIpv4(b)];
  if (v4a !== undefined && v4b !== undefined) return v4a - v4b;
  if (v4a !== undefined || v4b !== undefined) return v4a !== undefined ? -1 : 1;
  const [v6a, v6b] = [parseIpv6(a), parseIpv6(b)];
  return v6a < v6b ? -1 : v6a > v6b ? 1 : 0;
}

/** Whether a range text holds an address text. Families that differ never do. Throws INVALID_ADDRESS. */
export function cidrContains(cidr: string, address: string): boolean {
  if (cidr.includes(':')) return isIpv6(address) && ipv6Contains(parseIpv6Cidr(cidr), parseIpv6(address));
  return isIpv4(address) && ipv4Contains(parseIpv4Cidr(cidr), parseIpv4(address));
}
