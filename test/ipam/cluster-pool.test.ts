import test from 'ava';
import fc from 'fast-check';
import { ipv4Covers, ipv4Overlaps, parseIpv4Cidr } from '../../src/base/addr.ts';
import { decideBlocks, type NodeBlocks } from '../../src/ipam/cluster-pool.ts';

const node = (name: string, second: number, ...podCidrs: string[]): NodeBlocks => ({
  name,
  createdAt: new Date(second * 1000).toISOString(),
  podCidrs,
});
const pool = { cidrs: ['172.20.42.0/28', '172.20.84.0/28'], maskSize: 29 };

test("the document's three nodes get the first blocks of the first range, then of the second", t => {
  const { assign, errors } = decideBlocks(pool, [node('w2', 3), node('ctr', 1), node('w1', 2)]);
  t.deepEqual(assign, [
    { node: 'ctr', cidr: '172.20.42.0/29' },
    { node: 'w1', cidr: '172.20.42.8/29' },
    { node: 'w2', cidr: '172.20.84.0/29' },
  ]);
  t.is(errors.size, 0);
});

test('a node keeps its block, and a gap is filled first', t => {
  const { assign } = decideBlocks(pool, [node('a', 1, '172.20.42.8/29'), node('b', 2), node('c', 3)]);
  t.deepEqual(assign, [
    { node: 'b', cidr: '172.20.42.0/29' },
    { node: 'c', cidr: '172.20.84.0/29' },
  ]);
});

test('exhaustion names pool, node and way out; an appended range solves it', t => {
  const nodes = [
    node('a', 1, '172.20.42.0/29'),
    node('b', 2, '172.20.42.8/29'),
    node('c', 3, '172.20.84.0/29'),
    node('d', 4, '172.20.84.8/29'),
    node('e', 5),
  ];
  const { assign, errors } = decideBlocks(pool, nodes);
  t.deepEqual(assign, []);
  t.deepEqual(
    [...errors],
    [
      [
        'e',
        'no pod CIDR for node e: all 4 blocks of /29 in 172.20.42.0/28, 172.20.84.0/28 are in use; ' +
          'append a range to ipam.operator.clusterPoolIPv4PodCIDRList, or remove nodes that are gone',
      ],
    ],
  );
  const grown = decideBlocks({ ...pool, cidrs: [...pool.cidrs, '10.0.0.0/28'] }, nodes);
  t.deepEqual(grown.assign, [{ node: 'e', cidr: '10.0.0.0/29' }]);
  t.is(grown.errors.size, 0);
});

test('blocks of another size, and of ranges that are gone, are respected', t => {
  const { assign, errors } = decideBlocks({ cidrs: ['10.0.0.0/24'], maskSize: 26 }, [
    node('small', 1, '10.0.0.72/29'),
    node('large', 2, '10.0.0.128/25'),
    node('elsewhere', 3, '192.168.0.0/24'),
    node('new', 4),
    node('none', 5),
  ]);
  t.deepEqual(assign, [{ node: 'new', cidr: '10.0.0.0/26' }]);
  t.deepEqual([...errors.keys()], ['none']);
});

test('when two nodes claim overlapping blocks the younger one is told, and neither loses its block', t => {
  const { assign, errors } = decideBlocks(pool, [
    node('young', 9, '172.20.42.0/29'),
    node('old', 1, '172.20.42.0/28'),
    node('new', 10),
  ]);
  t.deepEqual(assign, [{ node: 'new', cidr: '172.20.84.0/29' }]);
  t.deepEqual([...errors.keys()], ['young']);
  t.regex(
    errors.get('young')!,
    /^pod CIDR 172\.20\.42\.0\/29 of node young overlaps 172\.20\.42\.0\/28 of node old; drain/,
  );
});

test('a block that is no range is told', t => {
  const { errors, assign } = decideBlocks(pool, [node('odd', 1, 'fd00::/64'), node('new', 2)]);
  t.regex(errors.get('odd')!, /has pod CIDR "fd00::\/64"/);
  t.deepEqual(assign, [{ node: 'new', cidr: '172.20.42.0/29' }]);
});

test('what was promised is kept for its node, before older nodes choose', t => {
  const promised = { ...node('young', 9), promised: '172.20.42.0/29' };
  t.deepEqual(decideBlocks(pool, [promised, node('old', 1)]).assign, [
    { node: 'old', cidr: '172.20.42.8/29' },
    { node: 'young', cidr: '172.20.42.0/29' },
  ]);
  // Somebody gave it away by hand: the promise is void.
  t.deepEqual(decideBlocks(pool, [promised, node('old', 1, '172.20.42.0/29')]).assign, [
    { node: 'young', cidr: '172.20.42.8/29' },
  ]);
});

test('a large pool of small blocks', t => {
  const nodes = Array.from({ length: 5000 }, (_, i) => node(`n${i}`, i));
  const { assign } = decideBlocks({ cidrs: ['10.0.0.0/8'], maskSize: 24 }, nodes);
  t.is(new Set(assign.map(one => one.cidr)).size, 5000);
  t.is(assign[4999]!.cidr, '10.19.135.0/24');
});

test('for any cluster: blocks are in range, free, and distinct; nodes without one have an error; order does not matter', t => {
  const cidr = fc
    .tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 28, max: 31 }))
    .map(([part, bits]) => `10.0.0.${(part * 16) & (0xff << (32 - bits)) & 0xff}/${bits}`);
  const anyNode = fc.record({
    createdAt: fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
    podCidrs: fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      cidr.map(one => [one]),
    ),
    promised: fc.option(cidr, { nil: undefined, freq: 6 }),
  });
  const ranges = fc.subarray(['10.0.0.0/26', '10.0.0.64/27', '10.0.0.128/25'], { minLength: 1 });
  fc.assert(
    fc.property(
      fc.array(anyNode, { maxLength: 20 }),
      ranges,
      fc.integer({ min: 27, max: 29 }),
      (some, cidrs, maskSize) => {
        const nodes = some.map(({ promised, ...rest }, index) => ({
          ...rest,
          name: `n${index}`,
          ...(promised === undefined ? {} : { promised }),
        }));
        const decision = decideBlocks({ cidrs, maskSize }, nodes);
        const reversed = decideBlocks({ cidrs, maskSize }, [...nodes].reverse());
        if (JSON.stringify(decision.assign) !== JSON.stringify(reversed.assign)) return false;
        const held = nodes.flatMap(one => one.podCidrs).map(text => parseIpv4Cidr(text));
        const given = decision.assign.map(one => parseIpv4Cidr(one.cidr));
        const promises = new Set(nodes.map(one => one.promised));
        for (const [index, block] of given.entries()) {
          const fresh = !promises.has(decision.assign[index]!.cidr);
          if (fresh && !cidrs.some(range => ipv4Covers(parseIpv4Cidr(range), block))) return false;
          if (fresh && block.prefixLength !== maskSize) return false;
          if (held.some(other => ipv4Overlaps(other, block))) return false;
          if (given.some((other, at) => at !== index && ipv4Overlaps(other, block))) return false;
        }
        const served = new Set(decision.assign.map(one => one.node));
        return nodes.every(
          one => one.podCidrs.length > 0 || served.has(one.name) !== decision.errors.has(one.name),
        );
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});
