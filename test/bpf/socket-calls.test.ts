import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { listenTcp } from '../../src/kernel/netns.ts';
import { Namespace } from './harness.ts';
import { SERVER, Sockets } from './sockets.ts';

/** Every call by which a socket names its peer or learns it, in IPv4 and as IPv4 in IPv6. */

const FRONTEND = '10.96.0.1 80';
const BACKEND = `${SERVER.address} ${SERVER.port}`;

/**
 * One line in, one line out: `CALLS FAMILY ADDRESS PORT`. Datagrams are answered by a server of the process's own, outside
 * of the namespace's services; the answer is the address that the caller is shown.
 */
const CLIENT = `
my ($in6, $server); socket($server, PF_INET, SOCK_DGRAM, 0); bind($server, sockaddr_in(8080, inet_aton('10.1.1.1'))) or die "$!";
sub name { my ($family, $ip, $port) = @_; $family == 6 ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $ip =~ /:/ ? $ip : "::ffff:$ip")) : sockaddr_in($port, inet_aton($ip)) }
sub text { my ($name) = @_; return 'none' unless $name; if (sockaddr_family($name) == AF_INET6) { my ($port, $ip) = unpack_sockaddr_in6($name); $ip = inet_ntop(AF_INET6, $ip); $ip =~ s/^::ffff:// or $ip = "[$ip]"; return "$ip $port" }
my ($port, $ip) = sockaddr_in($name); return inet_ntoa($ip) . " $port" }
sub answered { my ($s) = @_; my $from = recv($server, my $data, 100, 0); send($server, 'x', 0, $from) or die; return text(scalar recv($s, $data, 100, 0)) }
while (<STDIN>) { my ($calls, $family, $ip, $port) = split; my $to = name($family, $ip, $port); alarm 60;
my $s; socket($s, $family == 6 ? PF_INET6 : PF_INET, $calls eq 'tcp' ? SOCK_STREAM : SOCK_DGRAM, 0) or die "$!";
if ($calls eq 'tcp') { print connect($s, $to) ? text(getpeername($s)) : "refused", "\\n" }
elsif ($calls eq 'send') { send($s, 'x', 0, $to) or die "$!"; print answered($s), "\\n" }
elsif ($calls eq 'connect') { connect($s, $to) or die "$!"; send($s, 'x', 0) or die "$!"; my $shown = text(getpeername($s)); my $from = answered($s); print "$shown from $from\\n" }
elsif ($calls eq 'elsewhere') { connect($s, name($family, '10.1.1.1', 9)) or die "$!"; connect($s, name($family, '10.96.0.1', 80)) or die "$!"; print text(getpeername($s)), ' '; connect($s, $to) or die "$!"; print text(getpeername($s)), "\\n" } }`;

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

for (const family of [4, 6])
  test.serial(
    `IPv${family} sockets are shown the service that they asked for, and nobody else's`,
    async t => {
      const sockets = new Sockets(65_536);
      t.teardown(() => sockets.close());
      const client = await sockets.client(namespace.path, CLIENT);
      const ask = (calls: string, to = FRONTEND) => client.tell(`${calls} ${family} ${to}`);
      t.is(await ask('tcp'), FRONTEND, 'connect and getpeername');
      t.is(await ask('tcp', BACKEND), BACKEND, 'who asks for the backend is shown it');
      t.is(await ask('send'), FRONTEND, 'sendto and recvfrom');
      t.is(await ask('send', BACKEND), BACKEND);
      t.is(await ask('connect'), `${FRONTEND} from ${FRONTEND}`, 'connect, send and recvfrom');
      t.is(await ask('connect', BACKEND), `${BACKEND} from ${BACKEND}`);
      t.is(
        await ask('elsewhere', `${SERVER.address} 7`),
        `${FRONTEND} ${SERVER.address} 7`,
        'one socket, several peers',
      );
      await client.end();
    },
  );

test.serial('a family that has no services is left alone', async t => {
  const sockets = new Sockets(65_536);
  t.teardown(() => sockets.close());
  const client = await sockets.client(namespace.path, CLIENT);
  t.is(await client.tell('tcp 6 ::1 9'), 'refused');
  await client.end();
});
