import test from 'ava';
import fc from 'fast-check';
import { flatBlocks } from '../../src/ipam/multi-pool.ts';
import { type Fate, IpamWorld } from './ipam-world.ts';

const POOLS = {
  default: { cidrs: ['10.0.0.0/25'], maskSize: 29 },
  vac: { cidrs: ['10.1.0.0/27'], maskSize: 29 },
};
const NODES = ['a', 'b', 'c'];

const node = fc.constantFrom(...NODES);
const pod = fc.nat(11).map(n => `pod-${n}`);
const fates = fc.array(fc.constantFrom<Fate>('done', 'done', 'lost', 'refused', 'late'), { maxLength: 4 });
const puts = fc.option(fc.nat(3), { nil: Number.POSITIVE_INFINITY, freq: 4 });
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ op: fc.constant('start'), node, pod, pool: fc.constantFrom('default', 'vac') }),
  },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('stop'), node, pod }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('agent'), node, fates, puts }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('restart'), node }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('operator'), fates }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('sees'), node }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('sync') }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('operator-restart') }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('land') }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('leave'), node }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('join'), node }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('mistake'), node }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('grow') }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('time'), ms: fc.constantFrom(1_000, 16_000, 31_000) }),
  },
) as fc.Arbitrary<{
  op: string;
  node: string;
  pod: string;
  pool: string;
  fates: Fate[];
  puts: number;
  ms: number;
}>;

async function run(
  world: IpamWorld,
  one: typeof step extends fc.Arbitrary<infer T> ? T : never,
): Promise<void> {
  const agent = world.agents.get(one.node);
  const id = `${one.node}/${one.pod}`;
  if (one.op === 'start' && agent && !agent.running.has(id)) {
    agent.waiting.set(id, one.pool);
    agent.serve();
  } else if (one.op === 'stop') agent?.stopPod(id);
  else if (one.op === 'agent') await agent?.pass(one.fates, one.puts);
  else if (one.op === 'restart') agent?.restart();
  else if (one.op === 'operator') await world.operatorPass(one.fates);
  else if (one.op === 'sees') world.operatorSees(one.node);
  else if (one.op === 'sync') world.operatorSees();
  else if (one.op === 'operator-restart') await world.operatorRestarts();
  else if (one.op === 'land') world.server.land();
  else if (one.op === 'leave') world.nodeLeaves(one.node);
  else if (one.op === 'join') world.nodeJoins(one.node);
  else if (one.op === 'mistake') world.ciliumNodeDeleted(one.node);
  else if (one.op === 'grow') world.growPool('vac', '10.1.1.0/27');
  else if (one.op === 'time') await world.timePasses(one.ms);
}

test('random histories: no address or block ever has two owners, none is lost, everything converges', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120, size: 'max' }), async steps => {
      const world = new IpamWorld(POOLS);
      for (const name of NODES) world.nodeJoins(name);
      for (const one of steps) {
        await run(world, one);
        const wrong = world.violations();
        if (wrong.length > 0) throw new Error(`after ${JSON.stringify(one)}: ${wrong.join('; ')}`);
      }
      await world.timePasses(31_000);
      await world.settle();
      const wrong = [...world.violations(), ...world.unsettled()];
      if (wrong.length > 0) throw new Error(wrong.join('; '));
    }),
    { numRuns: 600 },
  );
  t.pass();
});

test('scaled up and down 500 times across two pools, blocks end where they began', async t => {
  const world = new IpamWorld({
    default: { cidrs: ['10.0.0.0/16'], maskSize: 28 },
    vac: { cidrs: ['10.100.0.0/16'], maskSize: 29 },
  });
  world.nodeJoins('a');
  world.nodeJoins('b');
  await world.settle();
  const blocks = (): string[] =>
    [...world.server.nodes.values()].flatMap(n =>
      flatBlocks(n.spec.ipam?.pools?.allocated).map(b => `${n.metadata.name} ${b.pool}`),
    );
  const before = blocks();
  const agents = [...world.agents.values()];
  for (let round = 0; round < 500; round++) {
    const size = 1 + (round % 20);
    for (const agent of agents)
      for (let i = 0; i < size; i++)
        agent.waiting.set(`${agent.name}/${round}-${i}`, i % 2 ? 'vac' : 'default');
    for (let i = 0; i < 3; i++) {
      for (const agent of agents) {
        agent.serve();
        await agent.pass([]);
      }
      world.operatorSees();
      await world.operatorPass([]);
      world.nowMs += 16_000;
    }
    if (agents.some(agent => agent.waiting.size > 0)) t.fail(`round ${round}: pods wait`);
    for (const agent of agents) for (const id of [...agent.running.keys()]) agent.stopPod(id);
  }
  await world.settle();
  t.deepEqual(blocks(), before);
  t.deepEqual([...world.violations(), ...world.unsettled()], []);
});
