import type { Logger } from '../base/log.ts';
import { timestamp } from '../base/time.ts';
import type { ClusterClient, Informer } from '../cluster/index.ts';
import type { Condition, Node, Pod } from '../model/types.ts';
import type { Informers } from './informers.ts';
import { KeyedQueue } from './keyed-queue.ts';
import { getFresh, uidOf } from './objects.ts';

/** How long nobody needs to hear of a node before it counts as lost, in ms, as in Kubernetes. */
export const NODE_GRACE_MS = 40_000;

const REPORTED = ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'];

/**
 * The conditions of a node that no kubelet speaks for: unknown once the grace is over. Pure.
 * @returns undefined where they are so already; or after how many ms to look again
 */
export function unservedConditions(
  node: Node,
  nowMs: number,
  graceMs: number,
): { conditions: Condition[] } | { recheckMs: number } | undefined {
  const conditions = node.status?.conditions ?? [];
  const ready = conditions.find(({ type }) => type === 'Ready');
  if (ready?.status === 'Unknown') return undefined;
  const heardMs = Date.parse(ready?.lastHeartbeatTime ?? node.metadata.creationTimestamp ?? '') || 0;
  const leftMs = heardMs + graceMs - nowMs;
  // More than the grace itself is left only when the clock was set back.
  if (leftMs > 0 && leftMs <= graceMs) return { recheckMs: leftMs };
  const others = conditions.filter(({ type }) => !REPORTED.includes(type));
  const unknown = REPORTED.map((type): Condition => {
    const before = conditions.find(condition => condition.type === type);
    return {
      type,
      status: 'Unknown',
      reason: before ? 'NodeStatusUnknown' : 'NodeStatusNeverUpdated',
      message: before ? 'Kubelet stopped posting node status.' : 'Kubelet never posted node status.',
      ...(before?.lastHeartbeatTime !== undefined && { lastHeartbeatTime: before.lastHeartbeatTime }),
      lastTransitionTime: timestamp(nowMs),
    };
  });
  return { conditions: [...others, ...unknown] };
}

/** Says of nodes without a kubelet that they are lost, and deletes the Pods of nodes that were deleted. */
export class NodeLifecycle {
  readonly #client: ClusterClient;
  readonly #nodes: Informer<Node>;
  readonly #pods: Informer<Pod>;
  readonly #served: ReadonlySet<string>;
  readonly #graceMs: number;
  readonly #queue: KeyedQueue;
  /** Since when a node that Pods name is not there, by its name, in ms of the monotonic clock. */
  readonly #missing = new Map<string, number>();

  /**
   * The informers are the caller's.
   * @param served names of the nodes that a kubelet stand-in of this process speaks for
   */
  constructor(
    client: ClusterClient,
    informers: Informers,
    served: readonly string[],
    log: Logger,
    graceMs = NODE_GRACE_MS,
  ) {
    this.#client = client;
    this.#nodes = informers.of<Node>('Node');
    this.#pods = informers.of<Pod>('Pod');
    this.#served = new Set(served);
    this.#graceMs = graceMs;
    this.#queue = new KeyedQueue({ run: name => this.#look(name), log: log.for('node-lifecycle') });
    const node = ({ metadata }: Node): void => this.#queue.add(metadata.name);
    const pod = ({ spec }: Pod): void => {
      if (spec.nodeName && !this.#nodes.get(spec.nodeName)) this.#queue.add(spec.nodeName);
    };
    this.#nodes.on({ added: node, updated: node, deleted: node });
    this.#pods.on({ added: pod, updated: pod });
  }

  close(): void {
    this.#queue.close();
  }

  async #look(name: string): Promise<number | undefined> {
    await Promise.all([this.#nodes.synced, this.#pods.synced]);
    const node = this.#nodes.get(name);
    if (!node) return this.#withoutNode(name);
    this.#missing.delete(name);
    if (this.#served.has(name)) return undefined;
    const step = unservedConditions(node, Date.now(), this.#graceMs);
    if (step === undefined) return undefined;
    if ('recheckMs' in step) return step.recheckMs;
    const status = { ...node.status, conditions: step.conditions };
    await this.#client.update<Node>({ ...node, status }, { subresource: 'status' });
    return undefined;
  }

  async #withoutNode(name: string): Promise<number | undefined> {
    const pods = this.#pods.list().filter(({ spec }) => spec.nodeName === name);
    if (pods.length === 0) {
      this.#missing.delete(name);
      return undefined;
    }
    const sinceMs = this.#missing.get(name) ?? performance.now();
    this.#missing.set(name, sinceMs);
    const leftMs = sinceMs + this.#graceMs - performance.now();
    if (leftMs > 0) return leftMs;
    if (await getFresh<Node>(this.#client, 'Node', `/${name}`)) return this.#graceMs;
    await Promise.all(
      pods.map(pod => {
        const { name: podName, namespace } = pod.metadata;
        const options = { namespace: namespace!, uid: uidOf(pod), gracePeriodSeconds: 0 };
        return this.#client.delete('Pod', podName, options);
      }),
    );
    return this.#graceMs;
  }
}
