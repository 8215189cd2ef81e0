import type { IpamOverview } from '../../ipam/overview.ts';
import { table } from './tabwriter.ts';

const BAR_CELLS = 20;

/** A bar of `part` out of `whole`: `######..............`. Anything in use shows, and only what is full is full. Pure. */
export function bar(part: number, whole: number, cells: number = BAR_CELLS): string {
  const share = whole <= 0 ? 0 : Math.min(1, part / whole);
  const full = share === 1 ? cells : Math.min(cells - 1, Math.ceil(share * cells));
  return '#'.repeat(full) + '.'.repeat(cells - full);
}

/** What `ipam` prints: pools, then blocks per node with their fill, then what the operator says. Pure. */
export function formatIpam(overview: IpamOverview): string {
  const noted = overview.pools.some(pool => pool.note !== undefined);
  const pools = overview.pools.map(pool => [
    pool.pool,
    pool.cidrs.join(','),
    `/${pool.maskSize}`,
    `${pool.blocks - pool.freeBlocks}/${pool.blocks}`,
    `${pool.used}/${pool.usable}`,
    bar(pool.used, pool.usable),
    ...(noted ? [pool.note ?? '-'] : []),
  ]);
  const blocks = overview.blocks.map(block => [
    block.node,
    block.pool,
    block.cidr,
    `${block.used}/${block.usable}`,
    bar(block.used, block.usable),
  ]);
  const errors = overview.errors.map(({ node, error }) => `${node}: ${error}\n`);
  return [
    `IPAM mode: ${overview.mode}\n\n`,
    table([
      ['POOL', 'RANGES', 'MASK', 'BLOCKS', 'ADDRESSES', 'IN USE', ...(noted ? ['NOTE'] : [])],
      ...pools,
    ]),
    '\n',
    table([['NODE', 'POOL', 'BLOCK', 'ADDRESSES', 'IN USE'], ...blocks]),
    ...(errors.length > 0 ? ['\n', ...errors] : []),
  ].join('');
}
