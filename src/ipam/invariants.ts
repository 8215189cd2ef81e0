import { formatIpv4, parseIpv4 } from '../base/addr.ts';
import { comparePrefixes, holdsAddress, overlaps, type Prefix, tryParsePrefix } from './prefix.ts';
import type { PoolBlock } from './types.ts';

/*
 * What must hold of blocks and addresses at every moment, whoever crashed and whichever message is late. Stated here
 * once; the property tests and the audit of the running agent check these very lines.
 *
 *  1. No address lies in the blocks of two nodes, and in two blocks of one node never.
 *  2. An address in use lies in a block of its node, and of the pool that it was given from.
 *  3. It is neither the first nor the last of a block that has more than two.
 *  4. No address has two owners, on one node or on two.
 */

/** One address in use. */
export interface UsedAddress {
  readonly address: string;
  /** Tells owners apart, and is readable. */
  readonly owner: string;
  /** The pool that it was given from, where that is known. */
  readonly pool?: string;
}

/** What one node has. */
export interface NodeAddresses {
  readonly name: string;
  readonly blocks: readonly PoolBlock[];
  readonly addresses: readonly UsedAddress[];
}

interface ParsedBlock {
  readonly prefix: Prefix;
  readonly pool: string;
  readonly node: string;
}

/** Everything that does not hold, one line each, sorted. Pure. O(n log n) in blocks and addresses. */
export function ipamViolations(nodes: readonly NodeAddresses[]): string[] {
  const blocks = nodes.flatMap(node =>
    node.blocks.flatMap(({ pool, cidr }): ParsedBlock[] => {
      const prefix = tryParsePrefix(cidr);
      return prefix === undefined ? [] : [{ prefix, pool, node: node.name }];
    }),
  );
  return [...doubledBlocks(blocks), ...nodes.flatMap(misplaced), ...doubledAddresses(nodes)].sort();
}

function doubledBlocks(blocks: readonly ParsedBlock[]): string[] {
  const sorted = [...blocks].sort((a, b) => comparePrefixes(a.prefix, b.prefix));
  const found: string[] = [];
  /** Blocks that the current one may lie in. */
  let open: ParsedBlock[] = [];
  for (const block of sorted) {
    open = open.filter(outer => overlaps(outer.prefix, block.prefix));
    for (const outer of open) {
      found.push(
        `block ${block.prefix.text} of node ${block.node} overlaps ${outer.prefix.text} of node ${outer.node}`,
      );
    }
    open.push(block);
  }
  return found;
}

function misplaced(node: NodeAddresses): string[] {
  const blocks = node.blocks.flatMap(({ pool, cidr }) => {
    const prefix = tryParsePrefix(cidr);
    return prefix === undefined ? [] : [{ prefix, pool }];
  });
  return node.addresses.flatMap(({ address, owner, pool }) => {
    const home = blocks.find(block => holdsAddress(block.prefix, address));
    const what = `address ${address} of ${owner} on node ${node.name}`;
    if (home === undefined) return [`${what} lies in no block of the node`];
    if (pool !== undefined && pool !== home.pool)
      return [`${what} is of pool ${pool}, its block of pool ${home.pool}`];
    return isReserved(home.prefix, address) ? [`${what} is the first or last of ${home.prefix.text}`] : [];
  });
}

function isReserved({ family, first, last }: Prefix, address: string): boolean {
  if (family !== 'ipv4' || last - first < 2n) return false;
  const value = BigInt(parseIpv4(address));
  return value === first || value === last;
}

function doubledAddresses(nodes: readonly NodeAddresses[]): string[] {
  const owners = new Map<string, string>();
  const found: string[] = [];
  for (const node of nodes) {
    for (const { address, owner } of node.addresses) {
      const key = address.includes(':') ? address : formatIpv4(parseIpv4(address));
      const who = `${owner} on node ${node.name}`;
      const before = owners.get(key);
      if (before !== undefined && before !== who)
        found.push(`address ${key} has two owners: ${before}, ${who}`);
      owners.set(key, who);
    }
  }
  return found;
}
