import test from 'ava';
import fc from 'fast-check';
import {
  type BlockUse,
  neededAddresses,
  neededOf,
  type PoolState,
  requestedPools,
  surplusBlocks,
} from '../../src/ipam/demand.ts';
import { PendingRequests } from '../../src/ipam/pending.ts';

test('what is needed, by the vectors of Cilium', t => {
  const vectors = [
    [3, 0, 3],
    [1, 1, 2],
    [0, 16, 16],
    [1, 16, 32],
    [16, 16, 32],
    [17, 16, 48],
    [0, 0, 0],
    [2, 8, 16],
  ];
  for (const [count, preAllocation, needed] of vectors) {
    t.is(neededAddresses(count!, 0, preAllocation!), needed!, `${count}/${preAllocation}`);
    t.is(neededAddresses(0, count!, preAllocation!), needed!, `pending ${count}/${preAllocation}`);
  }
});

test('requested: by pool, without those that nothing is needed of', t => {
  const block = (used: number): BlockUse[] => [{ cidr: '10.0.0.0/28', used, usable: 14 }];
  t.deepEqual(
    requestedPools([
      { pool: 'mars', blocks: block(1), pending: 0, preAllocation: 0 },
      { pool: 'idle', blocks: block(0), pending: 0, preAllocation: 0 },
      { pool: 'default', blocks: block(2), pending: 0, preAllocation: 8 },
    ]),
    [
      { pool: 'default', needed: { 'ipv4-addrs': 16 } },
      { pool: 'mars', needed: { 'ipv4-addrs': 1 } },
    ],
  );
});

test('the last block that is not needed goes first; one in use never does', t => {
  const state = (used: number[], preAllocation: number, pending = 0): PoolState => ({
    pool: 'p',
    blocks: used.map((count, i) => ({ cidr: `10.0.0.${i * 8}/29`, used: count, usable: 6 })),
    pending,
    preAllocation,
  });
  t.deepEqual(surplusBlocks(state([6, 3, 0, 0], 0)), ['10.0.0.24/29', '10.0.0.16/29']);
  t.deepEqual(surplusBlocks(state([0, 1, 0], 0)), ['10.0.0.16/29', '10.0.0.0/29']);
  t.deepEqual(surplusBlocks(state([0, 0], 0)), ['10.0.0.8/29', '10.0.0.0/29']);
  t.deepEqual(surplusBlocks(state([0, 0], 8)), []);
  t.deepEqual(surplusBlocks(state([0, 0], 0, 1)), ['10.0.0.8/29']);
  const outdated = state([1, 0], 0);
  t.deepEqual(
    surplusBlocks({ ...outdated, blocks: outdated.blocks.map(block => ({ ...block, outdated: true })) }),
    ['10.0.0.8/29'],
  );
});

test('no flapping: what stays is enough, so that nothing is given again; and a second look gives nothing back', t => {
  const block = fc.record({
    used: fc.integer({ min: 0, max: 6 }),
    usable: fc.constant(6),
    outdated: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 12 }),
      fc.nat(20),
      fc.constantFrom(0, 1, 8, 16),
      (blocks, pending, preAllocation) => {
        const state: PoolState = {
          pool: 'p',
          blocks: blocks.map((use, i) => ({ ...use, cidr: `10.0.${i}.0/29` })),
          pending,
          preAllocation,
        };
        const enough = (s: PoolState): boolean =>
          s.blocks.reduce((sum, b) => sum + (b.outdated ? 0 : b.usable), 0) >= neededOf(s);
        const gone = new Set(surplusBlocks(state));
        const after = { ...state, blocks: state.blocks.filter(b => !gone.has(b.cidr)) };
        if (state.blocks.some(b => gone.has(b.cidr) && b.used > 0)) return false;
        if (neededOf(after) !== neededOf(state)) return false;
        if (enough(state) && !enough(after)) return false;
        return surplusBlocks(after).length === 0;
      },
    ),
    { numRuns: 2000 },
  );
  t.pass();
});

test('who waits counts once, until it has an address or has not asked for five minutes', t => {
  let now = 0;
  const pending = new PendingRequests(() => now);
  t.true(pending.add('mars', 'default/a'));
  t.false(pending.add('mars', 'default/a'));
  t.true(pending.add('mars', 'default/b'));
  t.is(pending.count('mars'), 2);
  t.true(pending.delete('default/a'));
  t.false(pending.delete('default/a'));
  t.deepEqual(pending.pools(), ['mars']);
  now = 299_999;
  t.is(pending.count('mars'), 1);
  pending.add('mars', 'default/b');
  now = 300_000;
  t.is(pending.count('mars'), 1);
  now = 599_999;
  t.is(pending.count('mars'), 0);
  t.deepEqual(pending.pools(), []);
});
