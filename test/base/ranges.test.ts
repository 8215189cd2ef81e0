import test from 'ava';
import fc from 'fast-check';
import { cidrContains, formatIpv4, formatIpv4Cidr, ipv4CidrOf } from '../../src/base/addr.ts';
import { mergedRanges } from '../../src/base/ranges.ts';

const cidr = fc
  .tuple(
    fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 1024 })),
    fc.integer({ min: 0, max: 32 }),
  )
  .map(([address, length]) => formatIpv4Cidr(ipv4CidrOf(address, length)));

test('merged ranges hold what the prefixes hold, in order and apart', t => {
  fc.assert(
    fc.property(fc.array(cidr), fc.array(fc.integer({ min: 0, max: 0xffff_ffff })), (cidrs, more) => {
      const ranges = mergedRanges(cidrs);
      ranges.forEach(([first, last], i) => {
        t.true(first <= last);
        if (i > 0) t.true(ranges[i - 1]![1] + 1 < first);
      });
      const edges = ranges.flatMap(([first, last]) => [first - 1, first, last, last + 1]);
      for (const address of [...edges, ...more].filter(a => a >= 0 && a <= 0xffff_ffff))
        t.is(
          ranges.some(([first, last]) => first <= address && address <= last),
          cidrs.some(text => cidrContains(text, formatIpv4(address))),
        );
    }),
  );
});
