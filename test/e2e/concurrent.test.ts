import test from 'ava';
import { createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import type { CiliumEndpoint, CiliumNode } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { nodeOfBarePods, type TestNode, type TestPod, testPod } from './node.ts';
import { choices } from './random.ts';

/** Five hundred calls of the plugin at once, in any order: every answer is right, and all is given back. */
const lab = new TestLab('concurrent');
const random = choices();
let node: TestNode;
let before: object;

test.before(async () => {
  await lab.up(
    'left',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.49.0.0/16',
    'endpointRoutes.enabled=true,ipam.operator.clusterPoolIPv4PodCIDRList=10.49.0.0/16',
  );
  node = await nodeOfBarePods(lab, 'left');
  before = await node.everything();
});

test.after.always(() => lab.down());

type Call = 'ADD' | 'DEL';

/** What a runtime may ask about one container, one call after the other. Each begins and ends with no pod. */
const STORIES: readonly (readonly Call[])[] = [
  ['ADD', 'DEL'],
  ['DEL', 'ADD', 'DEL', 'DEL'],
  ['ADD', 'ADD', 'DEL'],
  ['ADD', 'DEL', 'ADD', 'DEL', 'DEL'],
  ['DEL', 'DEL'],
  ['ADD', 'ADD', 'DEL', 'ADD', 'DEL'],
];
const CALLS = 500;

/** Carries a story out with a namespace of its own for every ADD, as a runtime does. Returns what was answered wrong. */
async function tell(id: string, story: readonly Call[]): Promise<string[]> {
  const wrong: string[] = [];
  let pod: TestPod = await testPod(id);
  let address: string | undefined;
  for (const [i, call] of story.entries()) {
    const { status, stdout } = await node.plugin(call, pod);
    const where = `${id} ${story.slice(0, i + 1)}: ${status} ${stdout}`;
    if (call === 'DEL') {
      if (status !== 0) wrong.push(where);
      address = undefined;
      pod.end();
      pod = await testPod(id);
    } else if (address === undefined) {
      address = status === 0 ? JSON.parse(stdout).ips[0].address : undefined;
      if (address === undefined) wrong.push(where);
    } else if (status !== 1 || !/already; DEL it first/.test(JSON.parse(stdout).msg)) {
      wrong.push(where);
    }
  }
  pod.end();
  return wrong;
}

test.serial('each container has its own story', async t => {
  t.log(`seed ${random.seed}`);
  const stories: [string, readonly Call[]][] = [];
  for (let calls = 0; calls < CALLS; ) {
    const story = random.one(STORIES);
    stories.push([`concurrent-${stories.length}`, story]);
    calls += story.length;
  }
  const wrong = await Promise.all(random.shuffled(stories).map(([id, story]) => tell(id, story)));
  t.deepEqual(wrong.flat(), []);
  t.deepEqual(await node.disagreements([]), []);
  t.deepEqual(await node.everything(), before);
});

test.serial('calls about the same containers at once', async t => {
  const pods = await Promise.all(Array.from({ length: 50 }, (_, n) => testPod(`same-${n}`)));
  const calls = random.shuffled(
    pods.flatMap(pod =>
      Array.from({ length: CALLS / 50 }, () => [random.one(['ADD', 'DEL'] as const), pod] as const),
    ),
  );
  const answers = await Promise.all(
    calls.map(async ([call, pod]) => {
      const { status, stdout } = await node.plugin(call, pod);
      const good = status === 0 || (call === 'ADD' && /already; DEL it first/.test(stdout));
      return good ? '' : `${call} ${pod.id}: ${status} ${stdout}`;
    }),
  );
  t.deepEqual(answers.filter(Boolean), []);
  // Which call came last nobody knows; whatever is there is there in all places.
  const journal = new Set(node.journal().map(e => e.containerId));
  const live = pods.filter(pod => journal.has(pod.id));
  t.deepEqual(await node.disagreements(live), []);
  for (const pod of live) t.true(await node.talks(pod), pod.id);
  const deleted = await Promise.all(pods.map(pod => node.plugin('DEL', pod)));
  t.true(deleted.every(d => d.status === 0));
  t.deepEqual(await node.disagreements([]), []);
  t.deepEqual(await node.everything(), before);
  for (const pod of pods) pod.end();
});

test.serial('what is told of a pod is taken back also when it is seen after the pod went', async t => {
  const client = createClient(labPaths(lab.name).localKubeconfig);
  t.teardown(() => client.close());
  const nodeIpv4 = (await client.get<CiliumNode>('CiliumNode', 'left')).spec.addresses!.find(
    a => a.type === 'InternalIP',
  )!.ip;
  const late = (name: string, node: string): CiliumEndpoint => ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumEndpoint',
    metadata: { name, namespace: 'default' },
    status: { id: 77, state: 'ready', networking: { node, addressing: [{ ipv4: '10.49.0.99' }] } },
  });
  await client.create(late('of-another-node', '192.168.10.250'));
  await client.create(late('seen-late', nodeIpv4));
  await waitUntil('the CiliumEndpoint to go', 20_000, async () => {
    const { items } = await client.list<CiliumEndpoint>('CiliumEndpoint', {});
    return items.map(({ metadata }) => metadata.name).join() === 'of-another-node' || undefined;
  });
  t.pass();
});
