import type { CiliumEndpoint, CiliumNode } from '../model/types.ts';
import { BlockRange } from './block-range.ts';
import { type BlockFill, blockFills, clusterAddresses } from './cluster.ts';
import { covers, FAMILIES, tryParsePrefix } from './prefix.ts';

/** The ranges of one pool, as far as the overview needs them. */
export interface OverviewPool {
  readonly name: string;
  readonly ipv4?: { readonly cidrs: readonly string[]; readonly maskSize: number };
  readonly ipv6?: { readonly cidrs: readonly string[]; readonly maskSize: number };
  /** Why it gives nothing now. */
  readonly note?: string;
}

/** One range family of a pool: what nodes hold of it, and how much of that is in use. */
export interface PoolFill {
  readonly pool: string;
  readonly cidrs: readonly string[];
  readonly maskSize: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  /** Addresses in use, and those that can be given out of the blocks that nodes hold. */
  readonly used: number;
  readonly usable: number;
  readonly note?: string;
}

/** Everything that `fimbria ipam` shows. */
export interface IpamOverview {
  readonly mode: 'cluster-pool' | 'multi-pool' | 'kubernetes';
  readonly pools: readonly PoolFill[];
  readonly blocks: readonly BlockFill[];
  /** What the operator says of nodes, by name. */
  readonly errors: readonly { readonly node: string; readonly error: string }[];
}

/** Pools, blocks per node and how full they are, by what the cluster shows. Pure. */
export function ipamOverview(
  mode: IpamOverview['mode'],
  pools: readonly OverviewPool[],
  nodes: readonly CiliumNode[],
  endpoints: readonly CiliumEndpoint[],
): IpamOverview {
  const blocks = blockFills(clusterAddresses(nodes, endpoints, mode === 'multi-pool'));
  const fills = [...pools]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(pool => FAMILIES.flatMap(family => poolFill(pool, pool[family], blocks)));
  return {
    mode,
    pools: fills,
    blocks,
    errors: nodes
      .flatMap(node => {
        const error = node.status?.ipam?.['operator-status']?.error;
        return error ? [{ node: node.metadata.name, error }] : [];
      })
      .sort((a, b) => (a.node < b.node ? -1 : 1)),
  };
}

function poolFill(
  pool: OverviewPool,
  family: OverviewPool['ipv4'],
  blocks: readonly BlockFill[],
): PoolFill[] {
  if (family === undefined) return [];
  const ranges = family.cidrs.flatMap(text => {
    const range = tryParsePrefix(text);
    return range ? [new BlockRange(range, family.maskSize)] : [];
  });
  let [used, usable] = [0, 0];
  for (const fill of blocks) {
    const prefix = tryParsePrefix(fill.cidr);
    if (prefix === undefined) continue;
    for (const range of ranges) range.take(prefix, fill.node);
    if (fill.pool !== pool.name || !ranges.some(({ range }) => covers(range, prefix))) continue;
    used += fill.used;
    usable += fill.usable;
  }
  return [
    {
      pool: pool.name,
      cidrs: family.cidrs,
      maskSize: family.maskSize,
      blocks: ranges.reduce((sum, range) => sum + range.count, 0),
      freeBlocks: ranges.reduce((sum, range) => sum + range.freeCount, 0),
      used,
      usable,
      ...(pool.note ? { note: pool.note } : {}),
    },
  ];
}
