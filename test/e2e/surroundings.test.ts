import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import { waitGone } from '../../src/lab/processes.ts';
import { TestLab } from './lab.ts';
import { TestNode, type TestPod, testPod } from './node.ts';

/** What may become of a node's surroundings while its agent runs: a disk that fills up, a clock that jumps. */
const lab = new TestLab('surroundings');
const pods: TestPod[] = [];
let node: TestNode;
let before: object;

test.before(async () => {
  await lab.up(
    'left',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.51.0.0/16',
    'endpointRoutes.enabled=true,ipam.operator.clusterPoolIPv4PodCIDRList=10.51.0.0/16',
  );
  node = new TestNode(lab.name, 'left');
  for (let n = 0; n < 60; n++) pods.push(await testPod(`surroundings-${n}`));
});

test.after.always(async () => {
  for (const pod of pods) pod.end();
  await lab.down();
});

test.serial(
  'a state folder that fills up: ADDs fail and leave nothing, what is there stays, room makes it go on',
  async t => {
    await node.kill();
    const folder = '/run/fimbria/state';
    await lab.execMust('left', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', folder);
    await node.start();
    before = await node.everything();
    t.is((await node.plugin('ADD', pods[0]!)).status, 0);
    await lab.exec('left', 'sh', '-c', `cat /dev/zero >${folder}/ballast`);
    // A page that was begun still takes some.
    const live = [pods[0]!];
    let refused: Record<string, unknown> | undefined;
    for (const pod of pods.slice(1)) {
      const { status, stdout } = await node.plugin('ADD', pod);
      if (status !== 0) {
        refused = JSON.parse(stdout);
        break;
      }
      live.push(pod);
    }
    t.is(refused?.['code'], 999);
    t.regex(String(refused?.['msg']), /write .*journal: no space left; free some space there/);
    t.deepEqual(await node.disagreements(live), []);
    for (const pod of live) t.true(await node.talks(pod), pod.id);

    await lab.execMust('left', 'rm', `${folder}/ballast`);
    const late = pods[live.length]!;
    t.is((await node.plugin('ADD', late)).status, 0);
    t.deepEqual(await node.disagreements([...live, late]), []);
    await node.kill();
    await node.start();
    t.deepEqual(await node.disagreements([...live, late]), [], 'the journal is whole');
    for (const pod of [...live, late]) t.is((await node.plugin('DEL', pod)).status, 0);
    t.deepEqual(await node.disagreements([]), []);
    t.deepEqual(await node.everything(), before);
  },
);

test.serial(
  'a clock that is ten years off, forwards or backwards, at every look: pods come, talk and go',
  async t => {
    const jumping = join(labPaths(lab.name).dir, 'jumping-clock.mjs');
    writeFileSync(
      jumping,
      `const RealDate = Date;
     const TEN_YEARS_MS = 3650 * 86_400_000;
     let looks = 0;
     const now = () => RealDate.now() + (looks++ % 2 ? TEN_YEARS_MS : -TEN_YEARS_MS);
     globalThis.Date = class extends RealDate {
       constructor(...given) {
         super(...(given.length ? given : [now()]));
       }
       static now = now;
     };`,
    );
    await node.kill();
    await node.launch(undefined, { NODE_OPTIONS: `--import=${jumping}` });
    await node.ready();
    const some = pods.slice(0, 5);
    for (let round = 0; round < 2; round++) {
      for (const { status, stdout } of await Promise.all(some.map(pod => node.plugin('ADD', pod))))
        t.is(status, 0, stdout);
      t.deepEqual(await node.disagreements(some), []);
      for (const pod of some) t.true(await node.talks(pod), pod.id);
      const status = await node.api.healthz();
      t.is(status.cilium?.state, 'Ok', status.cilium?.msg);
      t.deepEqual(
        (status.controllers ?? []).filter(c => (c.status?.['consecutive-failure-count'] ?? 0) > 0),
        [],
      );
      for (const { status: ended } of await Promise.all(some.map(pod => node.plugin('DEL', pod))))
        t.is(ended, 0);
      t.deepEqual(await node.disagreements([]), []);
    }
    await node.kill();
    await node.start();
    t.deepEqual(await node.everything(), before);
  },
);

test.serial("a pod's device that somebody deletes while no agent runs is made anew at the start", async t => {
  const pod = pods[0]!;
  t.is((await node.plugin('ADD', pod)).status, 0);
  const had = node.journal().find(e => e.containerId === pod.id)!;
  await node.kill();
  await lab.execMust('left', 'ip', 'link', 'del', had.hostIfname);
  await node.start();
  t.deepEqual(await node.disagreements([pod]), []);
  t.true(await node.talks(pod));
  const has = node.journal().find(e => e.containerId === pod.id)!;
  t.deepEqual({ ...has, ifindex: 0 }, { ...had, ifindex: 0 });
  t.is((await node.plugin('DEL', pod)).status, 0);
  t.deepEqual(await node.disagreements([]), []);
});

test.serial(
  'an API server that is away: the agent comes up, pods come and talk, and it stops when it is told',
  async t => {
    const { apiserver } = JSON.parse(await lab.must('lab', 'status', '-o', 'json'));
    process.kill(apiserver.pid, 'SIGKILL');
    await node.kill();
    await node.launch();
    await waitUntil('a probe to cross the datapath', 20_000, async () => {
      const status = await node.api.healthz().catch(() => undefined);
      return status?.['cni-file']?.state === 'Ok' || undefined;
    });
    const pod = pods[0]!;
    const { status, stdout } = await node.plugin('ADD', pod);
    t.is(status, 0, stdout);
    t.true(await node.talks(pod));
    t.regex((await node.api.healthz()).kubernetes?.msg ?? '', /cannot be reached/);
    t.is((await node.plugin('DEL', pod)).status, 0);

    const log = labPaths(lab.name).log('agent-left');
    const said = readFileSync(log, 'utf8').length;
    const pid = node.agentPid!;
    process.kill(pid, 'SIGTERM');
    t.deepEqual(await waitGone([pid], 20_000), []);
    const last = readFileSync(log, 'utf8').slice(said);
    t.regex(last, /stopping; pods keep talking/);
    t.notRegex(last, /level=error|could not close|will be retried/);
  },
);
