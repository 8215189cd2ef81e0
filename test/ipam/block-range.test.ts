import test from 'ava';
import fc from 'fast-check';
import { BlockRange } from '../../src/ipam/block-range.ts';
import { overlaps, parsePrefix, usableAddresses } from '../../src/ipam/prefix.ts';

test('blocks come in order, and a gap is filled first', t => {
  const range = new BlockRange(parsePrefix('10.100.0.0/27'), 29);
  t.is(range.count, 4);
  const give = (): string | undefined => {
    const block = range.firstFree();
    if (block) range.take(block, 'n');
    return block?.text;
  };
  t.deepEqual([give(), give(), give()], ['10.100.0.0/29', '10.100.0.8/29', '10.100.0.16/29']);
  range.free(parsePrefix('10.100.0.8/29'), 'n');
  t.is(range.freeCount, 2);
  t.deepEqual([give(), give(), give()], ['10.100.0.8/29', '10.100.0.24/29', undefined]);
});

test('IPv6 blocks, of ranges however large', t => {
  const range = new BlockRange(parsePrefix('fd00:10::/48'), 64);
  t.is(range.count, 65_536);
  t.is(range.firstFree()?.text, 'fd00:10::/64');
  range.take(parsePrefix('fd00:10::/63'), 'n');
  t.is(range.firstFree()?.text, 'fd00:10:0:2::/64');
  const huge = new BlockRange(parsePrefix('fd00::/16'), 128);
  huge.take(parsePrefix('fd00::/64'), 'n');
  t.is(huge.firstFree(), undefined, 'the first 2^32 blocks are held as one');
  t.is(usableAddresses(parsePrefix('fd00::/126')), 2);
  t.is(usableAddresses(parsePrefix('fd00::/127')), 2);
});

test('who else holds a part is told; taking and freeing is symmetric', t => {
  const range = new BlockRange(parsePrefix('10.0.0.0/24'), 28);
  const wide = parsePrefix('10.0.0.0/26');
  const small = parsePrefix('10.0.0.20/30');
  t.deepEqual(range.take(wide, 'a'), []);
  t.deepEqual(range.take(small, 'b'), ['a']);
  t.deepEqual(range.holders(small).sort(), ['a', 'b']);
  range.free(wide, 'a');
  t.deepEqual(range.holders(wide), ['b']);
  t.is(range.firstFree()?.text, '10.0.0.0/28');
  range.free(small, 'b');
  t.is(range.freeCount, 16);
});

test('whatever is taken and freed, the first free block overlaps nothing that is held and none before it is free', t => {
  const held = fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 24, max: 32 }))
    .map(([part, bits]) => `10.0.0.${part & (0xff << (32 - bits)) & 0xff}/${bits}`);
  fc.assert(
    fc.property(
      fc.array(fc.record({ free: fc.boolean(), cidr: held }), { maxLength: 30 }),
      fc.integer({ min: 26, max: 32 }),
      (steps, mask) => {
        const range = new BlockRange(parsePrefix('10.0.0.0/25'), mask);
        const model: string[] = [];
        for (const { free, cidr } of steps) {
          const at = model.indexOf(cidr);
          if (free && at < 0) continue;
          if (free) {
            model.splice(at, 1);
            range.free(parsePrefix(cidr), 'n');
          } else {
            model.push(cidr);
            range.take(parsePrefix(cidr), 'n');
          }
        }
        const all = Array.from({ length: range.count }, (_, i) =>
          parsePrefix(`10.0.0.${i * 2 ** (32 - mask)}/${mask}`),
        );
        const open = all.filter(block => !model.some(other => overlaps(parsePrefix(other), block)));
        return range.firstFree()?.text === open[0]?.text && range.freeCount === open.length;
      },
    ),
    { numRuns: 1000 },
  );
  t.pass();
});
