import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { DeleteOptions } from '../../src/cluster/index.ts';
import type { Deployment, EndpointSlice, Event, Pod, ReplicaSet, Service } from '../../src/model/types.ts';
import { refusal, UnreliableClient } from './unreliable-client.ts';
import { ControllerWorld, NODES, service } from './world.ts';

const RUNS = process.env['FIMBRIA_TEST_FULL'] === '1' ? 100 : 8;

/** What is there in the end, whatever happened on the way. */
async function assertSettled(t: ExecutionContext, world: ControllerWorld, image: string): Promise<void> {
  const { spec } = await world.untilRolledOut('web');
  await world.cluster.until<Pod>('Pod', pods => pods.length === spec.replicas);
  const pods = await world.pods();
  t.true(pods.every(pod => pod.spec.containers[0]?.image === image && pod.status?.phase === 'Running'));
  const active = (await world.sets()).filter(set => set.spec.replicas !== 0);
  t.deepEqual(
    active.map(set => [set.spec.replicas, set.status?.availableReplicas]),
    [[spec.replicas, spec.replicas]],
  );
  const addresses = pods.map(({ status }) => status?.podIP).sort();
  await world.cluster.until<EndpointSlice>('EndpointSlice', slices => {
    const ready = slices.flatMap(s => s.endpoints.filter(e => e.conditions?.ready).flatMap(e => e.addresses));
    return JSON.stringify(ready.sort()) === JSON.stringify(addresses);
  });
}

test('killed at any write, done or not, the next controllers come to the same end', async t => {
  const kill = fc.record({
    atWrite: fc.integer({ min: 1, max: 40 }),
    last: fc.constantFrom('done' as const, 'not done' as const),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(kill, { minLength: 1, maxLength: 3 }), async kills => {
      const world = await ControllerWorld.start(t);
      const act = [
        async () => {
          await world.deploy('web', 3);
          await world.client.create<Service>(service('web', { type: 'NodePort' }));
        },
        () => world.scale('web', 6),
        () => world.setImage('web', 'v2'),
      ];
      for (const [i, { atWrite, last }] of kills.entries()) {
        const client = new UnreliableClient(world.cluster.newClient());
        const dead = client.dieAt(atWrite, last);
        await Promise.race([world.startControllers(client), dead]);
        await act[i]?.();
        // With fewer writes to do than that it lives until all is as it should be.
        await Promise.race([dead, world.untilRolledOut('web')]);
        world.stopControllers();
      }
      for (const next of act.slice(kills.length)) await next();
      await world.startControllers();
      await assertSettled(t, world, 'v2');
      await world.client.delete('Deployment', 'web');
      await world.client.delete('Service', 'web');
      await world.untilNone('ReplicaSet', 'Pod', 'Endpoints', 'EndpointSlice');
      world.stopControllers();
    }),
    { numRuns: RUNS },
  );
  t.pass();
});

test('a watch that lags makes nobody create or delete twice', async t => {
  const world = await ControllerWorld.start(t);
  const client = new UnreliableClient(world.cluster.newClient());
  await world.startControllers(client);
  await world.deploy('web', 2);
  await world.untilRolledOut('web');
  let [created, deleted] = [0, 0];
  client.refuse = (write, [what, , options]) => {
    const more = options as DeleteOptions | undefined;
    if (write === 'create' && (what as Pod).kind === 'Pod') created++;
    // A kubelet deletes, too, what has ended.
    if (write === 'delete' && what === 'Pod' && more?.gracePeriodSeconds === undefined) deleted++;
    return undefined;
  };
  const [{ metadata }] = (await world.sets()) as [ReplicaSet];
  const { name } = metadata;
  /** The controllers look again, many times, at what they have not seen the effect of. */
  const nudge = async (replicas: number): Promise<void> => {
    await world.cluster.until<ReplicaSet>('ReplicaSet', sets =>
      sets.some(set => set.metadata.name === name && set.spec.replicas === replicas),
    );
    for (let i = 0; i < 5; i++) {
      await world.client.patch('ReplicaSet', name, { metadata: { annotations: { nudge: `${i}` } } });
      // A round of other work of the same controllers, so that they have had their turn.
      await world.deploy(`other-${replicas}-${i}`, 0);
      await world.untilRolledOut(`other-${replicas}-${i}`);
    }
  };
  client.hold('Pod');
  await world.scale('web', 7);
  await nudge(7);
  t.is((await world.pods()).length, 7);
  t.is(created, 5);
  client.release('Pod');
  await world.untilRolledOut('web');
  client.hold('Pod');
  await world.scale('web', 2);
  await nudge(2);
  t.is(deleted, 5);
  client.release('Pod');
  await world.untilRolledOut('web');
  await world.cluster.until<Pod>('Pod', pods => pods.length === 2);

  client.hold('ReplicaSet');
  await world.setImage('web', 'v2');
  await world.cluster.until<ReplicaSet>('ReplicaSet', sets =>
    sets.some(s => s.spec.template?.spec.containers[0]?.image === 'v2'),
  );
  for (let i = 0; i < 10; i++)
    await world.client.patch('Deployment', 'web', { metadata: { annotations: { nudge: `${i}` } } });
  const ofWeb = (await world.sets()).filter(({ metadata }) => metadata.labels?.['app'] === 'web');
  t.is(ofWeb.length, 2);
  client.release('ReplicaSet');
  await world.untilRolledOut('web');
});

test('what the server refuses is said in status and Events, tried again, and goes away when it is taken', async t => {
  const world = await ControllerWorld.start(t);
  const client = new UnreliableClient(world.cluster.newClient());
  let refused = 0;
  client.refuse = (write, [what]) => {
    if (write !== 'create' || (what as Pod).kind !== 'Pod') return undefined;
    refused++;
    return refusal('no more Pods today');
  };
  await world.startControllers(client);
  await world.deploy('web', 50);
  const failure = ({ status }: Deployment | ReplicaSet) =>
    status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
  const [failed] = await world.cluster.until<Deployment>('Deployment', all =>
    all.some(d => failure(d) !== undefined),
  );
  t.like(failure(failed!), { status: 'True', reason: 'FailedCreate' });
  t.regex(failure(failed!)?.message ?? '', /no more Pods today/);
  await world.cluster.until<Event>('Event', events => events.some(({ reason }) => reason === 'FailedCreate'));
  t.true(refused < 25, 'one at a time, not all fifty again and again');
  client.refuse = () => undefined;
  const done = await world.untilRolledOut('web');
  t.is(done.status?.availableReplicas, 50);
  await world.cluster.until<Deployment>('Deployment', all => all.every(d => failure(d) === undefined));
});

test('while the server is away everybody waits, and goes on when it is back', async t => {
  const world = await ControllerWorld.start(t);
  await world.startControllers();
  await world.deploy('web', 8);
  await world.client.create<Service>(service('web'));
  for (let round = 0; round < 3; round++) {
    await world.setImage('web', `v${round}`);
    await world.cluster.until<ReplicaSet>('ReplicaSet', sets =>
      sets.some(set => set.spec.template?.spec.containers[0]?.image === `v${round}`),
    );
    await world.cluster.stop();
    await world.cluster.start();
  }
  await assertSettled(t, world, 'v2');
});

test('all controllers together have one watch of each kind', async t => {
  const world = await ControllerWorld.start(t);
  const client = new UnreliableClient(world.cluster.newClient());
  const watched: string[] = [];
  const informer = client.informer.bind(client);
  client.informer = (kind, options) => {
    watched.push(kind);
    return informer(kind, options);
  };
  await world.startControllers(client);
  await world.deploy('web', 1);
  await world.untilRolledOut('web');
  t.is(new Set(watched).size, watched.length);
  t.true(watched.includes('CiliumEndpoint'));
});

test('controllers that are given up while they start leave nothing running', async t => {
  const world = await ControllerWorld.start(t);
  /** How often kubelets of the runtime of now looked after it; `times` resolves when they have so often. */
  const looks = () => {
    const { runtime } = world;
    const waiting: { at: number; resolve(): void }[] = [];
    const count = {
      of: 0,
      times: (at: number) => new Promise<void>(resolve => waiting.push({ at, resolve })),
    };
    runtime.networkAway = async () => {
      count.of++;
      for (const { at, resolve } of waiting) if (count.of >= at) resolve();
      return undefined;
    };
    return count;
  };
  const client = new UnreliableClient(world.cluster.newClient());
  const { create } = client;
  // The second node is never registered; the first one's kubelet begins.
  client.create = (object, ...more) =>
    object.kind === 'Node' && object.metadata.name === 'n1' ? new Promise(() => {}) : create(object, ...more);
  void world.startControllers(client);
  const half = looks();
  await half.times(1);
  world.stopControllers();
  const { of } = half;
  await world.startControllers();
  await looks().times(2 * NODES.length);
  t.is(half.of, of);
});
