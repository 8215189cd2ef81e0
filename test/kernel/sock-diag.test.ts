import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import test from 'ava';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { SockDiag } from '../../src/kernel/sock-diag.ts';

/**
 * Connects a UDP socket of each family and leaves a third one alone, prints their cookies (SO_COOKIE is 57), then waits
 * for a datagram on the one that it is told and prints what became of it.
 */
const CLIENT = `use Socket qw(:DEFAULT inet_pton sockaddr_in6 AF_INET6 PF_INET6); $| = 1; my @cookies;
socket($v4, PF_INET, SOCK_DGRAM, 0); connect($v4, sockaddr_in(5300, inet_aton("127.0.0.1"))) or die;
socket($v6, PF_INET6, SOCK_DGRAM, 0); connect($v6, sockaddr_in6(5301, inet_pton(AF_INET6, "::ffff:127.0.0.1"))) or die;
socket($free, PF_INET, SOCK_DGRAM, 0); bind($free, sockaddr_in(5302, inet_aton("127.0.0.1"))) or die;
print join(" ", map { unpack("Q", getsockopt($_, SOL_SOCKET, 57)) } $v4, $v6, $free), "\\n";
while (<STDIN>) { my $socket = /4/ ? $v4 : $v6; print defined(recv($socket, my $data, 100, 0)) ? "data" : "error " . ($! + 0), "\\n"; }`;

const ECONNABORTED = 103;

test('connected UDP sockets are found by their cookies, and ended: who waits on one learns so', async t => {
  const netns = await createHeldNetns();
  t.teardown(() => netns.close());
  const rt = Rtnetlink.open({ netns: netns.fd });
  await rt.setLink('lo', { up: true });
  rt.close();
  const child = spawn('nsenter', [`--net=${netns.path}`, '--', 'perl', '-e', CLIENT], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => (await lines.next()).value;
  const [v4, v6] = (await line()).split(' ').map(BigInt);

  const diag = SockDiag.open({ netns: netns.fd });
  t.teardown(() => diag.close());
  const found = await diag.connectedUdp();
  t.deepEqual(
    found.map(({ cookie, remoteAddress, remotePort }) => [cookie, remoteAddress, remotePort]),
    [
      [v4, '127.0.0.1', 5300],
      [v6, '127.0.0.1', 5301],
    ],
  );
  for (const [i, name] of ['4', '6'].entries()) {
    const another = { ...found[i]!, id: { ...found[i]!.id, bytes: Buffer.from(found[i]!.id.bytes) } };
    another.id.bytes.writeUInt32LE(another.id.bytes.readUInt32LE(40) + 1, 40);
    t.false(await diag.destroyUdp(another), 'not a socket of another cookie');
    child.stdin.write(`${name}\n`);
    t.true(await diag.destroyUdp(found[i]!));
    t.is(await line(), `error ${ECONNABORTED}`);
    t.false(await diag.destroyUdp(found[i]!), 'it is connected no more');
  }
  t.deepEqual(await diag.connectedUdp(), []);
  const elsewhere = await createHeldNetns();
  const there = SockDiag.open({ netns: elsewhere.fd });
  t.deepEqual(await there.connectedUdp(), [], 'each namespace has its own');
  there.close();
  elsewhere.close();
});
