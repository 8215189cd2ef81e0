import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { listenTcp } from '../../src/kernel/netns.ts';
import { CtFlag, DropReason, LbServiceFlag, NatDirection } from '../../src/maps/abi.gen.ts';
import { ctMap, deviceAddressMap, type FlowTuple, natMap } from '../../src/maps/flows.ts';
import { ACK, address, checksumErrors, ends, FIN, frame, RST, SYN, segment } from './flow-packets.ts';
import { brokenRefusal } from './fuzz/translated.ts';
import { builtObject, CONFIGURATIONS, Loaded, Namespace, NODE_IPV4, SKB, VERDICT } from './harness.ts';
import { checksum, ethernet, icmpEcho, ipv4, PROTO, udp } from './packet.ts';
import { putService } from './services.ts';
import { fillMaps, furnish, NODE, PODS } from './world.ts';

/** The life of flows and translations, packet by packet. */

const NATIVE = CONFIGURATIONS.find(c => !c.tunnel && c.hostRouting && !c.endpointRoutes)!;
const ON = { cfg_node_port: true, cfg_pod_lb: true, cfg_masquerade: true };
const WORLD = '198.18.0.1';
const { client, server } = PODS;

let namespace: Namespace;
test.before(async () => {
  namespace = await Namespace.create();
  furnish(namespace);
});
test.after.always(() => namespace?.close());

function load(name: 'lxc' | 'netdev', flowEntries = 4096): Loaded {
  const loaded = new Loaded(builtObject(name), NATIVE, namespace.path, { more: ON, flowEntries });
  fillMaps(loaded);
  return loaded;
}

const out = (loaded: Loaded, packet: Buffer) =>
  loaded.run('cil_to_netdev', { packet, ifindex: NODE.ifindex });
const back = (loaded: Loaded, packet: Buffer) =>
  loaded.run('cil_from_netdev', { packet, ifindex: NODE.ifindex });

/** Seconds that the entry of a flow has yet to live. */
function translation(loaded: Loaded, tuple: FlowTuple): number | undefined {
  const offset = loaded.runtime.get(0)?.clockOffsetS ?? 0;
  const entry = natMap(loaded.map('cilium_snat_v4_external')).get(tuple);
  return entry && entry.expiresS - offset - Math.floor(Number(process.hrtime.bigint() / 1_000_000_000n));
}

test('a TCP flow lives 60 s until it is answered, 8000 s from then on, 10 s when both sides have closed', t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  const tuple = {
    saddr: client.ip,
    daddr: WORLD,
    sport: 40_000,
    dport: 443,
    l4Proto: PROTO.tcp,
    direction: NatDirection.NAT_OUT,
  };
  const reply = {
    ...tuple,
    saddr: WORLD,
    daddr: NODE_IPV4,
    sport: 443,
    dport: 40_000,
    direction: NatDirection.NAT_IN,
  };
  const near = (wanted: number, what: string): void => {
    for (const one of [tuple, reply]) {
      const left = translation(loaded, one)!;
      t.true(left <= wanted && left >= wanted - 3, `${what}: ${left} of ${wanted}`);
    }
  };
  const send = (flags: number): Buffer => out(loaded, segment(client.ip, 40_000, WORLD, 443, flags)).packet;
  const answer = (flags: number): Buffer =>
    back(loaded, segment(WORLD, 443, NODE_IPV4, 40_000, flags)).packet;

  const first = send(SYN);
  t.deepEqual(ends(first), { src: `${NODE_IPV4}:40000`, dst: `${WORLD}:443` }, 'the port is kept');
  t.is(checksumErrors(first), 0);
  near(60, 'asked');
  send(ACK);
  near(60, 'asked without an answer');
  const answered = answer(SYN | ACK);
  t.deepEqual(ends(answered), { src: `${WORLD}:443`, dst: `${client.ip}:40000` });
  t.is(checksumErrors(answered), 0);
  near(8000, 'answered');

  loaded.runtime.set(0, { trace: false, clockOffsetS: 7990 });
  t.is(ends(answer(ACK)).dst, `${client.ip}:40000`, 'nearly idle for too long');
  near(8000, 'again');
  send(FIN | ACK);
  near(8000, 'half closed');
  answer(FIN | ACK);
  near(10, 'closed');
  send(ACK);
  near(10, 'the last word');
  send(SYN);
  near(60, 'the same ports again');
  answer(SYN | ACK);
  answer(RST);
  near(10, 'hung up');
  loaded.runtime.set(0, { trace: false, clockOffsetS: 8010 });
  t.is(ends(answer(ACK)).dst, `${NODE_IPV4}:40000`, 'nobody is there any more');
});

test('each of several devices masquerades with its own address, and takes its own replies', t => {
  const loaded = new Loaded(builtObject('netdev'), NATIVE, namespace.path, {
    more: { ...ON, cfg_device_addresses: true },
    flowEntries: 4096,
  });
  t.teardown(() => loaded.close());
  fillMaps(loaded);
  const SECOND = { ifindex: NODE.ifindex, ip: '172.16.0.7' };
  const devices = deviceAddressMap(loaded.map('cilium_device_addresses'));
  const asked = segment(client.ip, 40_000, WORLD, 443);
  t.is(ends(out(loaded, asked).packet).src, `${NODE_IPV4}:40000`, 'one that has none: the node’s');
  devices.set(SECOND.ifindex, SECOND.ip);
  const packet = out(loaded, asked).packet;
  t.is(ends(packet).src, `${SECOND.ip}:40000`);
  t.is(checksumErrors(packet), 0);
  const answered = back(loaded, segment(WORLD, 443, SECOND.ip, 40_000, SYN | ACK)).packet;
  t.deepEqual(ends(answered), { src: `${WORLD}:443`, dst: `${client.ip}:40000` });
  t.is(checksumErrors(answered), 0);
  const stray = back(loaded, segment(WORLD, 443, '172.16.0.8', 40_000, SYN | ACK)).packet;
  t.is(ends(stray).dst, '172.16.0.8:40000', 'nobody’s address');
});

test('two pods on one port, and 60,000 flows to one destination: each has a port of its own', t => {
  t.timeout(120_000);
  const loaded = load('netdev', 262_144);
  t.teardown(() => loaded.close());
  const FLOWS = 60_000;
  const BATCH = 500;
  const used = new Set<number>();
  for (let first = 0; first < FLOWS; first += BATCH) {
    const packets = Array.from({ length: BATCH }, (_, i) =>
      segment(i % 2 ? client.ip : server.ip, 5000 + Math.floor((first + i) / 2), WORLD, 443),
    );
    const size = packets[0]!.length;
    const contexts = Buffer.alloc(BATCH * SKB.bytes);
    for (let i = 0; i < BATCH; i++) contexts.writeUInt32LE(NODE.ifindex, i * SKB.bytes + SKB.ifindex);
    const sizes = new Uint32Array(BATCH).fill(size);
    let result = loaded.runBatch('cil_to_netdev', { frames: Buffer.concat(packets), sizes, contexts });
    // Who finds no port at once asks again, as every client does.
    for (let again = 0; again < 5 && result.verdicts.includes(VERDICT.drop); again++)
      result = loaded.runBatch('cil_to_netdev', { frames: Buffer.concat(packets), sizes, contexts });
    for (let i = 0; i < BATCH; i++) {
      t.is(result.verdicts[i], VERDICT.pass);
      const packet = Buffer.from(result.frames.subarray(i * size, (i + 1) * size));
      used.add(packet.readUInt16BE(34));
    }
  }
  t.is(used.size, FLOWS, 'no port twice');
  t.true(Math.min(...used) >= 1024);
  t.false(
    [...used].some(port => port >= 30_000 && port <= 32_767),
    'and none of services',
  );
});

test('a full map lets the oldest go and new flows in', t => {
  const loaded = load('netdev', 256);
  t.teardown(() => loaded.close());
  for (let i = 0; i < 2000; i++) {
    const { verdict, metrics } = out(loaded, segment(client.ip, 33_000 + i, WORLD, 443));
    t.is(
      verdict,
      VERDICT.pass,
      JSON.stringify(metrics, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
    );
  }
});

test("the node's own packets do not get into a pod's flow, nor take a port from it", t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  const own = (): Buffer => out(loaded, segment(NODE_IPV4, 40_000, WORLD, 443)).packet;
  t.is(ends(own()).src, `${NODE_IPV4}:40000`, 'nobody else is there');
  t.is(ends(out(loaded, segment(client.ip, 40_000, WORLD, 443)).packet).src, `${NODE_IPV4}:40000`);
  const moved = own();
  const port = moved.readUInt16BE(34);
  t.not(port, 40_000);
  t.is(checksumErrors(moved), 0);
  const answers = (dport: number) => back(loaded, segment(WORLD, 443, NODE_IPV4, dport, SYN | ACK)).packet;
  t.is(ends(answers(40_000)).dst, `${client.ip}:40000`, "the pod's");
  t.is(ends(answers(port)).dst, `${NODE_IPV4}:40000`, "the node's");
});

test('a port that a socket of the node answers at is not taken', async t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  const port = 6443;
  const listener = createServer();
  listener.listen({ fd: await listenTcp({ address: NODE_IPV4, port, netns: namespace.path }) });
  await once(listener, 'listening');
  t.teardown(() => listener.close());
  t.not(out(loaded, segment(client.ip, port, WORLD, 443)).packet.readUInt16BE(34), port);
});

test('an ICMP error about a translated flow reaches the pod as one about its own', t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  // Two on one port, so that the second has another one.
  out(loaded, segment(server.ip, 41_000, WORLD, 443));
  const left = out(loaded, segment(client.ip, 41_000, WORLD, 443)).packet;
  t.not(left.readUInt16BE(34), 41_000);
  const message = Buffer.concat([Buffer.of(3, 4, 0, 0, 0, 0, 0x05, 0x14), left.subarray(14)]);
  message.writeUInt16BE(checksum(message), 2);
  const router = '192.0.2.77';
  const error = frame(ipv4({ src: router, dst: NODE_IPV4, proto: PROTO.icmp }, message));
  const { packet, verdict } = back(loaded, error);
  t.is(verdict, VERDICT.redirect);
  t.is(address(packet, 26), router, 'the router speaks for itself');
  t.is(address(packet, 30), client.ip);
  const quoted = packet.subarray(42);
  t.is(address(quoted, 12), client.ip);
  t.is(quoted.readUInt16BE(20), 41_000);
  t.is(checksum(quoted.subarray(0, 20)), 0, "the quoted header's checksum");
  t.is(checksum(packet.subarray(34)), 0, "ICMP's checksum");
  const strange = frame(
    ipv4(
      { src: router, dst: NODE_IPV4, proto: PROTO.icmp },
      Buffer.concat([message.subarray(0, 8), segment(NODE_IPV4, 7, WORLD, 8).subarray(14)]),
    ),
  );
  t.deepEqual(back(loaded, strange).packet, strange, "about nobody's flow: untouched");
});

test("what cannot be translated does not leave with a pod's address", t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  const reasons: [string, Buffer, number][] = [
    [
      'SCTP',
      ipv4({ src: client.ip, dst: WORLD, proto: PROTO.sctp }, Buffer.alloc(32)),
      DropReason.DROP_NAT_UNSUPPORTED_PROTOCOL,
    ],
    [
      'half a header',
      ipv4({ src: client.ip, dst: WORLD, proto: PROTO.tcp }, Buffer.alloc(12)),
      DropReason.DROP_INVALID,
    ],
    [
      'a later fragment alone',
      ipv4({ src: client.ip, dst: WORLD, fragmentOffset: 1480 }, Buffer.alloc(32)),
      DropReason.DROP_FRAGMENT_NOT_FOUND,
    ],
    [
      "an error about nobody's flow",
      ipv4(
        { src: client.ip, dst: WORLD, proto: PROTO.icmp },
        Buffer.concat([Buffer.of(3, 3, 0, 0, 0, 0, 0, 0), segment(WORLD, 1, client.ip, 2).subarray(14)]),
      ),
      DropReason.DROP_NO_NAT_MAPPING,
    ],
  ];
  for (const [what, packet, reason] of reasons) {
    const { verdict, metrics } = out(loaded, frame(packet));
    t.is(verdict, VERDICT.drop, what);
    t.is(metrics[0]?.reason, reason, what);
  }
  const kept = frame(ipv4({ src: client.ip, dst: '10.0.1.20' }, udp(1, 2)));
  t.deepEqual(out(loaded, kept).packet, kept, 'pods of the cluster');
  const foreign = frame(ipv4({ src: '10.9.9.9', dst: WORLD }, udp(1, 2)));
  t.deepEqual(out(loaded, foreign).packet, foreign, 'what is not of our pods');
  const echo = frame(ipv4({ src: client.ip, dst: WORLD, proto: PROTO.icmp }, icmpEcho(77)));
  const { packet } = out(loaded, echo);
  t.is(address(packet, 26), NODE_IPV4);
  t.is(packet.readUInt16BE(38), 77);
  t.is(checksumErrors(packet), 0);
});

test('an echo reply keeps its address and the identifier of who asked, whoever else has sent one', t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  const reply = icmpEcho(77);
  reply[0] = 0;
  reply.writeUInt16BE(0, 2);
  reply.writeUInt16BE(checksum(reply), 2);
  for (const src of [client.ip, server.ip, NODE_IPV4]) {
    const packet = frame(ipv4({ src, dst: WORLD, proto: PROTO.icmp }, reply));
    t.deepEqual(out(loaded, packet).packet, packet, src);
  }
  t.is([...loaded.map('cilium_snat_v4_external').keys()].length, 0);
});

test("who asks from outside by a pod's own address is answered by it; the pod's own flows have the node's", t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  const answer = segment(client.ip, 8080, WORLD, 40_000, SYN | ACK);
  t.is(address(out(loaded, answer).packet, 26), NODE_IPV4, 'nobody has asked');
  loaded.forgetFlows();
  back(loaded, segment(WORLD, 40_000, client.ip, 8080, SYN));
  t.deepEqual(out(loaded, answer).packet, answer);
  t.is([...loaded.map('cilium_snat_v4_external').keys()].length, 0);
  // What pretends to answer a flow that the pod has begun does not change in whose name that goes on.
  const own = segment(client.ip, 50_000, WORLD, 443, SYN);
  t.is(address(out(loaded, own).packet, 26), NODE_IPV4);
  back(loaded, segment(WORLD, 443, client.ip, 50_000, ACK));
  t.is(address(out(loaded, own).packet, 26), NODE_IPV4);
});

test('from outside: ClusterIP, strangers and services without backends are refused, each counted', t => {
  const loaded = load('netdev');
  t.teardown(() => loaded.close());
  const { LB_F_CLUSTER_IP, LB_F_LOAD_BALANCER, LB_F_SOURCE_RANGES } = LbServiceFlag;
  const backends = [`${client.ip}:8080`];
  const common = { port: 80, l4Proto: PROTO.tcp };
  putService(loaded, { ...common, address: '10.96.0.1', revNatIndex: 1, flags: LB_F_CLUSTER_IP, backends });
  putService(loaded, {
    ...common,
    address: '10.0.250.1',
    revNatIndex: 2,
    flags: LB_F_LOAD_BALANCER,
    backends: [],
  });
  putService(loaded, {
    ...common,
    address: '10.0.250.2',
    revNatIndex: 3,
    flags: LB_F_LOAD_BALANCER | LB_F_SOURCE_RANGES,
    backends,
    sourceRanges: ['203.0.113.0/24'],
  });
  const ask = (dst: string, src = WORLD) => back(loaded, segment(src, 50_000, dst, 80));
  const refused = (dst: string, reason: number): void => {
    const { verdict, metrics } = ask(dst);
    t.deepEqual([verdict, metrics.map(m => m.reason)], [VERDICT.drop, [reason]], dst);
  };
  refused('10.96.0.1', DropReason.DROP_IS_CLUSTER_IP);
  const asked = segment(WORLD, 50_000, '10.0.250.1', 80);
  const told = back(loaded, asked);
  t.deepEqual(
    [told.verdict, told.metrics.map(m => m.reason)],
    [VERDICT.redirect, [DropReason.DROP_NO_SERVICE_BACKEND]],
    'a service without backends says so',
  );
  t.is(brokenRefusal(asked, told.packet), undefined);
  refused('10.0.250.2', DropReason.DROP_NOT_IN_SOURCE_RANGE);
  const { verdict, packet } = ask('10.0.250.2', '203.0.113.9');
  t.is(verdict, VERDICT.redirect);
  t.deepEqual(ends(packet), { src: '203.0.113.9:50000', dst: `${client.ip}:8080` });
  t.is(checksumErrors(packet), 0);
  const entries = [...ctMap(loaded.map('cilium_ct4_global')).entries()];
  t.is(entries.length, 2, 'the refused leave nothing');
  t.true(
    entries.some(([, entry]) => entry.flags & CtFlag.CT_F_NODE_PORT && entry.natAddress === '10.0.250.2'),
  );
});

test('a flow keeps its backend, a client its own where the service says so', t => {
  const loaded = load('lxc');
  t.teardown(() => loaded.close());
  const backends = Array.from({ length: 8 }, (_, i) => `10.0.1.${100 + i}:8080`);
  const common = { port: 80, l4Proto: PROTO.tcp, backends };
  putService(loaded, { ...common, address: '10.96.0.1', revNatIndex: 1 });
  const { LB_F_AFFINITY } = LbServiceFlag;
  putService(loaded, {
    ...common,
    address: '10.96.0.2',
    revNatIndex: 2,
    flags: LB_F_AFFINITY,
    affinityTimeoutS: 60,
  });
  const ask = (sport: number, dst: string, flags = SYN): string => {
    const packet = segment(client.ip, sport, dst, 80, flags);
    packet.set(Buffer.from(client.nodeMac.replaceAll(':', ''), 'hex'), 0);
    packet.set(Buffer.from(client.mac.replaceAll(':', ''), 'hex'), 6);
    return ends(loaded.run('cil_from_container', { packet, ifindex: client.ifindex }).packet).dst;
  };
  const ports = Array.from({ length: 64 }, (_, i) => 40_000 + i);
  const first = ports.map(port => ask(port, '10.96.0.1'));
  t.is(new Set(first).size, 8, 'every backend gets some');
  t.deepEqual(
    ports.map(port => ask(port, '10.96.0.1', ACK)),
    first,
  );
  t.is(new Set(ports.map(port => ask(port, '10.96.0.2'))).size, 1);
});

for (const [sport, dport] of [
  [40_000, 80],
  [80, 40_000],
  [5_000, 5_000],
] as const) {
  test(`what a pod has asked for comes in without a rule, what it may not ask for any more does not go out: ${sport} to ${dport}`, t => {
    const loaded = load('lxc');
    t.teardown(() => loaded.close());
    const { fortified } = PODS;
    const send = (
      from: typeof fortified | typeof server,
      to: string,
      ports: [number, number],
      flags: number,
    ) => {
      const l4 = segment(from.ip, ports[0], to, ports[1], flags).subarray(14);
      const packet = ethernet({ dst: from.nodeMac, src: from.mac }, l4);
      const { verdict, metrics } = loaded.run('cil_from_container', { packet, ifindex: from.ifindex });
      return verdict === VERDICT.redirect ? 0 : metrics[0]!.reason;
    };
    const ask = (flags = ACK) => send(fortified, server.ip, [sport, dport], flags);
    const answer = () => send(server, fortified.ip, [dport, sport], ACK);
    const flow = { saddr: fortified.ip, daddr: server.ip, sport, dport, l4Proto: PROTO.tcp, direction: 0 };
    const entry = () => ctMap(loaded.map('cilium_ct4_global')).get(flow)!;

    loaded.setPolicy(fortified.endpointId, [
      [{ direction: 'egress', identity: server.identity }, { deny: false }],
    ]);
    t.is(answer(), DropReason.DROP_POLICY, 'nobody has asked');
    t.is(ask(SYN), 0);
    t.is(answer(), 0);
    t.is(ask(), 0);
    t.is(entry().packets, 3n);
    t.truthy(entry().flags & CtFlag.CT_F_SEEN_REPLY);

    loaded.setPolicy(fortified.endpointId, []);
    t.is(ask(), DropReason.DROP_POLICY, 'known flows are judged as new ones are');
    t.is(answer(), 0);
    t.is(entry().packets, 4n, 'what is dropped is no packet of the flow');
  });
}
