import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { CNI_VERSIONS } from '../../src/agent/cni-result.ts';
import { collect, type Outcome } from '../e2e/lab.ts';
import { AgentNode, POD_ADDRESSES, type Traces } from '../kubernetes/lib/agent.ts';
import { ClusterNode, CNI_BIN } from '../kubernetes/lib/node.ts';

/**
 * The CNI specification (0.3.1 to 1.1.0), word by word, by the plugin that is shipped and an agent that runs: what a
 * runtime may do with the network of a container, and what it gets.
 */

let node: ClusterNode;
let agent: AgentNode;
let before: Traces;
let count = 0;

test.before(async () => {
  node = await ClusterNode.create('conformance');
  agent = await AgentNode.start(node, [
    'routingMode=native',
    'endpointRoutes.enabled=true',
    'ipv4NativeRoutingCIDR=10.66.0.0/16',
  ]);
  before = await agent.traces();
});

// A test that failed does not take the next one's addresses.
test.afterEach.always(async () => {
  for (let n = 1; n <= count; n++)
    for (const ifname of ['eth0', 'net1']) await call('DEL', { containerId: `c${n}`, ifname });
});

test.after.always(async () => {
  await agent?.close();
  await node?.remove();
});

interface Attachment {
  containerId: string;
  netns: string;
  ifname: string;
}

/** A container's network namespace in the node, as `ip netns` makes it. */
async function container(): Promise<Attachment> {
  const containerId = `c${++count}`;
  await node.must('ip', 'netns', 'add', containerId);
  return { containerId, netns: `/run/netns/${containerId}`, ifname: 'eth0' };
}

interface Config {
  cniVersion?: string;
  name?: string;
  prevResult?: unknown;
  [key: string]: unknown;
}

/** One run of the plugin in the node. A variable that is `undefined` is not set. */
function call(
  command: string,
  attachment: Partial<Attachment>,
  config: Config = {},
  env: Record<string, string | undefined> = {},
): Promise<Outcome> {
  const child = node.spawn([join(CNI_BIN, 'fimbria-cni')], {
    CNI_COMMAND: command,
    CNI_CONTAINERID: attachment.containerId,
    CNI_NETNS: attachment.netns,
    CNI_IFNAME: attachment.ifname,
    CNI_PATH: CNI_BIN,
    ...env,
  });
  child.stdin?.write(
    JSON.stringify({ cniVersion: '1.1.0', name: 'fimbria', type: 'fimbria-cni', ...config }),
  );
  return collect(child);
}

interface Result {
  cniVersion: string;
  interfaces: { name: string; mac: string; mtu?: number; sandbox?: string }[];
  ips: { version?: string; address: string; gateway: string; interface: number }[];
  routes: object[];
  dns: object;
}

async function add(t: ExecutionContext, attachment: Attachment, config: Config = {}): Promise<Result> {
  const { status, stdout, stderr } = await call('ADD', attachment, config);
  t.is(status, 0, stdout + stderr);
  return JSON.parse(stdout) as Result;
}

async function succeeds(t: ExecutionContext, outcome: Promise<Outcome>): Promise<void> {
  t.deepEqual(await outcome, { status: 0, stdout: '', stderr: '' });
}

/** Failures have a code, a message, the caller's version, and a non-zero status. */
async function fails(
  t: ExecutionContext,
  outcome: Promise<Outcome>,
  code: number,
  msg: RegExp,
  cniVersion = '1.1.0',
): Promise<void> {
  const { status, stdout } = await outcome;
  t.not(status, 0, stdout);
  const error = JSON.parse(stdout) as Record<string, unknown>;
  t.like(error, { cniVersion, code }, stdout);
  t.regex(String(error['msg']), msg);
}

const nothingLeft = (t: ExecutionContext): Promise<unknown> => t.notThrowsAsync(agent.untilTraces(before));

for (const cniVersion of CNI_VERSIONS) {
  test.serial(
    `${cniVersion}: ADD makes what its result says, DEL takes it back and may be repeated`,
    async t => {
      const attachment = await container();
      const result = await add(t, attachment, { cniVersion });
      const [host, pod] = result.interfaces;
      const [ip] = result.ips;
      const mtu = cniVersion === '1.1.0' ? { mtu: 1500 } : {};
      const version = cniVersion.startsWith('0.') ? { version: '4' } : {};
      t.deepEqual(result, {
        cniVersion,
        interfaces: [
          { name: host!.name, mac: host!.mac, ...mtu },
          { name: 'eth0', mac: pod!.mac, ...mtu, sandbox: attachment.netns },
        ],
        ips: [{ ...version, interface: 1, address: ip!.address, gateway: ip!.gateway }],
        routes: [{ dst: `${ip!.gateway}/32` }, { dst: '0.0.0.0/0', gw: ip!.gateway, mtu: 1500 }],
        dns: {},
      });
      const inside = JSON.parse(
        await node.must('ip', '-n', attachment.containerId, '-j', 'addr', 'show', 'eth0'),
      );
      t.is(inside[0].address, pod!.mac);
      t.is(inside[0].mtu, 1500);
      t.true(
        inside[0].addr_info.some(
          (a: { local: string; prefixlen: number }) => `${a.local}/${a.prefixlen}` === ip!.address,
        ),
      );
      const outside = JSON.parse(await node.must('ip', '-j', 'link', 'show', host!.name));
      t.is(outside[0].address, host!.mac);
      await node.must(
        'ip',
        'netns',
        'exec',
        attachment.containerId,
        'ping',
        '-c',
        '1',
        '-W',
        '5',
        ip!.gateway,
      );

      await succeeds(t, call('DEL', attachment, { cniVersion, prevResult: result }));
      await nothingLeft(t);
      await succeeds(t, call('DEL', attachment, { cniVersion, prevResult: result }));
      await succeeds(t, call('DEL', { ...attachment, netns: undefined! }, { cniVersion }));
      await node.must('ip', 'netns', 'del', attachment.containerId);
      await succeeds(t, call('DEL', attachment, { cniVersion }));
      await nothingLeft(t);
    },
  );
}

test.serial('CHECK: what is listed and ours must be there; what others added is theirs', async t => {
  const attachment = await container();
  const { containerId } = attachment;
  const prevResult = await add(t, attachment);
  const ipv4 = prevResult.ips[0]!.address;
  const check = (more: Config = {}): Promise<Outcome> => call('CHECK', attachment, { prevResult, ...more });
  for (const cniVersion of ['0.4.0', '1.0.0', '1.1.0']) await succeeds(t, check({ cniVersion }));
  const changed = structuredClone(prevResult);
  changed.interfaces.push({ name: 'added', mac: '02:00:00:00:00:01' });
  changed.routes.push({ dst: '10.99.0.0/16' });
  await succeeds(t, check({ prevResult: changed }));

  await fails(t, check({ cniVersion: '0.3.1' }), 1, /version/, '0.3.1');
  await fails(t, check({ prevResult: undefined }), 7, /prevResult is missing/);
  await fails(t, check({ prevResult: 'x' }), 7, /prevResult is not an object/);
  await fails(t, check({ prevResult: { ...prevResult, ips: [] } }), 999, /does not list its address/);
  await fails(t, call('CHECK', { ...attachment, containerId: 'unheard-of' }, { prevResult }), 3, /no such/);
  await fails(t, call('CHECK', { ...attachment, netns: undefined! }, { prevResult }), 4, /CNI_NETNS/);

  const inPod = (...command: string[]): Promise<string> => node.must('ip', '-n', containerId, ...command);
  await inPod('route', 'del', 'default');
  await fails(t, check(), 999, /it has no default route/);
  const { routes } = prevResult;
  await succeeds(t, check({ prevResult: { ...prevResult, routes: routes.slice(0, 1) } }));
  await inPod('route', 'add', 'default', 'via', prevResult.ips[0]!.gateway, 'dev', 'eth0');
  await succeeds(t, check());
  await inPod('addr', 'del', ipv4, 'dev', 'eth0');
  await fails(t, check(), 999, /it does not have the address/);
  await inPod('link', 'set', 'eth0', 'down');
  await fails(t, check(), 999, /the interface is down/);
  await succeeds(t, call('DEL', attachment));
  await nothingLeft(t);
});

test.serial(
  'an interface that is there, by us or not, is an error; another name is another attachment',
  async t => {
    const attachment = await container();
    const first = await add(t, attachment);
    await fails(t, call('ADD', attachment), 999, /it is endpoint \d+ with .* already/);
    const second = { ...attachment, ifname: 'net1' };
    const other = await add(t, second);
    t.not(other.ips[0]!.address, first.ips[0]!.address);
    await succeeds(t, call('CHECK', attachment, { prevResult: first }));
    await succeeds(t, call('DEL', second));
    await succeeds(t, call('CHECK', attachment, { prevResult: { ...first, routes: [] } }));
    await succeeds(t, call('DEL', attachment));
    await nothingLeft(t);

    const taken = await container();
    await node.must('ip', '-n', taken.containerId, ...'link add eth0 type veth peer name other'.split(' '));
    await fails(t, call('ADD', taken), 999, /the namespace already has one/);
    await nothingLeft(t);
  },
);

test.serial('a result of plugins before ours is passed on with ours', async t => {
  const attachment = await container();
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'lo', sandbox: attachment.netns }],
    ips: [{ interface: 0, address: '127.0.0.1/8' }],
    routes: [],
    dns: { nameservers: ['10.96.0.10'] },
  };
  const result = await add(t, attachment, { cniVersion: '1.0.0', prevResult });
  t.deepEqual(
    result.interfaces.map(i => i.name),
    ['lo', result.interfaces[1]!.name, 'eth0'],
  );
  t.is(result.interfaces[result.ips[1]!.interface]!.name, 'eth0');
  t.deepEqual(result.dns, prevResult.dns);
  await fails(t, call('ADD', await container(), { prevResult: { ips: 'x' } }), 7, /prevResult\.ips/);
  await succeeds(t, call('DEL', attachment, { prevResult: { ips: 'x' } }));
  await nothingLeft(t);
});

test.serial('what cannot be set up leaves nothing, and says what to do', async t => {
  const attachment = await container();
  await fails(t, call('ADD', attachment, { cniVersion: '0.2.0' }), 1, /incompatible CNI versions/, '0.2.0');
  await fails(t, call('ADD', { ...attachment, netns: '/run/netns/nowhere' }), 999, /no such file/i);
  await fails(t, call('ADD', { ...attachment, netns: '/etc/passwd' }), 999, /it is no namespace/);
  await fails(t, call('ADD', attachment, {}, { CNI_ARGS: 'K8S_POD_NAME' }), 4, /CNI_ARGS/);
  await fails(t, call('ADD', { ...attachment, ifname: 'no/name' }), 4, /CNI_IFNAME/);
  await fails(t, call('ADD', attachment, { name: '' }), 7, /name/);
  await nothingLeft(t);
  await succeeds(t, call('DEL', attachment));
});

test.serial('containers side by side have addresses of their own, up to the last one', async t => {
  const containers = await Promise.all(Array.from({ length: POD_ADDRESSES + 1 }, container));
  const outcomes = await Promise.all(containers.map(one => call('ADD', one)));
  const addresses = outcomes
    .filter(o => o.status === 0)
    .map(o => (JSON.parse(o.stdout) as Result).ips[0]!.address);
  t.is(addresses.length, POD_ADDRESSES);
  t.is(new Set(addresses).size, POD_ADDRESSES);
  const [refused] = outcomes.filter(o => o.status !== 0);
  t.like(JSON.parse(refused!.stdout), {
    code: 999,
    msg: 'unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "range is full"',
  });
  await Promise.all(containers.map(one => succeeds(t, call('DEL', one))));
  await nothingLeft(t);
});

test.serial('GC leaves what is listed and what is of other networks, and takes the rest', async t => {
  const [kept, lost, foreign] = [await container(), await container(), await container()];
  const [keptIp, , foreignIp] = [
    (await add(t, kept)).ips[0]!.address,
    await add(t, lost),
    (await add(t, foreign, { name: 'another' })).ips[0]!.address,
  ];
  const list = (...of: Attachment[]): Config => ({
    'cni.dev/valid-attachments': of.map(a => ({ containerID: a.containerId, ifname: a.ifname })),
  });
  await fails(t, call('GC', {}, {}), 7, /valid-attachments/);
  await fails(t, call('GC', {}, { ...list(kept), cniVersion: '1.0.0' }), 1, /version/, '1.0.0');
  // Queued first: the address of an endpoint that left outlives a restart of the agent no more than it does.
  await succeeds(t, call('GC', {}, list(kept)));
  const { ipam } = await agent.traces();
  t.deepEqual(
    ipam.filter(ip => !before.ipam.includes(ip)).sort(),
    [keptIp, foreignIp].map(address => address.replace('/32', '')).sort(),
  );
  await agent.stopAgent('SIGKILL');
  await agent.startAgent();
  await succeeds(t, call('GC', {}, { ...list(), name: 'another' }));
  t.true((await agent.traces()).ipam.includes(keptIp.replace('/32', '')));
  await succeeds(t, call('GC', {}, list()));
  await nothingLeft(t);
});

test.serial(
  'VERSION needs no agent; STATUS says whether ADD can succeed: 50 while there is no agent',
  async t => {
    await succeeds(t, call('STATUS', {}));
    await fails(t, call('STATUS', {}, { cniVersion: '1.0.0' }), 1, /version/, '1.0.0');
    await agent.stopAgent();
    await fails(t, call('STATUS', {}), 50, /unable to connect to fimbria agent/);
    const attachment = await container();
    await fails(t, call('ADD', attachment), 11, /unable to connect to fimbria agent/);
    const { status, stdout } = await call('VERSION', {}, { cniVersion: '0.4.0' });
    t.is(status, 0);
    t.deepEqual(JSON.parse(stdout), { cniVersion: '0.4.0', supportedVersions: [...CNI_VERSIONS] });
    await agent.startAgent();
    await succeeds(t, call('STATUS', {}));
    await add(t, attachment);
    await succeeds(t, call('DEL', attachment));
    await nothingLeft(t);
  },
);
