import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { CniHandler } from '../../src/agent/cni.ts';
import { hasQueuedDeletes, replayDeleteQueue } from '../../src/agent/delete-queue.ts';
import { silent } from '../../src/base/log.ts';
import type { EndpointDeps } from '../../src/endpoint/deps.ts';

test('an ADD comes after the DELs that were queued before it', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-queue-'));
  const env = { CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/nowhere' };
  const stdin = '{"cniVersion":"1.0.0"}';
  writeFileSync(join(folder, 'a.json'), JSON.stringify({ command: 'DEL', env, stdin }));
  writeFileSync(join(folder, '.17'), '{"command":"DEL"');
  const story: string[] = [];
  const store = {
    byAttachment: (id: string) => void story.push(`DEL ${id}`),
  };
  const cni: CniHandler = new CniHandler({
    endpoints: { store } as unknown as EndpointDeps,
    addressing: () => ({ routerIpv4: '10.0.0.1', routeMtu: 1450, deviceMtu: 1500 }),
    notReady: () => {
      story.push('ADD');
      return { why: 'this is a test' };
    },
    queuedDeletes: () =>
      hasQueuedDeletes(folder)
        ? replayDeleteQueue(folder, call => cni.handle(call), silent).then(() => {})
        : undefined,
  });
  const add = { command: 'ADD', env, stdin } as const;
  t.is((await cni.handle(add)).status, 500);
  await cni.handle(add);
  t.deepEqual(story, ['DEL c1', 'ADD', 'ADD']);
  t.deepEqual(readdirSync(folder), ['.17']);
  rmSync(folder, { recursive: true, force: true });
});
