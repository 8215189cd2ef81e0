import test from 'ava';
import fc from 'fast-check';
import { controllerReference, hashText } from '../../src/controllers/objects.ts';
import {
  inOrderOfRemoval,
  planReplicaSet,
  replicaSetStatus,
} from '../../src/controllers/workloads/replica-set.ts';
import type { Pod, ReplicaSet } from '../../src/model/types.ts';

const NOW = Date.parse('2026-01-01T00:01:00Z');

const set = (
  spec: Partial<ReplicaSet['spec']> = {},
  meta: Partial<ReplicaSet['metadata']> = {},
): ReplicaSet => ({
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  metadata: { name: 's', namespace: 'default', uid: 'set', generation: 4, ...meta },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'a' } },
    template: { metadata: { labels: { app: 'a', tier: 'x' } }, spec: { containers: [{ name: 'c' }] } },
    ...spec,
  },
});

interface PodOptions {
  node?: string;
  phase?: NonNullable<Pod['status']>['phase'];
  readyAt?: string;
  createdAt?: string;
  restarts?: number;
  cost?: string;
  labels?: Record<string, string>;
  owned?: boolean;
  leaving?: boolean;
}

function pod(name: string, options: PodOptions = {}): Pod {
  const { node, phase = 'Running', readyAt, createdAt = '2026-01-01T00:00:00Z', restarts = 0 } = options;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      creationTimestamp: createdAt,
      labels: options.labels ?? { app: 'a' },
      ...(options.cost !== undefined && {
        annotations: { 'controller.kubernetes.io/pod-deletion-cost': options.cost },
      }),
      ...(options.owned !== false && { ownerReferences: [controllerReference(set())] }),
      ...(options.leaving && { deletionTimestamp: createdAt }),
    },
    spec: { containers: [{ name: 'c' }], ...(node !== undefined && { nodeName: node }) },
    status: {
      phase,
      containerStatuses: [{ name: 'c', ready: true, restartCount: restarts, image: '', imageID: '' }],
      ...(readyAt !== undefined && {
        conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: readyAt }],
      }),
    },
  };
}

const names = (pods: readonly Pod[]): string[] => pods.map(({ metadata }) => metadata.name);
const ready = { node: 'n', readyAt: '2026-01-01T00:00:10Z' };

test('who is of least use goes first', t => {
  const inOrder = [
    pod('no-node', { phase: 'Pending' }),
    pod('pending', { node: 'n', phase: 'Pending' }),
    pod('unknown', { node: 'n', phase: 'Unknown' }),
    pod('not-ready', { node: 'n' }),
    pod('cheap', { ...ready, cost: '-5' }),
    pod('young', { ...ready, readyAt: '2026-01-01T00:00:30Z' }),
    pod('restarted', { ...ready, restarts: 3 }),
    pod('new', { ...ready, createdAt: '2026-01-01T00:00:05Z' }),
    pod('old', ready),
    pod('dear', { ...ready, cost: '5' }),
  ];
  t.deepEqual(names(inOrderOfRemoval([...inOrder].reverse())), names(inOrder));
  const crowded = [
    pod('a', ready),
    pod('b', { ...ready, node: 'm' }),
    pod('c', { ...ready, node: 'm', readyAt: '2026-01-01T00:00:01Z' }),
  ];
  t.deepEqual(names(inOrderOfRemoval(crowded)), ['b', 'c', 'a']);
});

test('any order of the same Pods gives the same victims', t => {
  const pods = fc.uniqueArray(
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 3 }),
      options: fc.record({
        node: fc.constantFrom('n', 'm'),
        phase: fc.constantFrom('Pending' as const, 'Running' as const),
        restarts: fc.nat({ max: 2 }),
      }),
    }),
    { selector: ({ name }) => name, maxLength: 8 },
  );
  fc.assert(
    fc.property(pods, fc.nat({ max: 9 }), (some, replicas) => {
      const made = some.map(({ name, options }) => pod(name, options));
      const plan = planReplicaSet(set({ replicas }), made);
      const again = planReplicaSet(set({ replicas }), [...made].reverse());
      t.deepEqual(names(plan.remove), names(again.remove));
      t.is(made.length + plan.create - plan.remove.length, replicas);
    }),
  );
});

test('Pods that ended or are about to do not count, others of the selector are adopted, strays let go', t => {
  const pods = [
    pod('own', ready),
    pod('done', { ...ready, phase: 'Succeeded' }),
    pod('failed', { phase: 'Failed' }),
    pod('leaving', { ...ready, leaving: true }),
    pod('stray', { ...ready, labels: { app: 'b' } }),
    pod('free', { ...ready, owned: false }),
    pod('free-leaving', { ...ready, owned: false, leaving: true }),
    { ...pod('elsewhere', ready), metadata: { ...pod('elsewhere').metadata, namespace: 'other' } },
  ];
  const plan = planReplicaSet(set(), pods);
  t.deepEqual(names(plan.claims.own), ['own']);
  t.deepEqual(names(plan.claims.adopt), ['free']);
  t.deepEqual(names(plan.claims.release), ['stray']);
  t.is(plan.create, 1);
  const leaving = planReplicaSet(set({}, { deletionTimestamp: '2026-01-01T00:00:00Z' }), pods);
  t.like(leaving, { create: 0, remove: [], claims: { adopt: [], release: [] } });
});

test('the status counts what is ready, and for how long', t => {
  const pods = [
    pod('a', { ...ready, labels: { app: 'a', tier: 'x' } }),
    pod('b', { ...ready, readyAt: '2026-01-01T00:00:55Z' }),
    pod('c', { node: 'n' }),
  ];
  const { status, recheckMs } = replicaSetStatus(set({ minReadySeconds: 10 }), pods, undefined, NOW);
  t.deepEqual(status, {
    replicas: 3,
    fullyLabeledReplicas: 1,
    readyReplicas: 2,
    availableReplicas: 1,
    observedGeneration: 4,
  });
  t.is(recheckMs, 5000);
  t.deepEqual(replicaSetStatus(set(), [], undefined, NOW), {
    status: { replicas: 0, observedGeneration: 4 },
  });
  const failed = replicaSetStatus(set(), [], { reason: 'FailedCreate', message: 'no' }, NOW);
  t.like(failed.status.conditions?.[0], { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate' });
});

test('a clock that is set back makes no Pod unavailable', t => {
  const anHourAgo = NOW - 3_600_000;
  for (const minReadySeconds of [0, 10]) {
    const { status, recheckMs } = replicaSetStatus(
      set({ minReadySeconds }),
      [pod('a', ready)],
      undefined,
      anHourAgo,
    );
    t.is(status.availableReplicas, 1);
    t.is(recheckMs, undefined);
  }
});

test('hashes for names are short, without vowels, and spread', t => {
  const texts = fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 50 });
  fc.assert(
    fc.property(texts, some => {
      const hashes = some.map(hashText);
      t.true(hashes.every(hash => /^[bcdfghjklmnpqrstvwxz2456789]{1,10}$/.test(hash)));
      t.is(new Set(hashes).size, some.length);
    }),
  );
});
