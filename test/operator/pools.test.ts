import test, { type ExecutionContext } from 'ava';
import { silent } from '../../src/base/log.ts';
import { parseFlat } from '../../src/config/index.ts';
import type { CiliumNode, CiliumPodIPPool, Event } from '../../src/model/types.ts';
import { runOperator } from '../../src/operator/operator.ts';
import { Cluster } from './server.ts';

const AUTO = 'default=ipv4-cidrs:172.20.0.0/16;ipv4-mask-size:28';

function operate(
  t: ExecutionContext,
  cluster: Cluster,
  flat: Record<string, string>,
): { stop(): Promise<void> } {
  const abort = new AbortController();
  const config = parseFlat({ 'auto-create-cilium-pod-ip-pools': AUTO, ipam: 'multi-pool', ...flat });
  const done = runOperator(
    { client: cluster.newClient(), config, identity: 'one', log: silent },
    abort.signal,
  );
  const stop = async (): Promise<void> => {
    abort.abort();
    await done;
  };
  t.teardown(stop);
  return { stop };
}

const request = (cluster: Cluster, name: string, requested: Record<string, number>): Promise<unknown> =>
  cluster.client.patch('CiliumNode', name, {
    spec: {
      ipam: {
        pools: {
          requested: Object.entries(requested).map(([pool, count]) => ({
            pool,
            needed: { 'ipv4-addrs': count },
          })),
        },
      },
    },
  });

/** Resolves when a node's blocks are these. */
async function untilAllocated(
  cluster: Cluster,
  node: string,
  wanted: Record<string, string[]>,
): Promise<void> {
  const text = JSON.stringify(Object.entries(wanted).map(([pool, cidrs]) => ({ cidrs, pool })));
  await cluster.until<CiliumNode>('CiliumNode', nodes =>
    nodes.some(
      n =>
        n.metadata.name === node &&
        JSON.stringify((n.spec.ipam?.pools?.allocated ?? []).map(({ pool, cidrs }) => ({ cidrs, pool }))) ===
          text,
    ),
  );
}

const addPool = (cluster: Cluster, name: string, cidr: string, maskSize = 29): Promise<CiliumPodIPPool> =>
  cluster.client.create<CiliumPodIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name },
    spec: { ipv4: { cidrs: [cidr], maskSize } },
  });

const untilPool = (
  cluster: Cluster,
  name: string,
  wanted: (pool: CiliumPodIPPool | undefined) => boolean,
): Promise<CiliumPodIPPool[]> =>
  cluster.until<CiliumPodIPPool>('CiliumPodIPPool', pools =>
    wanted(pools.find(p => p.metadata.name === name)),
  );

test('pools are made, blocks follow what nodes request, what is given back is given again', async t => {
  const cluster = await Cluster.start(t);
  operate(t, cluster, {});
  await cluster.addNode('w1');
  await request(cluster, 'w1', { default: 16 });
  await untilAllocated(cluster, 'w1', { default: ['172.20.0.0/28', '172.20.0.16/28'] });
  t.deepEqual((await cluster.client.get<CiliumPodIPPool>('CiliumPodIPPool', 'default')).spec, {
    ipv4: { cidrs: ['172.20.0.0/16'], maskSize: 28 },
  });
  await addPool(cluster, 'vac', '10.100.0.0/16');
  await request(cluster, 'w1', { default: 16, vac: 1 });
  await untilAllocated(cluster, 'w1', {
    default: ['172.20.0.0/28', '172.20.0.16/28'],
    vac: ['10.100.0.0/29'],
  });
  // The node gives its block back; the next one gets it.
  await cluster.client.patch('CiliumNode', 'w1', {
    spec: { ipam: { pools: { requested: [], allocated: [{ pool: 'default', cidrs: ['172.20.0.0/28'] }] } } },
  });
  await cluster.addNode('w2');
  await request(cluster, 'w2', { vac: 7, default: 14 });
  await untilAllocated(cluster, 'w2', {
    default: ['172.20.0.16/28'],
    vac: ['10.100.0.0/29', '10.100.0.8/29'],
  });
});

test('a shortage is told on the node and taken back when there is room', async t => {
  const cluster = await Cluster.start(t);
  operate(t, cluster, {});
  await addPool(cluster, 'mars', '10.20.0.0/29');
  await cluster.addNode('w1');
  await request(cluster, 'w1', { mars: 7, pluto: 1 });
  const errorOf = (nodes: CiliumNode[]): string =>
    nodes.find(n => n.metadata.name === 'w1')?.status?.ipam?.['operator-status']?.error ?? '';
  const short = await cluster.until<CiliumNode>('CiliumNode', nodes => errorOf(nodes).includes('in use'));
  t.regex(
    errorOf(short),
    /pool mars: node w1 needs 7 .*; pool pluto: node w1 .* cannot allocate from non-existing pool/,
  );
  await cluster.client.patch('CiliumPodIPPool', 'mars', {
    spec: { ipv4: { cidrs: ['10.20.0.0/29', '10.21.0.0/29'], maskSize: 29 } },
  });
  await addPool(cluster, 'pluto', '10.30.0.0/24');
  await cluster.until<CiliumNode>('CiliumNode', nodes => errorOf(nodes) === '');
  await untilAllocated(cluster, 'w1', { mars: ['10.20.0.0/29', '10.21.0.0/29'], pluto: ['10.30.0.0/29'] });
});

test('a pool in use waits to be deleted and says for whom; unused, it goes at once', async t => {
  const cluster = await Cluster.start(t);
  operate(t, cluster, {});
  await addPool(cluster, 'idle', '10.40.0.0/24');
  await addPool(cluster, 'mars', '10.20.0.0/24');
  await cluster.addNode('w1');
  await request(cluster, 'w1', { mars: 7 });
  await untilAllocated(cluster, 'w1', { mars: ['10.20.0.0/29', '10.20.0.8/29'] });
  await cluster.client.delete('CiliumPodIPPool', 'mars');
  await cluster.client.delete('CiliumPodIPPool', 'idle');
  await untilPool(cluster, 'idle', pool => pool === undefined);
  const held = await untilPool(cluster, 'mars', pool => pool?.status?.conditions?.length === 1);
  const [condition] = held.find(p => p.metadata.name === 'mars')!.status!.conditions!;
  t.like(condition, { type: 'cilium.io/InUse', status: 'True', reason: 'BlocksHeld' });
  t.regex(condition!.message!, /hold blocks of this pool: w1 \(2 blocks\)/);
  await cluster.client.patch('CiliumNode', 'w1', {
    spec: { ipam: { pools: { requested: [], allocated: [] } } },
  });
  await untilPool(cluster, 'mars', pool => pool === undefined);
});

test('the younger of two pools that overlap is parked, until the older goes', async t => {
  const cluster = await Cluster.start(t);
  operate(t, cluster, {});
  await addPool(cluster, 'a', '10.20.0.0/16');
  await addPool(cluster, 'b', '10.20.128.0/17');
  await untilPool(cluster, 'b', pool =>
    (pool?.status?.conditions ?? []).some(
      c => c.type === 'cilium.io/PoolConflict' && c.reason === 'cidr_overlap',
    ),
  );
  await cluster.client.delete('CiliumPodIPPool', 'a');
  await untilPool(cluster, 'b', pool => (pool?.status?.conditions ?? []).length === 0);
  t.pass();
});

test('a pool is replaced as the document says: new values, the old one deleted, the operator started again', async t => {
  const cluster = await Cluster.start(t);
  const first = operate(t, cluster, {});
  await cluster.addNode('old');
  await request(cluster, 'old', { default: 14 });
  await untilAllocated(cluster, 'old', { default: ['172.20.0.0/28'] });
  // Deleted before the operator knows of another: it stays.
  await cluster.client.delete('CiliumPodIPPool', 'default');
  await untilPool(cluster, 'default', pool => pool?.status?.conditions?.length === 1);
  await first.stop();
  operate(t, cluster, {
    'auto-create-cilium-pod-ip-pools': 'default=ipv4-cidrs:10.50.0.0/16;ipv4-mask-size:27',
  });
  await untilPool(cluster, 'default', pool => pool?.spec.ipv4?.cidrs[0] === '10.50.0.0/16');
  // Who was there before keeps what it has and gets what is new beside it.
  await untilAllocated(cluster, 'old', { default: ['10.50.0.0/27', '172.20.0.0/28'] });
  // A node whose CiliumNode is made anew has new ones only.
  await cluster.client.delete('CiliumNode', 'old');
  await cluster.addCiliumNode('old');
  await request(cluster, 'old', { default: 14 });
  await untilAllocated(cluster, 'old', { default: ['10.50.0.0/27'] });
  t.pass();
});

test('an operator that starts beside a node in need knows first what all the others hold', async t => {
  const cluster = await Cluster.start(t);
  const first = operate(t, cluster, {});
  await addPool(cluster, 'west', '10.33.0.0/16');
  await cluster.addNode('w9');
  await request(cluster, 'w9', { west: 1 });
  await untilAllocated(cluster, 'w9', { west: ['10.33.0.0/29'] });
  await first.stop();
  // It comes before the other in every list.
  await cluster.addNode('w1');
  await request(cluster, 'w1', { west: 1 });
  operate(t, cluster, {});
  const nodes = await cluster.until<CiliumNode>('CiliumNode', all =>
    all.some(n => n.metadata.name === 'w1' && n.spec.ipam?.pools?.allocated?.length),
  );
  t.deepEqual(nodes.map(n => [n.metadata.name, n.spec.ipam?.pools?.allocated]).sort(), [
    ['w1', [{ pool: 'west', cidrs: ['10.33.0.8/29'] }]],
    ['w9', [{ pool: 'west', cidrs: ['10.33.0.0/29'] }]],
  ]);
});

test('an operator that starts again gives nothing twice, and a pool that exists is never changed', async t => {
  const cluster = await Cluster.start(t);
  await addPool(cluster, 'default', '10.60.0.0/24', 28);
  const first = operate(t, cluster, {});
  await cluster.addNode('w1');
  await request(cluster, 'w1', { default: 14 });
  await untilAllocated(cluster, 'w1', { default: ['10.60.0.0/28'] });
  await first.stop();
  await cluster.addNode('w2');
  await request(cluster, 'w2', { default: 14 });
  operate(t, cluster, {});
  await untilAllocated(cluster, 'w2', { default: ['10.60.0.16/28'] });
  t.deepEqual((await cluster.client.get<CiliumNode>('CiliumNode', 'w1')).spec.ipam?.pools?.allocated, [
    { pool: 'default', cidrs: ['10.60.0.0/28'] },
  ]);
});

test('a full node gets a second block when that is switched on', async t => {
  const cluster = await Cluster.start(t);
  operate(t, cluster, {
    ipam: 'cluster-pool',
    'cluster-pool-ipv4-cidr': '10.70.0.0/27',
    'cluster-pool-ipv4-mask-size': '29',
    'ipam-grow-full-nodes': 'true',
  });
  await cluster.addNode('w1');
  await cluster.addNode('w2');
  await cluster.untilBlocks(2);
  const [full] = (await cluster.blocks())['w1']!;
  await cluster.client.patch(
    'CiliumNode',
    'w1',
    { status: { ipam: { 'pod-cidrs': { [full!]: { status: 'depleted' } } } } },
    { subresource: 'status' },
  );
  await cluster.until<CiliumNode>('CiliumNode', nodes =>
    nodes.some(n => n.metadata.name === 'w1' && n.spec.ipam?.podCIDRs?.length === 2),
  );
  t.deepEqual((await cluster.blocks())['w1'], [full, '10.70.0.16/29']);
});

test('a pool whose last block was given says so before anybody lacks one, a node that does is told by status and event', async t => {
  const cluster = await Cluster.start(t);
  operate(t, cluster, {});
  await addPool(cluster, 'small', '10.9.0.0/28');
  await cluster.addNode('w1');
  const exhausted = (pool: CiliumPodIPPool | undefined) =>
    pool?.status?.conditions?.find(({ type }) => type === 'cilium.io/Exhausted');
  await request(cluster, 'w1', { small: 5 });
  await untilAllocated(cluster, 'w1', { small: ['10.9.0.0/29'] });
  await request(cluster, 'w1', { small: 10 });
  const full = await untilPool(cluster, 'small', pool => exhausted(pool) !== undefined);
  const { message } = exhausted(full.find(pool => pool.metadata.name === 'small'))!;
  t.is(
    message,
    'every block is held by a node: ipv4 (/29); a node that needs one more gets none until a range is appended to spec.ipv4.cidrs or pods go',
  );
  await request(cluster, 'w1', { small: 30 });
  const [event] = await cluster.until<Event>('Event', events => events.length > 0);
  t.is(event?.involvedObject.kind, 'CiliumNode');
  t.is(event?.involvedObject.name, 'w1');
  t.is(event?.reason, 'IPAMFailed');
  t.regex(event?.message ?? '', /^pool small: node w1 needs 30 ipv4 addresses and has 1[0-9]: all 2 blocks/);
  await cluster.client.patch('CiliumPodIPPool', 'small', {
    spec: { ipv4: { cidrs: ['10.9.0.0/28', '10.9.1.0/24'] } },
  });
  await untilPool(cluster, 'small', pool => pool !== undefined && exhausted(pool) === undefined);
  await cluster.until<CiliumNode>('CiliumNode', nodes =>
    nodes.every(node => !node.status?.ipam?.['operator-status']?.error),
  );
});
