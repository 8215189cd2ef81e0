import test from 'ava';
import { AgentNode, OUTSIDE_IP, type Traces } from '../lib/agent.ts';
import { BUSYBOX_IMAGE } from '../lib/image.ts';
import { ClusterNode } from '../lib/node.ts';
import { Podman } from '../lib/podman.ts';

/** podman 4.3 with its CNI backend: containers that Kubernetes knows nothing of, by the list that the agent writes. */

let node: ClusterNode;
let agent: AgentNode;
let podman: Podman;
let before: Traces;

test.before(async () => {
  node = await ClusterNode.create('podman');
  agent = await AgentNode.start(node, [
    'routingMode=native',
    'endpointRoutes.enabled=true',
    'ipv4NativeRoutingCIDR=10.66.0.0/16',
  ]);
  podman = await Podman.create(node, 'fimbria');
  before = await agent.traces();
});

test.after.always(async () => {
  await agent?.close();
  await node?.remove();
});

const start = (name: string, ...options: string[]): Promise<string> =>
  podman.must('run', '--detach', '--name', name, ...options, BUSYBOX_IMAGE, 'sleep', '100000');

async function addressOf(name: string): Promise<{ ip: string; mac: string }> {
  const [shown] = JSON.parse(await podman.must('inspect', name)) as {
    NetworkSettings: { Networks: Record<string, { IPAddress: string; MacAddress: string }> };
  }[];
  const { IPAddress, MacAddress } = shown!.NetworkSettings.Networks['fimbria']!;
  return { ip: IPAddress, mac: MacAddress };
}

test.serial('containers run, talk to each other, the node and outside, and go without a trace', async t => {
  await Promise.all([start('one'), start('two')]);
  const [one, two] = [await addressOf('one'), await addressOf('two')];
  t.regex(one.ip, /^10\.66\.0\.\d+$/);
  t.not(one.ip, two.ip);
  t.true((await podman.must('exec', 'one', 'ip', 'addr', 'show', 'eth0')).includes(one.mac));
  for (const address of [two.ip, OUTSIDE_IP, '192.168.77.10'])
    await t.notThrowsAsync(podman.must('exec', 'one', 'ping', '-c', '1', '-W', '5', address), address);
  await podman.must('stop', '--time', '0', 'two');
  await podman.must('start', 'two');
  await t.notThrowsAsync(
    podman.must('exec', 'one', 'ping', '-c', '1', '-W', '5', (await addressOf('two')).ip),
  );
  await podman.must('rm', '--force', '--time', '0', 'one', 'two');
  await t.notThrowsAsync(agent.untilTraces(before));
});

test.serial(
  'a container that cannot have a network does not start, and says why; it does when the agent is back',
  async t => {
    await agent.stopAgent();
    const { status, stderr } = await podman.run('run', '--name', 'early', BUSYBOX_IMAGE, 'true');
    t.not(status, 0);
    t.regex(stderr, /unable to connect to fimbria agent/);
    await agent.startAgent();
    await podman.must('start', 'early');
    await podman.must('rm', '--force', '--time', '0', 'early');
    await t.notThrowsAsync(agent.untilTraces(before));
  },
);

test.serial('a pod of podman shares one address', async t => {
  await podman.must('pod', 'create', '--name', 'pod', '--network', 'fimbria');
  await start('a', '--pod', 'pod');
  await start('b', '--pod', 'pod');
  const show = (name: string): Promise<string> => podman.must('exec', name, 'ip', 'addr', 'show', 'eth0');
  t.is(await show('a'), await show('b'));
  t.is((await agent.traces()).ipam.length, before.ipam.length + 1);
  await podman.must('pod', 'rm', '--force', '--time', '0', 'pod');
  await t.notThrowsAsync(agent.untilTraces(before));
});
