import { overlaps, type Prefix, tryParsePrefix } from './prefix.ts';

/** A pool as far as overlaps are concerned. */
export interface PoolRanges {
  readonly name: string;
  /** RFC 3339; the older pool is right. */
  readonly createdAt: string;
  readonly cidrs: readonly string[];
}

/** Orders pools and nodes by age, then by name. */
export function byAge(
  a: { readonly createdAt: string; readonly name: string },
  b: { readonly createdAt: string; readonly name: string },
): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/**
 * Pools that give nothing because one of their ranges overlaps an older pool's, with the reason in words for people.
 * A pool that is parked itself parks nobody. Pure.
 */
export function parkedPools(pools: readonly PoolRanges[]): Map<string, string> {
  const parked = new Map<string, string>();
  const standing: { range: Prefix; pool: string }[] = [];
  for (const pool of [...pools].sort(byAge)) {
    const ranges = pool.cidrs.flatMap(text => tryParsePrefix(text) ?? []);
    const clash = ranges
      .flatMap(range =>
        standing.filter(other => overlaps(other.range, range)).map(other => ({ range, other })),
      )
      .at(0);
    if (clash === undefined) for (const range of ranges) standing.push({ range, pool: pool.name });
    else
      parked.set(
        pool.name,
        `${clash.range.text} overlaps ${clash.other.range.text} of pool ${clash.other.pool}, which is older; ` +
          'nothing is given from this pool until one of both is deleted',
      );
  }
  return parked;
}
