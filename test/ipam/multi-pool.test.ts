import test from 'ava';
import fc from 'fast-check';
import { ipamViolations } from '../../src/ipam/invariants.ts';
import {
  decidePools,
  flatBlocks,
  groupBlocks,
  type NodeDemand,
  PoolPlan,
  type PoolSpec,
  withBlocks,
} from '../../src/ipam/multi-pool.ts';
import { parsePrefix, usableAddresses } from '../../src/ipam/prefix.ts';
import type { PoolBlock } from '../../src/ipam/types.ts';

const at = (second: number): string => new Date(second * 1000).toISOString();
const pool = (name: string, cidr: string, maskSize: number, second = 0): PoolSpec => ({
  name,
  createdAt: at(second),
  ipv4: { cidrs: cidr.split(' '), maskSize },
});
const node = (
  name: string,
  second: number,
  requested: Record<string, number>,
  allocated: Record<string, string[]> = {},
): NodeDemand => ({
  name,
  createdAt: at(second),
  allocated: Object.entries(allocated).flatMap(([pool, cidrs]) => cidrs.map(cidr => ({ pool, cidr }))),
  requested: Object.entries(requested).map(([pool, ipv4]) => ({ pool, ipv4, ipv6: 0 })),
  promised: [],
});
const added = (decisions: ReturnType<typeof decidePools>): Record<string, string[]> =>
  Object.fromEntries([...decisions].map(([name, { add }]) => [name, add.map(b => `${b.pool} ${b.cidr}`)]));

test('the second document: sixteen of a /28 pool are two blocks, and another pool one of its own', t => {
  const pools = [pool('default', '172.20.0.0/16', 28), pool('vac', '10.100.0.0/16', 29)];
  const decisions = decidePools(pools, [
    node('w1', 2, { vac: 1, default: 16 }),
    node('ctr', 1, { default: 16 }),
  ]);
  t.deepEqual(added(decisions), {
    ctr: ['default 172.20.0.0/28', 'default 172.20.0.16/28'],
    w1: ['default 172.20.0.32/28', 'default 172.20.0.48/28', 'vac 10.100.0.0/29'],
  });
  // Scaled from 1 to 10 pods: one more block, printed in Cilium's order.
  const grown = decidePools(pools, [
    node('w2', 1, { vac: 10 }, { vac: ['10.100.0.8/29'] }),
    node('w1', 2, { vac: 1 }, { vac: ['10.100.0.0/29', '10.100.0.16/29'] }),
  ]);
  t.deepEqual(added(grown)['w2'], ['vac 10.100.0.24/29']);
  t.deepEqual(withBlocks([{ pool: 'vac', cidrs: ['10.100.0.8/29'] }], grown.get('w2')!.add), [
    { pool: 'vac', cidrs: ['10.100.0.24/29', '10.100.0.8/29'] },
  ]);
  t.deepEqual(added(grown)['w1'], [], 'what a node has too much is its own to give back');
});

test('both families, each from its own ranges', t => {
  const both: PoolSpec = {
    ...pool('default', '10.0.0.0/24', 28),
    ipv6: { cidrs: ['fd00:100::/80'], maskSize: 96 },
  };
  const demand = { ...node('n', 1, {}), requested: [{ pool: 'default', ipv4: 4, ipv6: 4 }] };
  t.deepEqual(added(decidePools([both], [demand])), {
    n: ['default 10.0.0.0/28', 'default fd00:100::/96'],
  });
});

test('a full pool says which pool, which node, what is free elsewhere and what to do', t => {
  const pools = [pool('mars', '10.20.0.0/28', 29), pool('venus', '10.30.0.0/24', 26)];
  const decisions = decidePools(pools, [
    node('a', 1, { mars: 12 }, { mars: ['10.20.0.0/29'] }),
    node('b', 2, { mars: 7 }, {}),
    node('c', 3, { pluto: 1 }),
  ]);
  t.deepEqual(added(decisions)['a'], ['mars 10.20.0.8/29']);
  t.is(
    decisions.get('b')!.error,
    'pool mars: node b needs 7 ipv4 addresses and has 0: all 2 blocks of /29 in 10.20.0.0/28 are in use; ' +
      'free elsewhere: 4 of /26 in pool venus; append a range to spec.ipv4.cidrs of CiliumPodIPPool mars, or delete pods that use it',
  );
  t.is(
    decisions.get('c')!.error,
    'pool pluto: node c needs 1 ipv4 addresses and has 0: cannot allocate from non-existing pool; ' +
      'create CiliumPodIPPool pluto, or do not name it in annotations',
  );
});

test('a pool that overlaps an older one, or is on its way out, gives nothing', t => {
  const parked = decidePools(
    [
      pool('new', '10.0.0.0/16', 24, 9),
      pool('old', '10.0.128.0/17', 24, 1),
      pool('other', '10.1.0.0/16', 24, 5),
    ],
    [node('n', 1, { new: 1, old: 1, other: 1 })],
  ).get('n')!;
  t.deepEqual(
    parked.add.map(b => b.cidr),
    ['10.0.128.0/24', '10.1.0.0/24'],
  );
  t.regex(
    parked.error!,
    /^pool new: node n needs .*: 10\.0\.0\.0\/16 overlaps 10\.0\.128\.0\/17 of pool old/,
  );
  const closed = { ...pool('old', '10.0.0.0/16', 24), closed: 'it is being deleted' };
  t.regex(decidePools([closed], [node('n', 1, { old: 1 })]).get('n')!.error!, /it is being deleted/);
});

test('a pool made anew with other ranges: old blocks stay whose they are, and count no more', t => {
  const decisions = decidePools(
    [pool('default', '10.50.0.0/16', 24)],
    [node('n', 1, { default: 16 }, { default: ['10.10.0.0/24'] })],
  );
  t.deepEqual(added(decisions)['n'], ['default 10.50.0.0/24']);
  // Even where another pool covers the old range, what is held there is not given.
  const other = decidePools(
    [pool('default', '10.50.0.0/16', 24), pool('mars', '10.10.0.0/16', 25)],
    [node('n', 1, {}, { default: ['10.10.0.0/24'] }), node('m', 2, { mars: 1 })],
  );
  t.deepEqual(added(other)['m'], ['mars 10.10.1.0/25']);
});

test('a block that two nodes hold is told to the younger; what is no range, to its node', t => {
  const decisions = decidePools(
    [pool('default', '10.0.0.0/16', 24)],
    [
      node('old', 1, { default: 1 }, { default: ['10.0.0.0/24'] }),
      node('young', 2, { default: 1 }, { default: ['10.0.0.0/25'] }),
      node('odd', 3, {}, { default: ['10.0.0.0/33'] }),
    ],
  );
  t.is(decisions.get('old')!.error, undefined);
  t.regex(decisions.get('young')!.error!, /10\.0\.0\.0\/25 of node young is in use on node old, too; drain/);
  t.regex(decisions.get('odd')!.error!, /"10\.0\.0\.0\/33", which is no range/);
});

test('5,000 nodes with three pools, and then one more', t => {
  const pools = ['a', 'b', 'c'].map((name, i) => pool(name, `${10 + i}.0.0.0/8`, 24));
  const plan = new PoolPlan();
  plan.setPools(pools);
  for (let i = 0; i < 5000; i++) plan.setNode(node(`n${i}`, i, { a: 16, b: 300, c: 1 }));
  const decisions = plan.takeDirty().map(name => plan.decide(name));
  t.is(decisions.flatMap(d => d.add).length, 20_000);
  t.true(decisions.every(d => d.error === undefined));
  plan.setNode(node('late', 9999, { a: 1 }));
  t.deepEqual(plan.takeDirty(), ['late'], 'nobody else is looked at');
  t.deepEqual(plan.decide('late').add, [{ pool: 'a', cidr: '10.19.136.0/24' }]);
});

const anyPool = fc.record({
  name: fc.constantFrom('p', 'q', 'r'),
  second: fc.integer({ min: 0, max: 3 }),
  cidrs: fc.subarray(['10.0.0.0/26', '10.0.0.64/27', '10.0.0.128/26', '10.0.0.32/27'], { minLength: 1 }),
  maskSize: fc.integer({ min: 28, max: 30 }),
});
const anyNode = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  second: fc.integer({ min: 0, max: 2 }),
  requested: fc.dictionary(fc.constantFrom('p', 'q', 'r'), fc.nat(30)),
});
const specs = (pools: { name: string; second: number; cidrs: string[]; maskSize: number }[]): PoolSpec[] => [
  ...new Map(pools.map(p => [p.name, pool(p.name, p.cidrs.join(' '), p.maskSize, p.second)])).values(),
];

test('for any cluster: no block has two owners, nobody is given too much, a shortage is told; order does not matter', t => {
  fc.assert(
    fc.property(
      fc.array(anyPool, { maxLength: 4 }),
      fc.array(anyNode, { maxLength: 8 }),
      fc.array(anyNode, { maxLength: 3 }),
      (somePools, someNodes, more) => {
        const pools = specs(somePools);
        const nodes = [
          ...new Map(someNodes.map(n => [n.name, node(n.name, n.second, n.requested)])).values(),
        ];
        const first = decidePools(pools, nodes);
        const same = decidePools([...pools].reverse(), [...nodes].reverse());
        if (JSON.stringify([...first]) !== JSON.stringify([...same])) return false;
        const held = nodes.map(n => ({ ...n, allocated: first.get(n.name)!.add as PoolBlock[] }));
        const blocksOf = (list: readonly NodeDemand[]) =>
          list.map(n => ({ name: n.name, blocks: n.allocated, addresses: [] }));
        if (ipamViolations(blocksOf(held)).length > 0) return false;
        for (const n of held) {
          for (const { pool: name, ipv4 } of n.requested) {
            const sizes = n.allocated
              .filter(b => b.pool === name)
              .map(b => usableAddresses(parsePrefix(b.cidr)));
            const usable = sizes.reduce((a, b) => a + b, 0);
            if (usable < ipv4 && first.get(n.name)!.error === undefined) return false;
            if (usable - (sizes.at(-1) ?? 0) >= ipv4 && sizes.length > 0) return false;
          }
        }
        // What was decided satisfies: a second look adds nothing.
        if ([...decidePools(pools, held).values()].some(d => d.add.length > 0)) return false;
        // Change by change, the same rules hold.
        const plan = new PoolPlan();
        plan.setPools(pools);
        const now = new Map(held.map(n => [n.name, n]));
        for (const n of held) plan.setNode(n);
        for (const n of more) {
          const next = {
            ...node(n.name, n.second, n.requested),
            allocated: now.get(n.name)?.allocated ?? [],
          };
          if (n.second === 0) {
            now.delete(n.name);
            plan.removeNode(n.name);
          } else {
            now.set(n.name, next);
            plan.setNode(next);
          }
          for (const name of plan.takeDirty()) {
            const one = now.get(name)!;
            const allocated = [...one.allocated, ...plan.decide(name).add];
            now.set(name, { ...one, allocated });
            plan.setNode({ ...one, allocated });
          }
          plan.takeDirty();
          if (ipamViolations(blocksOf([...now.values()])).length > 0) return false;
        }
        // Nothing is left to be had by somebody who wants it.
        return [...decidePools(pools, [...now.values()]).values()].every(d => d.add.length === 0);
      },
    ),
    { numRuns: 600 },
  );
  t.pass();
});

test('lists of blocks in the order that Cilium prints', t => {
  const printed = [
    { pool: 'default', cidrs: ['10.0.0.16/28', '10.0.0.8/29'] },
    { pool: 'vac', cidrs: ['10.1.0.0/29'] },
  ];
  t.deepEqual(groupBlocks(flatBlocks([...printed].reverse())), printed);
  t.deepEqual(flatBlocks(undefined), []);
});

test('whatever somebody wrote into CiliumNodes and pools, deciding does not throw, and gives nothing twice', t => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '10.0.0.0/33',
      '10.0.0.1/24',
      '::/0',
      '0.0.0.0/0',
      'fd00::/8',
      '10.0.0.0/30',
      '10.0.0.0/8',
    ),
    fc.stringMatching(/^[0-9a-f.:/]{0,20}$/),
  );
  const anyDemand = fc.record({
    name: fc.string(),
    createdAt: fc.string(),
    allocated: fc.array(fc.record({ pool: fc.string(), cidr: text }), { maxLength: 4 }),
    requested: fc.array(
      fc.record({ pool: fc.constantFrom('p', '__proto__', ''), ipv4: fc.integer(), ipv6: fc.nat() }),
      { maxLength: 3 },
    ),
    promised: fc.constant([]),
  });
  fc.assert(
    fc.property(fc.array(anyDemand, { maxLength: 6 }), fc.array(text, { maxLength: 3 }), (some, cidrs) => {
      const nodes = [...new Map(some.map(n => [n.name, n])).values()];
      const pools = [{ name: 'p', createdAt: '', ipv4: { cidrs: [...cidrs, '10.0.0.0/28'], maskSize: 30 } }];
      const given = [...decidePools(pools, nodes)].map(([name, { add }]) => ({
        name,
        blocks: add,
        addresses: [],
      }));
      return ipamViolations(given).length === 0;
    }),
    { numRuns: 500 },
  );
  t.pass();
});
