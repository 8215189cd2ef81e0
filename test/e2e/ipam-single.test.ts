import test from 'ava';
import { createClient } from '../../src/cluster/index.ts';
import type { CiliumNode, Event, KubeObject, Node } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { untilObjects } from './until.ts';

/** Resolves when the objects of a kind are as wanted; each change is looked at once. */
async function until<T extends KubeObject>(
  lab: TestLab,
  kind: string,
  wanted: (objects: T[]) => boolean,
): Promise<T[]> {
  const client = createClient(`/run/fimbria-lab/${lab.name}/kubeconfig`);
  const found = await untilObjects(client, kind, wanted);
  client.close();
  return found;
}

test.serial(
  'a full node: the words, where there is room, and a Pod that starts when an address comes free',
  async t => {
    const lab = new TestLab('full');
    t.teardown(() => lab.down());
    await lab.up(
      'w1,w2',
      'ipam.operator.clusterPoolIPv4PodCIDRList=172.20.42.0/28',
      'ipam.operator.clusterPoolIPv4MaskSize=29',
    );
    for (const name of ['a', 'b', 'c', 'd']) await lab.pod(name, 'w1');
    const [own] = (await lab.json<{ name: string; 'pod-cidrs': string[] }[]>('w1', 'cilium', 'node', 'list'))
      .filter(n => n.name === 'w1')
      .flatMap(n => n['pod-cidrs']);
    t.true((await lab.execMust('w1', 'cilium', 'status')).includes(`IPv4: 6/6 allocated from ${own}, \n`));
    const adding = await lab.fimbria('lab', 'pod', 'add', 'e', '--node', 'w1', '--wait', '2s');
    t.is(adding.status, 1);
    t.true(
      adding.stderr.includes(
        'unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "range is full"',
      ),
    );
    const events = await until<Event>(lab, 'Event', all => all.some(e => e.reason === 'IPPoolExhausted'));
    t.regex(
      events.find(e => e.reason === 'IPPoolExhausted')!.message!,
      /^pool default is full on node w1: 6 of 6 addresses are in use; free elsewhere: 4 on node w2; delete Pods of this node/,
    );
    await lab.must('lab', 'pod', 'delete', 'a');
    await until(lab, 'Pod', pods =>
      pods.some(
        p => p.metadata.name === 'e' && (p as { status?: { phase?: string } }).status?.phase === 'Running',
      ),
    );
  },
);

test.serial('switched on, a full node gets a second block, and it is routed', async t => {
  const lab = new TestLab('grow');
  t.teardown(() => lab.down());
  await lab.up(
    'w1,w2',
    'ipam.operator.clusterPoolIPv4PodCIDRList=172.20.42.0/27',
    'ipam.operator.clusterPoolIPv4MaskSize=29',
    'ipam.operator.clusterPoolGrowFullNodes=true',
    'routingMode=native',
    'autoDirectNodeRoutes=true',
  );
  const far = await lab.pod('far', 'w2');
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await lab.pod(name, 'w1');
  const nodes = await until<CiliumNode>(lab, 'CiliumNode', all =>
    all.some(n => n.metadata.name === 'w1' && n.spec.ipam?.podCIDRs?.length === 2),
  );
  const cidrs = nodes.find(n => n.metadata.name === 'w1')!.spec.ipam!.podCIDRs!;
  const routes = await lab.execMust('w2', 'ip', 'route');
  for (const cidr of cidrs) t.true(routes.includes(`${cidr} via 192.168.10.100 dev eth0 proto kernel`), cidr);
  t.true(await lab.reaches('f', [far]));
  t.true(
    (await lab.execMust('w1', 'cilium', 'status')).includes(
      `IPv4: 8/12 allocated from ${cidrs.join(', ')}, `,
    ),
  );
  // After a restart it has both still.
  await lab.must('lab', 'node', 'kill', 'w1');
  await lab.must('lab', 'node', 'start', 'w1');
  t.true((await lab.execMust('w1', 'cilium', 'status')).includes('IPv4: 8/12 allocated from '));
});

test.serial('host-scope: blocks are those of the Node objects', async t => {
  const lab = new TestLab('hostscope');
  t.teardown(() => lab.down());
  await lab.up('w1,w2', 'ipam.mode=kubernetes', 'ipam.operator.clusterPoolIPv4PodCIDRList=10.66.0.0/16');
  const a = await lab.pod('a', 'w1');
  const b = await lab.pod('b', 'w2');
  const nodes = await until<Node>(lab, 'Node', all => all.every(n => n.spec?.podCIDRs?.length === 1));
  const shown = await until<CiliumNode>(lab, 'CiliumNode', all =>
    all.every(n => n.spec.ipam?.podCIDRs?.length === 1),
  );
  for (const node of nodes)
    t.deepEqual(
      shown.find(n => n.metadata.name === node.metadata.name)!.spec.ipam!.podCIDRs,
      node.spec!.podCIDRs,
    );
  t.true(await lab.reaches('a', [b]));
  t.true(await lab.reaches('b', [a]));
});
