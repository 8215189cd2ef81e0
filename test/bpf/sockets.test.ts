import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { listenTcp } from '../../src/kernel/netns.ts';
import { Namespace } from './harness.ts';
import { SERVER, SOMEBODY, Sockets } from './sockets.ts';

/** What sockets are shown of the services that they asked for, and where that is kept. */

const FRONTEND = '10.96.0.1:80';

/** Does as it is told on its standard input. */
const CLIENT = `my %s; while (<STDIN>) { my ($do, $n, $kind) = split; if ($do eq 'close') { close $s{$n}; delete $s{$n}; print "closed\\n"; next }
socket(my $s, PF_INET, $kind eq 'udp' ? SOCK_DGRAM : SOCK_STREAM, 0); connect($s, sockaddr_in(80, inet_aton('10.96.0.1'))) or die "$!"; $s{$n} = $s;
my ($port, $ip) = sockaddr_in(getpeername($s)); print inet_ntoa($ip) . ":$port\\n" }`;

let namespace: Namespace;
test.before(async () => {
  namespace = await Namespace.create();
  namespace.ip(['link set lo up', `addr add ${SERVER.address}/32 dev lo`, 'route add default dev lo']);
  const server = createServer(() => {});
  server.listen({ fd: await listenTcp({ ...SERVER, netns: namespace.path }) });
  await once(server, 'listening');
  server.unref();
});
test.after.always(() => namespace?.close());

test.serial('a TCP socket has its slot from connect to close, and sees the frontend', async t => {
  const sockets = new Sockets(65_536);
  t.teardown(() => sockets.close());
  const client = await sockets.client(namespace.path, CLIENT);
  t.is(await client.tell('open a tcp'), FRONTEND);
  t.is(await client.tell('open b tcp'), FRONTEND);
  t.is(sockets.taken.length, 2);
  t.is(await client.tell('close a'), 'closed');
  t.is(sockets.taken.length, 1);
  await client.end();
  t.deepEqual(sockets.taken, []);
  t.is(sockets.spread, 0);
});

test.serial('a TCP socket whose slot is taken, or not there, and a UDP socket see it as well', async t => {
  for (const slots of [65_536, 1]) {
    const sockets = new Sockets(slots);
    t.teardown(() => sockets.close());
    sockets.takeAll();
    const client = await sockets.client(namespace.path, CLIENT);
    t.is(await client.tell('open a tcp'), FRONTEND);
    t.is(await client.tell('open b udp'), FRONTEND);
    t.is(sockets.spread, 2);
    await client.end();
    t.deepEqual(new Set(sockets.taken), new Set([SOMEBODY]), 'nobody frees what is not his');
  }
});
