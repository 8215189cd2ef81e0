import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient, Informer } from '../cluster/types.ts';
import { type ClusterPool, decideBlocks, type NodeBlocks } from '../ipam/cluster-pool.ts';
import type { CiliumNode } from '../model/types.ts';
import { type NodeErrorOptions, shownError, writeNodeError } from './node-error.ts';

/** A write that is not seen after so long is taken for undone by somebody, and made again. */
const VISIBLE_WITHIN_MS = 30_000;

/** A block that this process wrote, or tried to write, for a node. */
interface Pledge {
  readonly cidr: string;
  /** When the server confirmed it, by the process clock; undefined while it is not known whether it arrived. */
  readonly writtenAtMs?: number;
}

export interface BlockAssignerOptions {
  client: Pick<ClusterClient, 'patch'>;
  /** Must be in sync before the first pass: what is not seen would be given out twice. */
  nodes: Pick<Informer<CiliumNode>, 'list'>;
  pool: ClusterPool;
  /** A node whose blocks are all full gets one more; off when absent. */
  growFullNodes?: boolean;
  events?: NodeErrorOptions['events'];
  log: Logger;
  /** Aborted when this process may no longer write. */
  signal: AbortSignal;
  /** Milliseconds of a monotonic clock, for tests. */
  now?: () => number;
}

/**
 * Gives every CiliumNode one block and keeps `status.ipam.operator-status.error` true. Everything is derived anew
 * in each pass from what the cluster shows, plus the writes of this process that it does not show yet.
 * Passes must not overlap.
 */
export class BlockAssigner {
  readonly #options: BlockAssignerOptions;
  readonly #now: () => number;
  /** By uid of the CiliumNode. */
  readonly #pledges = new Map<string, Pledge>();

  constructor(options: BlockAssignerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** One pass. Tries every write; throws the first error of those that must be tried again. */
  async pass(): Promise<void> {
    const objects = new Map(this.#options.nodes.list().map(node => [node.metadata.name, node]));
    this.#forget(objects);
    const decision = decideBlocks(
      this.#options.pool,
      [...objects.values()].map(node => this.#view(node)),
    );
    const failures: unknown[] = [];
    for (const { node, cidr } of decision.assign) {
      await this.#assign(objects.get(node)!, cidr).catch(error => failures.push(error));
    }
    for (const node of objects.values()) {
      await writeNodeError(
        this.#options,
        node,
        shownError(node),
        decision.errors.get(node.metadata.name),
      ).catch(error => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Drops pledges that the cluster shows by now, or whose node is gone. */
  #forget(objects: ReadonlyMap<string, CiliumNode>): void {
    const waiting = new Set(
      [...objects.values()].filter(node => this.#wantsBlock(node)).map(node => node.metadata.uid),
    );
    for (const uid of [...this.#pledges.keys()]) if (!waiting.has(uid)) this.#pledges.delete(uid);
  }

  /** Whether it has none, or may grow and says that all it has is used up. */
  #wantsBlock(node: CiliumNode): boolean {
    const cidrs = podCidrs(node);
    const said = node.status?.ipam?.['pod-cidrs'] ?? {};
    return cidrs.every(cidr => this.#options.growFullNodes === true && said[cidr]?.status === 'depleted');
  }

  #view(node: CiliumNode): NodeBlocks {
    const pledge = this.#pledges.get(node.metadata.uid ?? '');
    return {
      name: node.metadata.name,
      createdAt: node.metadata.creationTimestamp ?? '',
      podCidrs: podCidrs(node),
      ...(podCidrs(node).length > 0 && this.#wantsBlock(node) ? { wantsMore: true } : {}),
      ...(pledge === undefined ? {} : { promised: pledge.cidr }),
    };
  }

  async #assign(node: CiliumNode, cidr: string): Promise<void> {
    const { client, log, signal } = this.#options;
    const { name, uid = '', resourceVersion } = node.metadata;
    if (node.metadata.deletionTimestamp !== undefined || signal.aborted) return;
    const pledge = this.#pledges.get(uid);
    const fresh = pledge?.writtenAtMs !== undefined && this.#now() - pledge.writtenAtMs < VISIBLE_WITHIN_MS;
    if (fresh && pledge.cidr === cidr) return;
    this.#pledges.set(uid, { cidr });
    try {
      // With the resourceVersion that the decision was made on: a node that somebody changed meanwhile is decided anew.
      await client.patch<CiliumNode>('CiliumNode', name, {
        metadata: { resourceVersion },
        spec: { ipam: { podCIDRs: [...podCidrs(node), cidr] } },
      });
      this.#pledges.set(uid, { cidr, writtenAtMs: this.#now() });
      log.info('assigned pod CIDR', { node: name, cidr });
    } catch (error) {
      const code = codeOf(error);
      if (code === 'NOT_FOUND') {
        this.#pledges.delete(uid);
        return;
      }
      // The change that was in the way is on its way to us and starts the next pass.
      if (code === 'CONFLICT') log.debug('node changed before its pod CIDR was written', { node: name });
      throw error;
    }
  }
}

function podCidrs(node: CiliumNode): readonly string[] {
  return node.spec?.ipam?.podCIDRs ?? [];
}
