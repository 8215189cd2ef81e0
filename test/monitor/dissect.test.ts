import test from 'ava';
import fc from 'fast-check';
import { connectionSummary, dissect } from '../../src/monitor/index.ts';
import { arp, ethernet, icmp, ipv4, MAC_A, tcp, udp } from './frames.ts';

const pair = { source: '172.20.2.229', destination: '172.20.0.1' };
const summary = (frame: Uint8Array): string => connectionSummary(dissect(frame));

test('summaries read as packet tools write them', t => {
  t.is(
    summary(ipv4({ ...pair, l4Proto: 6 }, tcp(41996, 8080, 0x02))),
    '172.20.2.229:41996 -> 172.20.0.1:8080 tcp SYN',
  );
  t.is(
    summary(ipv4({ ...pair, l4Proto: 6 }, tcp(1, 2, 0x12))),
    '172.20.2.229:1 -> 172.20.0.1:2 tcp SYN, ACK',
  );
  t.is(
    summary(ipv4({ ...pair, l4Proto: 6 }, tcp(1, 2, 0x1d))),
    '172.20.2.229:1 -> 172.20.0.1:2 tcp ACK, RST, FIN',
  );
  t.is(summary(ipv4({ ...pair, l4Proto: 6 }, tcp(1, 2, 0))), '172.20.2.229:1 -> 172.20.0.1:2 tcp');
  t.is(summary(ipv4({ ...pair, l4Proto: 17 }, udp(53, 3333))), '172.20.2.229:53 -> 172.20.0.1:3333 udp');
  t.is(summary(ipv4({ ...pair, l4Proto: 1 }, icmp(8))), '172.20.2.229 -> 172.20.0.1 icmp EchoRequest');
  t.is(summary(ipv4({ ...pair, l4Proto: 1 }, icmp(0))), '172.20.2.229 -> 172.20.0.1 icmp EchoReply');
  t.is(
    summary(ipv4({ ...pair, l4Proto: 1 }, icmp(3, 4))),
    '172.20.2.229 -> 172.20.0.1 icmp DestinationUnreachable(FragmentationNeeded)',
  );
  t.is(
    summary(ipv4({ ...pair, l4Proto: 1 }, icmp(11))),
    '172.20.2.229 -> 172.20.0.1 icmp TimeExceeded(TTLExceeded)',
  );
  t.is(summary(ipv4({ ...pair, l4Proto: 1 }, icmp(99, 3))), '172.20.2.229 -> 172.20.0.1 icmp 99(3)');
  t.is(summary(ipv4({ ...pair, l4Proto: 47 }, icmp(0))), '172.20.2.229 -> 172.20.0.1 47');
  t.is(summary(arp(1, '10.0.0.1', '10.0.0.2')), `${MAC_A} -> ff:ff:ff:ff:ff:ff ARP`);
  t.is(summary(ethernet(0x88b5, new Uint8Array(4))), `${MAC_A} -> b6:11:82:28:11:c9 0x88b5`);
  t.is(summary(new Uint8Array(5)), '[unknown]');
});

test('IP options are stepped over, later fragments have no ports, VLAN tags are looked through', t => {
  t.deepEqual(dissect(ipv4({ ...pair, l4Proto: 17, options: 8 }, udp(5, 6))).ports, {
    source: 5,
    destination: 6,
  });
  const later = dissect(ipv4({ ...pair, l4Proto: 17, fragmentOffset: 0x2010 }, udp(5, 6)));
  t.true(later.ip!.laterFragment);
  t.is(later.ports, undefined);
  t.is(connectionSummary(later), '172.20.2.229 -> 172.20.0.1 udp');
  t.deepEqual(dissect(ipv4({ ...pair, l4Proto: 17, fragmentOffset: 0x2000 }, udp(5, 6))).ports, {
    source: 5,
    destination: 6,
  });
  const inner = ipv4({ ...pair, l4Proto: 17 }, udp(5, 6));
  const tagged = ethernet(0x8100, Uint8Array.of(0, 7, 8, 0, ...inner.subarray(14)));
  t.is(summary(tagged), '172.20.2.229:5 -> 172.20.0.1:6 udp');
});

test('ARP bodies and IPv6, with extension headers', t => {
  t.like(dissect(arp(2, '10.0.0.1', '10.0.0.2')).arp, {
    operation: 2,
    senderIp: '10.0.0.1',
    targetIp: '10.0.0.2',
    senderMac: MAC_A,
  });
  const address = (last: number): number[] => [0xfd, ...new Array<number>(14).fill(0), last];
  const head = (next: number, length: number): number[] => [
    0x60,
    0,
    0,
    0,
    0,
    length,
    next,
    64,
    ...address(1),
    ...address(2),
  ];
  const hopByHop = [58, 0, 0, 0, 0, 0, 0, 0];
  t.is(
    summary(ethernet(0x86dd, Uint8Array.of(...head(0, 16), ...hopByHop, ...icmp(128)))),
    'fd00::1 -> fd00::2 icmp EchoRequest',
  );
  t.is(
    summary(ethernet(0x86dd, Uint8Array.of(...head(17, 8), ...udp(5, 6)))),
    '[fd00::1]:5 -> [fd00::2]:6 udp',
  );
  const fragment = [17, 0, 0, 0x08, 0, 0, 0, 1];
  t.is(
    summary(ethernet(0x86dd, Uint8Array.of(...head(44, 16), ...fragment, ...udp(5, 6)))),
    'fd00::1 -> fd00::2 udp',
  );
});

test('no frame, however cut or forged, throws', t => {
  const frames = fc.constantFrom(
    ipv4({ ...pair, l4Proto: 6, options: 4 }, tcp(1, 2, 2)),
    arp(1, '10.0.0.1', '10.0.0.2'),
    ethernet(0x86dd, Uint8Array.of(0x60, 0, 0, 0, 0, 8, 0, 64, ...new Uint8Array(40))),
  );
  const damaged = fc
    .tuple(frames, fc.nat(80), fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 }))
    .map(([frame, length, changes]) => {
      const copy = frame.slice(0, length);
      for (const [at, byte] of changes) if (at < copy.length) copy[at] = byte;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 128 })), frame => summary(frame).length > 0),
    { numRuns: 3000 },
  );
  // A view into a larger buffer must not read beyond itself.
  const buffer = new Uint8Array(200).fill(0x45);
  t.is(dissect(buffer.subarray(10, 20)).ethernet, undefined);
});
