import test from 'ava';
import { ClusterView } from '../../src/agent/cluster-view.ts';
import { ControllerSet } from '../../src/base/controller.ts';
import { createLogger } from '../../src/base/log.ts';
import type { ClusterClient } from '../../src/cluster/types.ts';

/** Of a server that never answers. */
const silentClient = {
  informer: () => ({ synced: new Promise(() => {}), on: () => {}, list: () => [], close: () => {} }),
} as unknown as ClusterClient;

test('what waits for a cluster that never answers ends with the view, without a word', async t => {
  const lines: string[] = [];
  const view = new ClusterView(silentClient, 'n1', { multiPool: false, services: false }, () => {});
  const controllers = new ControllerSet(createLogger('info', line => lines.push(line)));
  const waiting = controllers.add({ name: 'waits', run: () => view.synced() }).trigger();
  const ended = t.throwsAsync(waiting, { code: 'ABORTED', message: /the agent was told to stop/ });
  // In the order of an agent's stop.
  view.close();
  await controllers.stop();
  await ended;
  t.deepEqual(lines, []);
});
