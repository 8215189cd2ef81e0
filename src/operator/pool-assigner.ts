import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/types.ts';
import { flatBlocks, type NodeDemand, PoolPlan, type PoolSpec, withBlocks } from '../ipam/multi-pool.ts';
import type { PoolBlock } from '../ipam/types.ts';
import type { CiliumNode, CiliumPodIPPool } from '../model/types.ts';
import { type NodeErrorOptions, shownError, writeNodeError } from './node-error.ts';

/** A CiliumNode that somebody deleted by mistake is made anew by its agent; nobody gets its blocks before. */
const GONE_GRACE_MS = 30_000;
/** Writes under way at once. */
const PARALLEL = 16;

/** The finalizer that keeps a pool while nodes hold its blocks. Nothing is given from a pool without it. */
export const POOL_FINALIZER = 'ipam.cilium.io/blocks-in-use';

/** Blocks that were written, or may have been, on top of one version of a CiliumNode. */
interface Pledge {
  readonly base: string | undefined;
  readonly blocks: readonly PoolBlock[];
  /** Whether the server said that it is written. */
  readonly confirmed: boolean;
}

export interface PoolAssignerOptions {
  client: Pick<ClusterClient, 'get' | 'patch'>;
  events?: NodeErrorOptions['events'];
  log: Logger;
  /** Aborted when this process may no longer write. */
  signal: AbortSignal;
  /** How long the blocks of a node that is gone are kept. */
  goneGraceMs?: number;
  /** Milliseconds of a monotonic clock, for tests. */
  now?: () => number;
}

/**
 * Gives nodes blocks of pools by what they request, and keeps `status.ipam.operator-status.error` true. It adds
 * blocks and never takes one away; a node that gives one back frees it. Every write names the version that it was
 * decided on: as soon as a node is seen at another version, a write whose answer was lost is either seen or void.
 * All nodes and pools must have been told before the first pass. Passes must not overlap.
 */
export class PoolAssigner {
  readonly plan = new PoolPlan();
  readonly #options: PoolAssignerOptions;
  readonly #now: () => number;
  readonly #graceMs: number;
  readonly #nodes = new Map<string, CiliumNode>();
  /** By uid of the CiliumNode. */
  readonly #pledges = new Map<string, Pledge>();
  /** Errors as last written, by uid: the watch may be behind. */
  readonly #told = new Map<string, string>();
  /** Names of CiliumNodes that are gone, and until when their blocks are kept. */
  readonly #gone = new Map<string, number>();

  constructor(options: PoolAssignerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#graceMs = options.goneGraceMs ?? GONE_GRACE_MS;
  }

  poolsSeen(pools: readonly CiliumPodIPPool[]): void {
    this.plan.setPools(pools.map(poolSpec));
  }

  nodeSeen(node: CiliumNode): void {
    const { name, uid = '', resourceVersion } = node.metadata;
    const before = this.#nodes.get(name)?.metadata.uid;
    if (before !== undefined && before !== uid) this.#forget(before);
    this.#gone.delete(name);
    this.#nodes.set(name, node);
    const pledge = this.#pledges.get(uid);
    if (pledge !== undefined && pledge.base !== resourceVersion) this.#pledges.delete(uid);
    this.#told.delete(uid);
    this.plan.setNode(demandOf(node, this.#pledges.get(uid)?.blocks ?? []));
  }

  nodeGone(node: CiliumNode): void {
    const { name, uid = '' } = node.metadata;
    const known = this.#nodes.get(name);
    if (known === undefined || known.metadata.uid !== uid) return;
    this.#nodes.delete(name);
    // What was promised may have been read by its agent.
    const promised = this.#pledges.get(uid)?.blocks ?? [];
    this.#forget(uid);
    this.#gone.set(name, this.#now() + this.#graceMs);
    this.plan.setNode({ ...demandOf(known, promised), requested: [] });
  }

  /** Milliseconds until blocks of a node that is gone come free; undefined when none is kept. */
  get nextDueMs(): number | undefined {
    const due = Math.min(...this.#gone.values());
    return Number.isFinite(due) ? Math.max(0, due - this.#now()) : undefined;
  }

  /** One pass over what changed. Tries every write; throws the first error of those that must be tried again. */
  async pass(): Promise<void> {
    const failures: unknown[] = [];
    for (const [name, due] of [...this.#gone])
      if (due <= this.#now()) await this.#freeGone(name).catch(error => failures.push(error));
    const work = this.plan.takeDirty().flatMap(name => {
      const node = this.#nodes.get(name);
      return node === undefined ? [] : [{ node, decision: this.plan.decide(name) }];
    });
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let item = work[next++]; item !== undefined; item = work[next++]) {
        const { node, decision } = item;
        try {
          await this.#give(node, decision.add);
          await this.#tell(node, decision.error);
        } catch (error) {
          failures.push(error);
          this.plan.touch(node.metadata.name);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, work.length) }, worker));
    if (failures.length > 0) throw failures[0];
  }

  /** The watch may be behind: the server is asked once more before anything comes free. */
  async #freeGone(name: string): Promise<void> {
    const isBack = await this.#options.client.get('CiliumNode', name).then(
      () => true,
      error => {
        if (codeOf(error) === 'NOT_FOUND') return false;
        throw error;
      },
    );
    if (!this.#gone.has(name)) return;
    if (isBack) this.#gone.set(name, this.#now() + this.#graceMs);
    else {
      this.#gone.delete(name);
      this.plan.removeNode(name);
    }
  }

  #forget(uid: string): void {
    this.#pledges.delete(uid);
    this.#told.delete(uid);
  }

  async #give(node: CiliumNode, add: readonly PoolBlock[]): Promise<void> {
    const { client, log, signal } = this.#options;
    const { name, uid = '', resourceVersion } = node.metadata;
    // It changed since the decision; the change asks for another.
    if (this.#nodes.get(name) !== node) return;
    const pledge = this.#pledges.get(uid);
    const blocks = [...(pledge?.blocks ?? []), ...add];
    if (blocks.length === 0 || node.metadata.deletionTimestamp !== undefined || signal.aborted) return;
    if (add.length === 0 && pledge?.confirmed) return;
    // A second write on the same version could not succeed any more; what is missing follows when the first is seen.
    if (pledge?.confirmed) {
      this.plan.setNode(demandOf(node, pledge.blocks));
      return;
    }
    this.#pledges.set(uid, { base: resourceVersion, blocks, confirmed: false });
    try {
      await client.patch<CiliumNode>('CiliumNode', name, {
        metadata: { resourceVersion },
        spec: { ipam: { pools: { allocated: withBlocks(node.spec?.ipam?.pools?.allocated ?? [], blocks) } } },
      });
      if (this.#pledges.get(uid)?.base === resourceVersion)
        this.#pledges.set(uid, { base: resourceVersion, blocks, confirmed: true });
      log.info('gave blocks', { node: name, blocks: blocks.map(b => `${b.pool}=${b.cidr}`).join(' ') });
    } catch (error) {
      const code = codeOf(error);
      if (code !== 'CONFLICT' && code !== 'NOT_FOUND') throw error;
      // Either an earlier try arrived or the node changed under us: what it is now is on its way to us.
      log.debug('node changed before its blocks were written', { node: name });
    }
  }

  async #tell(node: CiliumNode, error: string | undefined): Promise<void> {
    const { uid = '' } = node.metadata;
    const shown = this.#told.get(uid) ?? shownError(node);
    if (await writeNodeError(this.#options, node, shown, error)) this.#told.set(uid, error ?? '');
  }
}

/** A pool as the decision sees it. Pure. */
export function poolSpec(pool: CiliumPodIPPool): PoolSpec {
  const { metadata, spec } = pool;
  const closed =
    metadata.deletionTimestamp !== undefined
      ? 'the pool is being deleted'
      : metadata.finalizers?.includes(POOL_FINALIZER)
        ? undefined
        : '';
  return {
    name: metadata.name,
    createdAt: metadata.creationTimestamp ?? '',
    ...(spec.ipv4 ? { ipv4: spec.ipv4 } : {}),
    ...(spec.ipv6 ? { ipv6: spec.ipv6 } : {}),
    ...(closed === undefined ? {} : { closed }),
  };
}

function demandOf(node: CiliumNode, promised: readonly PoolBlock[]): NodeDemand {
  const pools = node.spec?.ipam?.pools;
  return {
    name: node.metadata.name,
    createdAt: node.metadata.creationTimestamp ?? '',
    allocated: flatBlocks(pools?.allocated),
    requested: (pools?.requested ?? []).map(({ pool, needed }) => ({
      pool,
      ipv4: needed?.['ipv4-addrs'] ?? 0,
      ipv6: needed?.['ipv6-addrs'] ?? 0,
    })),
    promised,
  };
}
