import test from 'ava';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import {
  addressFamily,
  cidrContains,
  compareAddresses,
  compareIpv4Cidr,
  formatIpv4,
  formatIpv4Cidr,
  formatIpv6,
  formatIpv6Cidr,
  ipv4Addresses,
  ipv4Bytes,
  ipv4CidrOf,
  ipv4Contains,
  ipv4Covers,
  ipv4Last,
  ipv4Mask,
  ipv4Overlaps,
  ipv4Size,
  ipv4SubnetCount,
  ipv4Subnets,
  ipv6Bytes,
  ipv6Contains,
  ipv6FromBytes,
  ipv6Last,
  ipv6Overlaps,
  ipv6Subnets,
  isIpv4,
  isIpv6,
  parseIpv4,
  parseIpv4Cidr,
  parseIpv6,
  parseIpv6Cidr,
} from '../../src/base/addr.ts';

const v4 = fc.integer({ min: 0, max: 0xffffffff });
const v6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
const v4Cidr = fc
  .tuple(v4, fc.integer({ min: 0, max: 32 }))
  .map(([address, bits]) => ipv4CidrOf(address, bits));

test('IPv4 text and number are each other', t => {
  fc.assert(
    fc.property(v4, value => {
      const text = formatIpv4(value);
      return (
        parseIpv4(text) === value &&
        ipaddr.IPv4.parse(text).toString() === text &&
        ipaddr.IPv4.parse(text).toByteArray().join() === [...ipv4Bytes(value)].join()
      );
    }),
  );
  t.pass();
});

test('IPv4 takes exactly four plain decimal numbers', t => {
  const bad = [
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '1.2.3.-1',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '0x1.2.3.4',
  ];
  for (const text of [
    ...bad,
    '1..2.3',
    '1.2.3.4\n',
    '1.2.3.4/8',
    '١.2.3.4',
    '1.2.3.0000',
    '1e1.2.3.4',
    '::1',
  ]) {
    t.false(isIpv4(text), text);
    t.throws(() => parseIpv4(text), { code: 'INVALID_ADDRESS' });
  }
  fc.assert(
    fc.property(fc.string(), text => isIpv4(text) === ipaddr.IPv4.isValidFourPartDecimal(text)),
    { numRuns: 500 },
  );
});

test('IPv4 ranges agree with ipaddr.js', t => {
  fc.assert(
    fc.property(v4Cidr, v4, (cidr, address) => {
      const text = formatIpv4Cidr(cidr);
      const theirs = ipaddr.IPv4.parseCIDR(text);
      return (
        compareIpv4Cidr(parseIpv4Cidr(text), cidr) === 0 &&
        ipaddr.IPv4.networkAddressFromCIDR(text).toString() === formatIpv4(cidr.network) &&
        ipaddr.IPv4.broadcastAddressFromCIDR(text).toString() === formatIpv4(ipv4Last(cidr)) &&
        ipaddr.IPv4.parse(formatIpv4(address)).match(theirs) === ipv4Contains(cidr, address) &&
        cidrContains(text, formatIpv4(address)) === ipv4Contains(cidr, address) &&
        ipaddr.IPv4.subnetMaskFromPrefixLength(cidr.prefixLength).toString() ===
          formatIpv4(ipv4Mask(cidr.prefixLength))
      );
    }),
  );
  t.pass();
});

test('ranges with host bits, without length or with a bad one are refused, and the message says what to write', t => {
  t.throws(() => parseIpv4Cidr('10.0.0.1/8'), { message: /write 10\.0\.0\.0\/8$/ });
  t.throws(() => parseIpv4Cidr('10.0.0.1'), { message: /write 10\.0\.0\.1\/32/ });
  for (const text of [
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '/8',
    'a/8',
  ]) {
    t.throws(() => parseIpv4Cidr(text), { code: 'INVALID_ADDRESS' });
  }
  t.deepEqual(parseIpv4Cidr('10.1.2.3/8', { hostBits: 'clear' }), parseIpv4Cidr('10.0.0.0/8'));
  t.throws(() => parseIpv6Cidr('fd00::1/8'), { message: /write fd00::\/8$/ });
  t.throws(() => parseIpv6Cidr('fd00::/129'), { code: 'INVALID_ADDRESS' });
});

test('two ranges overlap exactly when one holds an end of the other', t => {
  fc.assert(
    fc.property(v4Cidr, v4Cidr, (a, b) => {
      const naive = a.network <= ipv4Last(b) && b.network <= ipv4Last(a);
      const covers = a.network <= b.network && ipv4Last(b) <= ipv4Last(a);
      return ipv4Overlaps(a, b) === naive && ipv4Overlaps(b, a) === naive && ipv4Covers(a, b) === covers;
    }),
  );
  t.pass();
});

test('subnets tile their range', t => {
  fc.assert(
    fc.property(v4Cidr, fc.integer({ min: 0, max: 8 }), (cidr, more) => {
      const bits = Math.min(32, cidr.prefixLength + more);
      const subnets = [...ipv4Subnets(cidr, bits)];
      let next = cidr.network;
      for (const subnet of subnets) {
        if (subnet.network !== next || !ipv4Covers(cidr, subnet)) return false;
        next = ipv4Last(subnet) + 1;
      }
      return next === ipv4Last(cidr) + 1 && subnets.length === ipv4SubnetCount(cidr, bits);
    }),
  );
  t.deepEqual([...ipv4Subnets(parseIpv4Cidr('10.0.0.0/24'), 16)], []);
  t.is(ipv4Size(0), 2 ** 32);
});

test('addresses of a range come in order, ends included, also at the very end of the space', t => {
  t.deepEqual([...ipv4Addresses(parseIpv4Cidr('255.255.255.254/31'))].map(formatIpv4), [
    '255.255.255.254',
    '255.255.255.255',
  ]);
  t.is([...ipv4Addresses(parseIpv4Cidr('10.0.0.0/24'))].length, 256);
});

test('IPv6 text is RFC 5952, as ipaddr.js has it, and reads back', t => {
  const sparse = fc
    .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
    .map(groups => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n));
  fc.assert(
    fc.property(fc.oneof(v6, sparse), value => {
      const text = formatIpv6(value);
      const bytes = ipv6Bytes(value);
      const theirs = ipaddr.fromByteArray([...bytes]) as ipaddr.IPv6;
      const same = theirs.isIPv4MappedAddress() || theirs.toRFC5952String() === text;
      return same && parseIpv6(text) === value && ipv6FromBytes(bytes) === value;
    }),
  );
  t.is(formatIpv6(parseIpv6('::ffff:10.0.0.1')), '::ffff:10.0.0.1');
  t.is(formatIpv6(parseIpv6('2001:DB8:0:0:1:0:0:1')), '2001:db8::1:0:0:1');
  t.is(formatIpv6(parseIpv6('2001:db8:0:1:1:1:1:1')), '2001:db8:0:1:1:1:1:1');
});

test('IPv6 parsing is strict', t => {
  const bad = [
    '',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '12345::',
    'g::',
    '::1%eth0',
    '1.2.3.4',
  ];
  for (const text of [
    ...bad,
    '1:2:3:4:5:6:7:8::',
    '::1.2.3',
    '1.2.3.4::',
    '::01.2.3.4',
    ' ::1',
    '1:',
    ':1',
    '::1/64',
  ]) {
    t.false(isIpv6(text), text);
    t.throws(() => parseIpv6(text), { code: 'INVALID_ADDRESS' });
  }
  const almost = fc.stringMatching(/^[0-9a-f:.]{1,24}$/);
  fc.assert(
    fc.property(almost, text => !isIpv6(text) || ipaddr.IPv6.isValid(text)),
    { numRuns: 2000 },
  );
});

test('IPv6 ranges agree with ipaddr.js', t => {
  fc.assert(
    fc.property(v6, fc.integer({ min: 0, max: 128 }), v6, (base, bits, address) => {
      const cidr = parseIpv6Cidr(`${formatIpv6(base)}/${bits}`, { hostBits: 'clear' });
      const text = formatIpv6Cidr(cidr);
      const inside = ipaddr.IPv6.parse(formatIpv6(address)).match(ipaddr.IPv6.parseCIDR(text));
      return (
        ipv6Contains(cidr, address) === inside &&
        cidrContains(text, formatIpv6(address)) === inside &&
        ipv6Contains(cidr, ipv6Last(cidr)) &&
        ipv6Overlaps(cidr, { network: address, prefixLength: 128 }) === inside
      );
    }),
  );
  t.is([...ipv6Subnets(parseIpv6Cidr('fd00::/60'), 64)].length, 16);
  t.deepEqual([...ipv6Subnets(parseIpv6Cidr('fd00::/64'), 60)], []);
});

test('addresses of both families sort together, and never lie in a range of the other', t => {
  const mixed = ['fd00::2', '10.0.0.10', '::1', '10.0.0.9'];
  t.deepEqual(mixed.sort(compareAddresses), ['10.0.0.9', '10.0.0.10', '::1', 'fd00::2']);
  t.is(compareAddresses('::1', '0:0::1'), 0);
  t.false(cidrContains('0.0.0.0/0', '::1'));
  t.false(cidrContains('::/0', '10.0.0.1'));
  t.deepEqual(['10.0.0.1', 'fd00::', 'nobody'].map(addressFamily), [4, 6, undefined]);
});
