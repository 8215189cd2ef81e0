import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { ClusterPool } from '../ipam/cluster-pool.ts';
import type { Namespace, Node, Pod } from '../model/types.ts';
import { GarbageCollector } from './garbage/collector.ts';
import { Informers } from './informers.ts';
import { Kubelet } from './kubelet.ts';
import { NODE_GRACE_MS, NodeLifecycle } from './node-lifecycle.ts';
import type { NodeIdentity } from './node-object.ts';
import { NodeRanges } from './node-ranges.ts';
import type { PodRuntime } from './runtime.ts';
import { Scheduler } from './scheduler.ts';
import { Semaphore } from './semaphore.ts';
import { ServiceAccounts } from './service-accounts.ts';
import { ServiceAllocator } from './services/allocator.ts';
import { EndpointsController } from './services/endpoints-controller.ts';
import { DeploymentController } from './workloads/deployment-controller.ts';
import { ReplicaSetController } from './workloads/replica-set-controller.ts';

export type { NodeIdentity } from './node-object.ts';
export type { PodRuntime } from './runtime.ts';

/** Plugin calls at once, all nodes together. */
const SLOTS = 8;

/**
 * Starts everything that a real cluster would bring beside the network: the scheduler, a kubelet stand-in for each node,
 * and the controllers of Deployments, Services, namespaces, nodes and garbage. All of them go by what the server has:
 * killed at any moment, the next process goes on. The client is the caller's. A start that fails or is given up leaves
 * nothing running.
 * @throws what `signal` was aborted with, when that was before all had started
 */
export async function startControllers(options: {
  client: ClusterClient;
  runtime: PodRuntime;
  nodes: readonly NodeIdentity[];
  version: string;
  log: Logger;
  /** How long a node may be silent before it counts as lost, in ms. */
  nodeGraceMs?: number;
  /** Host-scope IPAM: the ranges that Nodes get their `spec.podCIDRs` from. */
  nodeRanges?: ClusterPool;
  /** Ends all of it, also while it starts. */
  signal?: AbortSignal;
}): Promise<{ close(): void }> {
  const { client, runtime, nodes, version, log, nodeGraceMs = NODE_GRACE_MS, nodeRanges, signal } = options;
  const informers = new Informers(client);
  const running: { close(): void }[] = [informers];
  const close = (): void => {
    for (const one of running.splice(0).reverse()) one.close();
  };
  signal?.addEventListener('abort', close, { once: true });
  try {
    const pods = informers.of<Pod>('Pod');
    const recovered = await runtime.recover();
    const slots = new Semaphore(SLOTS);
    const kubelets = nodes.map(
      node => new Kubelet({ client, runtime, node, pods, slots, version, log, awayGraceMs: nodeGraceMs }),
    );
    running.push(...kubelets);
    await Promise.all(
      kubelets.map((kubelet, i) =>
        kubelet.start(recovered.filter(r => r.sandbox.pod.node === nodes[i]?.name)),
      ),
    );
    signal?.throwIfAborted();
    const served = nodes.map(({ name }) => name);
    new ServiceAccounts(client, informers.of<Namespace>('Namespace'), log);
    running.push(
      new Scheduler(client, pods, informers.of<Node>('Node'), log),
      new ReplicaSetController(client, informers, log),
      new DeploymentController(client, informers, log),
      new ServiceAllocator(client, informers, log),
      new EndpointsController(client, informers, log),
      new NodeLifecycle(client, informers, served, log, nodeGraceMs),
      new GarbageCollector(client, informers, log),
      ...(nodeRanges ? [new NodeRanges(client, informers.of<Node>('Node'), nodeRanges, log)] : []),
    );
    return { close };
  } catch (error) {
    close();
    throw error;
  }
}
