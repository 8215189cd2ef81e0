import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { packageRoot } from '../../src/base/paths.ts';
import { readExposition } from '../agent/exposition.ts';
import { Datagrams } from '../kernel/datagrams.ts';
import { collect, TestLab } from './lab.ts';

/** One lab: metrics, what the service unit promises, an orderly stop in the middle of work, and the end of it all. */
const lab = new TestLab('upkeep');
const native = [
  'routingMode=native',
  'autoDirectNodeRoutes=true',
  'endpointRoutes.enabled=true',
  'ipv4NativeRoutingCIDR=10.244.0.0/16',
  'prometheus.enabled=true',
];
const unit = readFileSync(join(packageRoot(), 'deploy/systemd/fimbria-agent.service'), 'utf8');

test.before(async () => {
  await lab.up('left,right', ...native);
  await lab.pod('a', 'left');
  await lab.pod('b', 'right');
});
test.after.always(() => lab.down());

async function agentOf(node: string): Promise<{ pid: number; command: string[] }> {
  const { nodes } = JSON.parse(await lab.must('lab', 'status', '-o', 'json'));
  const { pid } = nodes.find((n: { name: string }) => n.name === node).agent;
  return { pid, command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1) };
}

test.serial('metrics are well-formed, the same over port and socket, and count what happens', async t => {
  const scrape = async (): Promise<ReturnType<typeof readExposition>> =>
    readExposition(await lab.execMust('outside', 'curl', '-sf', 'http://192.168.10.100:9962/metrics'));
  const sum = (metrics: ReturnType<typeof readExposition>, name: string): number =>
    (metrics.get(name)?.samples ?? []).reduce((n, s) => n + s.value, 0);
  const address = (await lab.pods()).find(p => p.name === 'b')!.ip;
  const before = await scrape();
  t.true(await lab.reaches('a', [address]));
  const after = await scrape();
  t.true(sum(after, 'cilium_forward_count_total') > sum(before, 'cilium_forward_count_total'));
  t.is(sum(after, 'cilium_endpoint_state'), 3, 'the pod, the health endpoint, the node');
  t.is(sum(after, 'cilium_controllers_failing'), 0);
  t.is(sum(after, 'cilium_ipam_capacity'), 254);
  const listed = await lab.json<{ name: string }[]>('left', 'cilium', 'metrics', 'list');
  const names = new Set([...after.values()].flatMap(m => m.samples.map(s => s.name)));
  t.deepEqual(
    [...names].filter(name => !listed.some(m => m.name === name)),
    [],
  );
  t.regex(await lab.execMust('left', 'cilium', 'status', '--verbose'), /IP cache +512000 +0\.0 %/);
});

test.serial(
  'with the rights that the unit names, and no more, an agent does its work and tells the manager',
  async t => {
    const { command } = await agentOf('left');
    await lab.must('lab', 'node', 'stop', 'left');
    const manager = await Datagrams.open();
    t.teardown(() => manager.close());
    const rights = /^CapabilityBoundingSet=(.*)$/m
      .exec(unit)![1]!
      .toLowerCase()
      .replaceAll('cap_', '+')
      .split(' ');
    const agent = lab.spawn([
      ...['lab', 'exec', 'left', '--', 'env', `NOTIFY_SOCKET=${manager.path}`, 'WATCHDOG_USEC=200000'],
      ...[
        'setpriv',
        `--bounding-set=-all,${rights.join(',')}`,
        '--inh-caps=-all',
        '--no-new-privs',
        ...command,
      ],
    ]);
    const ended = collect(agent);
    await manager.next('READY=1');
    await manager.next('WATCHDOG=1');
    const address = await lab.pod('c', 'left');
    t.true(await lab.reaches('right', [address]));
    await lab.must('lab', 'pod', 'delete', 'c');
    await lab.must('lab', 'node', 'stop', 'left');
    await manager.next('STOPPING=1');
    const { status, stderr } = await ended;
    t.is(status, 0);
    t.notRegex(stderr, /level=(warn|error)/);
    await lab.must('lab', 'node', 'start', 'left');
  },
);

test.serial('told to stop in the middle of ADDs and DELs: no pod is lost, none is there twice', async t => {
  const names = Array.from({ length: 8 }, (_, n) => `busy-${n}`);
  await Promise.all(names.slice(0, 4).map(name => lab.pod(name, 'left')));
  const work = [
    ...names.slice(4).map(name => lab.must('lab', 'pod', 'add', name, '--node', 'left')),
    ...names.slice(0, 2).map(name => lab.must('lab', 'pod', 'delete', name)),
  ];
  await lab.must('lab', 'node', 'stop', 'left');
  await lab.must('lab', 'node', 'start', 'left');
  await Promise.all(work);
  const pods = (await lab.pods()).filter(p => p.node === 'left');
  t.deepEqual(pods.map(p => p.name).sort(), ['a', ...names.slice(2)]);
  t.is(new Set(pods.map(p => p.ip)).size, pods.length);
  t.true(
    await lab.reaches(
      'right',
      pods.map(p => p.ip),
    ),
  );
  const devices = (await lab.execMust('left', 'ip', '-o', 'link')).match(/ lxc[0-9a-f]{12}@/g) ?? [];
  t.is(devices.length, pods.length);
});

/** What is on a node, in the words of its own tools. */
async function inventory(node: string): Promise<string[]> {
  const text = await lab.execMust(
    node,
    'sh',
    '-c',
    `ip -o link | sed 's/^[0-9]*: /link /; s/[:@].*//'
     ip route show table all type unicast | sed 's/^/route /'
     ip rule | sed 's/^/rule /'
     find /sys/fs/bpf /run/fimbria /etc/cni/net.d -mindepth 1 | sed 's/^/file /'
     for d in ingress egress; do tc filter show dev eth0 $d | sed 's/^/filter /'; done
     grep ' /run/fimbria/' /proc/self/mountinfo || true`,
  );
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.includes('fe80::') && !line.includes('linkdown'))
    .sort();
}

const FOREIGN = `ip link add lxc-other type veth peer name cilium_other
  ip link set lxc-other up
  ip route add 10.99.0.0/16 via 192.168.10.1 proto kernel
  ip rule add from 10.99.0.1 lookup 100
  mkdir -p /sys/fs/bpf/tc/globals/cilium_others /etc/cni/net.d
  echo {} > /etc/cni/net.d/10-other.conflist`;

for (const mode of ['native, TCX', 'vxlan, filters']) {
  test.serial(`cleanup: nothing of ours is left, nothing of others is touched (${mode})`, async t => {
    if (mode === 'native, TCX') {
      await lab.execMust('left', 'sh', '-c', FOREIGN);
    } else {
      await lab.upgrade({ routingMode: 'tunnel', 'bpf.tcx': 'never' });
      await lab.pod('d', 'left');
    }
    const before = await inventory('left');
    const refused = await lab.exec('left', 'fimbria', 'cleanup');
    t.is(refused.status, 1);
    t.is(
      refused.stderr,
      'fimbria: clean up this node: an agent answers at /run/fimbria/fimbria.sock and would bring it all back; stop it first, or use --force\n',
    );
    const plan = await lab.execMust('left', 'fimbria', 'cleanup', '--dry-run');
    t.deepEqual(await inventory('left'), before, 'neither changed anything');
    t.regex(
      plan,
      mode === 'native, TCX'
        ? /route 10\.244\.\d+\.0\/24 via 192\.168\.10\.101\n[\s\S]*TCX link cil_from_netdev at eth0/
        : /filter cil_from_netdev at ingress of eth0\n[\s\S]*device cilium_vxlan/,
    );

    await lab.must('lab', 'node', 'stop', 'left');
    const done = await lab.execMust('left', 'fimbria', 'cleanup');
    const lines = (text: string, word: string): string[] =>
      text.split('\n').filter(line => line.startsWith(word) && !line.includes('fimbria.sock'));
    t.deepEqual(
      lines(done, 'remove ').map(line => `would ${line}`),
      lines(plan, 'would remove '),
    );
    t.deepEqual(await inventory('left'), [
      'file /etc/cni/net.d/10-other.conflist',
      // The kernel's own.
      'file /sys/fs/bpf/maps.debug',
      'file /sys/fs/bpf/progs.debug',
      'file /sys/fs/bpf/tc',
      'file /sys/fs/bpf/tc/globals',
      'file /sys/fs/bpf/tc/globals/cilium_others',
      'link cilium_other',
      'link eth0',
      'link lo',
      'link lxc-other',
      'route 10.99.0.0/16 via 192.168.10.1 dev eth0 proto kernel',
      'route 192.168.10.0/24 dev eth0 proto kernel scope link src 192.168.10.100',
      'route default via 192.168.10.1 dev eth0',
      'rule 0:	from all lookup local',
      'rule 32765:	from 10.99.0.1 lookup 100',
      'rule 32766:	from all lookup main',
      'rule 32767:	from all lookup default',
    ]);
    t.is(await lab.execMust('left', 'fimbria', 'cleanup'), 'nothing of Fimbria is on this node\n');
    t.true(await lab.reaches('outside', ['192.168.10.100']), 'the node itself is well');
    // A clean node is as good as a new one.
    await lab.must('lab', 'node', 'start', 'left');
    await lab.must('lab', 'pod', 'delete', mode === 'native, TCX' ? 'a' : 'd');
    await lab.pod(`new-${mode.slice(0, 3)}`, 'left');
  });
}
