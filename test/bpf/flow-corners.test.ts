import test from 'ava';
import { DropReason, LbServiceFlag, NatDirection } from '../../src/maps/abi.gen.ts';
import { natMap } from '../../src/maps/flows.ts';
import { ACK, address, ends, frame, RST, SYN, segment } from './flow-packets.ts';
import { builtObject, CONFIGURATIONS, Loaded, Namespace, NODE_IPV4, Probes, VERDICT } from './harness.ts';
import { checksum, icmpEcho, ipv4, PROTO, udp } from './packet.ts';
import { putService } from './services.ts';
import { ELSEWHERE, fillMaps, furnish, IDENTITY, NODE, PODS } from './world.ts';

/** Faults of flows and translations that were found once. */

const ON = { cfg_node_port: true, cfg_pod_lb: true, cfg_masquerade: true };
const { world: WORLD } = ELSEWHERE;
const { client } = PODS;
const VIP = '10.0.250.1';

let namespace: Namespace;
const probes = new Probes();
test.before(async () => {
  namespace = await Namespace.create();
  furnish(namespace);
});
test.after.always(() => {
  namespace?.close();
  probes.close();
});

function load(tunnel = false, path = builtObject('netdev')): Loaded {
  const configuration = CONFIGURATIONS.find(c => c.tunnel === tunnel && c.hostRouting && !c.endpointRoutes)!;
  const loaded = new Loaded(path, configuration, namespace.path, { more: { ...ON, cfg_dsr: !tunnel } });
  fillMaps(loaded);
  return loaded;
}

const out = (loaded: Loaded, packet: Buffer) =>
  loaded.run('cil_to_netdev', { packet, ifindex: NODE.ifindex });
const back = (loaded: Loaded, packet: Buffer) =>
  loaded.run('cil_from_netdev', { packet, ifindex: NODE.ifindex });

test('a flow keeps its port when one of its two entries went for want of room', t => {
  const loaded = load();
  t.teardown(() => loaded.close());
  const data = segment(client.ip, 40_000, WORLD, 443, ACK);
  const tuple = { saddr: client.ip, daddr: WORLD, sport: 40_000, dport: 443, l4Proto: PROTO.tcp };
  const reply = { ...tuple, saddr: WORLD, daddr: NODE_IPV4, sport: 443, dport: 40_000 };
  const nat = natMap(loaded.map('cilium_snat_v4_external'));
  out(loaded, segment(client.ip, 40_000, WORLD, 443, SYN));
  back(loaded, segment(WORLD, 443, NODE_IPV4, 40_000, SYN | ACK));
  for (const lost of [
    { ...tuple, direction: NatDirection.NAT_OUT },
    { ...reply, direction: NatDirection.NAT_IN },
  ]) {
    t.true(nat.delete(lost));
    t.is(ends(out(loaded, data).packet).src, `${NODE_IPV4}:40000`);
    t.is(ends(back(loaded, segment(WORLD, 443, NODE_IPV4, 40_000, ACK)).packet).dst, `${client.ip}:40000`);
  }
});

test('a new connection on the ports of one that is over gets a backend as new ones do', t => {
  const loaded = load();
  t.teardown(() => loaded.close());
  const common = { address: VIP, port: 80, l4Proto: PROTO.tcp, flags: LbServiceFlag.LB_F_LOAD_BALANCER };
  const ask = (flags: number): string =>
    ends(back(loaded, segment(WORLD, 50_000, VIP, 80, flags)).packet).dst;
  const serve = (ip: string, firstBackendId: number): void =>
    putService(loaded, { ...common, revNatIndex: 1, backends: [`${ip}:8080`], firstBackendId });
  serve(client.ip, 1);
  t.is(ask(SYN), `${client.ip}:8080`);
  // Another takes its place, and it is still there for whom it has.
  serve(PODS.server.ip, 2);
  t.is(ask(ACK), `${client.ip}:8080`, 'the flow stays');
  t.is(ask(SYN), `${client.ip}:8080`, 'a SYN that is sent again');
  ask(RST);
  t.is(ask(SYN), `${PODS.server.ip}:8080`, 'a new flow');
  t.is(ask(ACK), `${PODS.server.ip}:8080`, 'which stays as well');
});

test('a SYN without room for the name of its service goes by way of this node', t => {
  const loaded = load();
  t.teardown(() => loaded.close());
  const flags = LbServiceFlag.LB_F_LOAD_BALANCER | LbServiceFlag.LB_F_DSR;
  const backends = [`${ELSEWHERE.neighbourPod}:8080`];
  putService(loaded, { address: VIP, port: 80, l4Proto: PROTO.tcp, flags, revNatIndex: 1, backends });
  const small = segment(WORLD, 50_000, VIP, 80, SYN);
  const told = back(loaded, small).packet;
  t.is(address(told, 26), WORLD, 'the backend sees the client');
  t.is(told.length, small.length + 8, 'and is told');
  const options = ipv4(
    { src: WORLD, dst: VIP, proto: PROTO.tcp, options: Buffer.alloc(40, 1) },
    segment(WORLD, 50_001, VIP, 80, SYN).subarray(34),
  );
  const bytes = segment(WORLD, 50_002, VIP, 80, SYN).subarray(34);
  const full = ipv4({ src: WORLD, dst: VIP, proto: PROTO.tcp }, Buffer.concat([bytes, Buffer.alloc(1425)]));
  for (const payload of [options, full]) {
    const { verdict, packet } = back(loaded, frame(payload));
    t.not(verdict, VERDICT.drop);
    t.is(address(packet, 26), NODE_IPV4);
    t.is(packet.length, payload.length + 14);
  }
});

test('an echo with the option of a service keeps its identifier on the way back', t => {
  const loaded = load();
  t.teardown(() => loaded.close());
  const option = Buffer.of(0x9a, 8, 0x1f, 0x90, 10, 0, 250, 1);
  const echo = frame(ipv4({ src: WORLD, dst: client.ip, proto: PROTO.icmp, options: option }, icmpEcho(77)));
  t.is(back(loaded, echo).packet.length, echo.length, 'it stays as it is');
  t.is([...loaded.map('cilium_ct_any4_global').keys()].length, 0, 'and leaves nothing behind');
});

test('through the tunnel a reply to a client behind it says who sends it', t => {
  const loaded = load(true, probes.compile('netdev_probe'));
  t.teardown(() => loaded.close());
  const backends = [`${WORLD}:8080`];
  const common = { address: VIP, port: 80, l4Proto: PROTO.tcp, revNatIndex: 1 };
  putService(loaded, { ...common, flags: LbServiceFlag.LB_F_LOAD_BALANCER, backends });
  const asked = back(loaded, segment(ELSEWHERE.remotePod, 50_000, VIP, 80, SYN)).packet;
  t.deepEqual(ends(asked), { src: `${NODE_IPV4}:50000`, dst: `${WORLD}:8080` });
  const packet = segment(WORLD, 8080, NODE_IPV4, 50_000, SYN | ACK);
  const answer = loaded.run('probe_from_netdev', { packet, ifindex: NODE.ifindex });
  t.deepEqual(ends(answer.packet), { src: `${VIP}:80`, dst: `${ELSEWHERE.remotePod}:50000` });
  t.is(answer.tunnel?.vni, IDENTITY.world);
});

test("the node's ICMP error about a reply to a pod is about the flow as the world knows it", t => {
  const loaded = load();
  t.teardown(() => loaded.close());
  // The port is not kept, so that it shows.
  const left = ends(out(loaded, segment(client.ip, 80, WORLD, 443, SYN)).packet).src;
  const quoted = segment(WORLD, 443, client.ip, 80, SYN | ACK).subarray(14);
  const message = Buffer.concat([Buffer.of(3, 4, 0, 0, 0, 0, 0x05, 0x14), quoted]);
  message.writeUInt16BE(checksum(message), 2);
  const { packet } = out(loaded, frame(ipv4({ src: NODE_IPV4, dst: WORLD, proto: PROTO.icmp }, message)));
  t.is(`${address(packet, 42 + 16)}:${packet.readUInt16BE(42 + 20 + 2)}`, left);
  t.is(address(packet, 26), NODE_IPV4);
  t.is(checksum(packet.subarray(42, 62)), 0, "the quoted header's checksum");
  t.is(checksum(packet.subarray(34)), 0, "ICMP's checksum");
});

test('fragments: the first names the flow, those that overtake it are not let out in its name', t => {
  const loaded = load();
  t.teardown(() => loaded.close());
  const backends = [`${client.ip}:8080`];
  const common = { address: VIP, port: 80, l4Proto: PROTO.udp, revNatIndex: 1, backends };
  putService(loaded, { ...common, flags: LbServiceFlag.LB_F_LOAD_BALANCER });
  const pieces = (src: string, dst: string, dport: number) => {
    const datagram = udp(40_000, dport, Buffer.alloc(2992));
    const fields = { src, dst, id: 77 };
    return [
      frame(ipv4({ ...fields, moreFragments: true }, datagram.subarray(0, 1480))),
      frame(ipv4({ ...fields, fragmentOffset: 1480 }, datagram.subarray(1480))),
    ] as const;
  };
  const [first, later] = pieces(client.ip, WORLD, 53);
  const early = out(loaded, later);
  t.is(early.verdict, VERDICT.drop);
  t.deepEqual(
    early.metrics.map(({ reason }) => reason),
    [DropReason.DROP_FRAGMENT_NOT_FOUND],
  );
  for (const piece of [first, later]) {
    const { packet } = out(loaded, piece);
    t.is(address(packet, 26), NODE_IPV4);
    t.deepEqual(packet.subarray(42), piece.subarray(42));
  }
  const [asking, more] = pieces(WORLD, VIP, 80);
  t.deepEqual(back(loaded, more).packet, more, "nobody's, before the first");
  for (const piece of [asking, more]) t.is(address(back(loaded, piece).packet, 30), client.ip);
});
