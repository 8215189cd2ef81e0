import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { timestamp } from '../base/time.ts';
import type { ClusterClient } from '../cluster/types.ts';
import type { Node, Pod } from '../model/types.ts';

/** Keeps Pods off a node whose agent is not ready; whoever makes nodes sets it, as Cilium's documents tell. */
export const NOT_READY_TAINT = 'node.cilium.io/agent-not-ready';

/** What the operator tells of a node. */
export interface ReadinessOptions {
  client: ClusterClient;
  removeTaints: boolean;
  setNetworkStatus: boolean;
  log: Logger;
}

/** Nodes with an agent that a probe packet has crossed the datapath of, by the Pods of the DaemonSet. Pure. */
export function readyNodes(pods: readonly Pod[]): Set<string> {
  const ready = pods.filter(
    pod =>
      pod.metadata.deletionTimestamp === undefined &&
      pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
  );
  return new Set(ready.flatMap(pod => pod.spec?.nodeName ?? []));
}

/**
 * Tells schedulers and people that a node's network works: takes the taint off and sets the condition
 * NetworkUnavailable to False. Never the other way: pods on a node whose agent restarts keep talking.
 */
export class NodeReadiness {
  readonly #options: ReadinessOptions;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Writes what differs. Nodes that cannot be written do not keep the others from it. @throws the first failure */
  async pass(nodes: readonly Node[], agents: readonly Pod[], signal: AbortSignal): Promise<void> {
    const ready = readyNodes(agents);
    const failures: unknown[] = [];
    for (const node of nodes) {
      if (!ready.has(node.metadata.name) || signal.aborted) continue;
      try {
        if (this.#options.removeTaints) await this.#removeTaint(node);
        if (this.#options.setNetworkStatus) await this.#setCondition(node);
      } catch (error) {
        if (codeOf(error) !== 'NOT_FOUND') failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  async #removeTaint(node: Node): Promise<void> {
    const taints = node.spec?.taints ?? [];
    const index = taints.findIndex(taint => taint.key === NOT_READY_TAINT);
    if (index < 0) return;
    const path = `/spec/taints/${index}`;
    // The test says that it is still this taint that goes: others write the list as well.
    await this.#options.client.patch(
      'Node',
      node.metadata.name,
      [
        { op: 'test', path: `${path}/key`, value: NOT_READY_TAINT },
        { op: 'remove', path },
      ],
      { type: 'json' },
    );
    this.#options.log.info('took the taint off a node whose agent is ready', { node: node.metadata.name });
  }

  async #setCondition(node: Node): Promise<void> {
    const condition = node.status?.conditions?.find(({ type }) => type === 'NetworkUnavailable');
    if (condition?.status === 'False' && condition.reason === 'CiliumIsUp') return;
    const now = timestamp();
    const conditions = [
      {
        type: 'NetworkUnavailable',
        status: 'False',
        reason: 'CiliumIsUp',
        message: 'Cilium is running on this node',
        lastHeartbeatTime: now,
        lastTransitionTime: now,
      },
    ];
    await this.#options.client.patch(
      'Node',
      node.metadata.name,
      { status: { conditions } },
      {
        type: 'strategic',
        subresource: 'status',
      },
    );
    this.#options.log.info('a node has its network', { node: node.metadata.name });
  }
}
