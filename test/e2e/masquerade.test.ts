import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { MASQUERADE_TABLE } from '../../src/datapath/masquerade-table.ts';
import { Nftables } from '../../src/kernel/nftables.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import { collect, printed, TestLab } from './lab.ts';
import { ask, askUdp, serve } from './serve.ts';

/** What pods send out of the cluster, as it is seen outside: masquerade by the node's netfilter. */
const lab = new TestLab('masquerade');
const RANGE = ['ipam.operator.clusterPoolIPv4PodCIDRList=10.46.0.0/16'];
const LEFT = '192.168.10.100';
const RIGHT = '192.168.10.101';
const OUTSIDE = '192.168.10.1';
let podLeft: string;
let podRight: string;

test.before(async () => {
  await lab.up('left,right', ...RANGE);
  podLeft = await lab.pod('l', 'left', ...serve('l', 8080));
  podRight = await lab.pod('r', 'right', ...serve('r', 8080));
  const server = lab.spawn(['lab', 'exec', 'outside', '--', ...serve('out', 9000)]);
  const other = lab.spawn(['lab', 'exec', 'right', '--', ...serve('node', 9000)]);
  const echo = `require('net').createServer(s => s.pipe(s)).listen(9001, '0.0.0.0', () => console.log('up'))`;
  const echoes = lab.spawn(['lab', 'exec', 'outside', '--', process.execPath, '-e', echo]);
  servers.push(server, other, echoes);
  await printed(echoes, /up/);
  await untilSeen('l', `http://${OUTSIDE}:9000/`, /^out /);
  await untilSeen('l', `http://${RIGHT}:9000/`, /^node /);
});

const servers: ReturnType<TestLab['spawn']>[] = [];
test.after.always(async () => {
  for (const server of servers) server.kill();
  await lab.down();
});

/** The address that whoever answers at the URL has seen. */
async function seen(from: string, url: string): Promise<string> {
  const text = await lab.execMust(from, ...ask(url));
  return text.trim().replace(/^\w+ (::ffff:)?/, '');
}

async function untilSeen(from: string, url: string, wanted: RegExp): Promise<void> {
  await waitUntil(`${wanted} from ${url}`, 60_000, async because => {
    const { stdout, stderr } = await lab.exec(from, ...ask(url));
    because(stdout + stderr);
    return wanted.test(stdout) ? true : undefined;
  });
}

/** Does something with the tables of a node's netfilter. */
async function inNode<T>(node: string, work: (nft: Nftables) => Promise<T>): Promise<T> {
  const { nodes } = JSON.parse(await lab.must('lab', 'status', '-o', 'json'));
  const { pid } = nodes.find((n: { name: string }) => n.name === node).agent;
  const nft = Nftables.open({ netns: `/proc/${pid}/ns/net` });
  try {
    return await work(nft);
  } finally {
    nft.close();
  }
}

const upgrade = async (...sets: string[]): Promise<void> =>
  void (await lab.must(
    'lab',
    'upgrade',
    '--reset-values',
    ...[...RANGE, ...sets].flatMap(s => ['--set', s]),
  ));

test.serial('tunnel: outside and a node see the node, a pod sees the pod', async t => {
  t.regex(
    await lab.execMust('left', 'cilium', 'status'),
    /Masquerading: +IPTables \[IPv4: Enabled, IPv6: Disabled\]/,
  );
  t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
  t.is(await seen('r', `http://${OUTSIDE}:9000/`), RIGHT);
  t.is(await seen('l', `http://${RIGHT}:9000/`), LEFT);
  t.is(await seen('l', `http://${podRight}:8080/`), podLeft);
  t.is(await seen('left', `http://${podRight}:8080/`).then(a => a.startsWith('10.46.') || a === LEFT), true);
  t.true(await lab.reaches('l', [OUTSIDE, RIGHT, podRight]));
  t.is(await lab.execMust('l', ...askUdp(OUTSIDE, 9000, 3)), `out ${LEFT} ${OUTSIDE}:9000\n`.repeat(3));
});

test.serial('rules that somebody deletes come back', async t => {
  await inNode('left', nft => nft.delete(MASQUERADE_TABLE));
  await waitUntil('the rules', 60_000, async () =>
    (await inNode('left', nft => nft.tables())).includes(MASQUERADE_TABLE) ? true : undefined,
  );
  t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
});

/** A connection from a pod to outside that is in use all the time. `more` resolves when it was used once more. */
async function openConnection(): Promise<{ more(): Promise<unknown>; end(): Promise<string> }> {
  const talk = `
    const s = require('net').connect(9001, '${OUTSIDE}', () => console.log('open'));
    s.on('data', d => process.stdout.write(d)); s.on('error', e => console.log(e.code)); s.on('close', () => process.exit());
    setInterval(() => s.write('.'), 20);`;
  const client = lab.spawn(['lab', 'exec', 'l', '--', process.execPath, '-e', talk]);
  const ended = collect(client);
  await printed(client, /open\n\.{5}/);
  return {
    more: () => printed(client, /\.{5}/),
    async end() {
      client.kill();
      return (await ended).stdout;
    },
  };
}

test.serial('an agent that is killed, away and back: rules stay, an open connection goes on', async t => {
  const connection = await openConnection();
  for (let i = 0; i < 3; i++) {
    await lab.must('lab', 'node', 'kill', 'left');
    t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT, 'without an agent');
    await lab.must('lab', 'node', 'start', 'left');
    t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
    await connection.more();
  }
  t.regex(await connection.end(), /^open\n\.+$/);
});

for (const [host, endpointRoutes] of [
  ['Legacy', true],
  ['Legacy', false],
  ['BPF', true],
  ['BPF', false],
] as const)
  test.serial(
    `native, Host: ${host}, endpoint routes ${endpointRoutes ? 'on' : 'off'}: nodes and what the network routes see the pod`,
    async t => {
      const native = (cidr: string): string[] => [
        'routingMode=native',
        'autoDirectNodeRoutes=true',
        `ipv4NativeRoutingCIDR=${cidr}`,
        `bpf.hostLegacyRouting=${host === 'Legacy'}`,
        `endpointRoutes.enabled=${endpointRoutes}`,
      ];
      await upgrade(...native('10.46.0.0/16'));
      t.regex(
        await lab.execMust('left', 'cilium', 'status', '--verbose'),
        new RegExp(`Host: ${host} \\(bpf.hostLegacyRouting`),
      );
      t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
      t.is(await seen('l', `http://${RIGHT}:9000/`), podLeft);
      t.is(await seen('l', `http://${podRight}:8080/`), podLeft);
      t.is(await lab.execMust('l', ...askUdp(OUTSIDE, 9000, 3)), `out ${LEFT} ${OUTSIDE}:9000\n`.repeat(3));
      // Who knows a way to a pod is answered by the pod, not by the node.
      await lab.execMust('outside', 'ip', 'route', 'replace', podLeft, 'via', LEFT);
      t.is(await seen('outside', `http://${podLeft}:8080/`), OUTSIDE);
      t.is(
        await lab.execMust('outside', ...askUdp(podLeft, 8080, 3)),
        `l ${OUTSIDE} ${podLeft}:8080\n`.repeat(3),
      );
      await upgrade(...native('192.0.0.0/8'));
      t.is(await seen('l', `http://${OUTSIDE}:9000/`), podLeft);
      await lab.execMust('outside', 'ip', 'route', 'del', podLeft);
    },
  );

/** Makes the list that agents go by say this, as an edited ConfigMap would. */
const writeList = (text: string): void => {
  const path = labPaths(lab.name).masqueradeList;
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
};

const listed = (): Promise<{ prefix: string }[]> => lab.json('left', 'cilium', 'bpf', 'ipmasq', 'list');

const untilListed = (prefixes: string[]): Promise<true> =>
  waitUntil('the list', 90_000, async because => {
    const found = (await listed()).map(({ prefix }) => prefix).sort();
    because(found.join());
    return found.join() === prefixes.join() ? true : undefined;
  });

for (const [maker, sets] of [
  ['nftables', []],
  ['eBPF', ['kubeProxyReplacement=true', 'bpf.masquerade=true']],
] as const)
  test.serial(`${maker}: who asks from outside by a pod's own address is answered by it`, async t => {
    await lab.execMust('outside', 'ip', 'route', 'replace', podLeft, 'via', LEFT);
    t.teardown(() => lab.exec('outside', 'ip', 'route', 'del', podLeft));
    await upgrade(...sets);
    t.is(await seen('outside', `http://${podLeft}:8080/`), OUTSIDE);
    t.is(
      await lab.execMust('outside', ...askUdp(podLeft, 8080, 3)),
      `l ${OUTSIDE} ${podLeft}:8080\n`.repeat(3),
    );
    t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT, 'its own flows have the address of the node');
  });

for (const [maker, sets] of [
  ['nftables', []],
  ['eBPF', ['kubeProxyReplacement=true', 'bpf.masquerade=true']],
] as const)
  test.serial(`${maker}: who is on the list sees pods as they are, and changes are followed`, async t => {
    await lab.execMust('outside', 'ip', 'route', 'replace', podLeft, 'via', LEFT);
    t.teardown(() => lab.exec('outside', 'ip', 'route', 'del', podLeft));
    await upgrade(
      ...sets,
      'ipMasqAgent.enabled=true',
      'ipMasqAgent.config.nonMasqueradeCIDRs={192.168.10.0/29,198.51.100.0/24}',
      'ipMasqAgent.config.masqLinkLocal=true',
    );
    await untilListed(['192.168.10.0/29', '198.51.100.0/24']);
    t.is(await seen('l', `http://${OUTSIDE}:9000/`), podLeft);
    writeList('{"nonMasqueradeCIDRs": ["198.51.100.0/24"]}');
    await untilListed(['169.254.0.0/16', '198.51.100.0/24']);
    await untilSeen('l', `http://${OUTSIDE}:9000/`, new RegExp(`${LEFT}$`, 'm'));
    // What cannot be read changes nothing, and is said.
    writeList('nonMasqueradeCIDRs: [192.168.10.1/24]');
    await waitUntil('a word about it', 90_000, async () =>
      /nonMasqueradeCIDRs: .*192\.168\.10\.1\/24/.test((await lab.exec('left', 'cilium', 'status')).stdout)
        ? true
        : undefined,
    );
    t.is((await listed()).length, 2);
    writeList('nonMasqueradeCIDRs: [192.168.10.0/24]\nmasqLinkLocal: true\n');
    await untilListed(['192.168.10.0/24']);
    await untilSeen('l', `http://${OUTSIDE}:9000/`, new RegExp(`${podLeft}$`, 'm'));
  });

test.serial('eBPF: maps of another size keep the flows, and an open connection goes on', async t => {
  const inBpf = ['kubeProxyReplacement=true', 'bpf.masquerade=true'];
  await upgrade(...inBpf);
  t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
  const connection = await openConnection();
  for (const [tcp, any, nat] of [
    [4096, 2048, 8192],
    [300_000, 100_000, 200_000],
  ]) {
    await upgrade(...inBpf, `bpf.ctTcpMax=${tcp}`, `bpf.ctAnyMax=${any}`, `bpf.natMax=${nat}`);
    await connection.more();
    const { 'bpf-maps': maps } = await lab.json<{ 'bpf-maps': { maps: { map: string; size: number }[] } }>(
      'left',
      'cilium',
      'status',
    );
    const sizes = Object.fromEntries(maps.maps.map(({ map, size }) => [map, size]));
    t.like(sizes, { cilium_ct4_global: tcp, cilium_ct_any4_global: any, cilium_snat_v4_external: nat });
    t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
  }
  t.regex(await connection.end(), /^open\n\.+$/);
});

for (const [maker, sets] of [
  ['nftables', []],
  ['eBPF', ['kubeProxyReplacement=true', 'bpf.masquerade=true']],
] as const)
  test.serial(`${maker}: of two devices each leaves with its own address`, async t => {
    const { processes } = JSON.parse(await lab.must('lab', 'status', '-o', 'json'));
    const { pid } = processes.find((p: { role: string }) => p.role === 'outside');
    const [NEAR, FAR] = ['172.31.9.2', '172.31.9.1'];
    await lab.execMust(
      'left',
      ...['sh', '-ec'],
      `ip link add eth1 type veth peer name far netns ${pid}; ip addr add ${NEAR}/24 dev eth1; ip link set eth1 up`,
    );
    t.teardown(() => lab.exec('left', 'ip', 'link', 'del', 'eth1'));
    await lab.execMust('outside', 'sh', '-ec', `ip addr add ${FAR}/24 dev far; ip link set far up`);
    await upgrade(...sets);
    // A lab's own values name no other device: as a node's own configuration would.
    const file = join(labPaths(lab.name).configDir, 'devices');
    writeFileSync(file, 'eth0 eth1');
    t.teardown(async () => {
      rmSync(file, { force: true });
      await lab.must('lab', 'node', 'kill', 'left');
      await lab.must('lab', 'node', 'start', 'left');
    });
    await lab.must('lab', 'node', 'kill', 'left');
    await lab.must('lab', 'node', 'start', 'left');
    t.is(await seen('l', `http://${FAR}:9000/`), NEAR);
    t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
    t.is(await lab.execMust('l', ...askUdp(FAR, 9000, 3)), `out ${NEAR} ${FAR}:9000\n`.repeat(3));
    t.is(await seen('l', `http://${podRight}:8080/`), podLeft);
    t.true(await lab.reaches('l', [FAR, OUTSIDE]));
  });

test.serial('switched off, the rules go', async t => {
  await upgrade('enableIPv4Masquerade=false');
  t.regex(await lab.execMust('left', 'cilium', 'status'), /Masquerading: +Disabled/);
  await waitUntil('no rules', 90_000, async () =>
    (await inNode('left', nft => nft.tables())).length === 0 ? true : undefined,
  );
  await lab.execMust('outside', 'ip', 'route', 'replace', podLeft, 'via', LEFT);
  t.is(await seen('l', `http://${OUTSIDE}:9000/`), podLeft);
  await lab.execMust('outside', 'ip', 'route', 'del', podLeft);
});

test.serial('clean-up takes the rules with the rest', async t => {
  await upgrade();
  t.is(await seen('l', `http://${OUTSIDE}:9000/`), LEFT);
  await lab.must('lab', 'node', 'stop', 'right');
  const said = await lab.execMust('right', 'fimbria', 'cleanup');
  t.regex(said, /nftables table ip fimbria/);
  const again = await lab.execMust('right', 'fimbria', 'cleanup', '--dry-run');
  t.notRegex(again, /nftables/);
  await lab.must('lab', 'node', 'start', 'right');
});
