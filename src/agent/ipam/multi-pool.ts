import { codeOf, FimbriaError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient } from '../../cluster/types.ts';
import { type PoolState, requestedPools, surplusBlocks } from '../../ipam/demand.ts';
import { flatBlocks, groupBlocks } from '../../ipam/multi-pool.ts';
import type { PendingRequests } from '../../ipam/pending.ts';
import type { AddressPools } from '../../ipam/pools.ts';
import { covers, holdsAddress, overlaps, type Prefix, tryParsePrefix } from '../../ipam/prefix.ts';
import type { PoolBlock } from '../../ipam/types.ts';
import type { CiliumNode } from '../../model/types.ts';

const BLOCKS = 'ipam/blocks';
const RELEASING = 'ipam/releasing';
/** How often a pass is made again at once when somebody else wrote in between. */
const CONFLICTS = 5;

/** What outlives the process; the agent's journal. */
export interface BlockStore {
  get<T>(key: string): T | undefined;
  put(key: string, value: unknown): void;
  delete(key: string): boolean;
}

/** Blocks that are being given back: written on top of this version, or not at all. */
interface Releasing {
  readonly base: string;
  readonly blocks: readonly PoolBlock[];
}

export interface MultiPoolOptions {
  client: Pick<ClusterClient, 'patch'>;
  nodeName: string;
  nodeIpv4: string;
  store: BlockStore;
  pools: AddressPools;
  pending: PendingRequests;
  /** Addresses to have ready, by pool. */
  preAllocation: Readonly<Record<string, number>>;
  /** Ranges that a pool has now; undefined while that is not known or there is no such pool. */
  rangesOf(pool: string): readonly string[] | undefined;
  /** This node's CiliumNode, made (with these blocks) when there is none. */
  publish(ipam: NonNullable<CiliumNode['spec']['ipam']>): Promise<CiliumNode>;
  /** The own blocks changed: routes and the like shall follow. Awaited before addresses of new ones are given. */
  onBlocks(): Promise<void>;
  updateRateMs: number;
  log: Logger;
  /** Milliseconds of a monotonic clock, for tests. */
  now?: () => number;
}

/** The blocks that a node holds by its journal: those that it was giving back are not among them. */
export function storedBlocks(store: Pick<BlockStore, 'get'>): PoolBlock[] {
  const gone = new Set(store.get<Releasing>(RELEASING)?.blocks.map(keyOf));
  return (store.get<PoolBlock[]>(BLOCKS) ?? []).filter(block => !gone.has(keyOf(block)));
}

/**
 * This node's side of multi-pool IPAM: takes over blocks that the operator gave, says what is needed, and gives back
 * what is not. A block is in the journal before an address of it is given, and out of it before the cluster is told
 * that it is free; so neither a crash nor a late message makes two nodes use it. Passes must not overlap.
 */
export class MultiPool {
  readonly #options: MultiPoolOptions;
  readonly #now: () => number;
  #lastWriteMs: number | undefined;
  /** Blocks whose routes are being made. */
  #arriving: PoolBlock[] = [];
  #problems: string[] = [];
  #states: PoolState[] = [];
  /** Restore has finished and the cluster's view is whole: what seems unused is. */
  settled = false;

  constructor(options: MultiPoolOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** What this node holds, blocks whose routes are being made among it. */
  get blocks(): PoolBlock[] {
    return [...this.#options.pools.blocks(), ...this.#arriving];
  }

  /** Blocks that cannot be used, and why; by the last pass. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Use and need by pool, by the last pass. */
  get states(): readonly PoolState[] {
    return this.#states;
  }

  /**
   * One pass. Returns in how many milliseconds the next one is worth while, when something is to be written that
   * nobody waits for. @throws FimbriaError of the API server
   */
  async pass(): Promise<number | undefined> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt();
      } catch (error) {
        const again = codeOf(error) === 'CONFLICT' || codeOf(error) === 'NOT_FOUND';
        if (!again || attempt >= CONFLICTS) throw error;
      }
    }
  }

  /** Marks the blocks that their pool has no more: what lives in them stays, they give nothing new. */
  closeOutdated(): void {
    const { pools, rangesOf } = this.#options;
    for (const { pool, cidr } of pools.blocks()) {
      const ranges = rangesOf(pool)?.flatMap(text => tryParsePrefix(text) ?? []);
      const block = tryParsePrefix(cidr)!;
      pools.setClosed(pool, cidr, ranges !== undefined && !ranges.some(range => covers(range, block)));
    }
  }

  async #attempt(): Promise<number | undefined> {
    const { store, pools, publish } = this.#options;
    const node = await publish(this.#creation());
    const version = node.metadata.resourceVersion!;
    let releasing = store.get<Releasing>(RELEASING);
    if (releasing !== undefined && releasing.base !== version) {
      // Seen at another version, the write is either in it or can never arrive any more.
      store.delete(RELEASING);
      releasing = undefined;
    }
    const shown = flatBlocks(node.spec.ipam?.pools?.allocated);
    await this.#adopt(shown, releasing);
    const restored = this.#missing(shown);
    this.closeOutdated();
    this.#states = this.#demand();
    const requested = requestedPools(this.#states);
    const surplus = this.settled && releasing === undefined ? this.#surplus() : [];
    const sameRequest = JSON.stringify(requested) === JSON.stringify(node.spec.ipam?.pools?.requested ?? []);
    const rewrite = surplus.length > 0 || restored.length > 0 || releasing !== undefined;
    if (sameRequest && !rewrite) return undefined;

    const urgent = restored.length > 0 || releasing !== undefined || this.#somebodyWaits(node);
    const waitMs =
      this.#lastWriteMs === undefined ? 0 : this.#lastWriteMs + this.#options.updateRateMs - this.#now();
    if (!urgent && waitMs > 0) return waitMs;
    if (surplus.length > 0) {
      releasing = { base: version, blocks: surplus };
      store.put(RELEASING, releasing);
      for (const { pool, cidr } of surplus) pools.removeBlock(pool, cidr);
      this.#persist();
      await this.#options.onBlocks();
    }
    await this.#write(node, requested, rewrite ? { shown, restored, releasing } : undefined);
    return undefined;
  }

  async #write(
    node: CiliumNode,
    requested: ReturnType<typeof requestedPools>,
    change: { shown: PoolBlock[]; restored: PoolBlock[]; releasing: Releasing | undefined } | undefined,
  ): Promise<void> {
    const { client, nodeName, store, log } = this.#options;
    const gone = new Set(change?.releasing?.blocks.map(keyOf));
    const patch =
      change === undefined
        ? { spec: { ipam: { pools: { requested } } } }
        : {
            metadata: { resourceVersion: node.metadata.resourceVersion },
            spec: {
              ipam: {
                pools: {
                  requested,
                  allocated: groupBlocks([
                    ...change.shown.filter(block => !gone.has(keyOf(block))),
                    ...change.restored,
                  ]),
                },
              },
            },
          };
    await client.patch<CiliumNode>('CiliumNode', nodeName, patch);
    this.#lastWriteMs = this.#now();
    store.delete(RELEASING);
    if (gone.size > 0) log.info('gave blocks back', { blocks: [...gone].join(' ') });
  }

  /** Takes over what is new. */
  async #adopt(shown: readonly PoolBlock[], releasing: Releasing | undefined): Promise<void> {
    const { pools, nodeIpv4, log } = this.#options;
    const known = new Set([...pools.blocks(), ...(releasing?.blocks ?? [])].map(keyOf));
    const problems: string[] = [];
    const held: { prefix: Prefix; pool: string }[] = pools
      .blocks()
      .map(({ pool, cidr }) => ({ pool, prefix: tryParsePrefix(cidr)! }));
    const fresh: PoolBlock[] = [];
    for (const block of shown) {
      const prefix = tryParsePrefix(block.cidr);
      // Pods have no IPv6 here: such a block is left alone.
      if (known.has(keyOf(block)) || prefix?.family === 'ipv6') continue;
      const other = prefix && held.find(one => overlaps(one.prefix, prefix));
      const why =
        prefix === undefined
          ? 'it is no range'
          : holdsAddress(prefix, nodeIpv4)
            ? `this node's own address ${nodeIpv4} lies in it`
            : other && `it overlaps ${other.prefix.text} of pool ${other.pool}, which this node has`;
      if (why === undefined) {
        fresh.push({ pool: block.pool, cidr: prefix!.text });
        held.push({ pool: block.pool, prefix: prefix! });
      } else problems.push(`block ${block.cidr} of pool ${block.pool} cannot be used: ${why}`);
    }
    for (const problem of problems) if (!this.#problems.includes(problem)) log.warn(problem);
    this.#problems = problems;
    if (fresh.length === 0) return;
    this.#arriving = fresh;
    try {
      this.#persist();
      await this.#options.onBlocks();
      this.#arriving = [];
      for (const { pool, cidr } of fresh) pools.addBlock(pool, cidr);
    } finally {
      this.#arriving = [];
    }
    log.info('got blocks', { blocks: fresh.map(keyOf).join(' ') });
  }

  /** Own blocks that the cluster does not show: those in use are to be written back, the others are forgotten. */
  #missing(shown: readonly PoolBlock[]): PoolBlock[] {
    const { pools, log } = this.#options;
    const listed = new Set(shown.map(keyOf));
    const restored: PoolBlock[] = [];
    for (const block of pools.blocks()) {
      if (listed.has(keyOf(block))) continue;
      if (pools.removeBlock(block.pool, block.cidr))
        log.warn('somebody took an empty block away', { block: keyOf(block) });
      else restored.push(block);
    }
    if (restored.length > 0)
      log.warn('writing back blocks in use that somebody took away', {
        blocks: restored.map(keyOf).join(' '),
      });
    this.#persist();
    return restored;
  }

  #demand(): PoolState[] {
    const { pools, pending, preAllocation } = this.#options;
    return pools.states([...pending.pools(), ...Object.keys(preAllocation)], {
      pending: pool => pending.count(pool),
      preAllocation: pool => preAllocation[pool] ?? 0,
    });
  }

  #surplus(): PoolBlock[] {
    return this.#states.flatMap(state => surplusBlocks(state).map(cidr => ({ pool: state.pool, cidr })));
  }

  /** Whether a pool that somebody waits for needs more than the cluster was told. */
  #somebodyWaits(node: CiliumNode): boolean {
    const told = new Map(
      (node.spec.ipam?.pools?.requested ?? []).map(({ pool, needed }) => [pool, needed?.['ipv4-addrs'] ?? 0]),
    );
    return requestedPools(this.#states).some(
      ({ pool, needed }) =>
        this.#options.pending.count(pool) > 0 && needed['ipv4-addrs'] > (told.get(pool) ?? 0),
    );
  }

  #creation(): NonNullable<CiliumNode['spec']['ipam']> {
    const allocated = groupBlocks(this.#options.pools.blocks());
    return {
      pools: { requested: requestedPools(this.#demand()), ...(allocated.length > 0 ? { allocated } : {}) },
    };
  }

  #persist(): void {
    this.#options.store.put(BLOCKS, this.blocks);
  }
}

function keyOf({ pool, cidr }: PoolBlock): string {
  return `${pool}=${cidr}`;
}

/** The error of an address that cannot be had from a pool, in the words of Cilium. */
export function poolNotAvailable(pool: string, owner: string): FimbriaError {
  return new FimbriaError({
    code: 'POOL_NOT_AVAILABLE',
    op: 'allocate',
    object: `address for ${owner}`,
    why: `unable to allocate from pool ${JSON.stringify(pool)} (family ipv4): pool not (yet) available`,
  });
}
