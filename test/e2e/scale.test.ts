import test from 'ava';
import { TestLab } from './lab.ts';
import { answers, nodeOfBarePods, type TestNode, type TestPod, testPod } from './node.ts';

/** As many pods on one node as its block holds, added and deleted at once: all talk, and all is given back. */
const lab = new TestLab('scale');
const COUNT = 250;
const pods: TestPod[] = [];
let node: TestNode;
let before: object;

test.before(async () => {
  await lab.up(
    'left',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.48.0.0/16',
    'endpointRoutes.enabled=true,ipam.operator.clusterPoolIPv4PodCIDRList=10.48.0.0/16',
  );
  node = await nodeOfBarePods(lab, 'left');
  before = await node.everything();
  for (let i = 0; i < COUNT; i++) pods.push(await testPod(`scale-${i}`));
});

test.after.always(async () => {
  for (const pod of pods) pod.end();
  await lab.down();
});

/** Pods that do not answer the node, another pod, or whose own packets do not reach the node. */
async function unreached(all: readonly TestPod[]): Promise<string[]> {
  const address = new Map(node.journal().map(e => [e.containerId, e.ipv4]));
  const missed: string[] = [];
  for (const [i, pod] of all.entries()) {
    const ip = address.get(pod.id)!;
    const other = all[(i + 1) % all.length]!;
    const said = await Promise.all([answers(ip, node.netns), answers(ip, other.netns), node.talks(pod)]);
    if (said.includes(false)) missed.push(`${pod.id} ${ip}: ${said}`);
  }
  return missed;
}

test.serial('pods added at once all talk', async t => {
  const replies = await Promise.all(pods.map(pod => node.cni('ADD', pod)));
  t.deepEqual(
    replies.filter(r => r.status !== 200),
    [],
  );
  t.deepEqual(await node.disagreements(pods), []);
  t.deepEqual(await unreached(pods), []);
});

test.serial('a second ADD is refused and changes nothing', async t => {
  t.not((await node.cni('ADD', pods[0]!)).status, 200);
  t.deepEqual(await node.disagreements(pods), []);
});

test.serial('ADDs and DELs of the same containers at once: what the last answers say is so', async t => {
  // Calls about one container are carried out in the order they came; a DEL that ends takes nothing of a later ADD.
  const calls = pods.flatMap((pod, i) => [
    node.cni('DEL', pod),
    ...(i % 3 === 0 ? [] : [node.cni('ADD', pod)]),
  ]);
  t.deepEqual(
    (await Promise.all(calls)).filter(r => r.status !== 200),
    [],
  );
  const left = pods.filter((_, i) => i % 3 !== 0);
  t.deepEqual(await node.disagreements(left), []);
  t.deepEqual(await unreached(left), []);
});

test.serial('a namespace that dies during its ADD fails that ADD alone', async t => {
  const doomed = await testPod('scale-doomed');
  const calls = pods.filter((_, i) => i % 3 === 0).map(pod => node.cni('ADD', pod));
  const dying = node.cni('ADD', doomed);
  doomed.end();
  t.deepEqual(
    (await Promise.all(calls)).filter(r => r.status !== 200),
    [],
  );
  await dying;
  t.is((await node.cni('DEL', doomed)).status, 200);
  t.deepEqual(await node.disagreements(pods), []);
});

test.serial('deleting them gives everything back', async t => {
  const replies = await Promise.all(pods.map(pod => node.cni('DEL', pod)));
  t.true(replies.every(r => r.status === 200));
  t.deepEqual(await node.disagreements([]), []);
  t.deepEqual(await node.everything(), before);
});
