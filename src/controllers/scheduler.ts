import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { timestamp } from '../base/time.ts';
import type { ClusterClient, Informer } from '../cluster/index.ts';
import { EventRecorder } from '../cluster/index.ts';
import type { Node, Pod } from '../model/types.ts';
import { schedule } from './schedule.ts';

const SCHEDULER = 'default-scheduler';
const RETRY_MS = 1000;

const keyOf = (pod: Pod): string => `${pod.metadata.namespace}/${pod.metadata.name}/${pod.metadata.uid}`;
const hasEnded = (pod: Pod): boolean => ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '');

/** Puts Pods without a node on one. Takes part only where no real scheduler runs. */
export class Scheduler {
  readonly #client: ClusterClient;
  readonly #pods: Informer<Pod>;
  readonly #nodes: Informer<Node>;
  readonly #log: Logger;
  readonly #events: EventRecorder;
  /** Bound by us, not yet seen bound: counted so that a burst spreads. */
  readonly #assumed = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #again = false;
  #closed = false;

  /** The informers are the caller's, and are closed by it. */
  constructor(client: ClusterClient, pods: Informer<Pod>, nodes: Informer<Node>, log: Logger) {
    this.#client = client;
    this.#pods = pods;
    this.#nodes = nodes;
    this.#log = log.for('scheduler');
    this.#events = new EventRecorder(client, SCHEDULER, this.#log);
    const trigger = () => this.#trigger();
    pods.on({ added: trigger, updated: trigger, deleted: trigger });
    nodes.on({ added: trigger, updated: trigger, deleted: trigger });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #trigger(): void {
    this.#again = true;
    if (this.#running || this.#closed) return;
    this.#running = true;
    // After the current burst of informer calls, so that one pass sees all of it.
    setImmediate(() => void this.#passes());
  }

  async #passes(): Promise<void> {
    await Promise.all([this.#pods.synced, this.#nodes.synced]);
    while (this.#again && !this.#closed) {
      this.#again = false;
      await this.#pass();
    }
    this.#running = false;
  }

  async #pass(): Promise<void> {
    const pods = this.#pods.list();
    const keys = new Set(pods.map(keyOf));
    for (const key of this.#assumed.keys()) if (!keys.has(key)) this.#assumed.delete(key);
    const counts = new Map<string, number>();
    for (const pod of pods) {
      if (pod.spec.nodeName) this.#assumed.delete(keyOf(pod));
      const node = pod.spec.nodeName ?? this.#assumed.get(keyOf(pod));
      if (node && !hasEnded(pod)) counts.set(node, (counts.get(node) ?? 0) + 1);
    }
    const waiting = pods
      .filter(pod => !pod.spec.nodeName && !pod.metadata.deletionTimestamp && !this.#assumed.has(keyOf(pod)))
      .filter(pod => (pod.spec['schedulerName'] ?? SCHEDULER) === SCHEDULER);
    for (const pod of waiting) {
      if (this.#closed) return;
      const placement = schedule(pod, this.#nodes.list(), node => counts.get(node) ?? 0);
      try {
        if ('node' in placement) {
          await this.#bind(pod, placement.node);
          counts.set(placement.node, (counts.get(placement.node) ?? 0) + 1);
        } else await this.#sayUnschedulable(pod, placement.unschedulable);
      } catch (error) {
        if (codeOf(error) === 'NOT_FOUND') continue;
        this.#log.warn('scheduling a pod failed', { pod: keyOf(pod), error: messageOf(error) });
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#trigger(), RETRY_MS);
      }
    }
  }

  async #bind(pod: Pod, node: string): Promise<void> {
    const { name, namespace = 'default', uid } = pod.metadata;
    const body = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name, namespace, uid },
      target: { apiVersion: 'v1', kind: 'Node', name: node },
    };
    await this.#client.createSubresource('Pod', name, 'binding', body, namespace);
    this.#assumed.set(keyOf(pod), node);
    const message = `Successfully assigned ${namespace}/${name} to ${node}`;
    this.#events.record(pod, { type: 'Normal', reason: 'Scheduled', message });
  }

  async #sayUnschedulable(pod: Pod, message: string): Promise<void> {
    const { name, namespace = 'default' } = pod.metadata;
    const old = pod.status?.conditions?.find(c => c.type === 'PodScheduled');
    if (old?.status === 'False' && old.message === message) return;
    const condition = {
      type: 'PodScheduled',
      status: 'False' as const,
      reason: 'Unschedulable',
      message,
      lastTransitionTime: timestamp(Date.now()),
    };
    const others = (pod.status?.conditions ?? []).filter(c => c.type !== 'PodScheduled');
    const patch = { status: { phase: 'Pending', conditions: [...others, condition] } };
    await this.#client.patch('Pod', name, patch, { namespace, subresource: 'status' });
    this.#events.record(pod, { type: 'Warning', reason: 'FailedScheduling', message });
  }
}
