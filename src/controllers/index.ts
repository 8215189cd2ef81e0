import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { Namespace, Node, Pod } from '../model/types.ts';
import { Kubelet } from './kubelet.ts';
import type { NodeIdentity } from './node-object.ts';
import type { PodRuntime } from './runtime.ts';
import { Scheduler } from './scheduler.ts';
import { Semaphore } from './semaphore.ts';
import { ServiceAccounts } from './service-accounts.ts';

export type { NodeIdentity } from './node-object.ts';
export type { PodRuntime } from './runtime.ts';

/** Plugin calls at once, all nodes together. */
const SLOTS = 8;

/**
 * Starts everything that a real cluster would bring beside the network: the scheduler, a kubelet stand-in for each node,
 * and the small controllers. The client is the caller's.
 */
export async function startControllers(options: {
  client: ClusterClient;
  runtime: PodRuntime;
  nodes: readonly NodeIdentity[];
  version: string;
  log: Logger;
}): Promise<{ close(): void }> {
  const { client, runtime, nodes, version, log } = options;
  const pods = client.informer<Pod>('Pod');
  const nodeObjects = client.informer<Node>('Node');
  const namespaces = client.informer<Namespace>('Namespace');
  const recovered = await runtime.recover();
  const slots = new Semaphore(SLOTS);
  const kubelets = nodes.map(node => new Kubelet({ client, runtime, node, pods, slots, version, log }));
  await Promise.all(
    kubelets.map((kubelet, i) => kubelet.start(recovered.filter(r => r.sandbox.pod.node === nodes[i]?.name))),
  );
  new ServiceAccounts(client, namespaces, log);
  const scheduler = new Scheduler(client, pods, nodeObjects, log);
  return {
    close() {
      scheduler.close();
      for (const kubelet of kubelets) kubelet.close();
      for (const informer of [pods, nodeObjects, namespaces]) informer.close();
    },
  };
}
