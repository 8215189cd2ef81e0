import test from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { startControllersProcess } from '../../src/lab/daemons.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import { findProcess, waitGone } from '../../src/lab/processes.ts';
import type { Deployment, EndpointSlice, KubeObject, Pod, Service } from '../../src/model/types.ts';
import { deployment, service } from '../controllers/world.ts';
import { TestLab } from './lab.ts';
import { TestNode } from './node.ts';
import { untilObjects } from './until.ts';

/** Deployments in a lab, and what they leave on its nodes. Pods are real; controllers are killed on the way. */
const lab = new TestLab('workloads');
const NODES = ['left', 'right'];
const TIMEOUT_MS = 60_000;
let client: ClusterClient;
let nodes: TestNode[];
let before: object[];

test.before(async () => {
  await lab.up(NODES.join());
  client = createClient(labPaths(lab.name).localKubeconfig);
  nodes = NODES.map(name => new TestNode(lab.name, name));
  before = await everything();
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

const everything = (): Promise<object[]> => Promise.all(nodes.map(node => node.everything()));

/** Without what the API server keeps of itself. */
const until = <T extends KubeObject>(kind: string, wanted: (objects: T[]) => boolean): Promise<T[]> =>
  untilObjects<T>(client, kind, all => wanted(all.filter(({ metadata }) => metadata.name !== 'kubernetes')));

async function untilRolledOut(name: string): Promise<void> {
  await until<Deployment>('Deployment', all =>
    all.some(({ metadata, spec, status = {} }) => {
      const counts = [status.replicas, status.updatedReplicas, status.availableReplicas];
      const isSeen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
      return metadata.name === name && isSeen && counts.every(count => (count ?? 0) === spec.replicas);
    }),
  );
}

async function scale(name: string, replicas: number): Promise<void> {
  await client.patch('Deployment', name, { spec: { replicas } }, { subresource: 'scale' });
}

const pods = async (): Promise<Pod[]> => (await client.list<Pod>('Pod')).items;

/** Nothing of any Pod is left on the nodes. Their devices go after the answer to DEL. */
async function untilNothingIsLeft(): Promise<void> {
  await until('Pod', all => all.length === 0);
  await waitUntil('the nodes to be as before', TIMEOUT_MS, async because => {
    const now = await everything();
    because(JSON.stringify(now));
    return JSON.stringify(now) === JSON.stringify(before) ? true : undefined;
  });
}

test.serial('2 Pods, 20, a drained node, 2 again, none: they talk, and all is given back', async t => {
  await client.create<Service>(service('web'));
  await client.create<Deployment>(deployment('web', 2));
  await untilRolledOut('web');
  await scale('web', 20);
  await untilRolledOut('web');
  await until<Pod>('Pod', all => all.length === 20 && all.every(pod => pod.status?.phase === 'Running'));
  const addresses = (await pods()).map(pod => pod.status!.podIP!);
  t.is(new Set(addresses).size, 20);
  for (const node of NODES) t.true(await lab.reaches(node, addresses));
  await until<EndpointSlice>(
    'EndpointSlice',
    slices => slices.flatMap(slice => slice.endpoints).filter(e => e.conditions?.ready).length === 20,
  );

  await client.patch('Node', 'left', { spec: { unschedulable: true } });
  for (const { metadata, spec } of await pods()) {
    if (spec.nodeName !== 'left') continue;
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: metadata.name } };
    await client.createSubresource('Pod', metadata.name, 'eviction', eviction);
  }
  await until<Pod>('Pod', all => all.length === 20 && all.every(({ spec }) => spec.nodeName === 'right'));
  await untilRolledOut('web');
  await client.patch('Node', 'left', { spec: { unschedulable: null } });

  await scale('web', 2);
  await untilRolledOut('web');
  await until('Pod', all => all.length === 2);
  await client.delete('Deployment', 'web');
  await client.delete('Service', 'web');
  for (const kind of ['ReplicaSet', 'Endpoints', 'EndpointSlice']) await until(kind, all => all.length === 0);
  await untilNothingIsLeft();
  t.pass();
});

test.serial('controllers that are killed under way: the next ones come to the same end', async t => {
  const kill = async (): Promise<void> => {
    const { pid } = findProcess(lab.name, 'controllers')!;
    process.kill(pid, 'SIGKILL');
    await waitGone([pid], TIMEOUT_MS);
  };
  /** Kills the controllers after so many changes of Pods, at the latest when all is done, and starts others. */
  const killAfter = async (changes: number): Promise<void> => {
    let seen = 0;
    await Promise.race([until('Pod', () => seen++ >= changes), untilRolledOut('web')]);
    await kill();
    await startControllersProcess(lab.name);
  };
  const sizes = [9, 1, 14, 3, 12];
  await client.create<Deployment>(deployment('web', 5));
  for (const [i, size] of sizes.entries()) {
    await killAfter([1, 12, 30, 5, 18][i]!);
    await scale('web', size);
    if (i === 2) {
      const containers = [{ name: 'c', image: 'v2' }];
      await client.patch('Deployment', 'web', { spec: { template: { spec: { containers } } } });
    }
  }
  await untilRolledOut('web');
  const left = await until<Pod>('Pod', all => all.length === 12 && all.every(p => p.status?.podIP));
  t.true(left.every(pod => pod.spec.containers[0]?.image === 'v2'));
  const addresses = left.map(pod => pod.status!.podIP!);
  t.is(new Set(addresses).size, 12);
  t.true(await lab.reaches('left', addresses));
  await client.delete('Deployment', 'web');
  await kill();
  await startControllersProcess(lab.name);
  await until('ReplicaSet', all => all.length === 0);
  await untilNothingIsLeft();
});
