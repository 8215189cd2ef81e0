import test from 'ava';
import fc from 'fast-check';
import { FimbriaError } from '../../src/base/errors.ts';
import { attributes, ending, messages } from '../../src/kernel/netlink/parse.ts';
import { Train } from '../../src/kernel/netlink/train.ts';
import { decodeAddress, encodeAddressAdd } from '../../src/kernel/rtnetlink/address.ts';
import { protocolNumber, protocolText } from '../../src/kernel/rtnetlink/codec.ts';
import { decodeLink, encodeVeth, encodeVxlan } from '../../src/kernel/rtnetlink/link.ts';
import { decodeNeighbour, encodeNeighbourReplace } from '../../src/kernel/rtnetlink/neighbour.ts';
import { decodeRoute, encodeRouteReplace, parseDestination } from '../../src/kernel/rtnetlink/route.ts';
import { decodeRule, encodeRuleAdd } from '../../src/kernel/rtnetlink/rule.ts';
import type { NewRoute } from '../../src/kernel/rtnetlink/types.ts';

const ipv4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map(parts => parts.join('.'));
const u32 = fc.nat(2 ** 31 - 1);
const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map(bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(':'));

function only(train: Train) {
  const all = [...messages(train.bytes())];
  if (all.length !== 1) throw new Error(`${all.length} messages`);
  return all[0]!;
}

test('a train is read back as it was built', t => {
  const attribute = fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 300 }));
  const message = fc.record({
    type: fc.nat(0xffff),
    header: fc.uint8Array({ maxLength: 8 }).map(bytes => Buffer.concat([Buffer.alloc(8), bytes])),
    attrs: fc.uniqueArray(attribute, { maxLength: 20, selector: entry => entry[0] }),
  });
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 20 }), u32, (list, sequence) => {
      const train = new Train(sequence);
      for (const { type, header, attrs } of list) {
        train.message(type, 0, header);
        for (const [attrType, payload] of attrs) train.attr(attrType, payload);
      }
      const bytes = train.bytes();
      t.is(bytes.length % 4, 0);
      t.is(train.count, list.length);
      const back = [...messages(bytes)];
      t.is(back.length, list.length);
      back.forEach((got, i) => {
        const want = list[i]!;
        t.deepEqual([got.type, got.flags, got.sequence], [want.type, 1, sequence + i]);
        const offset = (want.header.length + 3) & ~3;
        t.deepEqual(got.body.subarray(0, want.header.length), want.header);
        const read = attributes(got.body, offset);
        t.deepEqual(new Map([...read].map(([k, v]) => [k, Uint8Array.from(v)])), new Map(want.attrs));
      });
    }),
    { numRuns: 200 },
  );
});

test('nested attributes hold what was put in, also when left open', t => {
  const train = new Train()
    .message(16, 0, Buffer.alloc(4))
    .nest(18)
    .attrString(1, 'veth')
    .nest(2)
    .attrU16BE(3, 8472);
  const outer = attributes(only(train).body, 4).get(18)!;
  t.is(attributes(outer, 0).get(1)!.toString(), 'veth\0');
  t.is(attributes(attributes(outer, 0).get(2)!, 0).get(3)!.readUInt16BE(), 8472);
});

test('attributes that do not fit are refused', t => {
  const train = new Train().message(16, 0, Buffer.alloc(4));
  t.is(t.throws(() => train.attr(1, new Uint8Array(70_000)), { instanceOf: FimbriaError })?.code, 'EMSGSIZE');
  train.nest(2).attr(1, new Uint8Array(40_000)).attr(1, new Uint8Array(40_000));
  t.is(t.throws(() => train.end(), { instanceOf: FimbriaError })?.code, 'EMSGSIZE');
});

test('garbage is refused or ignored, never read beyond its end', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      const buffer = Buffer.from(bytes);
      try {
        for (const message of messages(buffer)) {
          ending(message);
          attributes(message.body, 0);
        }
        attributes(buffer, 0);
      } catch (error) {
        t.true(error instanceof FimbriaError);
        t.is((error as FimbriaError).code, 'EBADMSG');
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('an error message: errno and the kernel’s words, capped or not', t => {
  const words = (flags: number, quoted: number): Buffer => {
    const body = Buffer.alloc(20 + quoted);
    body.writeInt32LE(-22, 0);
    body.writeUInt32LE(16 + quoted, 4);
    const tail = new Train()
      .message(0, 0, Buffer.alloc(0))
      .attrString(1, 'Invalid thing')
      .bytes()
      .subarray(16);
    const whole = Buffer.concat([Buffer.alloc(16), body, tail]);
    whole.writeUInt32LE(whole.length, 0);
    whole.writeUInt16LE(2, 4);
    whole.writeUInt16LE(flags, 6);
    return whole;
  };
  const read = (bytes: Buffer) => ending([...messages(bytes)][0]!);
  const expected = { errno: 22, extack: 'Invalid thing', interrupted: false };
  t.deepEqual(read(words(0x300, 0)), expected);
  t.deepEqual(read(words(0x200, 32)), expected);
  t.deepEqual(read(words(0x000, 0)), { errno: 22, interrupted: false });
});

test('routes survive the way to the kernel and back', t => {
  const arbitrary = fc.record(
    {
      dst: fc.tuple(ipv4, fc.integer({ min: 1, max: 32 })).map(([address, length]) => `${address}/${length}`),
      gateway: ipv4,
      ifindex: fc.integer({ min: 1, max: 10_000 }),
      src: ipv4,
      mtu: fc.integer({ min: 68, max: 65535 }),
      table: fc.integer({ min: 1, max: 100_000 }),
      priority: u32,
      protocol: fc.constantFrom('kernel', 'boot', 'static', '77'),
      scope: fc.constantFrom('global' as const, 'link' as const, 'host' as const),
      type: fc.constantFrom('unicast' as const, 'local' as const, 'blackhole' as const),
    },
    { requiredKeys: ['dst', 'table', 'protocol', 'scope', 'type'] },
  );
  fc.assert(
    fc.property(arbitrary, route => {
      const train = new Train();
      encodeRouteReplace(train, route as NewRoute);
      t.deepEqual(decodeRoute(only(train)) as unknown, { ...route });
    }),
  );
});

test('a route’s defaults', t => {
  const decoded = (route: NewRoute) => {
    const train = new Train();
    encodeRouteReplace(train, route);
    return decodeRoute(only(train));
  };
  const base = { table: 254, type: 'unicast', protocol: 'kernel' };
  t.deepEqual(decoded({ dst: 'default', gateway: '10.0.0.1' }) as unknown, {
    ...base,
    dst: 'default',
    gateway: '10.0.0.1',
    scope: 'global',
  });
  t.deepEqual(decoded({ dst: '10.1.2.3', ifindex: 4 }) as unknown, {
    ...base,
    dst: '10.1.2.3/32',
    ifindex: 4,
    scope: 'link',
  });
  t.deepEqual(decoded({ dst: 'fd00::/64', ifindex: 4 }) as unknown, {
    ...base,
    dst: 'fd00::/64',
    ifindex: 4,
    scope: 'link',
  });
});

test('destinations that are none', t => {
  for (const dst of [
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0/8',
    'x',
    '',
    '::/129',
  ]) {
    t.throws(() => parseDestination(dst), { instanceOf: FimbriaError }, dst);
  }
});

test('addresses, neighbours and rules survive as well', t => {
  fc.assert(
    fc.property(ipv4, fc.nat(32), u32, mac, (address, prefixLength, number, lladdr) => {
      const one = new Train();
      encodeAddressAdd(one, { ifindex: number, address, prefixLength, scope: 'link', broadcast: address });
      t.deepEqual(decodeAddress(only(one)) as unknown, {
        ifindex: number,
        address,
        prefixLength,
        scope: 'link',
        broadcast: address,
      });
      const two = new Train();
      encodeNeighbourReplace(two, { ifindex: number, address, mac: lladdr });
      t.deepEqual(decodeNeighbour(only(two)), { ifindex: number, address, mac: lladdr, state: 'permanent' });
      const three = new Train();
      const rule = {
        family: 4 as const,
        priority: number,
        table: 2005,
        src: `${address}/32`,
        iifName: 'eth0',
        fwmark: number,
        fwmask: 0xf00,
        protocol: 'kernel',
      };
      encodeRuleAdd(three, rule);
      t.deepEqual(decodeRule(only(three)), rule);
    }),
  );
});

test('links: what a request says is what an answer would', t => {
  const veth = new Train();
  encodeVeth(
    veth,
    {
      name: 'lxc0',
      mac: '02:00:00:00:00:01',
      mtu: 1450,
      up: true,
      noarp: true,
      gsoMaxSize: 65536,
      peer: { name: 'eth0' },
    },
    9,
  );
  const link = decodeLink(only(veth));
  t.like(link, {
    name: 'lxc0',
    mac: '02:00:00:00:00:01',
    mtu: 1450,
    up: true,
    noarp: true,
    kind: 'veth',
    gsoMaxSize: 65536,
  });
  const vxlan = new Train();
  encodeVxlan(vxlan, { name: 'cilium_vxlan', external: true, port: 8472 });
  t.deepEqual(decodeLink(only(vxlan)).vxlan, { external: true, port: 8472, vni: 0, learning: false });
});

test('route protocols by name or number', t => {
  for (let number = 0; number < 256; number++) t.is(protocolNumber(protocolText(number)), number);
  t.throws(() => protocolNumber('bird'), { instanceOf: FimbriaError });
  t.throws(() => protocolNumber('256'), { instanceOf: FimbriaError });
});
