import test from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import type {
  CiliumNode,
  CiliumPodIPPool,
  Event,
  KubeObject,
  Namespace,
  Pod,
} from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { untilObjects } from './until.ts';

/** One lab of two nodes with several pools, natively routed and then in a tunnel. */
const lab = new TestLab('ipam');
const common = {
  'ipam.mode': 'multi-pool',
  'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs': '{172.20.0.0/16}',
  'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize': 28,
  'ipam.ciliumNodeUpdateRate': '1s',
};
const native = { routingMode: 'native', autoDirectNodeRoutes: true, ipv4NativeRoutingCIDR: '10.0.0.0/8' };
const IP_POOL = 'ipam.cilium.io/ip-pool';
let client: ClusterClient;

test.before(async () => {
  await lab.up(
    'left,right',
    ...Object.entries({ ...common, ...native, 'endpointRoutes.enabled': true }).map(([k, v]) => `${k}=${v}`),
  );
  client = createClient(`/run/fimbria-lab/${lab.name}/kubeconfig`);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

const until = <T extends KubeObject>(kind: string, wanted: (objects: T[]) => boolean): Promise<T[]> =>
  untilObjects(client, kind, wanted);

const addPool = (name: string, cidr: string): Promise<unknown> =>
  client.create<CiliumPodIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name },
    spec: { ipv4: { cidrs: [cidr], maskSize: 29 } },
  });

const startPod = (name: string, node: string, pool?: string, namespace = 'default'): Promise<unknown> =>
  client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, ...(pool ? { annotations: { [IP_POOL]: pool } } : {}) },
    spec: { nodeName: node, containers: [{ name: 'c', image: 'pause' }] },
  } as Pod);

/** Addresses of Pods by name, once all of them run. */
async function running(...names: string[]): Promise<Record<string, string>> {
  const pods = await until<Pod>('Pod', all =>
    names.every(name =>
      all.some(p => p.metadata.name === name && p.status?.phase === 'Running' && p.status.podIP),
    ),
  );
  return Object.fromEntries(pods.map(p => [p.metadata.name, p.status?.podIP ?? '']));
}

const blocksOf = (nodes: readonly CiliumNode[], node: string, pool: string): string[] =>
  nodes.find(n => n.metadata.name === node)?.spec.ipam?.pools?.allocated?.find(a => a.pool === pool)?.cidrs ??
  [];

const untilBlocks = (
  wanted: (blocks: (node: string, pool: string) => string[]) => boolean,
): Promise<CiliumNode[]> =>
  until<CiliumNode>('CiliumNode', nodes => wanted((node, pool) => blocksOf(nodes, node, pool)));

test.serial('at once each node has two blocks of the default pool; what people see of it', async t => {
  const nodes = await untilBlocks(blocks => ['left', 'right'].every(n => blocks(n, 'default').length === 2));
  t.deepEqual(nodes.find(n => n.metadata.name === 'left')!.spec.ipam!.pools!.requested, [
    { pool: 'default', needed: { 'ipv4-addrs': 16 } },
  ]);
  t.regex(await lab.execMust('left', 'cilium', 'status'), /^IPAM: +IPv4: 1 IPAM pool\(s\) available, $/m);
  const view = await lab.execMust('left', 'cilium', 'config', 'view');
  t.deepEqual(
    view
      .split('\n')
      .filter(line => /ipam|auto-create/.test(line))
      .map(line => line.replace(/ +/, ' ')),
    [
      'auto-create-cilium-pod-ip-pools default=ipv4-cidrs:172.20.0.0/16;ipv4-mask-size:28',
      'default-lb-service-ipam lbipam',
      'enable-lb-ipam true',
      'ipam multi-pool',
      'ipam-cilium-node-update-rate 1s',
    ],
  );
  t.regex(await lab.must('ipam'), /^left +default +172\.20\.0\.\d+\/28 +\d+\/14 +#+\.+$/m);
});

test.serial(
  'Pods of two pools, by annotation of Pod and Namespace, reach each other here and across',
  async t => {
    await addPool('vac', '10.100.0.0/16');
    await addPool('no-engine', '10.200.0.0/16');
    await client.create<Namespace>({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'quiet', annotations: { [IP_POOL]: 'no-engine' } },
    });
    await startPod('plain', 'left');
    await startPod('vac-left', 'left', 'vac');
    await startPod('vac-right', 'right', 'vac');
    await startPod('quiet-right', 'right', undefined, 'quiet');
    const ip = await running('plain', 'vac-left', 'vac-right', 'quiet-right');
    const nodes = (await client.list<CiliumNode>('CiliumNode')).items;
    // Without pre-allocation what is in use is what is needed: who waited is not counted once more.
    for (const [node, pool] of [
      ['left', 'vac'],
      ['right', 'vac'],
      ['right', 'no-engine'],
    ])
      t.deepEqual(
        nodes.find(n => n.metadata.name === node)!.spec.ipam!.pools!.requested!.find(r => r.pool === pool),
        { pool: pool!, needed: { 'ipv4-addrs': 1 } },
        `${node} ${pool}`,
      );
    t.regex(ip['plain']!, /^172\.20\.0\./);
    t.regex(ip['vac-left']!, /^10\.100\.0\./);
    t.regex(ip['quiet-right']!, /^10\.200\.0\./);
    const others = (name: string): string[] =>
      Object.entries(ip).flatMap(([n, a]) => (n === name ? [] : [a]));
    for (const name of ['plain', 'vac-left', 'vac-right'])
      t.true(await lab.reaches(name, others(name)), name);
    t.true(await lab.reaches('quiet/quiet-right', others('quiet-right')));
    const routes = await lab.execMust('left', 'ip', 'route');
    for (const pool of ['default', 'vac', 'no-engine'])
      for (const cidr of blocksOf(nodes, 'right', pool))
        t.true(routes.includes(`${cidr} via 192.168.10.101 dev eth0 proto kernel`), cidr);
    t.regex(
      await lab.execMust('left', 'cilium', 'status', '--verbose'),
      new RegExp(`^  vac/${ip['vac-left']} \\(default/vac-left\\)$`, 'm'),
    );
    const [endpoint] = await lab.json<{ status: { networking: { addressing: object[] } } }[]>(
      'left',
      'cilium',
      'endpoint',
      'get',
      'pod-name:default/vac-left',
    );
    t.deepEqual(endpoint!.status.networking.addressing, [{ ipv4: ip['vac-left'], 'ipv4-pool-name': 'vac' }]);
  },
);

test.serial('an unknown pool is named on the Pod, and the Pod runs when the pool is there', async t => {
  await startPod('early', 'left', 'late');
  const events = await until<Event>('Event', all => all.some(e => e.reason === 'UnknownIPPool'));
  t.regex(
    events.find(e => e.reason === 'UnknownIPPool')!.message!,
    /no CiliumPodIPPool "late", which is named by annotation ipam\.cilium\.io\/ip-pool of Pod default\/early/,
  );
  await addPool('late', '10.150.0.0/24');
  t.regex((await running('early'))['early']!, /^10\.150\.0\./);
  await client.delete('Pod', 'early', { namespace: 'default', gracePeriodSeconds: 0 });
  await untilBlocks(blocks => blocks('left', 'late').length === 0);
});

test.serial(
  'from 2 to 20 Pods and back, operator and an agent killed on the way: blocks and routes follow',
  async t => {
    const names = Array.from({ length: 18 }, (_, i) => `more-${i}`);
    await Promise.all(names.map((name, i) => startPod(name, i % 2 ? 'left' : 'right', 'vac')));
    await Promise.all([lab.must('lab', 'operator', 'kill'), lab.must('lab', 'node', 'kill', 'right')]);
    await Promise.all([lab.must('lab', 'operator', 'start'), lab.must('lab', 'node', 'start', 'right')]);
    const ip = await running(...names, 'vac-left', 'vac-right');
    const addresses = [...names, 'vac-left', 'vac-right'].map(name => ip[name]!);
    t.is(new Set(addresses).size, 20);
    const grown = await untilBlocks(blocks => ['left', 'right'].every(n => blocks(n, 'vac').length === 2));
    t.true(
      await lab.reaches(
        'vac-left',
        names.slice(0, 6).map(name => ip[name]!),
      ),
    );
    const routes = await lab.execMust('left', 'ip', 'route');
    for (const cidr of blocksOf(grown, 'right', 'vac'))
      t.true(routes.includes(`${cidr} via 192.168.10.101`), cidr);

    await Promise.all(
      names.map(name => client.delete('Pod', name, { namespace: 'default', gracePeriodSeconds: 0 })),
    );
    const shrunk = await untilBlocks(blocks => ['left', 'right'].every(n => blocks(n, 'vac').length === 1));
    const kept = blocksOf(shrunk, 'right', 'vac');
    // The routing pass follows the watch that told us, too: looked at until it has.
    let withdrawn = false;
    for (let i = 0; i < 100 && !withdrawn; i++) {
      const now = await lab.execMust('left', 'ip', 'route');
      withdrawn = blocksOf(grown, 'right', 'vac').every(
        cidr => kept.includes(cidr) || !now.includes(`${cidr} via`),
      );
    }
    t.true(withdrawn);
    t.true(await lab.reaches('vac-left', [ip['vac-right']!, ip['plain']!]));
    for (const node of ['left', 'right'])
      t.regex(
        await lab.execMust(node, 'fimbria', 'metrics', 'list'),
        /fimbria_ipam_violations +0|fimbria_ipam_violations.*\b0$/m,
      );
  },
);

test.serial('the same Pods in a tunnel', async t => {
  await lab.upgrade({ ...common, routingMode: 'tunnel' });
  const ip = await running('plain', 'vac-left', 'vac-right', 'quiet-right');
  for (const name of ['plain', 'vac-left', 'vac-right'])
    t.true(
      await lab.reaches(
        name,
        Object.entries(ip).flatMap(([n, a]) => (n === name ? [] : [a])),
      ),
      name,
    );
  const before = await lab.drops('left');
  await lab.exec('plain', 'ping', '-c', '2', '-i', '0.05', '-W', '1', '10.100.200.9');
  t.is((await lab.drops('left'))[160]! - before[160]!, 2, 'a block that no node has');
});

test.serial('a CiliumNode that somebody deletes comes back with its blocks', async t => {
  const before = (await client.list<CiliumNode>('CiliumNode')).items;
  const uid = before.find(n => n.metadata.name === 'right')!.metadata.uid;
  await client.delete('CiliumNode', 'right');
  const after = await until<CiliumNode>('CiliumNode', nodes =>
    nodes.some(
      n => n.metadata.name === 'right' && n.metadata.uid !== uid && n.spec.ipam?.pools?.allocated?.length,
    ),
  );
  for (const pool of ['default', 'vac', 'no-engine'])
    t.deepEqual(blocksOf(after, 'right', pool), blocksOf(before, 'right', pool));
});

test.serial('a default pool of its own for a node by its labels, from the next start on', async t => {
  await addPool('dc1-pool', '10.1.0.0/16');
  await client.patch('Node', 'right', { metadata: { labels: { 'topology.kubernetes.io/zone': 'dc1' } } });
  await client.create({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNodeConfig',
    metadata: { name: 'ip-pool-dc1', namespace: 'kube-system' },
    spec: {
      defaults: { 'ipam-default-ip-pool': 'dc1-pool' },
      nodeSelector: { matchLabels: { 'topology.kubernetes.io/zone': 'dc1' } },
    },
  } as never);
  await lab.must('lab', 'node', 'stop', 'right');
  await lab.must('lab', 'node', 'start', 'right');
  await startPod('in-dc1', 'right');
  await startPod('elsewhere', 'left');
  const ip = await running('in-dc1', 'elsewhere', 'plain');
  t.regex(ip['in-dc1']!, /^10\.1\.0\./);
  t.regex(ip['elsewhere']!, /^172\.20\.0\./);
  t.true(await lab.reaches('in-dc1', [ip['elsewhere']!, ip['plain']!]));
});
