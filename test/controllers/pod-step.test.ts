import test from 'ava';
import fc from 'fast-check';
import { podStatus } from '../../src/controllers/pod-status.ts';
import { nextStep, type PodFacts, restartDelayMs, setupDelayMs } from '../../src/controllers/pod-step.ts';
import type { Pod } from '../../src/model/types.ts';

const NOW = Date.UTC(2026, 0, 1);

function pod(
  more: { spec?: Partial<Pod['spec']>; meta?: Partial<Pod['metadata']>; status?: Pod['status'] } = {},
): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default', uid: 'u', ...more.meta },
    spec: { containers: [{ name: 'c' }], nodeName: 'n', ...more.spec },
    ...(more.status ? { status: more.status } : {}),
  };
}

function facts(more: Partial<PodFacts> = {}): PodFacts {
  return { pod: pod(), failures: 0, nextAttemptMs: 0, containers: {}, ...more };
}

const sandbox = { containerId: 'a'.repeat(64), alive: true, ips: ['10.0.0.7'], createdAtMs: NOW };
const deleted = { deletionTimestamp: '2026-01-01T00:00:00Z' };
const command = { containers: [{ name: 'c', command: ['sleep'], args: ['9'] }] };
const ended = (exitCode: number) => ({
  containerId: 'x',
  startedAtMs: NOW,
  restarts: 0,
  nextStartMs: NOW,
  exit: { exitCode, finishedAtMs: NOW },
});

test('a new pod gets a sandbox, then rests', t => {
  t.deepEqual(nextStep(facts(), NOW), { do: 'create-sandbox' });
  t.deepEqual(nextStep(facts({ sandbox }), NOW), { do: 'wait' });
});

test('nothing is set up before the network is ready, except in the node itself', t => {
  t.deepEqual(nextStep(facts({ networkNotReady: 'no' }), NOW), { do: 'wait' });
  const onHost = pod({ spec: { hostNetwork: true } });
  t.deepEqual(nextStep(facts({ networkNotReady: 'no', pod: onHost }), NOW), { do: 'create-sandbox' });
});

test('after a failure the next attempt waits: 1 s doubling to 10 s', t => {
  t.deepEqual([1, 2, 3, 4, 5, 60].map(setupDelayMs), [1000, 2000, 4000, 8000, 10_000, 10_000]);
  t.deepEqual(nextStep(facts({ failures: 1, nextAttemptMs: NOW + 5 }), NOW), {
    do: 'wait',
    untilMs: NOW + 5,
  });
  t.deepEqual(nextStep(facts({ failures: 1, nextAttemptMs: NOW }), NOW), { do: 'create-sandbox' });
});

test('a clock that was set back by hours delays neither set-up, nor removal, nor restart', t => {
  const later = NOW + 3_600_000;
  t.deepEqual(nextStep(facts({ failures: 1, nextAttemptMs: later }), NOW), { do: 'create-sandbox' });
  const leaving = pod({ meta: deleted });
  t.deepEqual(nextStep(facts({ pod: leaving, sandbox, nextAttemptMs: later }), NOW), {
    do: 'remove-sandbox',
  });
  t.deepEqual(nextStep(facts({ pod: leaving, nextAttemptMs: later }), NOW), { do: 'finish' });
  const containers = { c: { ...ended(1), nextStartMs: later } };
  t.deepEqual(nextStep(facts({ pod: pod({ spec: command }), sandbox, containers }), NOW), {
    do: 'start',
    container: 'c',
  });
});

test('a deleted pod is torn down, then finished; a vanished one is torn down, then forgotten', t => {
  t.deepEqual(nextStep(facts({ pod: pod({ meta: deleted }), sandbox }), NOW), { do: 'remove-sandbox' });
  t.deepEqual(nextStep(facts({ pod: pod({ meta: deleted }) }), NOW), { do: 'finish' });
  t.deepEqual(nextStep(facts({ pod: undefined, sandbox }), NOW), { do: 'remove-sandbox' });
  t.deepEqual(nextStep(facts({ pod: undefined }), NOW), { do: 'forget' });
});

test('a sandbox that died is removed and made again', t => {
  t.deepEqual(nextStep(facts({ sandbox: { ...sandbox, alive: false } }), NOW), { do: 'remove-sandbox' });
});

test('commands start, and start again as the restart policy says', t => {
  t.deepEqual(nextStep(facts({ pod: pod({ spec: command }), sandbox }), NOW), {
    do: 'start',
    container: 'c',
  });
  const again = (restartPolicy: 'Always' | 'OnFailure' | 'Never', exitCode: number) =>
    nextStep(
      facts({
        pod: pod({ spec: { ...command, restartPolicy } }),
        sandbox,
        containers: { c: ended(exitCode) },
      }),
      NOW,
    ).do;
  t.is(again('Always', 0), 'start');
  t.is(again('OnFailure', 1), 'start');
  t.is(again('OnFailure', 0), 'remove-sandbox');
  t.is(again('Never', 1), 'remove-sandbox');
  t.deepEqual([1, 2, 3, 99].map(restartDelayMs), [0, 10_000, 20_000, 300_000]);
});

test('status while it is being set up carries the message of the latest failure', t => {
  const status = podStatus(pod(), facts({ setupError: 'why' }), '192.168.10.100', NOW);
  t.is(status.phase, 'Pending');
  t.is(status.podIP, undefined);
  t.deepEqual(status.containerStatuses?.[0]?.state, {
    waiting: { reason: 'ContainerCreating', message: 'why' },
  });
  t.is(status.conditions?.find(c => c.type === 'Ready')?.message, 'containers with unready status: [c]');
});

test('status of a running pod has its address, and keeps the time since when it is ready', t => {
  const status = podStatus(pod(), facts({ sandbox }), '192.168.10.100', NOW);
  t.like(status, {
    phase: 'Running',
    podIP: '10.0.0.7',
    podIPs: [{ ip: '10.0.0.7' }],
    hostIP: '192.168.10.100',
  });
  t.true(status.conditions?.every(c => c.status === 'True'));
  const later = podStatus(pod({ status }), facts({ sandbox }), '192.168.10.100', NOW + 60_000);
  t.deepEqual(later, status);
});

test('status of commands that ended: completed, failed, or waiting to be started again', t => {
  const of = (restartPolicy: 'Always' | 'Never', exitCode: number) =>
    podStatus(
      pod({ spec: { ...command, restartPolicy } }),
      facts({ sandbox, containers: { c: ended(exitCode) } }),
      '1.1.1.1',
      NOW,
    );
  t.is(of('Never', 0).phase, 'Succeeded');
  t.is(of('Never', 3).phase, 'Failed');
  t.is(of('Never', 3).containerStatuses?.[0]?.state?.terminated?.exitCode, 3);
  t.is(of('Always', 3).phase, 'Running');
  t.is(of('Always', 3).containerStatuses?.[0]?.state?.waiting?.reason, 'CrashLoopBackOff');
  t.is(of('Always', 3).containerStatuses?.[0]?.lastState?.terminated?.exitCode, 3);
});

/** What a world in which every step may fail does with a pod. */
function world(pod: Pod, outcomes: boolean[]): { steps: string[]; facts: PodFacts } {
  let now = NOW;
  let known = facts({ pod });
  const steps: string[] = [];
  for (const works of outcomes) {
    const step = nextStep(known, now);
    steps.push(step.do);
    if (step.do === 'wait') now = Math.max(now + 1, step.untilMs ?? now + 1000);
    else if (step.do === 'forget' || step.do === 'finish') break;
    else if (!works)
      known = {
        ...known,
        failures: known.failures + 1,
        nextAttemptMs: now + setupDelayMs(known.failures + 1),
      };
    else if (step.do === 'create-sandbox') known = { ...known, failures: 0, sandbox };
    else if (step.do === 'remove-sandbox') {
      const { sandbox: _, ...rest } = known;
      known = { ...rest, failures: 0, nextAttemptMs: 0, containers: {} };
    } else
      known = {
        ...known,
        containers: { c: { containerId: 'x', startedAtMs: now, restarts: 0, nextStartMs: 0 } },
      };
  }
  return { steps, facts: known };
}

test('whatever fails on the way, a pod that stays ends up running and one that goes ends up gone', t => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 20 }), fc.boolean(), (mishaps, leaves) => {
      const certain = Array.from({ length: 10 + mishaps.length * 2 }, () => true);
      const up = world(pod({ spec: command }), [...mishaps, ...certain]);
      if (up.facts.containers['c']?.containerId !== 'x') return false;
      if (!leaves) return true;
      const down = world(pod({ meta: deleted }), [...mishaps, ...certain]);
      return down.steps.at(-1) === 'finish' && down.facts.sandbox === undefined;
    }),
  );
  t.pass();
});
