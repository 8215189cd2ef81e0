import test from 'ava';
import { createLogger, silent } from '../../src/base/log.ts';
import { EventRecorder } from '../../src/cluster/events.ts';
import type { ClusterClient } from '../../src/cluster/index.ts';
import type { Event } from '../../src/model/types.ts';

const podNamed = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', uid: `u-${name}` },
});

/** A server that keeps Events in memory, and a recorder whose clock the test has. */
function recording() {
  const events = new Map<string, Event>();
  let nowMs = 0;
  const client = {
    create: async (event: Event) => void events.set(event.metadata.name, event),
    patch: async (_kind: string, name: string, patch: Partial<Event>) =>
      void events.set(name, { ...events.get(name)!, ...patch }),
  } as unknown as ClusterClient;
  const recorder = new EventRecorder(client, 'fimbria-agent', silent, 'node-1', () => nowMs);
  const warn = (name: string, message: string): void =>
    recorder.record(podNamed(name), { type: 'Warning', reason: 'IPPoolExhausted', message });
  const pass = (forMs: number): void => {
    nowMs += forMs;
  };
  const told = async (): Promise<string[]> => {
    await recorder.flush();
    return [...events.values()].map(e => `${e.involvedObject.name}: ${e.message} x${e.count}`);
  };
  return { warn, pass, told };
}

test('what repeats is one event that counts', async t => {
  const { warn, told } = recording();
  for (let n = 0; n < 3; n++) warn('web', 'range is full');
  warn('db', 'range is full');
  t.deepEqual(await told(), ['web: range is full x3', 'db: range is full x1']);
});

test('an object gets 25 at once, then one in five minutes; others are not held back by it', async t => {
  const { warn, pass, told } = recording();
  for (let n = 0; n < 100; n++) warn('web', 'range is full');
  warn('db', 'range is full');
  t.deepEqual(await told(), ['web: range is full x25', 'db: range is full x1']);
  pass(5 * 60_000);
  for (let n = 0; n < 10; n++) warn('web', 'range is full');
  t.is((await told())[0], 'web: range is full x26');
});

test('many that differ only in words are one, and say so', async t => {
  const { warn, told } = recording();
  for (let n = 0; n < 14; n++) warn('web', `number ${n}`);
  const all = await told();
  t.is(all.length, 11);
  t.is(all.at(-1), 'web: (combined from similar events): number 13 x4');
});

test('while the API server does not answer, so many events wait and the rest is given up and told once', async t => {
  const lines: string[] = [];
  let answer = (): void => {};
  const answered = new Promise<void>(resolve => {
    answer = resolve;
  });
  let written = 0;
  const client = {
    create: async () => {
      await answered;
      written++;
    },
  } as unknown as ClusterClient;
  const recorder = new EventRecorder(
    client,
    'kubelet',
    createLogger('info', line => lines.push(line)),
  );
  for (let n = 0; n < 5_000; n++)
    recorder.record(podNamed(`web-${n}`), { type: 'Normal', reason: 'Test', message: 'started' });
  answer();
  await recorder.flush();
  t.is(written, 1024);
  t.is(lines.length, 1);
  t.regex(lines[0]!, /gave up events.*count=3976/);
  recorder.record(podNamed('later'), { type: 'Normal', reason: 'Test', message: 'later' });
  await recorder.flush();
  t.is(written, 1025);
});
