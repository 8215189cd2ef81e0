import test from 'ava';
import { unservedConditions } from '../../src/controllers/node-lifecycle.ts';
import type { Condition, Node } from '../../src/model/types.ts';

const NOW = Date.parse('2026-01-01T00:01:00Z');
const GRACE_MS = 40_000;

const node = (conditions: Condition[]): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'n', creationTimestamp: '2026-01-01T00:00:00Z' },
  status: { conditions },
});
const ready = (lastHeartbeatTime: string): Condition => ({
  type: 'Ready',
  status: 'True',
  lastHeartbeatTime,
});

test('a node that nobody speaks for is unknown once the grace is over, and what others say of it stays', t => {
  t.deepEqual(unservedConditions(node([ready('2026-01-01T00:00:30Z')]), NOW, GRACE_MS), {
    recheckMs: 10_000,
  });
  const other: Condition = { type: 'NetworkUnavailable', status: 'False' };
  const lost = unservedConditions(node([other, ready('2026-01-01T00:00:20Z')]), NOW, GRACE_MS);
  t.true(lost !== undefined && 'conditions' in lost);
  const { conditions } = lost as { conditions: Condition[] };
  t.deepEqual(
    conditions.map(({ type, status }) => `${type}=${status}`),
    [
      'NetworkUnavailable=False',
      ...['Memory', 'Disk', 'PID'].map(of => `${of}Pressure=Unknown`),
      'Ready=Unknown',
    ],
  );
  t.like(conditions.at(-1), { reason: 'NodeStatusUnknown', lastHeartbeatTime: '2026-01-01T00:00:20Z' });
  t.is(unservedConditions(node(conditions), NOW, GRACE_MS), undefined);
});

test('one that never said anything is judged by its age, a clock that was set back is not waited for', t => {
  t.like(unservedConditions(node([]), NOW, GRACE_MS), {
    conditions: { 3: { reason: 'NodeStatusNeverUpdated' } },
  });
  t.deepEqual(unservedConditions(node([]), NOW - 50_000, GRACE_MS), { recheckMs: 30_000 });
  t.true('conditions' in (unservedConditions(node([]), NOW - 3_600_000, GRACE_MS) ?? {}));
});
