import {
  compareIpv4Cidr,
  formatIpv4Cidr,
  type Ipv4Cidr,
  ipv4Contains,
  ipv4Overlaps,
  ipv4Size,
  ipv4SubnetCount,
  parseIpv4Cidr,
} from '../base/addr.ts';

/** What the cluster has to give: ranges in the order of use, and the size of a node's block. */
export interface ClusterPool {
  readonly cidrs: readonly string[];
  readonly maskSize: number;
}

/** One node as the cluster shows it. */
export interface NodeBlocks {
  readonly name: string;
  /** RFC 3339; the older node is served first, and is right when two claim the same block. */
  readonly createdAt: string;
  readonly podCidrs: readonly string[];
  /** It shall get one more block although it has some, since they are full. */
  readonly wantsMore?: boolean;
  /** Block that was written for this node but is not seen on it yet: it keeps it, nobody else gets it. */
  readonly promised?: string;
}

/** What the operator shall write. */
export interface BlockDecision {
  /** Blocks for nodes that have none, in the order in which they shall be written. */
  readonly assign: readonly { readonly node: string; readonly cidr: string }[];
  /** What is wrong with a node, in words for people. Nodes that are not in it have no error. */
  readonly errors: ReadonlyMap<string, string>;
}

/** Which blocks of one range are taken, by index, and the first that may be free. */
class RangeBlocks {
  readonly range: Ipv4Cidr;
  readonly count: number;
  readonly #maskSize: number;
  readonly #taken = new Set<number>();
  #next = 0;

  constructor(range: Ipv4Cidr, maskSize: number) {
    this.range = range;
    this.#maskSize = maskSize;
    this.count = ipv4SubnetCount(range, maskSize);
  }

  /** Marks every block that shares an address with `cidr`; blocks of another size count too. */
  take(cidr: Ipv4Cidr): void {
    if (!ipv4Overlaps(this.range, cidr)) return;
    const size = ipv4Size(this.#maskSize);
    const first = Math.max(0, Math.floor((cidr.network - this.range.network) / size));
    const last = Math.floor((cidr.network + ipv4Size(cidr.prefixLength) - 1 - this.range.network) / size);
    for (let index = first; index <= Math.min(last, this.count - 1); index++) this.#taken.add(index);
  }

  takeFirstFree(): Ipv4Cidr | undefined {
    while (this.#next < this.count && this.#taken.has(this.#next)) this.#next++;
    if (this.#next >= this.count) return undefined;
    this.#taken.add(this.#next);
    return {
      network: this.range.network + this.#next * ipv4Size(this.#maskSize),
      prefixLength: this.#maskSize,
    };
  }
}

function older(a: NodeBlocks, b: NodeBlocks): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/**
 * Decides which block each node gets: the first free one of the first range that is not full. Pure and derived from
 * what the cluster shows alone, so it can be repeated after a crash at any point. A node that has a block keeps it
 * for ever, also when the ranges no longer hold it. No block that any node has, or was promised, is given out.
 */
export function decideBlocks(pool: ClusterPool, nodes: readonly NodeBlocks[]): BlockDecision {
  const ranges = pool.cidrs.map(text => new RangeBlocks(parseIpv4Cidr(text), pool.maskSize));
  const errors = new Map<string, string>();
  const held: { cidr: Ipv4Cidr; node: string }[] = [];
  const inOrder = [...nodes].sort(older);

  for (const node of inOrder) {
    for (const text of node.podCidrs) {
      const cidr = tryParse(text);
      if (cidr === undefined) {
        errors.set(
          node.name,
          `node ${node.name} has pod CIDR "${text}", which is not an IPv4 range; remove it from spec.ipam.podCIDRs of its CiliumNode`,
        );
        continue;
      }
      held.push({ cidr, node: node.name });
      for (const range of ranges) range.take(cidr);
    }
  }
  for (const [node, text] of findConflicts(held, inOrder)) errors.set(node, text);

  const waiting = inOrder.filter(node => node.podCidrs.length === 0 || node.wantsMore === true);
  // Promises first: a promise whose block somebody else has meanwhile is void, its node gets another block.
  const promises = new Map<string, string>();
  for (const node of waiting) {
    const cidr = node.promised === undefined ? undefined : tryParse(node.promised);
    if (cidr === undefined || held.some(other => ipv4Overlaps(other.cidr, cidr))) continue;
    promises.set(node.name, formatIpv4Cidr(cidr));
    held.push({ cidr, node: node.name });
    for (const range of ranges) range.take(cidr);
  }
  const assign: { node: string; cidr: string }[] = [];
  for (const node of waiting) {
    const promised = promises.get(node.name);
    const block = promised === undefined ? firstFree(ranges) : undefined;
    const cidr = promised ?? (block === undefined ? undefined : formatIpv4Cidr(block));
    if (cidr === undefined) errors.set(node.name, exhausted(pool, node, ranges));
    else assign.push({ node: node.name, cidr });
  }
  return { assign, errors };
}

function firstFree(ranges: readonly RangeBlocks[]): Ipv4Cidr | undefined {
  for (const range of ranges) {
    const block = range.takeFirstFree();
    if (block !== undefined) return block;
  }
  return undefined;
}

function exhausted(pool: ClusterPool, node: NodeBlocks, ranges: readonly RangeBlocks[]): string {
  const blocks = ranges.reduce((sum, range) => sum + range.count, 0);
  return (
    `no ${node.wantsMore ? 'second ' : ''}pod CIDR for node ${node.name}: all ${blocks} blocks of /${pool.maskSize} in ${pool.cidrs.join(', ')} are in use; ` +
    'append a range to ipam.operator.clusterPoolIPv4PodCIDRList, or remove nodes that are gone'
  );
}

function tryParse(text: string): Ipv4Cidr | undefined {
  try {
    return parseIpv4Cidr(text);
  } catch {
    return undefined;
  }
}

/** Nodes whose block overlaps that of an older node, with what to do. A sweep over the sorted blocks. */
function findConflicts(
  held: readonly { cidr: Ipv4Cidr; node: string }[],
  inOrder: readonly NodeBlocks[],
): Map<string, string> {
  const age = new Map(inOrder.map((node, index) => [node.name, index]));
  const conflicts = new Map<string, string>();
  const sorted = [...held].sort((a, b) => compareIpv4Cidr(a.cidr, b.cidr));
  /** Ranges that the current one may lie in, widest first. */
  const open: { cidr: Ipv4Cidr; node: string }[] = [];
  for (const block of sorted) {
    while (open.length > 0 && !ipv4Contains(open.at(-1)!.cidr, block.cidr.network)) open.pop();
    for (const outer of open) {
      if (outer.node === block.node) continue;
      const [right, wrong] = age.get(outer.node)! < age.get(block.node)! ? [outer, block] : [block, outer];
      conflicts.set(
        wrong.node,
        `pod CIDR ${formatIpv4Cidr(wrong.cidr)} of node ${wrong.node} overlaps ${formatIpv4Cidr(right.cidr)} of node ${right.node}; ` +
          `drain node ${wrong.node} and delete its CiliumNode, so that it gets another block`,
      );
    }
    open.push(block);
  }
  return conflicts;
}
