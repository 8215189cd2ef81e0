import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { collect, printed, TestLab } from './lab.ts';

/** One lab, two nodes; every mode after the other by `lab upgrade`, with the same pods. */
const lab = new TestLab('modes');
const files = mkdtempSync(join(tmpdir(), 'fimbria-test-e2e-'));
const address = { a: '', b: '', c: '' };

const native = { routingMode: 'native', autoDirectNodeRoutes: true, ipv4NativeRoutingCIDR: '10.44.0.0/16' };
const common = {
  'ipam.operator.clusterPoolIPv4PodCIDRList': '10.44.0.0/16',
  'ipam.operator.clusterPoolIPv4MaskSize': 24,
};
const MODES = [true, false].flatMap(isNative =>
  [true, false].flatMap(endpointRoutes =>
    [true, false].map(legacy => ({
      isNative,
      endpointRoutes,
      legacy,
      title: `${isNative ? 'native' : 'vxlan'}, endpoint routes ${endpointRoutes ? 'on' : 'off'}, Host: ${legacy ? 'Legacy' : 'BPF'}`,
    })),
  ),
);

test.before(async () => {
  await lab.up('left,right', ...Object.entries(common).map(([k, v]) => `${k}=${v}`));
  address.a = await lab.pod('a', 'left');
  address.b = await lab.pod('b', 'left');
  address.c = await lab.pod('c', 'right');
});

test.after.always(async () => {
  await lab.down();
  rmSync(files, { recursive: true, force: true });
});

for (const mode of MODES) {
  test.serial(mode.title, async t => {
    await lab.upgrade({
      ...common,
      ...(mode.isNative ? native : { routingMode: 'tunnel' }),
      'endpointRoutes.enabled': mode.endpointRoutes,
      'bpf.hostLegacyRouting': mode.legacy,
    });
    const mtu = mode.isNative ? 1500 : 1450;

    // Everybody reaches everybody: here, across, the nodes, and from the nodes. What fits the MTU passes whole.
    const nodes = ['192.168.10.100', '192.168.10.101'];
    const pods = [address.a, address.b, address.c];
    t.true(await lab.reaches('a', [address.b, address.c, ...nodes]));
    t.true(await lab.reaches('c', [address.a, address.b, ...nodes]));
    t.true(await lab.reaches('left', pods));
    t.true(await lab.reaches('right', pods));
    t.true(await lab.reaches('a', [address.b, address.c], `-M do -s ${mtu - 28}`));
    t.true(await lab.reaches('a', [address.b, address.c], '-M dont -s 4000'), 'fragments');
    // The TTL that answers arrive with: one hop on the node, two across. What does not fit is told.
    const words = await lab.exec(
      'a',
      'sh',
      '-c',
      `ping -c 1 ${address.b}; ping -c 1 ${address.c}; ping -c 1 -M do -s 1473 ${address.c} 2>&1`,
    );
    t.regex(words.stdout, /ttl=63 [\s\S]*ttl=62 [\s\S]*(message too long|[Ff]rag needed)/);

    // Routes read as runbooks expect.
    const routes = await lab.execMust('left', 'ip', 'route');
    const podRoute = await lab.execMust('a', 'ip', 'route');
    const router = /cilium_host\S*\s+UP\s+([\d.]+)\/32/.exec(
      await lab.execMust('left', 'ip', '-br', 'addr'),
    )![1]!;
    t.regex(podRoute, new RegExp(`default via ${router} dev eth0 mtu ${mtu} `));
    t.regex(podRoute, new RegExp(`${router} dev eth0 scope link`));
    t.is(
      new RegExp(`^${address.a} dev lxc[0-9a-f]{12} proto kernel scope link`, 'm').test(routes),
      mode.endpointRoutes,
    );
    const own = `10.44.${address.a.split('.')[2]}.0/24`;
    const peer = `10.44.${address.c.split('.')[2]}.0/24`;
    t.is(
      routes.includes(`${own} via ${router} dev cilium_host proto kernel src ${router}`),
      !mode.endpointRoutes,
    );
    t.true(
      routes.includes(
        mode.isNative
          ? `${peer} via 192.168.10.101 dev eth0 proto kernel`
          : `${peer} via ${router} dev cilium_host proto kernel src ${router} mtu 1450`,
      ),
    );

    // A stream arrives unharmed.
    const sent = join(files, 'sent');
    const got = join(files, 'got');
    writeFileSync(sent, randomBytes(3_000_000));
    const server = lab.spawn([
      'lab',
      'exec',
      'c',
      '--',
      'sh',
      '-c',
      `node -e '
      require("net").createServer(s => s.pipe(require("fs").createWriteStream("${got}")).on("finish", () => process.exit(0)))
        .listen(7000, "0.0.0.0", () => console.log("listening"))'`,
    ]);
    await printed(server, /listening/);
    const served = collect(server);
    await lab.execMust(
      'a',
      'sh',
      '-c',
      `node -e 'require("fs").createReadStream("${sent}").pipe(require("net").connect(7000, "${address.c}"))'`,
    );
    t.is((await served).status, 0);
    const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
    t.is(digest(got), digest(sent));

    // TCP and UDP at speed, both ways. A server takes one client and ends: it is busy for a while after each.
    const flows = ['-n 20M', '-n 20M -R', '-u -b 100M -n 2M', '-u -b 100M -n 2M -R'].map((o, i) => ({
      port: 7100 + i,
      o,
    }));
    const servers = `${flows.map(f => `iperf3 -s -1 -p ${f.port} --forceflush &`).join(' ')} wait`;
    const iperf = lab.spawn(['lab', 'exec', 'c', '--', 'sh', '-c', servers]);
    const iperfDone = collect(iperf);
    await printed(iperf, /(Server listening[\s\S]*){4}/);
    const clients = flows.map(f => `iperf3 -c ${address.c} -p ${f.port} ${f.o}`).join(' && ');
    const speed = await lab.exec('a', 'sh', '-c', clients);
    t.is(speed.status, 0, speed.stdout + speed.stderr);
    await iperfDone;

    // What must not pass is dropped with its number: a false source, nobody's address, a block that no node has.
    const inUse = (await lab.json<{ ipam: { ipv4: string[] } }>('left', 'cilium', 'status')).ipam.ipv4;
    const nobody = [250, 251, 252, 253]
      .map(n => own.replace('.0/24', `.${n}`))
      .find(ip => !inUse.includes(ip))!;
    const before = await lab.drops('left');
    await lab.exec(
      'a',
      'sh',
      '-c',
      [
        'ip addr add 10.99.1.1/32 dev eth0',
        `ping -c 3 -i 0.05 -W 1 -I 10.99.1.1 ${address.b} & ping -c 3 -i 0.05 -W 1 ${nobody} & ping -c 3 -i 0.05 -W 1 10.44.200.7 & wait`,
        'ip addr del 10.99.1.1/32 dev eth0',
      ].join('; '),
    );
    const after = await lab.drops('left');
    t.is(after[132]! - before[132]!, 3);
    t.is(after[151]! - before[151]!, 3);
    if (!mode.isNative) t.is(after[160]! - before[160]!, 3);
    const status = await lab.execMust('left', 'cilium', 'status');
    t.regex(
      status,
      new RegExp(
        `Routing: +Network: ${mode.isNative ? 'Native' : 'Tunnel \\[vxlan\\]'} +Host: ${mode.legacy ? 'Legacy' : 'BPF'}`,
      ),
    );
  });
}

test.serial('the wire shows pod addresses natively, and the identity as VNI in the tunnel', async t => {
  const capture = async (filter: string[]): Promise<string> => {
    const dump = lab.spawn([
      'lab',
      'exec',
      'right',
      '--',
      'tcpdump',
      '-i',
      'eth0',
      '-c',
      '1',
      '-l',
      '-nn',
      ...filter,
    ]);
    await printed(dump, /listening on/);
    const done = collect(dump);
    t.true(await lab.reaches('a', [address.c]));
    return (await done).stdout;
  };
  await lab.upgrade({ ...common, ...native, 'endpointRoutes.enabled': true });
  t.true((await capture(['icmp'])).includes(`IP ${address.a} > ${address.c}: ICMP echo request`));
  await lab.upgrade({ ...common, routingMode: 'tunnel' });
  const [endpoint] = await lab.json<{ status: { identity: { id: number } } }[]>(
    'left',
    'cilium',
    'endpoint',
    'get',
    `ipv4:${address.a}`,
  );
  const packet = await capture(['-T', 'vxlan', 'udp', 'port', '8472']);
  t.regex(packet, /192\.168\.10\.100\.\d+ > 192\.168\.10\.101\.8472: VXLAN/);
  t.true(packet.includes(`vni ${endpoint!.status.identity.id}`));
});

test.serial('the agent killed and started: nothing lost, ids and addresses stay', async t => {
  const before = await lab.json<{ id: number; status: { networking: unknown } }[]>(
    'left',
    'cilium',
    'endpoint',
    'list',
  );
  const ping = lab.spawn(['lab', 'exec', 'a', '--', 'ping', '-i', '0.01', '-c', '400', '-W', '1', address.c]);
  await printed(ping, /icmp_seq=20 /);
  const done = collect(ping);
  await lab.must('lab', 'node', 'kill', 'left');
  await lab.must('lab', 'node', 'start', 'left');
  t.regex((await done).stdout, /400 packets transmitted, 400 received/);
  const after = await lab.json<typeof before>('left', 'cilium', 'endpoint', 'list');
  t.deepEqual(
    after.map(e => [e.id, e.status.networking]),
    before.map(e => [e.id, e.status.networking]),
  );
  t.true(await lab.reaches('a', [address.c]));
});
