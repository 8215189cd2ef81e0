import { join } from 'node:path';
import test from 'ava';
import { silent } from '../../src/base/log.ts';
import { createClient } from '../../src/cluster/index.ts';
import { parseFlat } from '../../src/config/index.ts';
import { OPERATOR_RIGHTS } from '../../src/install/manifests/rbac.ts';
import type {
  CiliumLoadBalancerIPPool,
  CiliumNode,
  CiliumPodIPPool,
  Event,
  Node,
  Pod,
  Service,
} from '../../src/model/types.ts';
import { NOT_READY_TAINT } from '../../src/operator/node-readiness.ts';
import { runOperator } from '../../src/operator/operator.ts';
import { Cluster } from '../operator/server.ts';
import { Gatekeeper } from './gatekeeper.ts';
import { rightsOf } from './rights.ts';

const HOME = 'fimbria-test';

test('an operator does its work with the rights that it has, and has none that it does not use', async t => {
  const cluster = await Cluster.start(t);
  const keeper = await Gatekeeper.start(t, join(cluster.dir, 'gate.sock'), join(cluster.dir, 'api.sock'), {
    userAgent: 'fimbria-operator',
    rights: OPERATOR_RIGHTS,
    home: HOME,
  });
  const { client } = cluster;
  await client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: HOME } });
  const operate = async (flat: Record<string, string>): Promise<() => Promise<void>> => {
    const own = createClient(
      { server: `unix://${cluster.dir}/gate.sock` },
      { log: silent, userAgent: 'fimbria-operator/1' },
    );
    const abort = new AbortController();
    const done = runOperator(
      {
        client: own,
        config: parseFlat(flat),
        identity: 'one',
        k8sNamespace: HOME,
        readiness: { removeTaints: true, setNetworkStatus: true },
        log: silent,
        grace: { identityMs: 0, nodeMs: 0, blocksMs: 0 },
      },
      abort.signal,
    );
    const stop = async (): Promise<void> => {
      abort.abort();
      await done;
      own.close();
    };
    t.teardown(stop);
    return stop;
  };
  const stop = await operate({
    ipam: 'multi-pool',
    'auto-create-cilium-pod-ip-pools': 'default=ipv4-cidrs:10.1.0.0/28;ipv4-mask-size:28',
  });

  // A node with an agent; one that needs more than there is, and needs still more; one that is deleted by mistake.
  await client.create<Node>({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'w1' },
    spec: { taints: [{ key: NOT_READY_TAINT, effect: 'NoExecute' }] },
  } as Node);
  await cluster.addCiliumNode('w1');
  await client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'cilium-1', namespace: HOME, labels: { 'k8s-app': 'cilium' } },
    spec: { nodeName: 'w1', containers: [{ name: 'cilium-agent', image: 'x' }] },
  } as Pod);
  await client.patch(
    'Pod',
    'cilium-1',
    { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    { namespace: HOME, subresource: 'status' },
  );
  await cluster.until<Node>('Node', ([node]) => {
    const network = node?.status?.conditions?.find(({ type }) => type === 'NetworkUnavailable');
    return network?.status === 'False' && !node?.spec?.taints?.length;
  });
  const need = (count: number): Promise<unknown> =>
    client.patch('CiliumNode', 'w1', {
      spec: { ipam: { pools: { requested: [{ pool: 'default', needed: { 'ipv4-addrs': count } }] } } },
    });
  await need(5);
  await cluster.until<CiliumNode>('CiliumNode', ([node]) => node?.spec.ipam?.pools?.allocated?.length === 1);
  await cluster.until<CiliumPodIPPool>(
    'CiliumPodIPPool',
    ([pool]) => pool?.status?.conditions?.[0]?.type === 'cilium.io/Exhausted',
  );
  // Said twice, it is counted.
  await need(50);
  await cluster.until<Event>('Event', events => events[0]?.count === 1);
  await need(5);
  await cluster.until<CiliumNode>('CiliumNode', ([n]) => !n?.status?.ipam?.['operator-status']?.error);
  await need(50);
  await cluster.until<Event>('Event', events => events[0]?.count === 2);

  // A pool of the users' is kept while it is in use.
  await client.create<CiliumPodIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name: 'mars' },
    spec: { ipv4: { cidrs: ['10.9.0.0/24'], maskSize: 28 } },
  });
  await cluster.until<CiliumPodIPPool>('CiliumPodIPPool', pools =>
    pools.some(({ metadata: { name, finalizers } }) => name === 'mars' && finalizers?.length === 1),
  );

  // A Service gets an address.
  await client.create<CiliumLoadBalancerIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumLoadBalancerIPPool',
    metadata: { name: 'lb' },
    spec: { blocks: [{ cidr: '10.0.250.0/24' }] },
  });
  await client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  } as Service);
  await cluster.until<Service>('Service', ([one]) => one?.status?.loadBalancer?.ingress?.length === 1);

  // What is left over goes.
  await cluster.addEndpoint('gone', 300, 'uid-of-a-pod-that-was');
  await cluster.addIdentity(301);
  await cluster.addCiliumNode('without-node');
  await cluster.until('CiliumEndpoint', endpoints => endpoints.length === 0);
  await cluster.until('CiliumIdentity', identities => identities.length === 0);
  await cluster.until('CiliumNode', nodes => nodes.length === 1);
  while (!keeper.used.has('cluster: get ciliumnodes.cilium.io')) await keeper.next();

  // A successor takes over, in the mode with one pool.
  await stop();
  await operate({ ipam: 'cluster-pool', 'cluster-pool-ipv4-cidr': '10.2.0.0/16' });
  await cluster.untilBlocks(1);

  t.deepEqual([...keeper.refused], []);
  t.deepEqual(
    [...keeper.used].sort(),
    rightsOf(OPERATOR_RIGHTS).filter((r, i, all) => all.indexOf(r) === i),
  );
});
