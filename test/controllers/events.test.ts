import test from 'ava';
import { createLogger } from '../../src/base/log.ts';
import type { ClusterClient } from '../../src/cluster/index.ts';
import { EventRecorder } from '../../src/controllers/events.ts';
import type { KubeObject } from '../../src/model/types.ts';

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default', uid: 'u' },
} as KubeObject;

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
    recorder.record(pod, { type: 'Normal', reason: 'Test', message: `number ${n}` });
  answer();
  await recorder.flush();
  t.is(written, 1024);
  t.is(lines.length, 1);
  t.regex(lines[0]!, /gave up events.*count=3976/);
  recorder.record(pod, { type: 'Normal', reason: 'Test', message: 'later' });
  await recorder.flush();
  t.is(written, 1025);
});
