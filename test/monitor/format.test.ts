import test from 'ava';
import { DropReason, TracePoint } from '../../src/maps/abi.gen.ts';
import type { DatapathEvent, SocketEvent } from '../../src/maps/events.ts';
import {
  eventMatches,
  eventToJson,
  formatEvent,
  formatSocketEvent,
  formatVerbose,
  reasonText,
  socketEventToJson,
} from '../../src/monitor/index.ts';
import { tracePointName } from '../../src/monitor/reasons.ts';
import { arp, icmp, ipv4, tcp } from './frames.ts';

const names: Record<number, string> = { 1: 'host', 2: 'world', 5: 'init', 0: 'unknown' };
const lookups = {
  ifname: (ifindex: number) => ({ 2: 'eth0', 11: 'lxcd4c5e765631e' })[ifindex],
  identityText: (id: number) => names[id] ?? String(id),
};

const base: DatapathEvent = {
  type: 'trace',
  code: 0,
  timeNs: 5n,
  direction: 'ingress',
  sourceFile: 'lxc.c',
  sourceLine: 2127,
  endpointId: 235,
  sourceIdentity: 5118,
  destinationIdentity: 3761,
  ifindex: 11,
  flowHash: 0x3000e251,
  mark: 0,
  flowState: 'unknown',
  packetBytes: 74,
  packet: ipv4({ source: '172.20.0.9', destination: '172.20.0.3', l4Proto: 6 }, tcp(41996, 8080, 2)),
};

test('a delivery, as in the sample', t => {
  t.is(
    formatEvent(base, lookups),
    '-> endpoint 235 flow 0x3000e251 , identity 5118->3761 state unknown ifindex lxcd4c5e765631e orig-ip 172.20.0.9: 172.20.0.9:41996 -> 172.20.0.3:8080 tcp SYN',
  );
});

test('what was translated: whose it was, the service, and where in its flow', t => {
  const masqueraded: DatapathEvent = {
    ...base,
    code: 11,
    ifindex: 2,
    flowState: 'established',
    originalSource: '172.20.2.229',
  };
  t.regex(
    formatEvent(masqueraded, lookups),
    /^-> network .* state established ifindex eth0 orig-ip 172\.20\.2\.229: 172\.20\.0\.9:41996 -> /,
  );
  const served: DatapathEvent = { ...base, flowState: 'new', frontend: '10.96.0.1:80' };
  t.regex(
    formatEvent(served, lookups),
    / state new ifindex \S+ orig-ip 172\.20\.0\.9: .* -> 172\.20\.0\.3:8080 tcp SYN \(service 10\.96\.0\.1:80\)$/,
  );
  t.like(eventToJson({ ...served, originalSource: '192.168.10.1' }, lookups), {
    state: 'new',
    origIP: '192.168.10.1',
    service: '10.96.0.1:80',
  });
});

test('the packet below its line: layers, or bytes', t => {
  const event: DatapathEvent = { ...base, flowState: 'reply' };
  const [ruler, facts, summary, ethernet, ip, l4, ...more] = formatVerbose(event, lookups, false).split('\n');
  t.regex(ruler!, /^-{78}$/);
  t.is(
    facts,
    'MARK 0x3000e251 FROM 0 to-endpoint: 74 bytes (54 captured), state reply, interface lxcd4c5e765631e, identity 5118->3761, orig-ip 172.20.0.9, to endpoint 235',
  );
  t.is(summary, '172.20.0.9:41996 -> 172.20.0.3:8080 tcp SYN');
  t.regex(ethernet!, /^Ethernet\t\{SrcMAC=.* EthernetType=0x0800\}$/);
  t.regex(ip!, /^IPv4\t\{SrcIP=172\.20\.0\.9 DstIP=172\.20\.0\.3 TTL=64 /);
  t.is(l4, 'TCP\t{SrcPort=41996 DstPort=8080 Flags=SYN}');
  t.deepEqual(more, []);
  const hex = formatVerbose(
    { ...event, packet: Uint8Array.from({ length: 18 }, (_, i) => 0x40 + i) },
    lookups,
    true,
  );
  t.deepEqual(hex.split('\n').slice(2), [
    '00000000  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|',
    '00000010  50 51                                             |PQ|',
  ]);
});

test('a socket that asks for a service', t => {
  const event: SocketEvent = {
    type: 'trace-sock',
    timeNs: 5n,
    point: 'pre-xlate-fwd',
    l4Proto: 6,
    address: '10.96.0.1',
    port: 80,
    cgroupId: 2n ** 63n,
    socketCookie: 7n,
  };
  t.is(
    formatSocketEvent(event),
    '[pre-xlate-fwd] cgroup_id: 9223372036854775808 sock_cookie: 7, dst [10.96.0.1]:80 tcp',
  );
  t.like(socketEventToJson(event), { type: 'trace-sock', dstIP: '10.96.0.1', dstPort: 80, sockCookie: '7' });
  t.true(eventMatches(event, { types: ['trace-sock'] }));
  t.false(eventMatches(event, { types: ['trace'] }));
  t.false(eventMatches(event, { related: [7] }), 'it is no endpoint that asks');
});

test('a drop, as in the sample', t => {
  const drop: DatapathEvent = {
    ...base,
    type: 'drop',
    code: 133,
    flowHash: 0x9f2d,
    sourceIdentity: 16777388,
    destinationIdentity: 5118,
  };
  t.is(
    formatEvent(drop, lookups),
    'xx drop (Policy denied) flow 0x9f2d to endpoint 235, ifindex 11, file bpf_lxc.c:2127, , identity 16777388->5118: 172.20.0.9:41996 -> 172.20.0.3:8080 tcp SYN',
  );
  // On the way out of an endpoint there is no destination endpoint.
  t.regex(
    formatEvent({ ...drop, code: 132, direction: 'egress', flowHash: 0, sourceFile: 'arp.h' }, lookups),
    /^xx drop \(Invalid source ip\) flow 0x0 to endpoint 0, ifindex 11, file arp\.h:2127, , identity /,
  );
});

test('other points, unknown devices, reserved identities', t => {
  const ping = ipv4({ source: '172.20.2.229', destination: '172.20.0.1', l4Proto: 1 }, icmp(8));
  const from = {
    ...base,
    code: 5,
    endpointId: 2361,
    sourceIdentity: 5,
    destinationIdentity: 0,
    ifindex: 0,
    flowHash: 0,
    packet: ping,
  };
  t.is(
    formatEvent(from, lookups),
    '<- endpoint 2361 flow 0x0 , identity init->unknown state unknown ifindex 0 orig-ip 0.0.0.0: 172.20.2.229 -> 172.20.0.1 icmp EchoRequest',
  );
  t.is(
    formatEvent({ ...from, code: 11, ifindex: 2 }, lookups),
    '-> network flow 0x0 , identity init->unknown state unknown ifindex eth0 orig-ip 0.0.0.0: 172.20.2.229 -> 172.20.0.1 icmp EchoRequest',
  );
  t.regex(formatEvent({ ...from, code: 4, ifindex: 99 }, lookups), /^-> overlay flow 0x0 .* ifindex 99 /);
  t.regex(
    formatEvent({ ...from, packet: arp(1, '10.0.0.1', '10.0.0.2') }, lookups),
    / ff:ff:ff:ff:ff:ff ARP$/,
  );
  t.regex(formatEvent({ ...from, code: 77 }, lookups), /^-- point 77 flow/);
});

test('JSON carries the same facts for programs', t => {
  t.like(eventToJson(base, lookups), {
    type: 'trace',
    mark: '0x3000e251',
    ifindex: 'lxcd4c5e765631e',
    observationPoint: 'to-endpoint',
    traceSummary: '-> endpoint 235',
    source: 0,
    dstID: 235,
    srcLabel: 5118,
    dstLabel: 3761,
    bytes: 74,
    origIP: '172.20.0.9',
  });
  const drop = eventToJson({ ...base, type: 'drop', code: 151, direction: 'egress' }, lookups);
  t.like(drop, {
    type: 'drop',
    reason: 'Stale or unroutable IP',
    reasonCode: 151,
    source: 235,
    dstID: 0,
    file: 'bpf_lxc.c',
    line: 2127,
    direction: 'egress',
  });
  t.like(drop.summary as object, {
    text: '172.20.0.9:41996 -> 172.20.0.3:8080 tcp SYN',
    protocol: 'tcp',
    ttl: 64,
    tcpFlags: ['SYN'],
  });
  t.deepEqual(JSON.parse(JSON.stringify(drop)), drop);
});

test('filters: every condition given must hold', t => {
  const drop: DatapathEvent = { ...base, type: 'drop', code: 133 };
  t.true(eventMatches(drop, {}));
  t.true(eventMatches(drop, { types: ['drop'], to: [235], from: [], related: [235, 1] }));
  t.false(eventMatches(drop, { types: ['trace'] }));
  t.false(eventMatches(drop, { from: [235] }));
  t.true(eventMatches({ ...drop, direction: 'egress' }, { from: [235] }));
  t.false(eventMatches(drop, { related: [1] }));
  // A pod's packet on its way into the tunnel is the pod's, whatever the point.
  const sent: DatapathEvent = { ...base, code: 4, direction: 'egress' };
  t.true(eventMatches(sent, { from: [235] }));
  t.false(eventMatches(sent, { to: [235] }));
});

test("every number that the datapath uses has Cilium's text", t => {
  for (const [name, reason] of Object.entries(DropReason)) t.not(reasonText(reason), String(reason), name);
  for (const [name, point] of Object.entries(TracePoint)) {
    const expected = name.replace('TRACE_', '').replace('LXC', 'ENDPOINT').replace('_', '-').toLowerCase();
    t.is(tracePointName(point), expected);
  }
  t.deepEqual([0, 3, 132, 133, 134, 136, 139, 147, 151, 160, 169, 171, 196, 250].map(reasonText), [
    'Success',
    'Interface',
    'Invalid source ip',
    'Policy denied',
    'Invalid packet',
    'Fragmentation needed',
    'Unsupported L3 protocol',
    'Error retrieving tunnel key',
    'Stale or unroutable IP',
    'No tunnel/encapsulation endpoint (datapath BUG!)',
    'FIB lookup failed',
    'Invalid identity',
    'TTL exceeded',
    '250',
  ]);
});
