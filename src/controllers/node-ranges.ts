import { Controller } from '../base/controller.ts';
import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient, Informer } from '../cluster/index.ts';
import { type ClusterPool, decideBlocks } from '../ipam/cluster-pool.ts';
import type { Node } from '../model/types.ts';

const INTERVAL_MS = 60_000;

/**
 * Gives every Node a range in `spec.podCIDRs`, as Kubernetes' controller manager does with `--allocate-node-cidrs`:
 * what host-scope IPAM reads. The informer is the caller's.
 */
export class NodeRanges {
  readonly #client: ClusterClient;
  readonly #nodes: Informer<Node>;
  readonly #pool: ClusterPool;
  readonly #controller: Controller;
  /** Written, and perhaps not seen yet; by uid. */
  readonly #given = new Map<string, string>();

  constructor(client: ClusterClient, nodes: Informer<Node>, pool: ClusterPool, log: Logger) {
    this.#client = client;
    this.#nodes = nodes;
    this.#pool = pool;
    this.#controller = new Controller({
      name: 'node-ranges',
      run: () => this.#pass(),
      log: log.for('node-ranges'),
      intervalMs: INTERVAL_MS,
      retry: { baseMs: 50, maxMs: 5_000 },
    });
    const kick = (): void => this.#controller.kick();
    nodes.on({ added: kick, updated: kick, deleted: kick });
    kick();
  }

  close(): void {
    void this.#controller.stop();
  }

  async #pass(): Promise<void> {
    await this.#nodes.synced;
    const nodes = new Map(this.#nodes.list().map(node => [node.metadata.name, node]));
    const { assign } = decideBlocks(
      this.#pool,
      [...nodes.values()].map(({ metadata, spec }) => {
        const promised = this.#given.get(metadata.uid ?? '');
        return {
          name: metadata.name,
          createdAt: metadata.creationTimestamp ?? '',
          podCidrs: spec?.podCIDRs ?? [],
          ...(promised ? { promised } : {}),
        };
      }),
    );
    for (const { node: name, cidr } of assign) {
      const { uid = '', resourceVersion } = nodes.get(name)!.metadata;
      this.#given.set(uid, cidr);
      try {
        await this.#client.patch('Node', name, {
          metadata: { resourceVersion },
          spec: { podCIDR: cidr, podCIDRs: [cidr] },
        });
      } catch (error) {
        // Gone, or changed: that is on its way to us and starts the next pass.
        if (codeOf(error) !== 'NOT_FOUND' && codeOf(error) !== 'CONFLICT') throw error;
      }
    }
  }
}
