import test from 'ava';
import { controllerReference } from '../../src/controllers/objects.ts';
import { planDeployment, REVISION, templateHash } from '../../src/controllers/workloads/deployment.ts';
import { deploymentStatus } from '../../src/controllers/workloads/deployment-status.ts';
import { rolloutOf } from '../../src/controllers/workloads/rollout.ts';
import type { Condition, Deployment, ReplicaSet, ReplicaSetStatus } from '../../src/model/types.ts';

const AT = '2026-01-01T00:00:00Z';
const NOW = Date.parse('2026-01-01T00:05:00Z');

function deployment(spec: Partial<Deployment['spec']> = {}, conditions: Condition[] = []): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd', namespace: 'default', uid: 'deployment', generation: 2 },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'd' } },
      template: {
        metadata: { labels: { app: 'd' } },
        spec: { containers: [{ name: 'c', image: 'new' }] },
      },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      progressDeadlineSeconds: 60,
      ...spec,
    },
    ...(conditions.length > 0 && { status: { conditions } }),
  };
}

function set(image: string, replicas: number, status: Partial<ReplicaSetStatus>, generation = 1): ReplicaSet {
  const labels = { app: 'd', 'pod-template-hash': image };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `d-${image}`,
      namespace: 'default',
      uid: image,
      generation,
      creationTimestamp: AT,
      labels,
      ownerReferences: [controllerReference(deployment())],
    },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image }] } },
    },
    status: { replicas, observedGeneration: generation, ...status },
  };
}

const plan = (d: Deployment, ...sets: ReplicaSet[]) => planDeployment(d, sets, () => false);
const progressing = (d: Deployment, ...sets: ReplicaSet[]) =>
  deploymentStatus(d, plan(d, ...sets), NOW).status.conditions?.find(({ type }) => type === 'Progressing');
const said = (reason: string, more: Partial<Condition> = {}): Condition => ({
  type: 'Progressing',
  status: 'True',
  reason,
  message: 'ReplicaSet "d-new" is progressing.',
  lastUpdateTime: AT,
  lastTransitionTime: AT,
  ...more,
});

test('a set is made for a template, named and labelled after it', t => {
  const d = deployment({ minReadySeconds: 3 });
  d.metadata.annotations = { note: 'x', 'kubectl.kubernetes.io/last-applied-configuration': '{}' };
  const { create, revision } = plan(d);
  const hash = templateHash(d.spec.template, 0);
  t.is(create?.metadata.name, `d-${hash}`);
  t.deepEqual(create?.metadata.annotations, { note: 'x', [REVISION]: '1' });
  t.deepEqual(create?.spec.selector, { matchLabels: { app: 'd', 'pod-template-hash': hash } });
  t.is(create?.spec.replicas, 2);
  t.is(create?.spec.minReadySeconds, 3);
  t.is(revision, '1');
  const shuffled = JSON.parse(
    '{"spec":{"containers":[{"image":"new","name":"c"}]},"metadata":{"labels":{"app":"d"}}}',
  );
  t.is(templateHash(shuffled, 0), hash, 'the order of keys says nothing');
  t.not(templateHash(d.spec.template, 1), hash);
});

test('an old template that comes back makes its set the newest revision, and nothing is made anew', t => {
  const old = set('new', 0, { replicas: 0 });
  old.metadata.annotations = { [REVISION]: '1' };
  const now = set('later', 2, { availableReplicas: 2 });
  now.metadata.annotations = { [REVISION]: '2' };
  const { create, change, revision } = plan(deployment(), old, now);
  t.is(create, undefined);
  t.is(revision, '3');
  t.deepEqual(
    change.map(({ set: { metadata }, replicas, annotations }) => [metadata.name, replicas, annotations]),
    [['d-new', 1, { [REVISION]: '3' }]],
  );
});

test('nothing is taken from an old set by a report about another size', t => {
  const old = set('old', 2, { availableReplicas: 2 });
  const reported = set('new', 1, { availableReplicas: 1 }, 3);
  const shrinks = plan(deployment(), old, reported).change;
  t.deepEqual(shrinks.find(({ set: { metadata } }) => metadata.name === 'd-old')?.replicas, 1);
  const late = set('new', 1, { availableReplicas: 1, observedGeneration: 2 }, 3);
  t.is(
    plan(deployment(), old, late).change.find(({ set: { metadata } }) => metadata.name === 'd-old'),
    undefined,
  );
});

test('as much history is kept as is asked for, the oldest goes, and only when all is done', t => {
  const past = [1, 2, 3].map(revision => {
    const one = set(`v${revision}`, 0, { replicas: 0 });
    one.metadata.annotations = { [REVISION]: `${revision}` };
    return one;
  });
  const done = set('new', 2, { availableReplicas: 2 });
  const d = deployment({ revisionHistoryLimit: 1 });
  const removed = plan(d, ...past, done).remove.map(({ metadata }) => metadata.name);
  t.deepEqual(removed, ['d-v1', 'd-v2']);
  t.deepEqual(plan(d, ...past, set('new', 2, { availableReplicas: 1 })).remove, []);
});

test('percentages: a surge rounds up, what may be missing down, and one of them is never 0', t => {
  const of = (replicas: number, maxSurge: number | string, maxUnavailable: number | string) => {
    const rollingUpdate = { maxSurge, maxUnavailable };
    const rollout = rolloutOf(deployment({ replicas, strategy: { type: 'RollingUpdate', rollingUpdate } }));
    return [rollout.maxSurge, rollout.maxUnavailable];
  };
  t.deepEqual(of(10, '25%', '25%'), [3, 2]);
  t.deepEqual(of(1, '25%', '25%'), [1, 0]);
  t.deepEqual(of(3, 0, '10%'), [0, 1]);
  t.deepEqual(of(2, 5, 7), [5, 2]);
  t.deepEqual(of(0, '25%', 1), [0, 0]);
});

test('Progressing says what is going on, as kubectl rollout status reads it', t => {
  const half = set('new', 2, { availableReplicas: 1, readyReplicas: 1 });
  const full = set('new', 2, { availableReplicas: 2, readyReplicas: 2 });
  const d = (condition?: Condition, more: Partial<Deployment['status']> = {}): Deployment => {
    const made = deployment({}, condition ? [condition] : []);
    return { ...made, status: { ...made.status, ...more } };
  };
  t.is(progressing(d(), half)?.reason, 'FoundNewReplicaSet');
  t.like(progressing(d(said('ReplicaSetUpdated')), full), {
    status: 'True',
    reason: 'NewReplicaSetAvailable',
    lastTransitionTime: AT,
  });
  // Progress renews the time from which the deadline counts.
  t.like(progressing(d(said('ReplicaSetUpdated')), half), {
    reason: 'ReplicaSetUpdated',
    lastUpdateTime: '2026-01-01T00:05:00Z',
  });
  const stuck = { updatedReplicas: 2, replicas: 2, availableReplicas: 1, readyReplicas: 1 };
  t.like(progressing(d(said('ReplicaSetUpdated'), stuck), half), {
    status: 'False',
    reason: 'ProgressDeadlineExceeded',
    message: 'ReplicaSet "d-new" has timed out progressing.',
  });
  const patient = deployment({ progressDeadlineSeconds: 600 }, [said('ReplicaSetUpdated')]);
  patient.status = { ...patient.status, ...stuck };
  t.is(deploymentStatus(patient, plan(patient, half), NOW).recheckMs, 301_000);
  t.is(progressing(patient, half)?.reason, 'ReplicaSetUpdated');
  // Too long was said of another set.
  const exceeded = { status: 'False' as const, message: 'ReplicaSet "d-older" has timed out progressing.' };
  t.like(progressing(d(said('ProgressDeadlineExceeded', exceeded), stuck), half), {
    status: 'True',
    reason: 'FoundNewReplicaSet',
  });
  // Complete once, a Pod that fails later is no rollout.
  const complete = d(said('NewReplicaSetAvailable'), stuck);
  t.is(progressing(complete, half)?.reason, 'NewReplicaSetAvailable');
  const paused = deployment({ paused: true }, [said('ReplicaSetUpdated')]);
  t.like(progressing(paused, half), { status: 'Unknown', reason: 'DeploymentPaused' });
  const resumed = d(said('DeploymentPaused', { status: 'Unknown', message: 'Deployment is paused' }));
  t.like(progressing(resumed, half), { status: 'True', reason: 'DeploymentResumed' });
});

test('the status sums up the sets', t => {
  const d = deployment({ replicas: 3 });
  const sets = [
    set('old', 1, { readyReplicas: 1, availableReplicas: 1 }),
    set('new', 2, { readyReplicas: 1 }),
  ];
  const { status } = deploymentStatus(d, plan(d, ...sets), NOW);
  const { conditions, ...counts } = status;
  t.deepEqual(counts, {
    observedGeneration: 2,
    replicas: 3,
    updatedReplicas: 2,
    readyReplicas: 2,
    availableReplicas: 1,
    unavailableReplicas: 2,
  });
  t.like(
    conditions?.find(({ type }) => type === 'Available'),
    {
      status: 'False',
      reason: 'MinimumReplicasUnavailable',
    },
  );
});
