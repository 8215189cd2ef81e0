import test from 'ava';
import fc from 'fast-check';
import { ipv4Overlaps, parseIpv4Cidr } from '../../src/base/addr.ts';
import { type Fate, World } from './world.ts';

const POOL = { cidrs: ['10.0.0.0/28', '10.1.0.0/28'], maskSize: 29 };

function doubled(world: World): string | undefined {
  const blocks = world.blocks().map(([node, cidr]) => ({ node, cidr: parseIpv4Cidr(cidr) }));
  for (const [index, one] of blocks.entries()) {
    const other = blocks.slice(index + 1).find(next => ipv4Overlaps(next.cidr, one.cidr));
    if (other) return `${one.node} and ${other.node}`;
  }
  return undefined;
}

test('nodes get their blocks; the one too many has an error that goes when a node goes', async t => {
  const world = new World(POOL);
  for (const name of ['a', 'b', 'c', 'd', 'e']) world.add(name);
  world.sync();
  await world.pass([]);
  t.deepEqual(world.blocks(), [
    ['a', '10.0.0.0/29'],
    ['b', '10.0.0.8/29'],
    ['c', '10.1.0.0/29'],
    ['d', '10.1.0.8/29'],
  ]);
  t.regex(
    world.errorOf('e')!,
    /^no pod CIDR for node e: all 4 blocks of \/29 in 10\.0\.0\.0\/28, 10\.1\.0\.0\/28 are in use; append/,
  );
  world.remove('b');
  world.sync();
  await world.pass([]);
  t.deepEqual(world.blocks().at(-1), ['e', '10.0.0.8/29']);
  t.is(world.errorOf('e'), undefined);
});

test('a write whose answer was lost is neither doubled nor moved', async t => {
  const world = new World(POOL);
  world.add('b');
  world.sync();
  await world.pass(['lost']);
  // The watch has not brought it yet, but an older node must not get it.
  world.add('a');
  await world.pass(['refused']);
  world.sync();
  await world.pass([]);
  t.deepEqual(new Map(world.blocks()).get('b'), '10.0.0.0/29');
  t.deepEqual(new Map(world.blocks()).get('a'), '10.0.0.8/29');
});

test('a node that changed under the write is served in the next pass', async t => {
  const world = new World(POOL);
  world.add('a');
  world.sync();
  world.touch('a');
  await world.pass([]);
  t.deepEqual(world.blocks(), []);
  world.sync();
  await world.pass([]);
  t.deepEqual(world.blocks(), [['a', '10.0.0.0/29']]);
});

test('a confirmed write is not repeated while the watch lags', async t => {
  const world = new World(POOL);
  world.add('a');
  world.sync();
  await world.pass([]);
  const before = world.nodes.get('a')!.metadata.resourceVersion;
  await world.pass([]);
  t.is(world.nodes.get('a')!.metadata.resourceVersion, before);
});

test('random histories: no block ever has two owners, and in the end every node has a block or an error', async t => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const fates = fc.array(fc.constantFrom<Fate>('done', 'lost', 'refused', 'late'), { maxLength: 6 });
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ op: fc.constant('add' as const), name }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), name }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('touch' as const), name }) },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('sync' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('land' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const) }) },
    { weight: 5, arbitrary: fc.record({ op: fc.constant('pass' as const), fates }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
      const world = new World(POOL);
      const had = new Map<string, string>();
      for (const one of steps) {
        if (one.op === 'pass') await world.pass(one.fates);
        else if (one.op === 'add' || one.op === 'remove' || one.op === 'touch') world[one.op](one.name);
        else world[one.op]();
        const clash = doubled(world);
        if (clash) throw new Error(`one block for ${clash}`);
        for (const [node, cidr] of world.blocks()) {
          const uid = world.nodes.get(node)!.metadata.uid!;
          if ((had.get(uid) ?? cidr) !== cidr) throw new Error(`${node} lost ${had.get(uid)} to ${cidr}`);
          had.set(uid, cidr);
        }
      }
      world.land();
      for (let round = 0; round < 3; round++) {
        world.sync();
        await world.pass([]);
      }
      if (doubled(world)) return false;
      const served = new Map(world.blocks());
      return [...world.nodes.keys()].every(node => served.has(node) !== (world.errorOf(node) !== undefined));
    }),
    { numRuns: 400 },
  );
  t.pass();
});
