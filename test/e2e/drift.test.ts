import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { ApiClient } from '../../src/api/client.ts';
import { getSysctl } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { labPaths } from '../../src/lab/names.ts';
import { collect, TestLab } from './lab.ts';

/** One lab, two nodes, tunnel and endpoint routes: every kind of thing that can be broken by hand is there. */
const lab = new TestLab('drift');
const address = { a: '', c: '' };
let api: ApiClient;
let node: { netns: string; bpf: string; rtnl: Rtnetlink };
let device = '';

test.before(async () => {
  await lab.up(
    'left,right',
    'endpointRoutes.enabled=true',
    'ipam.operator.clusterPoolIPv4PodCIDRList=10.45.0.0/16',
  );
  address.a = await lab.pod('a', 'left');
  address.c = await lab.pod('c', 'right');
  api = new ApiClient(labPaths(lab.name).node('left').socket);
  const { nodes } = JSON.parse(await lab.must('lab', 'status', '-o', 'json'));
  const pid = nodes.find((n: { name: string }) => n.name === 'left').agent.pid;
  const netns = `/proc/${pid}/ns/net`;
  node = { netns, bpf: `/proc/${pid}/root/sys/fs/bpf`, rtnl: Rtnetlink.open({ netns }) };
  device = (await endpoint()).status.networking['interface-name'];
  await told(/in sync with the cluster/);
});

test.after.always(async () => {
  node?.rtnl.close();
  await lab.down();
});

async function endpoint() {
  const found = await api.endpoint(`ipv4:${address.a}`);
  if (!found) throw new Error('pod a has no endpoint');
  return found;
}

/** Asks until the answer is yes. What never comes ends the test with what the agent said last. */
async function until(ask: () => Promise<boolean>): Promise<void> {
  const patience = performance.now() + 60_000;
  while (!(await ask())) {
    if (performance.now() > patience) throw new Error(`waited in vain for ${ask}\n${log().slice(-3000)}`);
    await pause(20);
  }
}

const log = (): string => readFileSync(labPaths(lab.name).log('agent-left'), 'utf8');
const told = (pattern: RegExp): Promise<void> => until(async () => pattern.test(log()));

/** How often the agent says it repaired something, of all things and in words. */
async function account(): Promise<{ repaired: number; message: string }> {
  const message = (await api.healthz()).cilium?.msg ?? '';
  return { repaired: Number(/(\d+) repaired/.exec(message)?.[1] ?? 0), message };
}

const link = (name: string) => node.rtnl.link(name);
const hasRoute = async (dst: string): Promise<boolean> =>
  (await node.rtnl.routes({ table: 254 })).some(r => r.dst === dst);
const peerCidr = (): string => address.c.replace(/\d+$/, '0/24');
const sysctl = (name: string) => getSysctl(name, { netns: node.netns });
/** The device is there, up, and its filter or link works: pods talk through it. */
const talks = () => lab.reaches('a', [address.c]);

const acts: {
  title: string;
  act: () => string;
  repaired: () => Promise<boolean>;
  says: () => string;
}[] = [
  {
    title: 'a route deleted',
    act: () => `ip route del ${peerCidr()}`,
    repaired: () => hasRoute(peerCidr()),
    says: () => `routes ${peerCidr()} missing`,
  },
  {
    title: 'a route turned elsewhere',
    act: () => `ip route replace ${address.a}/32 dev eth0`,
    repaired: async () => {
      const { ifindex } = (await link(device))!;
      const routes = await node.rtnl.routes({ table: 254 });
      return routes.some(r => r.dst === `${address.a}/32` && r.ifindex === ifindex);
    },
    says: () => `routes ${address.a}/32 missing`,
  },
  {
    title: "the router's address removed",
    act: () => 'ip -4 addr flush dev cilium_host',
    repaired: async () =>
      (await node.rtnl.addresses({ ifindex: (await link('cilium_host'))!.ifindex })).some(
        a => a.prefixLength === 32,
      ),
    says: () => 'devices cilium_host changed',
  },
  {
    title: 'cilium_host down',
    act: () => 'ip link set cilium_host down',
    repaired: async () => (await link('cilium_host'))!.up && (await hasRoute(peerCidr())),
    says: () => 'devices cilium_host changed',
  },
  {
    title: 'cilium_host deleted',
    act: () => 'ip link del cilium_host',
    repaired: async () => (await link('cilium_host'))?.up === true && (await hasRoute(peerCidr())),
    says: () => 'devices cilium_host missing',
  },
  {
    title: 'cilium_vxlan deleted',
    act: () => 'ip link del cilium_vxlan',
    repaired: async () => (await link('cilium_vxlan'))?.up === true,
    says: () => 'devices cilium_vxlan missing',
  },
  {
    title: "the filters of a pod's device removed",
    act: () => `tc qdisc del dev ${device} clsact`,
    repaired: async () =>
      (await lab.execMust('left', 'tc', 'filter', 'show', 'dev', device, 'ingress')) !== '',
    says: () => `attachments ${device} ingress missing`,
  },
  {
    title: "a device's sysctl turned back",
    act: () => `sysctl -w net.ipv4.conf.${device}.rp_filter=1`,
    repaired: async () => (await sysctl(`net.ipv4.conf.${device}.rp_filter`)) === '0',
    says: () => `sysctls net.ipv4.conf.${device}.rp_filter changed`,
  },
  {
    title: 'forwarding switched off',
    act: () => 'sysctl -w net.ipv4.ip_forward=0',
    repaired: async () => (await sysctl('net.ipv4.ip_forward')) === '1',
    says: () => 'sysctls net.ipv4.ip_forward changed',
  },
  {
    title: 'lxc_health deleted',
    act: () => 'ip link del lxc_health',
    repaired: async () => (await link('lxc_health'))?.up === true,
    says: () => 'endpoint devices lxc_health missing',
  },
  {
    title: "a pod's device deleted",
    act: () => `ip link del ${device}`,
    repaired: async () => (await link(device))?.up === true,
    says: () => `endpoint devices ${device} missing`,
  },
];

for (const { title, act, repaired, says } of acts) {
  test.serial(`${title}: repaired at once, told once, pods talk`, async t => {
    const before = await endpoint();
    const count = (await account()).repaired;
    await lab.execMust('left', 'sh', '-c', act());
    await until(repaired);
    await until(async () => (await account()).repaired > count);
    await told(new RegExp(`repaired what somebody else changed.*${says().replaceAll('.', '\\.')}`));
    t.true(await talks());
    const after = await endpoint();
    t.is(after.id, before.id);
    t.deepEqual(after.status.networking.addressing, before.status.networking.addressing);
  });
}

test.serial('what the kernel never tells of is found by the clock, and nothing is told twice', async t => {
  const count = (await account()).repaired;
  const { id } = await endpoint();
  const globals = join(node.bpf, 'tc/globals');
  const links = join(node.bpf, 'cilium/devices');
  const key = address.a.split('.').join(' ');
  const attach = (await api.healthz())['attach-mode'];
  await lab.execMust(
    'left',
    'sh',
    '-ec',
    `cd /sys/fs/bpf
    bpftool map delete pinned tc/globals/cilium_lxc key ${key}
    rm tc/globals/cilium_ipcache tc/globals/cilium_policy_${id}
    sysctl -w net.ipv4.conf.cilium_host.accept_local=0
    ${attach === 'tcx' ? 'rm cilium/devices/cilium_host/links/cil_from_host; bpftool link detach pinned cilium/devices/eth0/links/cil_from_netdev' : 'true'}`,
  );
  t.false(existsSync(join(globals, 'cilium_ipcache')));
  await until(async () => (await account()).repaired >= count + (attach === 'tcx' ? 6 : 4));
  t.true(existsSync(join(globals, 'cilium_ipcache')));
  t.true(existsSync(join(globals, `cilium_policy_${id}`)));
  t.is(existsSync(join(links, 'cilium_host/links/cil_from_host')), attach === 'tcx');
  t.is(await sysctl('net.ipv4.conf.cilium_host.accept_local'), '1');
  t.true(await talks());
  t.true(await lab.reaches('left', [address.a, address.c]));
  const dump = ['bpftool', '-j', 'map', 'dump', 'pinned', '/sys/fs/bpf/tc/globals/cilium_ipcache'];
  const entries: unknown[] = JSON.parse(await lab.execMust('left', ...dump));
  t.true(entries.length > 0, 'the pin that came back is the very map, with what is in it');
  t.is((await account()).repaired, count + (attach === 'tcx' ? 6 : 4));
});

test.serial('a rival that keeps changing it back is told of, and met ever less often', async t => {
  const count = (await account()).repaired;
  const rival = lab.spawn([
    ...['lab', 'exec', 'left', '--', 'sh', '-c'],
    `while :; do ip route del ${peerCidr()} 2>/dev/null; done`,
  ]);
  const ended = collect(rival);
  await until(async () =>
    (await account()).message.includes(`routes ${peerCidr()} was changed by somebody else`),
  );
  rival.kill('SIGTERM');
  await ended;
  t.true((await account()).repaired - count < 12);
  t.is((await api.healthz()).cilium?.state, 'Warning');
  await until(() => hasRoute(peerCidr()));
  t.true(await talks());
  t.is(log().match(/somebody keeps changing/g)?.length, 1);
});
