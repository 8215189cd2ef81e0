import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from '../../base/addr.ts';
import { FimbriaError, messageOf } from '../../base/errors.ts';
import type { LabelSelector } from '../../model/meta.ts';
import type { CiliumLoadBalancerIPPool } from '../../model/types.ts';
import { byAge } from '../pool-overlap.ts';
import { type Family, parsePrefix } from '../prefix.ts';

/** Addresses that may be given, both ends included. Immutable. */
export interface AddressRange {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

/** A CiliumLoadBalancerIPPool as far as giving addresses is concerned. Immutable. */
export interface LbPool {
  readonly name: string;
  readonly createdAt: string;
  readonly ranges: readonly AddressRange[];
  /** Absent: every Service. */
  readonly selector: LabelSelector | undefined;
  readonly disabled: boolean;
  /** What cannot be read of it, in words for people; such a pool gives nothing. */
  readonly fault?: string;
}

/** The number of an address and its family. @throws FimbriaError INVALID_ADDRESS */
export function parseAddress(text: string): { family: Family; value: bigint } {
  return text.includes(':')
    ? { family: 'ipv6', value: parseIpv6(text) }
    : { family: 'ipv4', value: BigInt(parseIpv4(text)) };
}

export function formatAddress(family: Family, value: bigint): string {
  return family === 'ipv4' ? formatIpv4(Number(value)) : formatIpv6(value);
}

export function rangeSize({ first, last }: AddressRange): bigint {
  return last - first + 1n;
}

export function rangeHolds(range: AddressRange, family: Family, value: bigint): boolean {
  return range.family === family && range.first <= value && value <= range.last;
}

/** Whether an address is one of the pool's. */
export function poolHolds(pool: LbPool, family: Family, value: bigint): boolean {
  return pool.ranges.some(range => rangeHolds(range, family, value));
}

/**
 * Reads a pool. `cidrs` is the name that `blocks` had before Cilium 1.16, and pools that use it keep the rule of that
 * time: the first and the last address of a CIDR are given only where the pool says so (`allowFirstLastIPs: Yes`);
 * `blocks` give them unless it says No. CIDRs of one or two addresses have no such ends.
 */
export function readLbPool({ metadata, spec }: CiliumLoadBalancerIPPool): LbPool {
  const pool = {
    name: metadata.name,
    createdAt: metadata.creationTimestamp ?? '',
    selector: spec.serviceSelector,
    disabled: spec.disabled === true,
  };
  try {
    const ends = spec.allowFirstLastIPs;
    const ranges = [
      ...(spec.blocks ?? []).map(block => readBlock(block, ends !== 'No')),
      ...(spec.cidrs ?? []).map(block => readBlock(block, ends === 'Yes')),
    ];
    return { ...pool, ranges };
  } catch (error) {
    return { ...pool, ranges: [], fault: messageOf(error) };
  }
}

type Block = { cidr?: string; start?: string; stop?: string };

function readBlock({ cidr, start, stop }: Block, withEnds: boolean): AddressRange {
  if (cidr !== undefined) {
    const { family, first, last } = parsePrefix(cidr);
    return withEnds || last - first < 2n
      ? { family, first, last }
      : { family, first: first + 1n, last: last - 1n };
  }
  const from = parseAddress(start ?? '');
  const to = stop === undefined ? from : parseAddress(stop);
  if (from.family !== to.family || from.value > to.value)
    throw new FimbriaError({
      code: 'INVALID_ADDRESS',
      op: 'read',
      object: `block ${start} to ${stop}`,
      why: 'it ends before it starts',
    });
  return { family: from.family, first: from.value, last: to.value };
}

/**
 * Pools that give nothing new because one of their ranges overlaps an older pool's, or another of their own, with the
 * reason in words for people. A pool that is parked itself parks nobody. Pure.
 */
export function conflictingLbPools(pools: readonly LbPool[]): Map<string, string> {
  const parked = new Map<string, string>();
  const standing: { range: AddressRange; pool: string }[] = [];
  for (const pool of [...pools].sort(byAge)) {
    const own: typeof standing = [];
    let clash: string | undefined;
    for (const range of pool.ranges) {
      const other = [...standing, ...own].find(({ range: one }) => overlap(one, range));
      if (other !== undefined) clash ??= `${text(range)} overlaps ${text(other.range)} of pool ${other.pool}`;
      own.push({ range, pool: pool.name });
    }
    if (clash === undefined) standing.push(...own);
    else parked.set(pool.name, `${clash}; nothing new is given from this pool until one of both is changed`);
  }
  return parked;
}

function overlap(a: AddressRange, b: AddressRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

function text({ family, first, last }: AddressRange): string {
  return first === last
    ? formatAddress(family, first)
    : `${formatAddress(family, first)}-${formatAddress(family, last)}`;
}
