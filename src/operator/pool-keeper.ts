import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { timestamp } from '../base/time.ts';
import type { ClusterClient } from '../cluster/types.ts';
import type { AutoCreatePool } from '../config/types.ts';
import type { PoolPlan } from '../ipam/multi-pool.ts';
import { parkedPools } from '../ipam/pool-overlap.ts';
import type { CiliumPodIPPool, Condition } from '../model/types.ts';
import { POOL_FINALIZER } from './pool-assigner.ts';

/** Ours among the conditions of a pool. */
const IN_USE = 'cilium.io/InUse';
const CONFLICT = 'cilium.io/PoolConflict';
const EXHAUSTED = 'cilium.io/Exhausted';
const OURS: readonly string[] = [IN_USE, CONFLICT, EXHAUSTED];

export interface PoolKeeperOptions {
  client: Pick<ClusterClient, 'create' | 'patch'>;
  /** Pools that shall exist; those that do are left as they are. */
  autoCreate: readonly AutoCreatePool[];
  log: Logger;
  /** Aborted when this process may no longer write. */
  signal: AbortSignal;
}

/**
 * Looks after the pools themselves: creates those that are missing, keeps those that are in use (a finalizer, and a
 * condition that says who holds blocks), and says of pools that overlap which of them gives nothing. A pool that was
 * told to go while the configuration has another of that name makes room for it at once: nodes keep the old blocks
 * until they are drained. Passes must not overlap.
 */
export class PoolKeeper {
  readonly #options: PoolKeeperOptions;

  constructor(options: PoolKeeperOptions) {
    this.#options = options;
  }

  /** Tries every write; throws the first error of those that must be tried again. */
  async pass(pools: readonly CiliumPodIPPool[], plan: PoolPlan): Promise<void> {
    const failures: unknown[] = [];
    const attempt = (work: Promise<void>): Promise<void> =>
      work.catch(error => {
        if (codeOf(error) !== 'NOT_FOUND') failures.push(error);
      });
    const names = new Set(pools.map(pool => pool.metadata.name));
    for (const wanted of this.#options.autoCreate)
      if (!names.has(wanted.name)) await attempt(this.#create(wanted));
    const parked = parkedPools(
      pools.map(({ metadata, spec }) => ({
        name: metadata.name,
        createdAt: metadata.creationTimestamp ?? '',
        cidrs: [...(spec.ipv4?.cidrs ?? []), ...(spec.ipv6?.cidrs ?? [])],
      })),
    );
    for (const pool of pools) await attempt(this.#keep(pool, plan, parked.get(pool.metadata.name)));
    if (failures.length > 0) throw failures[0];
  }

  async #create({ name, ipv4, ipv6 }: AutoCreatePool): Promise<void> {
    const { client, log, signal } = this.#options;
    if (signal.aborted) return;
    const family = (spec: AutoCreatePool['ipv4']): { cidrs: string[]; maskSize: number } | undefined =>
      spec && { cidrs: [...spec.cidrs], maskSize: spec.maskSize };
    const [v4, v6] = [family(ipv4), family(ipv6)];
    try {
      await client.create<CiliumPodIPPool>({
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumPodIPPool',
        metadata: { name, finalizers: [POOL_FINALIZER] },
        spec: { ...(v4 ? { ipv4: v4 } : {}), ...(v6 ? { ipv6: v6 } : {}) },
      });
      log.info('created pool', {
        pool: name,
        ranges: [...(v4?.cidrs ?? []), ...(v6?.cidrs ?? [])].join(' '),
      });
    } catch (error) {
      if (codeOf(error) !== 'ALREADY_EXISTS') throw error;
    }
  }

  async #keep(pool: CiliumPodIPPool, plan: PoolPlan, parked: string | undefined): Promise<void> {
    const { name, finalizers = [], deletionTimestamp } = pool.metadata;
    const guarded = finalizers.includes(POOL_FINALIZER);
    if (deletionTimestamp === undefined) {
      if (!guarded) await this.#setFinalizers(pool, [...finalizers, POOL_FINALIZER]);
      await this.#tell(pool, [
        ...(parked === undefined ? [] : [condition(CONFLICT, 'cidr_overlap', parked)]),
        ...exhaustion(name, plan),
      ]);
      return;
    }
    if (!guarded) return;
    const holders = plan.holders(name);
    if (holders.length === 0 || this.#isReplaced(pool)) {
      await this.#setFinalizers(
        pool,
        finalizers.filter(finalizer => finalizer !== POOL_FINALIZER),
      );
      this.#options.log.info('let pool go', {
        pool: name,
        holders: holders.map(({ node }) => node).join(' '),
      });
      return;
    }
    const who = holders.map(({ node, blocks }) => `${node} (${blocks} block${blocks === 1 ? '' : 's'})`);
    await this.#tell(pool, [
      condition(
        IN_USE,
        'BlocksHeld',
        `nodes hold blocks of this pool: ${who.join(', ')}; it goes when no pod has an address of it any more`,
      ),
    ]);
  }

  /** Whether the configuration has a pool of this name with other ranges or another mask. */
  #isReplaced({ metadata, spec }: CiliumPodIPPool): boolean {
    const wanted = this.#options.autoCreate.find(({ name }) => name === metadata.name);
    const text = (of: Pick<AutoCreatePool, 'ipv4' | 'ipv6'>): string =>
      JSON.stringify([of.ipv4, of.ipv6].map(family => family && [family.cidrs, family.maskSize]));
    return wanted !== undefined && text(wanted) !== text(spec);
  }

  async #setFinalizers(pool: CiliumPodIPPool, finalizers: string[]): Promise<void> {
    const { name, resourceVersion } = pool.metadata;
    if (this.#options.signal.aborted) return;
    try {
      await this.#options.client.patch('CiliumPodIPPool', name, {
        metadata: { resourceVersion, finalizers },
      });
    } catch (error) {
      // What it is now is on its way to us and starts the next pass.
      if (codeOf(error) !== 'CONFLICT') throw error;
    }
  }

  /** Makes our conditions be these; those of others stay. */
  async #tell(pool: CiliumPodIPPool, wanted: readonly Condition[]): Promise<void> {
    const { client, log, signal } = this.#options;
    const present = pool.status?.conditions ?? [];
    const ours = present.filter(({ type }) => OURS.includes(type));
    const said = (one: Condition): boolean => ours.some(other => sameSaid(other, one));
    if ((ours.length === wanted.length && wanted.every(said)) || signal.aborted) return;
    // What has been said keeps the time since when it is so.
    const kept = present.filter(one => !ours.includes(one) || wanted.some(w => sameSaid(one, w)));
    const conditions = [...kept, ...wanted.filter(one => !said(one))];
    try {
      await client.patch(
        'CiliumPodIPPool',
        pool.metadata.name,
        { status: conditions.length === 0 ? null : { conditions } },
        { subresource: 'status' },
      );
      for (const { message } of wanted.filter(one => !said(one)))
        log.warn(message ?? '', { pool: pool.metadata.name });
    } catch (error) {
      log.debug('could not write the status of a pool', {
        pool: pool.metadata.name,
        error: messageOf(error),
      });
      throw error;
    }
  }
}

function sameSaid(a: Condition, b: Condition): boolean {
  return a.type === b.type && a.message === b.message;
}

/** Said before anybody needs a block that is not there: administrators have time until then. */
function exhaustion(pool: string, plan: PoolPlan): Condition[] {
  const full = plan.freeBlocks().filter(({ pool: name, free }) => name === pool && free === 0);
  if (full.length === 0) return [];
  const families = full.map(({ family, maskSize }) => `${family} (/${maskSize})`).join(' and ');
  const where = full.map(({ family }) => `spec.${family}.cidrs`).join(' and ');
  return [
    condition(
      EXHAUSTED,
      'NoFreeBlock',
      `every block is held by a node: ${families}; a node that needs one more gets none until a range is appended to ${where} or pods go`,
    ),
  ];
}

function condition(type: string, reason: string, message: string): Condition {
  const lastTransitionTime = timestamp();
  return { type, status: 'True', reason, message, lastTransitionTime };
}
