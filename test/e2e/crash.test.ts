import test from 'ava';
import { TestLab } from './lab.ts';
import { type KillPoint, TestNode, type TestPod, testPod } from './node.ts';

/**
 * The agent is killed before the N-th system call of an ADD, a DEL and a start, for every kind of call that changes
 * anything: the next start converges. FIMBRIA_TEST_FULL=1 walks every N, otherwise every few.
 */
const lab = new TestLab('crash');
const full = process.env['FIMBRIA_TEST_FULL'] === '1';
/** Every system call of a start is a start of its own. */
const FULL_TIMEOUT_MS = 3_600_000;
const pods: TestPod[] = [];
let node: TestNode;
let before: object;

test.before(async () => {
  await lab.up(
    'left',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.46.0.0/16',
    'endpointRoutes.enabled=true,ipam.operator.clusterPoolIPv4PodCIDRList=10.46.0.0/16',
  );
  node = new TestNode(lab.name, 'left');
  await node.kill();
  await node.start();
  before = await node.everything();
  for (const id of ['crash-stays', 'crash-moves']) pods.push(await testPod(id));
});

test.after.always(async () => {
  for (const pod of pods) pod.end();
  await lab.down();
});

/** A thread's calls to one system call, and how many of them lie between two kills. */
type Walk = readonly [thread: KillPoint['thread'], syscall: string, stride: number];

/** Kills at the first call, then at every stride-th, until `reached` says that there is no such call any more. */
async function walk(
  walks: readonly Walk[],
  reached: (at: KillPoint, where: string) => Promise<boolean>,
): Promise<number> {
  let kills = 0;
  for (const [thread, syscall, stride] of walks) {
    for (let when = 1; ; when += full ? 1 : stride) {
      if (!(await reached({ thread, syscall, when }, `${thread} ${syscall} ${when}`))) break;
      kills++;
    }
  }
  return kills;
}

const ADD: Walk[] = [
  ['any', 'sendto', 5],
  ['any', 'setns', 1],
  ['main', 'bpf', 4],
  ['main', 'write', 2],
  ['main', 'writev', 1],
];
const DEL: Walk[] = [
  ['any', 'sendto', 1],
  ['main', 'bpf', 2],
  ['main', 'write', 1],
  ['main', 'unlink', 1],
];
const START: Walk[] = [
  ['any', 'bpf', 50],
  ['main', 'bpf', 17],
  ['any', 'sendto', 11],
  ['main', 'sendto', 3],
  ['main', 'write', 25],
  ['main', 'rename', 1],
  ['main', 'unlink', 1],
];

test.serial('killed during an ADD', async t => {
  if (full) t.timeout(FULL_TIMEOUT_MS);
  const [stays, moves] = pods as [TestPod, TestPod];
  t.is((await node.cni('ADD', stays)).status, 200);
  const kept = node.journal().find(e => e.containerId === stays.id)!;
  const kills = await walk(ADD, async (at, where) => {
    const died = await node.dieDuring(at, () => node.cni('ADD', moves));
    await node.start();
    // The runtime got no answer: it takes back what there may be, and tries again.
    if (died) t.is((await node.cni('DEL', moves)).status, 200, where);
    if (died) t.deepEqual(await node.disagreements([stays]), [], where);
    if (died) t.is((await node.cni('ADD', moves)).status, 200, where);
    t.deepEqual(await node.disagreements([stays, moves]), [], where);
    t.true(await node.talks(moves), where);
    t.deepEqual(
      node.journal().find(e => e.containerId === stays.id),
      kept,
      where,
    );
    t.is((await node.cni('DEL', moves)).status, 200, where);
    return died;
  });
  t.log(`${kills} kills`);
  t.true(kills >= ADD.length);
});

test.serial('killed during a DEL', async t => {
  if (full) t.timeout(FULL_TIMEOUT_MS);
  const [stays, moves] = pods as [TestPod, TestPod];
  const kills = await walk(DEL, async (at, where) => {
    t.is((await node.cni('ADD', moves)).status, 200, where);
    const died = await node.dieDuring(at, () => node.cni('DEL', moves));
    await node.start();
    t.true(await node.talks(stays), where);
    t.is((await node.cni('DEL', moves)).status, 200, where);
    t.deepEqual(await node.disagreements([stays]), [], where);
    return died;
  });
  t.log(`${kills} kills`);
  t.true(kills >= DEL.length);
});

test.serial('killed during a start', async t => {
  if (full) t.timeout(FULL_TIMEOUT_MS);
  const [stays] = pods as [TestPod, TestPod];
  const kept = node.journal();
  const kills = await walk(START, async (at, where) => {
    await node.kill();
    const died = await node.startAndDie(at);
    t.true(await node.talks(stays), `${where}: pods talk while no agent runs`);
    await node.kill();
    await node.start();
    t.deepEqual(node.journal(), kept, where);
    t.deepEqual(await node.disagreements([stays]), [], where);
    return died;
  });
  t.log(`${kills} kills`);
  t.true(kills >= START.length);
});

test.serial('in the end everything is given back', async t => {
  for (const pod of pods) t.is((await node.cni('DEL', pod)).status, 200);
  t.deepEqual(await node.disagreements([]), []);
  t.deepEqual(await node.everything(), before);
});
