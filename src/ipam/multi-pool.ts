import { BlockRange } from './block-range.ts';
import { byAge, parkedPools } from './pool-overlap.ts';
import { covers, FAMILIES, type Family, type Prefix, tryParsePrefix, usableAddresses } from './prefix.ts';
import type { PoolBlock } from './types.ts';

/** How many blocks one decision adds to a node for one pool at most; what is missing follows with the next one. */
const MOST_AT_ONCE = 1024;

/** A CiliumPodIPPool as the decision sees it. */
export interface PoolSpec {
  readonly name: string;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly ipv4?: { readonly cidrs: readonly string[]; readonly maskSize: number };
  readonly ipv6?: { readonly cidrs: readonly string[]; readonly maskSize: number };
  /** Why nothing may be given from it now, in words for people; empty when it will be in a moment. */
  readonly closed?: string;
}

/** A CiliumNode as the decision sees it. */
export interface NodeDemand {
  readonly name: string;
  /** RFC 3339; the older node is served first, and is right when two hold the same block. */
  readonly createdAt: string;
  readonly allocated: readonly PoolBlock[];
  readonly requested: readonly { readonly pool: string; readonly ipv4: number; readonly ipv6: number }[];
  /** Blocks that were written for it but are not seen on it yet. */
  readonly promised: readonly PoolBlock[];
}

/** What shall be written for one node. */
export interface NodeDecision {
  /** To be added to `allocated`, never to be taken away by others than the node itself. */
  readonly add: readonly PoolBlock[];
  /** What is wrong, in words for people; the whole of `status.ipam.operator-status.error`. */
  readonly error?: string;
}

interface Held extends PoolBlock {
  /** Undefined where somebody wrote what is no range. */
  readonly prefix: Prefix | undefined;
}

interface NodeEntry {
  readonly demand: NodeDemand;
  /** Each once: what it shows, what was promised to it, and what was decided since. */
  readonly held: Held[];
}

interface PoolEntry {
  spec: PoolSpec;
  parked: string | undefined;
  ranges: Record<Family, BlockRange[]>;
}

/**
 * Who holds which block, and what each node shall get: the state behind the operator's decision, kept up to date
 * change by change so that one more node costs no look at all the others. It is a pure function of what it was told:
 * told the same pools and nodes in any order, it says the same of blocks that are free. Never gives a block that
 * anybody holds or was promised a part of, whatever pool that was from. Not shared; no input or output.
 */
export class PoolPlan {
  readonly #pools = new Map<string, PoolEntry>();
  readonly #nodes = new Map<string, NodeEntry>();
  readonly #dirty = new Set<string>();
  /** Nodes that did not get what they need: looked at again when anything comes free. */
  readonly #starving = new Set<string>();

  /** The pools as they are now. What did not change costs nothing. */
  setPools(specs: readonly PoolSpec[]): void {
    const parked = parkedPools(
      specs.map(spec => ({
        name: spec.name,
        createdAt: spec.createdAt,
        cidrs: [...(spec.ipv4?.cidrs ?? []), ...(spec.ipv6?.cidrs ?? [])],
      })),
    );
    const names = new Set(specs.map(spec => spec.name));
    let changed = false;
    for (const name of [...this.#pools.keys()]) {
      if (names.has(name)) continue;
      this.#pools.delete(name);
      changed = true;
    }
    for (const spec of specs) {
      const before = this.#pools.get(spec.name);
      const why = parked.get(spec.name);
      if (before && before.parked === why && JSON.stringify(before.spec) === JSON.stringify(spec)) continue;
      changed = true;
      const sameRanges =
        before !== undefined &&
        JSON.stringify([before.spec.ipv4, before.spec.ipv6]) === JSON.stringify([spec.ipv4, spec.ipv6]);
      const ranges = sameRanges ? before.ranges : this.#rangesOf(spec);
      this.#pools.set(spec.name, { spec, parked: why, ranges });
    }
    // Rare, and it may mean anything to anybody.
    if (changed) for (const name of this.#nodes.keys()) this.#dirty.add(name);
  }

  /** A node as it is now; replaces what was known of it. */
  setNode(demand: NodeDemand): void {
    const before = this.#nodes.get(demand.name);
    const key = ({ pool, cidr }: PoolBlock): string => `${pool} ${cidr}`;
    const held = unique([...demand.allocated, ...demand.promised], key).map(({ pool, cidr }) => ({
      pool,
      cidr,
      prefix: tryParsePrefix(cidr),
    }));
    this.#dirty.add(demand.name);
    const now = new Set(held.map(key));
    const then = new Set(before?.held.map(key));
    for (const block of before?.held ?? []) if (!now.has(key(block))) this.#free(block, demand.name);
    for (const block of held) if (!then.has(key(block))) this.#take(block, demand.name);
    this.#nodes.set(demand.name, { demand, held });
  }

  /** A node is gone, and what it held is free. */
  removeNode(name: string): void {
    const entry = this.#nodes.get(name);
    for (const block of entry?.held ?? []) this.#free(block, name);
    this.#nodes.delete(name);
    this.#dirty.delete(name);
    this.#starving.delete(name);
  }

  hasNode(name: string): boolean {
    return this.#nodes.has(name);
  }

  /** Nodes to decide about since the last call, the oldest first. */
  takeDirty(): string[] {
    const nodes = [...this.#dirty].flatMap(name => this.#nodes.get(name)?.demand ?? []).sort(byAge);
    this.#dirty.clear();
    return nodes.map(node => node.name);
  }

  /** To be looked at again, such as after a failed write. */
  touch(name: string): void {
    if (this.#nodes.has(name)) this.#dirty.add(name);
  }

  /** What a node shall get. What it adds counts as promised to the node from now on, until `setNode` says otherwise. */
  decide(name: string): NodeDecision {
    const entry = this.#nodes.get(name);
    if (entry === undefined) return { add: [] };
    const add: PoolBlock[] = [];
    const errors: string[] = this.#conflicts(entry);
    const requests = [...entry.demand.requested].sort((a, b) => (a.pool < b.pool ? -1 : 1));
    for (const request of requests) {
      for (const family of FAMILIES) {
        const error = this.#serve(entry, request.pool, family, request[family], add);
        if (error !== undefined) errors.push(error);
      }
    }
    if (errors.length > 0) this.#starving.add(name);
    else this.#starving.delete(name);
    return { add, ...(errors.length === 0 ? {} : { error: errors.join('; ') }) };
  }

  /** Nodes that hold blocks of a pool, with how many, sorted. */
  holders(pool: string): { node: string; blocks: number }[] {
    return [...this.#nodes.values()]
      .map(({ demand, held }) => ({ node: demand.name, blocks: held.filter(b => b.pool === pool).length }))
      .filter(({ blocks }) => blocks > 0)
      .sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  /** Blocks that are free, by pool and family; pools that give nothing are left out. */
  freeBlocks(): { pool: string; family: Family; free: number; maskSize: number }[] {
    return [...this.#pools.values()]
      .filter(({ spec, parked }) => parked === undefined && spec.closed === undefined)
      .flatMap(({ spec, ranges }) =>
        FAMILIES.filter(family => ranges[family].length > 0).map(family => ({
          pool: spec.name,
          family,
          free: ranges[family].reduce((sum, range) => sum + range.freeCount, 0),
          maskSize: ranges[family][0]!.maskSize,
        })),
      )
      .sort((a, b) => (a.pool < b.pool ? -1 : a.pool > b.pool ? 1 : 0));
  }

  /** Adds blocks until there is enough; returns what is wrong when there is not. */
  #serve(
    entry: NodeEntry,
    pool: string,
    family: Family,
    needed: number,
    add: PoolBlock[],
  ): string | undefined {
    if (needed <= 0) return undefined;
    const node = entry.demand.name;
    const known = this.#pools.get(pool);
    const ranges = known?.ranges[family] ?? [];
    let usable = entry.held
      .filter(block => block.pool === pool && inside(block.prefix, ranges))
      .reduce((sum, block) => sum + usableAddresses(block.prefix!), 0);
    if (usable >= needed) return undefined;
    const say = (why: string, hint: string): string =>
      `pool ${pool}: node ${node} needs ${needed} ${family} addresses and has ${usable}: ${why}; ${hint}`;
    if (known === undefined) {
      return say(
        'cannot allocate from non-existing pool',
        `create CiliumPodIPPool ${pool}, or do not name it in annotations`,
      );
    }
    const closed = known.parked ?? known.spec.closed;
    if (closed === '') return undefined;
    if (closed !== undefined) return say(closed, 'use another pool meanwhile');
    if (ranges.length === 0) {
      return say(`the pool has no ${family} ranges`, `add spec.${family} to CiliumPodIPPool ${pool}`);
    }
    for (let count = 0; usable < needed && count < MOST_AT_ONCE; count++) {
      const block = firstFree(ranges);
      if (block === undefined) return say(this.#exhausted(ranges), this.#elsewhere(pool, family));
      const held = { pool, cidr: block.text, prefix: block };
      this.#take(held, node);
      entry.held.push(held);
      add.push({ pool, cidr: block.text });
      usable += usableAddresses(block);
    }
    return undefined;
  }

  #exhausted(ranges: readonly BlockRange[]): string {
    const blocks = ranges.reduce((sum, range) => sum + range.count, 0);
    const texts = ranges.map(({ range }) => range.text).join(', ');
    return `all ${blocks} blocks of /${ranges[0]!.maskSize} in ${texts} are in use`;
  }

  #elsewhere(pool: string, family: Family): string {
    const others = this.freeBlocks().filter(other => other.family === family && other.free > 0);
    const free = others.map(other => `${other.free} of /${other.maskSize} in pool ${other.pool}`);
    return (
      `free elsewhere: ${free.length === 0 ? 'nothing' : free.join(', ')}; ` +
      `append a range to spec.${family}.cidrs of CiliumPodIPPool ${pool}, or delete pods that use it`
    );
  }

  /** What a node holds that an older one holds as well, or that is no range. */
  #conflicts({ demand, held }: NodeEntry): string[] {
    return held.flatMap(({ cidr, pool, prefix }) => {
      if (prefix === undefined) {
        return [
          `pool ${pool}: node ${demand.name} has "${cidr}", which is no range; remove it from spec.ipam.pools.allocated`,
        ];
      }
      const older = this.#holdersOf(prefix)
        .filter(name => name !== demand.name)
        .flatMap(name => this.#nodes.get(name)?.demand ?? [])
        .filter(other => byAge(other, demand) < 0)
        .at(0);
      if (older === undefined) return [];
      return [
        `pool ${pool}: ${cidr} of node ${demand.name} is in use on node ${older.name}, too; ` +
          `drain node ${demand.name} and delete its CiliumNode, so that it gets other blocks`,
      ];
    });
  }

  #holdersOf(prefix: Prefix): string[] {
    return [...this.#pools.values()].flatMap(({ ranges }) =>
      ranges[prefix.family].flatMap(range => range.holders(prefix)),
    );
  }

  /** Ranges of a pool with everything marked that anybody holds a part of. */
  #rangesOf(spec: PoolSpec): Record<Family, BlockRange[]> {
    const ranges = { ipv4: [] as BlockRange[], ipv6: [] as BlockRange[] };
    for (const family of FAMILIES) {
      for (const cidr of spec[family]?.cidrs ?? []) {
        const range = tryParsePrefix(cidr);
        if (range?.family === family) ranges[family].push(new BlockRange(range, spec[family]!.maskSize));
      }
      for (const { demand, held } of this.#nodes.values())
        for (const { prefix } of held)
          if (prefix?.family === family) for (const range of ranges[family]) range.take(prefix, demand.name);
    }
    return ranges;
  }

  #take({ prefix }: Held, node: string): void {
    if (prefix === undefined) return;
    for (const { ranges } of this.#pools.values())
      for (const range of ranges[prefix.family])
        for (const other of range.take(prefix, node)) this.#dirty.add(other);
  }

  #free({ prefix }: Held, node: string): void {
    if (prefix === undefined) return;
    for (const { ranges } of this.#pools.values())
      for (const range of ranges[prefix.family]) range.free(prefix, node);
    for (const name of this.#starving) this.#dirty.add(name);
  }
}

function unique<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map(item => [key(item), item])).values()];
}

function inside(prefix: Prefix | undefined, ranges: readonly BlockRange[]): boolean {
  return prefix !== undefined && ranges.some(({ range }) => covers(range, prefix));
}

function firstFree(ranges: readonly BlockRange[]): Prefix | undefined {
  for (const range of ranges) {
    const block = range.firstFree();
    if (block !== undefined) return block;
  }
  return undefined;
}

/**
 * What every node shall get, from all pools and nodes at once. Pure: the same input in any order, the same decisions.
 */
export function decidePools(
  pools: readonly PoolSpec[],
  nodes: readonly NodeDemand[],
): Map<string, NodeDecision> {
  const plan = new PoolPlan();
  plan.setPools(pools);
  for (const node of [...nodes].sort(byAge)) plan.setNode(node);
  return new Map(plan.takeDirty().map(name => [name, plan.decide(name)]));
}

/**
 * `spec.ipam.pools.allocated` with blocks added, as Cilium prints it: pools by name, ranges of each sorted as texts. Pure.
 */
export function withBlocks(
  allocated: readonly { readonly pool: string; readonly cidrs?: readonly string[] }[],
  add: readonly PoolBlock[],
): { pool: string; cidrs: string[] }[] {
  return groupBlocks([...flatBlocks(allocated), ...add]);
}

/** Blocks one by one. Pure. */
export function flatBlocks(
  allocated: readonly { readonly pool: string; readonly cidrs?: readonly string[] }[] = [],
): PoolBlock[] {
  return allocated.flatMap(({ pool, cidrs = [] }) => cidrs.map(cidr => ({ pool, cidr })));
}

/** Blocks by pool, in Cilium's order. Pure. */
export function groupBlocks(blocks: readonly PoolBlock[]): { pool: string; cidrs: string[] }[] {
  const pools = new Map<string, Set<string>>();
  for (const { pool, cidr } of blocks) pools.set(pool, (pools.get(pool) ?? new Set()).add(cidr));
  return [...pools]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([pool, cidrs]) => ({ pool, cidrs: [...cidrs].sort() }));
}
