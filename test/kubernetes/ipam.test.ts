import test from 'ava';
import type { CiliumNode, CiliumPodIPPool, Pod } from '../../src/model/types.ts';
import { isReady } from './lib/any-cluster.ts';
import { TestCluster } from './lib/cluster.ts';
import { BUSYBOX_IMAGE } from './lib/image.ts';
import { ipOf, nodeOf, unreached } from './lib/pods.ts';
import { sleeper } from './lib/workloads.ts';

/** The chapters on addresses of both documents, with kubectl; `test/e2e/ipam*.test.ts` have them in the lab. */

const IP_POOL = 'ipam.cilium.io/ip-pool';
let cluster: TestCluster;

test.before(async () => {
  cluster = await TestCluster.up();
});

test.afterEach.always(async t => {
  if (!t.passed && cluster) t.log(await cluster.diagnosis());
});

test.after.always(() => cluster?.down());

const pool = (name: string, cidr: string, maskSize: number) => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name },
  spec: { ipv4: { cidrs: [cidr], maskSize } },
});

/** Blocks of a pool on a node, as `get ciliumnodes` shows them. */
const blocksOf = (nodes: readonly CiliumNode[], node: string, name: string): string[] =>
  nodes
    .find(n => n.metadata.name === node)
    ?.spec.ipam?.pools?.allocated?.find(allocated => allocated.pool === name)?.cidrs ?? [];

const untilBlocks = (
  what: string,
  wanted: (blocks: (node: string, name: string) => string[]) => boolean,
): Promise<CiliumNode[]> =>
  cluster.until<CiliumNode>(what, 'CiliumNode', nodes => wanted((node, name) => blocksOf(nodes, node, name)));

/** Runs as many Pods as nodes, one on each, with an annotation or without. */
async function onePerNode(name: string, annotations?: Record<string, string>): Promise<Map<string, Pod>> {
  const found = new Map<string, Pod>();
  for (const { name: node } of cluster.members) {
    const app = `${name}-${node}`;
    await cluster.apply(sleeper(app, { node, ...(annotations && { annotations }) }));
    const [pod] = await cluster.pods(app, 1);
    found.set(node, pod!);
  }
  return found;
}

test.serial('a cluster that is out of addresses says so where the document shows it', async t => {
  await cluster.install([
    'ipam.mode=cluster-pool',
    'ipam.operator.clusterPoolIPv4PodCIDRList={172.20.42.0/28}',
    'ipam.operator.clusterPoolIPv4MaskSize=29',
  ]);
  await cluster.nodesReady();
  await cluster.kubectl('create', 'deployment', 'netshoot', '--image', BUSYBOX_IMAGE, '--replicas', '10');
  const running = (pods: Pod[]): Pod[] =>
    pods.filter(pod => pod.metadata.namespace === 'default' && isReady(pod));
  // Of six addresses a node, router and health have two.
  await cluster.until<Pod>('eight of ten Pods', 'Pod', pods => running(pods).length === 8);
  const table = await cluster.kubectl('get', 'po', '-o', 'wide');
  t.is(table.match(/ContainerCreating/g)?.length, 2, table);
  const [, waiting] = /^(netshoot-\S+) +0\/1 +ContainerCreating/m.exec(table)!;
  const wanted =
    /Warning +FailedCreatePodSandBox .* Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "[0-9a-f]+": plugin type="fimbria-cni" failed \(add\): unable to allocate IP via local cilium agent: \[POST \/ipam\]\[502\] postIpamFailure "range is full"/;
  await cluster.settles('the event', async () => {
    const said = await cluster.kubectl('describe', 'po', waiting!);
    return wanted.test(said) ? undefined : said;
  });
  t.regex(
    await cluster.agent('w1', 'cilium-dbg', 'status'),
    /^IPAM: +IPv4: 6\/6 allocated from 172\.20\.42\.\d\/29/m,
  );
  await cluster.kubectl('scale', 'deployment', 'netshoot', '--replicas=6');
  await cluster.pods('netshoot', 6);
  // One more of those that wait comes where one has gone.
  await cluster.kubectl('scale', 'deployment', 'netshoot', '--replicas=8');
  await cluster.pods('netshoot', 8);
  await cluster.kubectl('delete', 'deployment', 'netshoot');
  await cluster.fimbria('uninstall', '--purge');
});

test.serial(
  'each node has two blocks of the default pool at once, and status and configuration say so',
  async t => {
    await cluster.install([
      'ipam.mode=multi-pool',
      'routingMode=native',
      'autoDirectNodeRoutes=true',
      'ipv4NativeRoutingCIDR=10.0.0.0/8',
      'endpointRoutes.enabled=true',
      'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs={172.20.0.0/16}',
      'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=28',
      'ipam.ciliumNodeUpdateRate=1s',
    ]);
    await cluster.nodesReady();
    await untilBlocks('two blocks a node', blocks =>
      ['w1', 'w2'].every(node => blocks(node, 'default').length === 2),
    );
    t.regex(await cluster.kubectl('get', 'ciliumpodippools'), /^NAME +AGE\ndefault +\d+/);
    const view = await cluster.agent('w1', 'cilium', 'config', 'view');
    t.regex(view, /^ipam +multi-pool$/m);
    t.regex(
      view,
      /^auto-create-cilium-pod-ip-pools +default=ipv4-cidrs:172\.20\.0\.0\/16;ipv4-mask-size:28$/m,
    );
  },
);

test.serial(
  'Pods have addresses of the pools that they or their Namespaces name, and reach each other',
  async t => {
    await cluster.apply([pool('vac', '10.100.0.0/16', 29), pool('no-engine', '10.200.0.0/16', 29)]);
    const plain = await onePerNode('plain');
    const vac = await onePerNode('vac', { [IP_POOL]: 'vac' });
    const no = await onePerNode('no', { [IP_POOL]: 'no-engine' });
    await cluster.kubectl('create', 'namespace', 'cilium-test');
    await cluster.kubectl('annotate', 'namespace', 'cilium-test', `${IP_POOL}=vac`);
    await cluster.apply(sleeper('quiet', { namespace: 'cilium-test', node: 'w2' }));
    const [quiet] = await cluster.pods('quiet', 1, 'cilium-test');
    for (const pod of plain.values()) t.regex(ipOf(pod), /^172\.20\.0\./);
    for (const pod of [...vac.values(), quiet!]) t.regex(ipOf(pod), /^10\.100\.0\./);
    for (const pod of no.values()) t.regex(ipOf(pod), /^10\.200\.0\./);
    const all = [...plain.values(), ...vac.values(), ...no.values(), quiet!];
    for (const from of [plain.get('w1')!, vac.get('w2')!, no.get('w1')!])
      t.deepEqual(await unreached(cluster, from, all.map(ipOf)), {});
    const said = await cluster.kubectl('describe', 'ciliumnode', 'w1');
    t.regex(said, /Pools:\s+Allocated:\s+Cidrs:\s+172\.20\.0\.\d+\/28[\s\S]*Pool: +vac/);
    await cluster.kubectl('delete', 'namespace', 'cilium-test');
  },
);

test.serial('at 20 replicas the nodes have grown, and reach what has grown', async t => {
  await cluster.apply(sleeper('nginx-vac', { replicas: 2, annotations: { [IP_POOL]: 'vac' } }));
  await cluster.pods('nginx-vac', 2);
  await cluster.kubectl('scale', 'deployment', 'nginx-vac', '--replicas=20');
  const pods = await cluster.pods('nginx-vac', 20);
  const addresses = pods.map(ipOf);
  t.is(new Set(addresses).size, 20);
  t.true(addresses.every(address => address.startsWith('10.100.0.')));
  const nodes = await untilBlocks('two blocks of vac a node', blocks =>
    ['w1', 'w2'].every(node => blocks(node, 'vac').length >= 2),
  );
  for (const { name } of cluster.members) {
    const from = pods.find(pod => nodeOf(pod) === name)!;
    t.deepEqual(await unreached(cluster, from, addresses), {});
  }
  const routes = await cluster.member('w1').node.must('ip', 'route');
  for (const cidr of blocksOf(nodes, 'w2', 'vac'))
    t.true(routes.includes(`${cidr} via 192.168.10.102 dev eth0 proto kernel`), cidr);
  // Which of them a smaller Deployment would keep, and so which blocks, is not ours to say.
  await cluster.kubectl('scale', 'deployment', 'nginx-vac', '--replicas=0');
  await untilBlocks('blocks to go back', blocks =>
    ['w1', 'w2'].every(node => blocks(node, 'vac').length <= 1),
  );
});

test.serial('a pool that is in use waits with its deletion, and says who holds it back', async t => {
  await cluster.kubectl('delete', 'ciliumpodippool', 'no-engine', '--wait=false');
  await cluster.until<CiliumPodIPPool>('the pool to say who uses it', 'CiliumPodIPPool', pools =>
    pools.some(
      one =>
        one.metadata.name === 'no-engine' &&
        one.metadata.deletionTimestamp &&
        one.status?.conditions?.some(c => c.type === 'cilium.io/InUse' && c.status === 'True'),
    ),
  );
  t.regex(await cluster.kubectl('describe', 'ciliumpodippool', 'no-engine'), /w[12]/);
  await cluster.kubectl('delete', 'deployment', 'no-w1', 'no-w2');
  await cluster.until<CiliumPodIPPool>('the pool to go', 'CiliumPodIPPool', pools =>
    pools.every(one => one.metadata.name !== 'no-engine'),
  );
});

test.serial('a node with a label of its zone has a default pool of its own after a restart', async t => {
  await cluster.apply([
    pool('dc1-pool', '10.1.0.0/16', 24),
    {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNodeConfig',
      metadata: { name: 'ip-pool-dc1', namespace: 'kube-system' },
      spec: {
        defaults: { 'ipam-default-ip-pool': 'dc1-pool' },
        nodeSelector: { matchLabels: { 'topology.kubernetes.io/zone': 'dc1' } },
      },
    },
  ]);
  await cluster.kubectl('label', 'node', 'w2', 'topology.kubernetes.io/zone=dc1');
  await restartAgent('w2');
  const pods = await onePerNode('zoned');
  t.regex(ipOf(pods.get('w1')!), /^172\.20\.0\./);
  t.regex(ipOf(pods.get('w2')!), /^10\.1\.0\./);
  t.deepEqual(await unreached(cluster, pods.get('w1')!, [ipOf(pods.get('w2')!)]), {});
  await cluster.kubectl('label', 'node', 'w2', 'topology.kubernetes.io/zone-');
  await cluster.kubectl('delete', 'deployment', 'zoned-w1', 'zoned-w2');
  await restartAgent('w2');
});

/** Deletes the agent of a node, as the documents restart one, and waits for the next. */
async function restartAgent(node: string): Promise<void> {
  const old = (await cluster.agents()).filter(pod => nodeOf(pod) === node);
  await cluster.kubectl('-n', 'kube-system', 'delete', 'pod', old[0]!.metadata.name);
  await cluster.agentsReady(old);
}

test.serial('the default pool is replaced in seven steps while Pods go on', async t => {
  const apps = ['plain-w1', 'plain-w2', 'vac-w1', 'vac-w2', 'nginx-vac'];
  await cluster.kubectl('delete', 'deployment', ...apps);
  await cluster.apply(sleeper('app', { replicas: 4 }));
  await cluster.pods('app', 4);
  const operator = ['-n', 'kube-system', 'rollout', 'restart', 'deployment', 'cilium-operator'];

  // 1: other values.
  await cluster.fimbria(
    'upgrade',
    '--set',
    'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs={172.30.0.0/16}',
    '--set',
    'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=27',
  );
  // 2: the pool goes, the operator makes it anew.
  await cluster.kubectl('delete', 'ciliumpodippool', 'default', '--wait=false');
  await cluster.kubectl(...operator);
  await cluster.until<CiliumPodIPPool>('the new pool', 'CiliumPodIPPool', pools =>
    pools.some(
      one => one.metadata.name === 'default' && one.spec.ipv4?.cidrs[0]?.toString() === '172.30.0.0/16',
    ),
  );
  // 3 to 6: one group of nodes after the other.
  for (const node of ['w1', 'w2']) {
    await cluster.kubectl('drain', node, '--ignore-daemonsets', '--force', '--delete-emptydir-data');
    const elsewhere = await cluster.pods('app', 4);
    t.true(elsewhere.every(pod => nodeOf(pod) !== node));
    await cluster.kubectl('delete', 'ciliumnode', node);
    await restartAgent(node);
    await cluster.kubectl('uncordon', node);
    await untilBlocks(`new blocks of ${node}`, blocks =>
      blocks(node, 'default').some(cidr => /^172\.30\..*\/27$/.test(cidr)),
    );
    if (node === 'w1') {
      // Who was there keeps an address of the old range.
      t.true(elsewhere.some(pod => ipOf(pod).startsWith('172.20.')));
      await cluster.apply(sleeper('first', { node: 'w1' }));
      const [first] = await cluster.pods('first', 1);
      t.regex(ipOf(first!), /^172\.30\./);
      t.deepEqual(await unreached(cluster, first!, elsewhere.map(ipOf)), {});
    }
  }
  // 7: spread again.
  await cluster.kubectl('rollout', 'restart', 'deployment', 'app');
  await cluster.kubectl('rollout', 'status', 'deployment', 'app', '--timeout=240s');
  const pods = await cluster.pods('app', 4);
  t.true(
    pods.every(pod => ipOf(pod).startsWith('172.30.')),
    JSON.stringify(pods.map(ipOf)),
  );
  t.deepEqual(await unreached(cluster, pods[0]!, pods.map(ipOf)), {});
  await untilBlocks('nothing of the old range', blocks =>
    ['w1', 'w2'].every(node => blocks(node, 'default').every(cidr => cidr.startsWith('172.30.'))),
  );
});
