import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import type { ClusterClient } from '../../src/cluster/index.ts';
import type { Node, Pod } from '../../src/model/types.ts';
import { NOT_READY_TAINT, NodeReadiness, readyNodes } from '../../src/operator/node-readiness.ts';
import { Cluster } from './server.ts';

const OTHER = { key: 'maintenance', value: 'yes', effect: 'NoSchedule' };
const OURS = { key: NOT_READY_TAINT, value: 'true', effect: 'NoSchedule' };

function agent(nodeName: string, ready: 'True' | 'False', deletionTimestamp?: string): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `cilium-${nodeName}`, ...(deletionTimestamp ? { deletionTimestamp } : {}) },
    spec: { nodeName },
    status: { conditions: [{ type: 'Ready', status: ready }] },
  } as unknown as Pod;
}

async function addNode(client: ClusterClient, name: string, taints: object[]): Promise<void> {
  await client.create<Node>({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { taints },
  } as never);
}

const teller = (client: ClusterClient, o: { removeTaints?: boolean; setNetworkStatus?: boolean } = {}) =>
  new NodeReadiness({ client, removeTaints: true, setNetworkStatus: true, log: silent, ...o });
const { signal } = new AbortController();

test('a node with a ready agent loses the taint and gets its network; others stay as they are', async t => {
  const { client } = await Cluster.start(t);
  await addNode(client, 'w1', [OTHER, OURS]);
  await addNode(client, 'w2', [OURS]);
  const pass = async (...agents: Pod[]): Promise<void> =>
    teller(client).pass((await client.list<Node>('Node')).items, agents, signal);
  await pass(agent('w1', 'True'), agent('w2', 'False'));
  const [w1, w2] = [await client.get<Node>('Node', 'w1'), await client.get<Node>('Node', 'w2')];
  t.deepEqual(
    w1.spec!.taints!.map(taint => taint.key),
    ['maintenance'],
  );
  t.like(
    w1.status!.conditions!.find(c => c.type === 'NetworkUnavailable'),
    {
      status: 'False',
      reason: 'CiliumIsUp',
    },
  );
  t.deepEqual(
    w2.spec!.taints!.map(taint => taint.key),
    [NOT_READY_TAINT],
  );
  t.is(
    w2.status?.conditions?.find(c => c.type === 'NetworkUnavailable'),
    undefined,
  );
  // Nothing differs any more: nothing is written, and an agent that restarts takes nothing back.
  await pass(agent('w1', 'True'));
  await pass(agent('w1', 'False'));
  t.is((await client.get<Node>('Node', 'w1')).metadata.resourceVersion, w1.metadata.resourceVersion);
});

test('what is switched off is not told', async t => {
  const { client } = await Cluster.start(t);
  await addNode(client, 'w1', [OURS]);
  const nodes = (await client.list<Node>('Node')).items;
  await teller(client, { removeTaints: false, setNetworkStatus: false }).pass(
    nodes,
    [agent('w1', 'True')],
    signal,
  );
  t.is((await client.get<Node>('Node', 'w1')).metadata.resourceVersion, nodes[0]!.metadata.resourceVersion);
});

test('a taint that moved meanwhile is not mistaken for another, and one node does not keep the rest', async t => {
  const { client } = await Cluster.start(t);
  await addNode(client, 'w1', [OURS, OTHER]);
  await addNode(client, 'w2', [OURS]);
  const { items: stale } = await client.list<Node>('Node');
  await client.patch('Node', 'w1', { spec: { taints: [OTHER, OURS] } });
  await t.throwsAsync(teller(client).pass(stale, [agent('w1', 'True'), agent('w2', 'True')], signal), {
    instanceOf: FimbriaError,
  });
  t.is((await client.get<Node>('Node', 'w1')).spec!.taints!.length, 2);
  t.deepEqual((await client.get<Node>('Node', 'w2')).spec?.taints ?? [], []);
});

test('a Pod that is going away makes no node ready', t => {
  t.deepEqual(
    [...readyNodes([agent('a', 'True'), agent('b', 'False'), agent('c', 'True', '2026-01-01T00:00:00Z')])],
    ['a'],
  );
});
