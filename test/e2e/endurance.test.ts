import { closeSync, openSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { hostIfname } from '../../src/endpoint/add.ts';
import { waitGone } from '../../src/lab/processes.ts';
import { TestLab } from './lab.ts';
import { nodeOfBarePods, type TestNode, type TestPod, testPod } from './node.ts';
import { choices } from './random.ts';

/**
 * Random ADDs and DELs through the plugin, eight at a time, while the agent is killed and started at random moments in
 * between: what a runtime was answered is so after every start, and in the end the node is as it began.
 * FIMBRIA_TEST_FULL=1 makes 2,000 calls.
 */
const lab = new TestLab('endurance');
const full = process.env['FIMBRIA_TEST_FULL'] === '1';
const CALLS = full ? 2_000 : 300;
const RUNTIMES = 8;
const CONTAINERS_EACH = 6;
/** Calls between two looks; the agent is killed once in each. */
const ROUND = 40;
/** About what a start takes. */
const START_MS = 800;
const TRY_AGAIN_LATER = 11;

const random = choices();
const wrong: string[] = [];
let node: TestNode;
let before: object;

test.before(async () => {
  await lab.up(
    'left',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.50.0.0/16',
    'endpointRoutes.enabled=true,ipam.operator.clusterPoolIPv4PodCIDRList=10.50.0.0/16',
  );
  node = await nodeOfBarePods(lab, 'left');
  // Makes the queue's folder, which stays.
  await node.kill();
  await node.plugin('DEL', { id: 'nobody', netns: '' });
  await node.start();
  await node.drained();
  before = await node.everything();
});

test.after.always(() => lab.down());

/** The agent, as it is killed and started behind the runtimes' backs. */
const agent = {
  /** How often it went or came; a call that saw no change of it met one agent all the time. */
  changes: 0,
  up: true,

  async kill(): Promise<void> {
    this.up = false;
    this.changes++;
    await node.kill();
  },
  async start(): Promise<void> {
    if (random.number(3) === 0) {
      // It dies once more, somewhere on its way up.
      const pid = await node.launch();
      await pause(random.number(START_MS));
      process.kill(pid, 'SIGKILL');
      await waitGone([pid], 20_000);
    }
    await node.start();
    this.up = true;
    this.changes++;
  },
};

/** Numbers of ended namespaces that must not name another one while the agent may still know them. */
let plugs: number[] = [];

function endForGood(pod: TestPod): void {
  const fd = Number(/\d+$/.exec(pod.netns)![0]);
  pod.end();
  do plugs.push(openSync('/dev/null', 'r'));
  while (plugs.at(-1)! < fd);
}

/** A runtime's view of its containers: those that it was told are there. */
class Runtime {
  readonly live = new Map<string, TestPod>();
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  async step(): Promise<void> {
    const id = `${this.#name}-${random.number(CONTAINERS_EACH)}`;
    const pod = this.live.get(id);
    const dice = random.number(10);
    if (!pod) return await (dice < 8 ? this.#add(id) : this.#delete(id));
    if (dice < 2) return await this.#addAgain(id, pod);
    await this.#delete(id, pod);
    if (dice > 8) await this.#delete(id);
  }

  async #add(id: string): Promise<void> {
    const pod = await testPod(id);
    const code = await call('ADD', pod);
    if (code === 0) {
      this.live.set(id, pod);
    } else {
      // What there may be of it goes before the runtime tries again.
      await this.#delete(id, pod);
    }
  }

  async #addAgain(id: string, pod: TestPod): Promise<void> {
    const other = await testPod(id);
    const code = await call('ADD', other, 999);
    if (code === 0) wrong.push(`${id} in ${pod.netns} was added a second time`);
    other.end();
  }

  async #delete(id: string, pod?: TestPod): Promise<void> {
    const code = await call('DEL', { id, netns: pod?.netns ?? '' });
    if (code !== 0) wrong.push(`DEL ${id}: ${code}`);
    this.live.delete(id);
    if (pod) endForGood(pod);
  }
}

/** The code of the answer; 11 is right only if the agent was away at some time of the call. */
async function call(
  command: 'ADD' | 'DEL',
  pod: Pick<TestPod, 'id' | 'netns'>,
  refusal?: number,
): Promise<number> {
  const seen = agent.changes;
  const up = agent.up;
  const { status, stdout, stderr } = await node.plugin(command, pod);
  if (status === 0) return 0;
  const { code } = JSON.parse(stdout);
  const metOneAgent = up && agent.changes === seen;
  if (code === TRY_AGAIN_LATER ? metOneAgent : code !== refusal)
    wrong.push(`${command} ${pod.id}: ${stdout}${stderr}`);
  return code;
}

/** So many calls, and somewhere in them the agent dies and comes again. */
async function round(runtimes: readonly Runtime[], calls: number): Promise<void> {
  const killAt = random.number(calls);
  const startAt = killAt + 1 + random.number(Math.min(20, calls - killAt));
  let next = 0;
  let killed: Promise<void> | undefined;
  let started: Promise<void> | undefined;
  await Promise.all(
    runtimes.map(async runtime => {
      while (next < calls) {
        const at = next++;
        if (at === killAt) killed = agent.kill();
        if (at === startAt) started = killed!.then(() => agent.start());
        await runtime.step();
      }
    }),
  );
  await (started ?? killed!.then(() => agent.start()));
}

test.serial('random ADDs and DELs with kills in between', async t => {
  if (full) t.timeout(1_800_000);
  t.log(`seed ${random.seed}`);
  const runtimes = Array.from({ length: RUNTIMES }, (_, n) => new Runtime(`endure-${n}`));
  for (let done = 0, rounds = 1; done < CALLS; done += ROUND, rounds++) {
    const where = `round ${rounds}, seed ${random.seed}`;
    await round(runtimes, Math.min(ROUND, CALLS - done));
    await node.drained();
    const live = runtimes.flatMap(r => [...r.live.values()]);
    t.deepEqual(wrong, [], where);
    t.deepEqual(await node.disagreements(live), [], where);
    const talking = await Promise.all(
      live.map(async pod => ((await node.talks(pod)) ? '' : hostIfname(pod.id, 'eth0'))),
    );
    t.deepEqual(talking.filter(Boolean), [], where);
    for (const fd of plugs) closeSync(fd);
    plugs = [];
  }
  const rest = runtimes.flatMap(r => [...r.live.values()]);
  for (const { status } of await Promise.all(rest.map(pod => node.plugin('DEL', pod)))) t.is(status, 0);
  t.deepEqual(await node.disagreements([]), []);
  t.deepEqual(await node.everything(), before);
  for (const pod of rest) pod.end();
});
