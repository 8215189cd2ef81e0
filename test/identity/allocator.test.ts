import test from 'ava';
import fc from 'fast-check';
import {
  IdentityAllocator,
  type IdentityStore,
  identityFor,
  isClusterIdentity,
  sameLabels,
} from '../../src/identity/index.ts';

/** Identities of a cluster, as several nodes see them. */
class World {
  readonly objects = new Map<number, readonly string[]>();

  /** A node's view; `find` knows what the node's watch has brought, which is what `seen` says. */
  store(seen: () => Iterable<[number, readonly string[]]> = () => []): IdentityStore {
    return {
      find: labels => [...seen()].find(([, have]) => sameLabels(have, labels))?.[0],
      get: async id => this.objects.get(id),
      create: async (id, labels) => {
        if (this.objects.has(id)) return false;
        this.objects.set(id, labels);
        return true;
      },
    };
  }
}

test('the number follows from the labels, whatever their order', t => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1 }), labels => {
      const id = identityFor(labels);
      return (
        isClusterIdentity(id) &&
        identityFor([...labels].reverse()) === id &&
        identityFor([...labels, labels[0]!]) === id
      );
    }),
  );
  t.not(identityFor(['k8s:a=b']), identityFor(['k8s:a', 'b']));
});

test('nodes agree without asking each other, also at the same moment', async t => {
  const world = new World();
  const nodes = Array.from({ length: 8 }, () => new IdentityAllocator(world.store()));
  const ids = await Promise.all(nodes.map(node => node.allocate(['k8s:app=web'])));
  t.is(new Set(ids).size, 1);
  t.deepEqual([...world.objects.keys()], [identityFor(['k8s:app=web'])]);
});

test('a number that other labels have is passed by, and wraps at the end of the range', async t => {
  const world = new World();
  const labels = ['k8s:app=web'];
  const first = identityFor(labels);
  for (let id = first; id <= 65535; id++) world.objects.set(id, ['k8s:other']);
  world.objects.set(256, ['k8s:another']);
  t.is(await new IdentityAllocator(world.store()).allocate(labels), 257);
  // Where these labels already have a number further on, that one is taken.
  world.objects.delete(first);
  t.is(await new IdentityAllocator(world.store(() => world.objects)).allocate(labels), 257);
});

test('an identity of ours that was deleted comes back, until it is released', async t => {
  const world = new World();
  const node = new IdentityAllocator(world.store());
  const id = await node.allocate(['k8s:app=web']);
  t.is(await node.allocate(['k8s:app=web']), id);
  world.objects.delete(id);
  t.true(await node.restore(id));
  t.deepEqual(world.objects.get(id), ['k8s:app=web']);
  t.false(await node.restore(id));
  node.release(id);
  t.deepEqual(node.inUse(), [id]);
  node.release(id);
  node.release(id);
  t.deepEqual(node.inUse(), []);
  world.objects.delete(id);
  t.false(await node.restore(id));
  t.is(world.objects.size, 0);
});

test('an identity that others took meanwhile cannot come back', async t => {
  const world = new World();
  const node = new IdentityAllocator(world.store());
  const id = await node.allocate(['k8s:app=web']);
  world.objects.set(id, ['k8s:app=other']);
  await t.throwsAsync(node.restore(id), { code: 'IDENTITY_TAKEN' });
});

test('a store that is away changes nothing', async t => {
  const world = new World();
  let away = true;
  const store = world.store();
  const node = new IdentityAllocator({
    ...store,
    create: async (id, labels) => {
      if (away) throw new Error('away');
      return store.create(id, labels);
    },
  });
  await t.throwsAsync(node.allocate(['k8s:app=web']), { message: 'away' });
  t.deepEqual(node.inUse(), []);
  away = false;
  t.is(await node.allocate(['k8s:app=web']), identityFor(['k8s:app=web']));
});

test('a full range says so', async t => {
  const node = new IdentityAllocator({
    find: () => undefined,
    get: async () => ['k8s:x'],
    create: async () => false,
  });
  await t.throwsAsync(node.allocate(['k8s:app=web']), {
    code: 'RANGE_FULL',
    message: /all numbers of 256 to 65535/,
  });
});

test('random histories on several nodes: one set of labels per number, one number per set while it is in use', async t => {
  const steps = fc.array(
    fc.record({ node: fc.nat(2), labels: fc.constantFrom('a', 'b', 'c', 'd'), release: fc.boolean() }),
    { maxLength: 40 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async history => {
      const world = new World();
      const nodes = [0, 1, 2].map(() => new IdentityAllocator(world.store(() => world.objects)));
      const held = new Map<string, number>();
      await Promise.all(
        history.map(async ({ node, labels, release }) => {
          const id = await nodes[node]!.allocate([labels]);
          const other = held.get(labels);
          if (other !== undefined && other !== id) throw new Error(`${labels} has ${other} and ${id}`);
          held.set(labels, id);
          if (release) nodes[node]!.release(id);
        }),
      );
      return new Set(held.values()).size === held.size && world.objects.size === held.size;
    }),
  );
  t.pass();
});
