import test from 'ava';
import { TestLab } from './lab.ts';
import { endPod, TestNode, type TestPod, testPod } from './node.ts';

/** Many pods on one node, added and deleted at once: all talk, and all is given back. 250 with FIMBRIA_TEST_FULL=1. */
const lab = new TestLab('scale');
const COUNT = process.env['FIMBRIA_TEST_FULL'] === '1' ? 250 : 40;
const pods: TestPod[] = [];
let node: TestNode;
let before: object;

test.before(async () => {
  await lab.up(
    'left',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.48.0.0/16',
    'endpointRoutes.enabled=true,ipam.operator.clusterPoolIPv4PodCIDRList=10.48.0.0/16',
  );
  node = new TestNode(lab.name, 'left');
  before = await node.everything();
  for (let i = 0; i < COUNT; i++) pods.push(await testPod(`scale-${i}`));
});

test.after.always(async () => {
  await Promise.all(pods.map(endPod));
  await lab.down();
});

test.serial('pods added at once all talk', async t => {
  const replies = await Promise.all(pods.map(pod => node.cni('ADD', pod)));
  t.deepEqual(
    replies.filter(r => r.status !== 200),
    [],
  );
  t.deepEqual(await node.disagreements(pods), []);
  for (const pod of pods) t.true(await node.talks(pod), pod.id);
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
  for (const pod of left) t.true(await node.talks(pod), pod.id);
});

test.serial('a namespace that dies during its ADD fails that ADD alone', async t => {
  const doomed = await testPod('scale-doomed');
  const calls = pods.filter((_, i) => i % 3 === 0).map(pod => node.cni('ADD', pod));
  const dying = node.cni('ADD', doomed);
  await endPod(doomed);
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
