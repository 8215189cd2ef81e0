import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import test from 'ava';
import { connectTcp, icmpEcho, listenTcp } from '../../src/kernel/netns.ts';
import { DropReason, LbServiceFlag } from '../../src/maps/abi.gen.ts';
import { LiveNode, OUTSIDE } from './cluster.ts';
import { CONFIGURATIONS, configurationName, Namespace } from './harness.ts';
import { putService } from './services.ts';

/** Clients, services and backends in namespaces: who reaches whom, and as whom. */

const ON = { cfg_node_port: true, cfg_pod_lb: true, cfg_masquerade: true };
const TIMEOUT_MS = 20_000;
const TCP = 6;
const UDP = 17;
const LOOPBACK = '169.254.42.1';

interface Place {
  namespace: Namespace;
}

/** Tells everybody who connects which address that was. */
async function tellClients(where: Place, address: string, port: number): Promise<Server> {
  const fd = await listenTcp({ address, port, netns: where.namespace.path });
  const server = createServer(socket => {
    socket.on('error', () => {});
    socket.end(`${socket.remoteAddress}`);
  });
  server.listen({ fd });
  await once(server, 'listening');
  return server;
}

/** What the server there says that we are. */
async function whoAmI(from: Place, address: string, port: number): Promise<string> {
  const socket = await connectTcp({ address, port, netns: from.namespace.path, timeoutMs: TIMEOUT_MS });
  let text = '';
  socket.on('data', data => {
    text += data;
  });
  await once(socket, 'end');
  socket.destroy();
  return text;
}

/** Perl, since every Debian has it: a datagram's bytes come back behind the sender's address. */
const UDP_SERVER = `use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); bind(S, sockaddr_in($ARGV[1], inet_aton($ARGV[0]))) or die;
$| = 1; print "ready\\n"; while (my $from = recv(S, my $data, 65000, 0)) { my ($port, $ip) = sockaddr_in($from);
send(S, inet_ntoa($ip) . " " . length($data), 0, $from); }`;
const UDP_CLIENT = `use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); my $to = sockaddr_in($ARGV[1], inet_aton($ARGV[0]));
send(S, "x" x $ARGV[2], 0, $to); alarm 20; my $from = recv(S, my $data, 65000, 0); my ($port, $ip) = sockaddr_in($from);
print inet_ntoa($ip) . ":$port says $data";`;

function perl(where: Place, program: string, ...args: string[]) {
  return spawn('nsenter', [`--net=${where.namespace.path}`, '--', 'perl', '-e', program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function serveUdp(where: Place, address: string, port: number): Promise<() => void> {
  const child = perl(where, UDP_SERVER, address, `${port}`);
  await once(child.stdout, 'data');
  return () => child.kill();
}

async function askUdp(from: Place, address: string, port: number, bytes = 10): Promise<string> {
  const child = perl(from, UDP_CLIENT, address, `${port}`, `${bytes}`);
  let text = '';
  child.stdout.on('data', data => {
    text += data;
  });
  await once(child, 'close');
  return text;
}

function dropsOf(node: LiveNode): Record<number, bigint> {
  const drops: Record<number, bigint> = {};
  for (const { reason, packets } of node.metrics())
    if (reason >= DropReason.DROP_INVALID_SIP) drops[reason] = (drops[reason] ?? 0n) + packets;
  return drops;
}

for (const configuration of CONFIGURATIONS) {
  test.serial(`services and masquerade: ${configurationName(configuration)}`, async t => {
    t.timeout(240_000);
    const outside: Place = { namespace: await Namespace.create() };
    const [a, b] = await LiveNode.pair(configuration, 2, ON, outside.namespace);
    const closers: (() => void)[] = [];
    t.teardown(() => {
      for (const close of closers) close();
      a.close();
      b.close();
      outside.namespace.close();
    });
    const [client, server] = [a.pods[0]!, a.pods[1]!];
    const remote = b.pods[0]!;
    outside.namespace.ip([`route add 10.0.250.0/24 via ${a.ip}`]);
    for (const pod of [client, server, remote]) {
      const listening = await tellClients(pod, pod.ip, 8080);
      closers.push(() => listening.close(), await serveUdp(pod, pod.ip, 5353));
    }
    const listening = await tellClients(outside, OUTSIDE, 8080);
    closers.push(() => listening.close(), await serveUdp(outside, OUTSIDE, 5353));

    const { LB_F_CLUSTER_IP, LB_F_NODE_PORT, LB_F_LOAD_BALANCER } = LbServiceFlag;
    const backends = { self: client.ip, near: server.ip, far: remote.ip };
    const kinds = [
      { flags: LB_F_CLUSTER_IP, address: '10.96.0.', port: 80 },
      { flags: LB_F_LOAD_BALANCER, address: '10.0.250.', port: 80 },
    ];
    let revNatIndex = 0;
    for (const [number, backend] of Object.values(backends).entries()) {
      for (const l4Proto of [TCP, UDP]) {
        const common = { l4Proto, backends: [`${backend}:${l4Proto === TCP ? 8080 : 5353}`] };
        for (const { flags, address, port } of kinds)
          putService(a, {
            ...common,
            address: `${address}${number}`,
            port,
            revNatIndex: ++revNatIndex,
            flags,
          });
        putService(a, {
          ...common,
          address: '0.0.0.0',
          port: 30_000 + number,
          revNatIndex: ++revNatIndex,
          flags: LB_F_NODE_PORT,
        });
      }
    }
    const hosts = [
      { where: a, ip: a.ip, seenAs: client.ip },
      { where: b, ip: b.ip, seenAs: configuration.tunnel ? a.ip : client.ip },
    ];
    for (const { where, ip } of hosts) {
      const server = await tellClients(where, ip, 8080);
      closers.push(() => server.close());
    }
    for (const [number, ip] of [a.ip, b.ip, OUTSIDE].entries())
      for (const [port, address] of [
        [80, `10.96.1.${number}`],
        [30_010 + number, '0.0.0.0'],
      ] as const)
        putService(a, { address, port, l4Proto: TCP, revNatIndex: ++revNatIndex, backends: [`${ip}:8080`] });
    const node = configuration.tunnel ? a.router : a.ip;

    t.is(await whoAmI(client, '10.96.0.1', 80), client.ip, 'ClusterIP, backend on the node');
    t.is(await whoAmI(client, '10.96.0.2', 80), client.ip, 'ClusterIP, backend on another node');
    t.is(await whoAmI(client, '10.96.0.0', 80), LOOPBACK, 'ClusterIP, backend is the client');
    t.is(await whoAmI(client, a.ip, 30_002), client.ip, 'node port, from a pod');
    t.is(await whoAmI(client, b.ip, 30_001), client.ip, "another node's port, from a pod");
    t.is(await whoAmI(client, '10.0.250.1', 80), client.ip, 'load balancer, from a pod');
    for (const [number, { seenAs, ip }] of hosts.entries())
      t.is(await whoAmI(client, `10.96.1.${number}`, 80), seenAs, `ClusterIP, backend is ${ip}`);
    t.is(await whoAmI(client, '10.96.1.2', 80), a.ip, 'ClusterIP, backend outside');
    t.is(await askUdp(client, '10.96.0.1', 80), `10.96.0.1:80 says ${client.ip} 10`);
    t.is(await askUdp(client, '10.96.0.2', 80), `10.96.0.2:80 says ${client.ip} 10`);
    t.is(await askUdp(client, '10.96.0.0', 80), `10.96.0.0:80 says ${LOOPBACK} 10`);
    t.is(await askUdp(client, '10.96.0.2', 80, 5000), `10.96.0.2:80 says ${client.ip} 5000`, 'in fragments');
    t.deepEqual([dropsOf(a), dropsOf(b)], [{}, {}], 'nothing was dropped on the way');

    t.is(await whoAmI(outside, a.ip, 30_001), OUTSIDE, 'node port, backend on the node');
    t.is(await whoAmI(outside, a.ip, 30_002), node, 'node port, backend on another node');
    t.is(await whoAmI(outside, a.ip, 30_010), OUTSIDE, 'node port, backend is the node');
    t.is(await whoAmI(outside, a.ip, 30_011), a.ip, 'node port, backend is another node');
    t.is(await whoAmI(outside, '10.0.250.1', 80), OUTSIDE, 'load balancer, backend on the node');
    t.is(await whoAmI(outside, '10.0.250.2', 80), node, 'load balancer, backend on another node');
    t.is(await askUdp(outside, '10.0.250.1', 80), `10.0.250.1:80 says ${OUTSIDE} 10`);
    t.is(await askUdp(outside, '10.0.250.2', 80), `10.0.250.2:80 says ${node} 10`);
    t.is(await askUdp(outside, a.ip, 30_002, 5000), `${a.ip}:30002 says ${node} 5000`, 'in fragments');
    t.deepEqual([dropsOf(a), dropsOf(b)], [{}, {}], 'nothing was dropped on the way');

    t.is(await whoAmI(client, OUTSIDE, 8080), a.ip, 'masquerade');
    t.is(await askUdp(client, OUTSIDE, 5353), `${OUTSIDE}:5353 says ${a.ip} 10`);
    t.is(await askUdp(client, OUTSIDE, 5353, 5000), `${OUTSIDE}:5353 says ${a.ip} 5000`, 'in fragments');
    const ping = { address: OUTSIDE, timeoutMs: TIMEOUT_MS, size: 56 };
    await t.notThrowsAsync(icmpEcho({ ...ping, netns: client.namespace.path }), 'echo');
    await t.notThrowsAsync(icmpEcho({ ...ping, netns: a.namespace.path }), "the node's own echo");
    t.is(await whoAmI(client, remote.ip, 8080), client.ip, 'no masquerade in the cluster');
    t.is(await whoAmI(a, OUTSIDE, 8080), a.ip, "the node's own connections");
    t.deepEqual([dropsOf(a), dropsOf(b)], [{}, {}], 'nothing was dropped on the way');
  });
}

for (const configuration of CONFIGURATIONS.filter(c => !c.tunnel)) {
  test.serial(`a remote backend answers by itself: ${configurationName(configuration)}`, async t => {
    t.timeout(240_000);
    const outside: Place = { namespace: await Namespace.create() };
    const [a, b] = await LiveNode.pair(configuration, 1, { ...ON, cfg_dsr: true }, outside.namespace);
    const remote = b.pods[0]!;
    const servers = [await tellClients(remote, remote.ip, 8080), await tellClients(b, b.ip, 8080)];
    const stop = await serveUdp(remote, remote.ip, 5353);
    t.teardown(() => {
      stop();
      for (const server of servers) server.close();
      a.close();
      b.close();
      outside.namespace.close();
    });
    const flags = LbServiceFlag.LB_F_NODE_PORT | LbServiceFlag.LB_F_DSR;
    const common = { address: '0.0.0.0', flags };
    putService(a, { ...common, port: 30_001, l4Proto: TCP, revNatIndex: 1, backends: [`${remote.ip}:8080`] });
    putService(a, { ...common, port: 30_001, l4Proto: UDP, revNatIndex: 2, backends: [`${remote.ip}:5353`] });
    putService(a, { ...common, port: 30_002, l4Proto: TCP, revNatIndex: 3, backends: [`${b.ip}:8080`] });
    const before = Number(a.transmitted('eth0'));
    t.is(await whoAmI(outside, a.ip, 30_001), OUTSIDE, 'TCP');
    t.is(await askUdp(outside, a.ip, 30_001), `${a.ip}:30001 says ${OUTSIDE} 10`, 'UDP');
    t.is(
      await askUdp(outside, a.ip, 30_001, 5000),
      `${a.ip}:30001 says ${a.ip} 5000`,
      'a flow that begins with a full fragment has no room for the option, and is answered all the same',
    );
    t.is(await whoAmI(outside, a.ip, 30_002), OUTSIDE, "a backend in the node's own network");
    t.true(a.transmitted('eth0') > before);
    t.deepEqual([dropsOf(a), dropsOf(b)], [{}, {}], 'nothing was dropped on the way');
  });
}
