import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { FimbriaError } from '../../src/base/errors.ts';
import { findCgroup2Root } from '../../src/kernel/cgroup.ts';
import { echoRequest, internetChecksum, readReply } from '../../src/kernel/icmp.ts';
import { mounts, parseMountinfo } from '../../src/kernel/mount.ts';
import {
  bindNetns,
  connectTcp,
  createHeldNetns,
  createNetns,
  deleteNetns,
  ECHO_OVERHEAD_BYTES,
  getSysctl,
  icmpEcho,
  listenTcp,
  netnsIdentity,
  sendableBytes,
  setSysctl,
} from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';

const OWN = '/proc/self/ns/net';

/** Two namespaces with a working link: 10.0.0.1 in the first, 10.0.0.2 in the second. */
async function linked() {
  const [left, right] = [await createHeldNetns(), await createHeldNetns()];
  const rtLeft = Rtnetlink.open({ netns: left.fd });
  const rtRight = Rtnetlink.open({ netns: right.fd });
  await rtLeft.createVeth({ name: 'test0', up: true, peer: { name: 'test1', netns: right.fd } });
  await rtRight.setLink('test1', { up: true });
  await rtLeft.addAddress({
    ifindex: (await rtLeft.link('test0'))!.ifindex,
    address: '10.0.0.1',
    prefixLength: 24,
  });
  await rtRight.addAddress({
    ifindex: (await rtRight.link('test1'))!.ifindex,
    address: '10.0.0.2',
    prefixLength: 24,
  });
  return {
    left,
    right,
    rtLeft,
    close() {
      for (const thing of [rtLeft, rtRight, left, right]) thing.close();
    },
  };
}

test('a namespace on a path: created, bound again, deleted', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'fimbria-test-netns-'));
  const path = join(directory, 'a');
  const second = join(directory, 'b');
  try {
    const own = readlinkSync(OWN);
    await createNetns(path);
    t.notDeepEqual(netnsIdentity(path), netnsIdentity(OWN));
    t.is(readlinkSync(OWN), own);
    t.is((await t.throwsAsync(createNetns(path), { instanceOf: FimbriaError }))?.code, 'EEXIST');
    await bindNetns(second, path);
    t.deepEqual(netnsIdentity(second), netnsIdentity(path));
    t.true(await deleteNetns(path));
    t.false(await deleteNetns(path));
    t.false(existsSync(path));
    t.is(Rtnetlink.open({ netns: second }).close(), undefined);
  } finally {
    await deleteNetns(path);
    await deleteNetns(second);
    rmSync(directory, { recursive: true });
  }
});

test('nothing ever changes the namespace of this process or its pool', async t => {
  const link = await linked();
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      await getSysctl('net.ipv4.ip_forward', { netns: link.left.fd });
      (await createHeldNetns()).close();
      await link.rtLeft.links();
    }),
  );
  const own = netnsIdentity(OWN);
  for (const entry of (await import('node:fs')).readdirSync('/proc/self/task')) {
    t.deepEqual(netnsIdentity(`/proc/self/task/${entry}/ns/net`), own);
  }
  link.close();
});

test('identity of what is not there', t => {
  const error = t.throws(() => netnsIdentity('/proc/self/ns/none'), { instanceOf: FimbriaError });
  t.is(error?.code, 'ENOENT');
});

test('sysctls belong to their namespace', async t => {
  const link = await linked();
  const name = 'net.ipv4.conf.test0.rp_filter';
  await setSysctl(name, 2, { netns: link.left.fd });
  t.is(await getSysctl(name, { netns: link.left.path }), '2');
  t.is(
    (await t.throwsAsync(getSysctl(name, { netns: link.right.fd }), { instanceOf: FimbriaError }))?.code,
    'ENOENT',
  );
  t.is(await getSysctl('net.ipv4.ip_forward'), readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim());
  await link.rtLeft.setLink('test0', { name: 'a.b' });
  await setSysctl('net.ipv4.conf.a/b.forwarding', 1, { netns: link.left.fd });
  t.is(await getSysctl('net.ipv4.conf.a/b.forwarding', { netns: link.left.fd }), '1');
  for (const bad of ['net..ipv4', '', 'net.//.x']) {
    t.is((await t.throwsAsync(setSysctl(bad, 1), { instanceOf: FimbriaError }))?.code, 'EINVAL');
  }
  link.close();
});

test('echo: round trip, silence, no route, router says no', async t => {
  const link = await linked();
  const many = await Promise.all(
    Array.from({ length: 20 }, () => icmpEcho({ address: '10.0.0.2', timeoutMs: 5000, netns: link.left.fd })),
  );
  t.true(many.every(({ rttUs }) => rttUs > 0 && rttUs < 5e6));
  await icmpEcho({ address: '10.0.0.1', timeoutMs: 5000, netns: link.right.path, size: 1400 });
  // What the device holds passes whole, a byte more is refused unless it may go in pieces.
  t.is(sendableBytes('10.0.0.2', link.left.path), 1500);
  const whole = { address: '10.0.0.2', timeoutMs: 5000, netns: link.left.path, dontFragment: true };
  await icmpEcho({ ...whole, size: 1500 - ECHO_OVERHEAD_BYTES });
  const tooBig = { ...whole, size: 1501 - ECHO_OVERHEAD_BYTES };
  t.is((await t.throwsAsync(icmpEcho(tooBig), { instanceOf: FimbriaError })).code, 'EMSGSIZE');
  await icmpEcho({ ...tooBig, dontFragment: false });
  const failing = async (address: string, timeoutMs: number): Promise<string | undefined> =>
    (await t.throwsAsync(icmpEcho({ address, timeoutMs, netns: link.left.fd }), { instanceOf: FimbriaError }))
      ?.code;
  await link.rtLeft.replaceNeighbour({
    ifindex: (await link.rtLeft.link('test0'))!.ifindex,
    address: '10.0.0.77',
    mac: '02:00:00:00:00:77',
  });
  t.is(await failing('10.0.0.77', 100), 'ETIMEDOUT');
  t.is(await failing('10.9.9.9', 100), 'ENETUNREACH');
  await link.rtLeft.replaceRoute({ dst: '10.5.0.0/16', gateway: '10.0.0.2' });
  await setSysctl('net.ipv4.ip_forward', 1, { netns: link.right.fd });
  t.is(await failing('10.5.0.1', 5000), 'EHOSTUNREACH');
  t.is(await failing('nonsense', 100), 'EINVAL');
  link.close();
});

test('TCP: listening in one namespace, connecting from another', async t => {
  const link = await linked();
  const fd = await listenTcp({ netns: link.right.fd, address: '10.0.0.2', port: 8080 });
  const server = createServer(socket => socket.end('hello'));
  await new Promise<void>(resolve => server.listen({ fd }, resolve));
  const socket = await connectTcp({ netns: link.left.fd, address: '10.0.0.2', port: 8080, timeoutMs: 5000 });
  let text = '';
  for await (const chunk of socket) text += chunk;
  t.is(text, 'hello');
  await new Promise(resolve => server.close(resolve));
  const refused = connectTcp({ netns: link.left.fd, address: '10.0.0.2', port: 8080, timeoutMs: 5000 });
  t.is((await t.throwsAsync(refused, { instanceOf: FimbriaError }))?.code, 'ECONNREFUSED');
  const taken = await listenTcp({ netns: link.right.fd, address: '10.0.0.2', port: 81 });
  const error = await t.throwsAsync(listenTcp({ netns: link.right.fd, address: '10.0.0.2', port: 81 }), {
    instanceOf: FimbriaError,
  });
  t.is(error?.code, 'EADDRINUSE');
  t.is(error?.object, 'on 10.0.0.2:81');
  (await import('node:fs')).closeSync(taken);
  link.close();
});

test('the checksum of a packet with its checksum is zero', t => {
  fc.assert(
    fc.property(
      fc.nat(65535),
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      fc.nat(200),
      (identifier, nonce, size) => {
        const packet = echoRequest(identifier, nonce, size);
        t.is(internetChecksum(packet), 0);
        const header = Buffer.alloc(20, 0);
        header[0] = 0x45;
        const reply = Buffer.from(packet);
        reply[0] = 0;
        t.deepEqual(readReply(Buffer.concat([header, reply]), identifier, nonce), { reply: true });
        t.is(readReply(Buffer.concat([header, reply]), identifier ^ 1, nonce), undefined);
        t.is(readReply(Buffer.concat([header, packet]), identifier, nonce), undefined);
        const expired = Buffer.concat([header, Buffer.from([11, 0, 0, 0, 0, 0, 0, 0]), header, packet]);
        t.deepEqual(readReply(expired, identifier, nonce), { error: 'time to live exceeded' });
      },
    ),
  );
});

test('mountinfo with blanks, and the cgroup v2 root of every kind of host', t => {
  const entries = parseMountinfo(
    '22 28 0:20 / /sys rw shared:7 - sysfs sysfs rw\n' +
      '31 22 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n' +
      '32 31 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n' +
      '40 28 0:50 / /mnt/with\\040blank rw - bpf none rw\n\nrubbish\n',
  );
  t.deepEqual(entries.at(-1), { mountPoint: '/mnt/with blank', fstype: 'bpf' });
  const visible = (): boolean => true;
  t.is(findCgroup2Root(entries, visible), '/sys/fs/cgroup/unified');
  const node = [...entries, { mountPoint: '/sys/fs/cgroup', fstype: 'cgroup2' }];
  t.is(findCgroup2Root(node, visible), '/sys/fs/cgroup');
  t.is(
    findCgroup2Root(node, path => path !== '/sys/fs/cgroup'),
    '/sys/fs/cgroup/unified',
  );
  t.is(t.throws(() => findCgroup2Root([]), { instanceOf: FimbriaError })?.code, 'ENOENT');
  t.true(mounts().some(entry => entry.fstype === 'proc'));
});
