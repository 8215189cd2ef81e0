import test from 'ava';
import { controllerOf, isLeaving } from '../../src/controllers/objects.ts';
import type { EndpointSlice, Endpoints, Event, Node, Pod, Service } from '../../src/model/types.ts';
import { ControllerWorld, service } from './world.ts';

const images = (pods: Pod[]): string[] => [
  ...new Set(pods.map(({ spec }) => spec.containers[0]?.image ?? '')),
];

test('a Deployment comes up, grows and shrinks; deleted, it takes all it owns along', async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.deploy('web', 2);
  await world.untilRolledOut('web');
  await world.scale('web', 20);
  await world.untilRolledOut('web');
  const pods = await world.pods();
  t.is(pods.length, 20);
  t.true(pods.every(pod => pod.status?.phase === 'Running'));
  await world.scale('web', 2);
  const { status } = await world.untilRolledOut('web');
  t.like(
    status?.conditions?.find(({ type }) => type === 'Progressing'),
    { reason: 'NewReplicaSetAvailable' },
  );
  t.is((await world.sets()).length, 1);
  await world.client.delete('Deployment', 'web');
  await world.untilNone('ReplicaSet', 'Pod');
  t.is(world.runtime.sandboxes.size, 0);
});

test('a new template replaces the Pods, the old one brings its set back', async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.deploy('web', 4, { revisionHistoryLimit: 1 });
  await world.untilRolledOut('web');
  for (const [image, revision] of [
    ['v2', '2'],
    ['v3', '3'],
    ['v2', '4'],
  ] as const) {
    await world.setImage('web', image);
    const { metadata } = await world.untilRolledOut('web');
    t.is(metadata.annotations?.['deployment.kubernetes.io/revision'], revision);
    t.deepEqual(images(await world.pods()), [image]);
  }
  await world.cluster.until('ReplicaSet', sets => sets.length === 2);
  t.is((await world.pods()).length, 4);
});

test('Pods of an old set are adopted, a Pod whose labels leave the set is replaced and let go', async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.deploy('web', 2);
  await world.untilRolledOut('web');
  const before = (await world.pods()).map(({ metadata }) => metadata.uid).sort();
  await world.client.delete('Deployment', 'web', { propagationPolicy: 'Orphan' });
  await world.cluster.until('ReplicaSet', sets => sets.every(set => controllerOf(set) === undefined));
  await world.untilNone('Deployment');
  await world.deploy('web', 2);
  await world.untilRolledOut('web');
  t.deepEqual((await world.pods()).map(({ metadata }) => metadata.uid).sort(), before);
  const [stray] = await world.pods();
  await world.client.patch('Pod', stray!.metadata.name, { metadata: { labels: { app: 'stray' } } });
  await world.cluster.until<Pod>(
    'Pod',
    pods => pods.length === 3 && pods.filter(pod => controllerOf(pod) === undefined).length === 1,
  );
  await world.untilRolledOut('web');
  t.is((await world.pods()).length, 3);
});

test('a name that another set has is gone round', async t => {
  const world = await ControllerWorld.start(t);
  await world.deploy('web', 1);
  await world.startControllers();
  await world.untilRolledOut('web');
  const [taken] = await world.sets();
  await world.client.delete('Deployment', 'web');
  await world.untilNone('ReplicaSet', 'Pod');
  const { name, namespace } = taken!.metadata;
  const foreign = { app: 'foreign' };
  await world.client.create({
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: { name, namespace: namespace! },
    spec: {
      replicas: 0,
      selector: { matchLabels: foreign },
      template: { metadata: { labels: foreign }, spec: taken!.spec.template!.spec },
    },
  } as never);
  await world.deploy('web', 1);
  const { status } = await world.untilRolledOut('web');
  t.is(status?.collisionCount, 1);
});

test('a Service gets an address, a port and its Pods; they follow, and go with it', async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.client.create<Service>(service('web', { type: 'NodePort' }));
  const [made] = await world.cluster.until<Service>('Service', all =>
    all.some(s => s.spec.ports?.[0]?.nodePort),
  );
  t.regex(made!.spec.clusterIP ?? '', /^10\.(9[6-9]|1[01]\d)\./);
  t.deepEqual(made!.spec.clusterIPs, [made!.spec.clusterIP]);
  await world.deploy('web', 3);
  const ready = (all: EndpointSlice[]): string[] =>
    all
      .flatMap(slice => slice.endpoints)
      .filter(e => e.conditions?.ready)
      .flatMap(e => e.addresses)
      .sort();
  const slices = await world.cluster.until<EndpointSlice>('EndpointSlice', all => ready(all).length === 3);
  t.deepEqual(ready(slices), (await world.pods()).map(({ status }) => status?.podIP).sort());
  await world.cluster.until<Endpoints>('Endpoints', all => all[0]?.subsets?.[0]?.addresses?.length === 3);
  await world.scale('web', 1);
  await world.cluster.until<EndpointSlice>('EndpointSlice', all => ready(all).length === 1);
  // What somebody changes of them comes back.
  await world.client.delete('EndpointSlice', slices[0]!.metadata.name);
  await world.client.patch('Endpoints', 'web', { subsets: [] });
  await world.cluster.until<EndpointSlice>('EndpointSlice', all => ready(all).length === 1);
  await world.cluster.until<Endpoints>('Endpoints', all => all[0]?.subsets?.[0]?.addresses?.length === 1);
  await world.client.delete('Service', 'web');
  await world.untilNone('Endpoints', 'EndpointSlice');
  t.is((await world.pods()).length, 1);
});

test('a node that is cordoned gets no Pods, one that is drained loses its own', async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.deploy('web', 6);
  await world.untilRolledOut('web');
  await world.client.patch('Node', 'n0', { spec: { unschedulable: true } });
  const drained = (await world.pods()).filter(({ spec }) => spec.nodeName === 'n0');
  t.is(drained.length, 3);
  for (const { metadata } of drained) {
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: metadata.name } };
    await world.client.createSubresource('Pod', metadata.name, 'eviction', eviction);
  }
  await world.cluster.until<Pod>(
    'Pod',
    pods => pods.filter(pod => !isLeaving(pod) && pod.spec.nodeName === 'n1').length === 6,
  );
  await world.untilRolledOut('web');
  t.true((await world.pods()).every(({ spec }) => spec.nodeName === 'n1'));
});

test('a namespace that is deleted takes its Deployment along, and nothing is made in it any more', async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'gone' } } as never);
  const { metadata: _default, ...rest } = (await world.deploy('web', 2)) as never as { metadata: object };
  const metadata = { name: 'web', namespace: 'gone' };
  await world.client.create({ ...rest, metadata, status: undefined } as never);
  await world.cluster.until<Pod>(
    'Pod',
    pods =>
      pods.filter(pod => pod.metadata.namespace === 'gone' && pod.status?.phase === 'Running').length === 2,
  );
  await world.client.delete('Namespace', 'gone');
  await world.cluster.until('Namespace', all => !all.some(one => one.metadata.name === 'gone'));
  t.true((await world.pods()).every(pod => pod.metadata.namespace === 'default'));
});

test('a node is not ready while its agent stays away, one without a kubelet is unknown, and its Pods go with it', async t => {
  const world = await ControllerWorld.start(t);
  const readiness = (name: string, status: string) =>
    world.cluster.until<Node>('Node', nodes =>
      nodes.some(
        node =>
          node.metadata.name === name &&
          node.status?.conditions?.some(c => c.type === 'Ready' && c.status === status),
      ),
    );
  await world.startControllers(undefined, 50);
  world.runtime.away.add('n1');
  await readiness('n1', 'False');
  await readiness('n0', 'True');
  world.runtime.away.clear();
  await readiness('n1', 'True');
  await world.client.create({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'lost' } } as never);
  await readiness('lost', 'Unknown');
  await world.client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default' },
    spec: { containers: [{ name: 'c', image: 'x' }], nodeName: 'lost' },
  });
  await world.client.delete('Node', 'lost');
  await world.untilNone('Pod');
  t.pass();
});

test("an address that two Services ask for is one's only, and an Event says so", async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.client.create<Service>(service('a', { clusterIP: '10.96.7.7' }));
  await world.client.create<Service>(service('b', { clusterIP: '10.96.7.7' }));
  const events = await world.cluster.until<Event>('Event', all =>
    all.some(({ reason }) => reason === 'AllocatedTwice'),
  );
  const { message = '' } = events.find(({ reason }) => reason === 'AllocatedTwice')!;
  t.regex(message, /^Cluster IP 10\.96\.7\.7 is default\/[ab]'s; delete one of the two/);
});
