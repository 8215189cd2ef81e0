import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import test from 'ava';
import { connectTcp, icmpEcho, listenTcp } from '../../src/kernel/netns.ts';
import { DropReason } from '../../src/maps/abi.gen.ts';
import { LiveNode, type LivePod } from './cluster.ts';
import { CONFIGURATIONS, configurationName, type Namespace, TUNNEL_MTU } from './harness.ts';

const echo = (from: { namespace: Namespace }, address: string, size = 56) =>
  icmpEcho({ address, netns: from.namespace.path, timeoutMs: 5000, size });

/** What ping says, for answers that are no echo reply. One packet. */
function ping(from: { namespace: Namespace }, ...args: string[]): string {
  const result = spawnSync(
    'nsenter',
    [`--net=${from.namespace.path}`, '--', 'ping', '-n', '-c', '1', '-W', '5', ...args],
    { encoding: 'utf8' },
  );
  return result.stdout + result.stderr;
}

/** Sends `bytes` over TCP and returns how many arrived. */
async function transfer(from: LivePod, to: LivePod, bytes: number): Promise<number> {
  const fd = await listenTcp({ address: to.ip, port: 8080, netns: to.namespace.path });
  const server = createServer();
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  server.listen({ fd });
  const sender = await connectTcp({
    address: to.ip,
    port: 8080,
    netns: from.namespace.path,
    timeoutMs: 5000,
  });
  const [receiver] = await accepted;
  let arrived = 0;
  receiver.on('data', data => {
    arrived += data.length;
  });
  const ended = once(receiver, 'end');
  sender.end(Buffer.alloc(bytes, 'fimbria'));
  await ended;
  receiver.destroy();
  server.close();
  await once(server, 'close');
  return arrived;
}

function dropsOf(node: LiveNode): Record<number, bigint> {
  const drops: Record<number, bigint> = {};
  for (const { reason, packets } of node.metrics())
    if (reason >= DropReason.DROP_INVALID_SIP) drops[reason] = (drops[reason] ?? 0n) + packets;
  return drops;
}

for (const configuration of CONFIGURATIONS) {
  const { tunnel, hostRouting } = configuration;

  test.serial(`packets arrive: ${configurationName(configuration)}`, async t => {
    t.timeout(120_000);
    const [a, b] = await LiveNode.pair(configuration, 2);
    t.teardown(() => {
      a.close();
      b.close();
    });
    const [client, server] = a.pods as [LivePod, LivePod];
    const remote = b.pods[0]!;

    await t.notThrowsAsync(echo(client, server.ip), 'pod to pod of the same node');
    await t.notThrowsAsync(echo(client, remote.ip), 'pod to pod of another node');
    await t.notThrowsAsync(echo(remote, server.ip), 'and the other way');
    await t.notThrowsAsync(echo(client, a.ip), 'pod to its node');
    await t.notThrowsAsync(echo(client, a.router), 'pod to its router');
    await t.notThrowsAsync(echo(client, b.ip), 'pod to another node');
    await t.notThrowsAsync(echo(a, client.ip), 'node to its pod');
    await t.notThrowsAsync(echo(a, remote.ip), 'node to a pod of another node');
    t.deepEqual([dropsOf(a), dropsOf(b)], [{}, {}], 'nothing was dropped on the way');

    t.is(await transfer(client, server, 4 << 20), 4 << 20, 'TCP on the node');
    t.is(await transfer(client, remote, 4 << 20), 4 << 20, 'TCP between nodes');
    await t.notThrowsAsync(echo(client, remote.ip, 4000), 'fragments between nodes');
    t.deepEqual([dropsOf(a), dropsOf(b)], [{}, {}], 'nothing was dropped on the way');

    t.regex(ping(client, '-t', '1', remote.ip), /Time to live exceeded/, 'the first hop answers');
    t.regex(ping(client, '-t', '2', remote.ip), /Time to live exceeded/, 'and the second');
    t.regex(ping(client, '-t', '3', remote.ip), /1 received/, 'the pod is the third');
    if (tunnel) {
      const whole = TUNNEL_MTU - 28;
      t.regex(
        ping(client, '-M', 'do', '-s', `${whole}`, remote.ip),
        /1 received/,
        'as big as the tunnel carries',
      );
      t.regex(
        ping(client, '-M', 'do', '-s', `${whole + 1}`, remote.ip),
        /mtu ?= ?1450/,
        'one byte more is answered',
      );
      t.regex(
        ping(client, '-M', 'dont', '-s', '1472', remote.ip),
        /1 received/,
        'or cut, where that is allowed',
      );
    }

    t.regex(ping(client, '-W', '1', '10.0.0.77'), /0 received/);
    t.is(dropsOf(a)[DropReason.DROP_UNROUTABLE], 1n, 'nobody has that address');
    client.namespace.ip([
      `address add ${server.ip}/32 dev lo`,
      `route add ${remote.ip} dev eth0 via ${a.router} src ${server.ip} onlink`,
    ]);
    t.regex(ping(client, '-W', '1', '-I', server.ip, remote.ip), /0 received/);
    t.is(dropsOf(a)[DropReason.DROP_INVALID_SIP], 1n, "another pod's address");
    // The route goes with the address it names.
    client.namespace.ip([`address delete ${server.ip}/32 dev lo`]);

    const before = a.transmitted(server.device);
    await echo(client, server.ip);
    const used = a.transmitted(server.device) - before;
    if (hostRouting) t.is(used, 0, 'straight into the pod, past its device');
    else t.true(used >= 1, 'through the device');
  });
}
