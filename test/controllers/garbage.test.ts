import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { silent } from '../../src/base/log.ts';
import { GarbageCollector } from '../../src/controllers/garbage/collector.ts';
import { Informers } from '../../src/controllers/informers.ts';
import type { KubeObject } from '../../src/model/types.ts';
import { Cluster } from '../operator/server.ts';
import { UnreliableClient } from './unreliable-client.ts';
import { configMap } from './world.ts';

type Policy = 'Background' | 'Foreground' | 'Orphan';

const BLOCKING = { blockOwnerDeletion: true };

interface World {
  cluster: Cluster;
  client: UnreliableClient;
  make(name: string, owners?: KubeObject[], more?: object): Promise<KubeObject>;
  remove(name: string, propagationPolicy: Policy): Promise<boolean>;
  names(): Promise<string[]>;
  /** Resolves when these are all that is left, and the collector has had its turn since. */
  untilLeft(...names: string[]): Promise<void>;
}

let fences = 0;

async function start(t: ExecutionContext): Promise<World> {
  const cluster = await Cluster.start(t);
  const client = new UnreliableClient(cluster.newClient());
  const informers = new Informers(client);
  const collector = new GarbageCollector(client, informers, silent);
  t.teardown(() => {
    collector.close();
    informers.close();
  });
  const world: World = {
    cluster,
    client,
    make: (name, owners, more) => cluster.client.create<KubeObject>(configMap(name, owners, more)),
    remove: (name, propagationPolicy) => cluster.client.delete('ConfigMap', name, { propagationPolicy }),
    names: () => cluster.names('ConfigMap'),
    async untilLeft(...names) {
      const wanted = JSON.stringify(names.sort());
      await cluster.until(
        'ConfigMap',
        all => JSON.stringify(all.map(o => o.metadata.name).sort()) === wanted,
      );
      fences++;
      const nobody = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'nobody', uid: `no-${fences}` },
      };
      const fence = await world.make(`fence-${fences}`, [nobody]);
      await cluster.until('ConfigMap', all => !all.some(o => o.metadata.uid === fence.metadata.uid));
      t.deepEqual(await world.names(), names.sort());
    },
  };
  return world;
}

test('what an owner leaves behind goes, and what that owns', async t => {
  const world = await start(t);
  const a = await world.make('a');
  const b = await world.make('b', [a]);
  await world.make('c', [b]);
  await world.make('free');
  await world.remove('a', 'Background');
  await world.untilLeft('free');
});

test('in the foreground an owner waits for those that block it', async t => {
  const world = await start(t);
  const a = await world.make('a');
  const b = await world.make('b', [a], BLOCKING);
  const c = await world.make('c', [b], BLOCKING);
  // Something that only the test lets go.
  const held = { metadata: { finalizers: ['test/held'] } };
  await world.cluster.client.patch('ConfigMap', c.metadata.name, held);
  await world.remove('a', 'Foreground');
  await world.cluster.until('ConfigMap', all => all.every(o => o.metadata.deletionTimestamp !== undefined));
  await world.untilLeft('a', 'b', 'c');
  await world.cluster.client.patch('ConfigMap', 'c', { metadata: { finalizers: null } });
  await world.untilLeft();
});

for (const lags of [false, true]) {
  test(`orphans stay and forget their owner${lags ? ', also those that the watch has not brought yet' : ''}`, async t => {
    const world = await start(t);
    const { client } = world.cluster;
    const account = await client.create<KubeObject>({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'a', namespace: 'default' },
    });
    await world.untilLeft();
    if (lags) world.client.hold('ConfigMap');
    await world.make('b', [account]);
    await world.make('c', [account], BLOCKING);
    await client.delete('ServiceAccount', 'a', { propagationPolicy: 'Orphan' });
    await world.cluster.until('ServiceAccount', all => all.every(({ metadata }) => metadata.name !== 'a'));
    world.client.release('ConfigMap');
    await world.untilLeft('b', 'c');
    for (const name of ['b', 'c']) {
      const { metadata } = await client.get('ConfigMap', name);
      t.is(metadata.ownerReferences?.length ?? 0, 0);
    }
  });
}

test('an owner that the watch has not brought yet keeps what it owns', async t => {
  const world = await start(t);
  await world.untilLeft();
  world.client.hold('ServiceAccount');
  const account = await world.cluster.client.create<KubeObject>({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'a', namespace: 'default' },
  });
  await world.make('b', [account]);
  await world.untilLeft('b');
  world.client.release('ServiceAccount');
  await world.untilLeft('b');
  await world.cluster.client.delete('ServiceAccount', 'a');
  await world.untilLeft();
});

test('one owner that stays is enough; references that cannot be right go, those that nobody understands stay', async t => {
  const world = await start(t);
  const [a, b] = [await world.make('a'), await world.make('b')];
  await world.make('both', [a, b]);
  await world.make('other-uid', [{ ...a, metadata: { ...a.metadata, uid: 'another' } }]);
  await world.make('unknown-kind', [{ ...a, apiVersion: 'x/v1', kind: 'Whatever' }]);
  await world.cluster.client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'else' } });
  const elsewhere = await world.cluster.client.create<KubeObject>({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'elsewhere', namespace: 'else' },
  });
  await world.make('owned-elsewhere', [elsewhere]);
  await world.remove('a', 'Background');
  await world.untilLeft('b', 'both', 'elsewhere', 'unknown-kind');
  const { metadata } = await world.cluster.client.get('ConfigMap', 'both');
  t.deepEqual(
    metadata.ownerReferences?.map(({ name }) => name),
    ['b'],
  );
});

/** Objects 0, 1, 2… each owned by some before it. */
const family = fc
  .array(fc.array(fc.nat({ max: 100 }), { maxLength: 2 }), { minLength: 1, maxLength: 12 })
  .map(all => all.map((owners, i) => [...new Set(owners.filter(() => i > 0).map(owner => owner % i))]));
const policies = fc.constantFrom('Background' as const, 'Foreground' as const);

test('any family, any deletions: exactly those are left that somebody keeps', async t => {
  const world = await start(t);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      family,
      fc.array(fc.tuple(fc.nat({ max: 100 }), policies), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (owners, deletions, blocking) => {
        run++;
        const name = (i: number): string => `run-${run}-${i}`;
        const made: KubeObject[] = [];
        for (const [i, of] of owners.entries()) {
          const more = blocking ? BLOCKING : {};
          made.push(
            await world.make(
              name(i),
              of.map(owner => made[owner]!),
              more,
            ),
          );
        }
        const deleted = deletions.map(([i]) => i % owners.length);
        for (const [n, [, policy]] of deletions.entries()) await world.remove(name(deleted[n]!), policy);
        // Owners come before what they own.
        const stays: boolean[] = [];
        for (const [i, of] of owners.entries()) {
          stays.push(!deleted.includes(i) && (of.length === 0 || of.some(owner => stays[owner])));
        }
        await world.untilLeft(...owners.map((_, i) => name(i)).filter((_, i) => stays[i]));
        for (const [i] of owners.entries()) await world.remove(name(i), 'Background');
        await world.untilLeft();
      },
    ),
    { numRuns: 40 },
  );
  t.pass();
});
