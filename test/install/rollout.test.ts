import test from 'ava';
import { formatClusterStatus } from '../../src/cli/format/cluster-status.ts';
import { type ClusterStatus, firstClusterProblem } from '../../src/install/cluster-status.ts';
import { componentOf, podProblem, waitUntil } from '../../src/install/rollout.ts';
import type { Pod } from '../../src/model/types.ts';

function pod(name: string, status: object, more: object = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'kube-system' },
    spec: { nodeName: 'w1' },
    status,
    ...more,
  } as unknown as Pod;
}

const READY = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
const NO_NODE = {
  phase: 'Pending',
  conditions: [{ type: 'PodScheduled', status: 'False', message: '0/1 nodes are available' }],
};

function deployment(status: Record<string, number>, generation = 1) {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'cilium-operator', generation },
    spec: { replicas: 2, selector: {} },
    status: {
      observedGeneration: 1,
      replicas: 2,
      updatedReplicas: 2,
      readyReplicas: 2,
      availableReplicas: 2,
      ...status,
    },
  };
}

test('why a Pod is not ready is said in the words of whoever knows', t => {
  t.is(podProblem(pod('a', READY)), undefined);
  t.is(podProblem(pod('a', NO_NODE)), '0/1 nodes are available');
  const waiting = (state: object, lastState: object = {}) =>
    podProblem(
      pod('a', { phase: 'Pending', containerStatuses: [{ name: 'cilium-agent', state, lastState }] }),
    );
  t.is(
    waiting({ waiting: { reason: 'ErrImageNeverPull', message: 'image is not present' } }),
    'container cilium-agent is ErrImageNeverPull: image is not present',
  );
  t.is(
    waiting(
      { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' } },
      {
        terminated: {
          exitCode: 1,
          message: 'warm up\nfimbria-agent: start agent: root here lacks CAP_NET_RAW\n',
        },
      },
    ),
    'container cilium-agent is CrashLoopBackOff: fimbria-agent: start agent: root here lacks CAP_NET_RAW',
  );
  t.is(waiting({ waiting: { reason: 'ContainerCreating' } }), 'it is Pending on w1');
  t.is(
    podProblem(
      pod('a', {
        phase: 'Pending',
        initContainerStatuses: [
          { name: 'mount-node', state: { terminated: { exitCode: 2, reason: 'Error' } } },
        ],
      }),
    ),
    'container mount-node ended with 2: Error',
  );
  const going = pod('a', { phase: 'Running' });
  going.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
  t.is(podProblem(going), undefined);
});

test('a roll-out is over when nothing of the earlier version is left', t => {
  const errors = (status: Record<string, number>, pods: Pod[] = [], generation = 1): string[] =>
    componentOf('Deployment', deployment(status, generation), pods).errors;
  t.deepEqual(errors({}), []);
  t.regex(errors({}, [], 2)[0]!, /latest change/);
  t.regex(errors({ updatedReplicas: 1 })[0]!, /1 of 2 are up to date/);
  t.regex(errors({ replicas: 3 })[0]!, /1 of an earlier version/);
  t.regex(errors({ readyReplicas: 1 })[0]!, /1 of 2 are not ready/);
});

test('an operator that has no node of its own is a warning once another works', t => {
  const pods = [pod('one', READY), pod('two', NO_NODE)];
  const works = componentOf('Deployment', deployment({ readyReplicas: 1, availableReplicas: 1 }), pods);
  t.deepEqual([works.errors, works.warnings], [[], ['two: 0/1 nodes are available']]);
  const none = componentOf(
    'Deployment',
    deployment({ readyReplicas: 0, availableReplicas: 0 }),
    pods.slice(1),
  );
  t.deepEqual([none.errors, none.warnings], [['two: 0/1 nodes are available'], []]);
});

test('a wait tells what changes, once, and ends with the last word', async t => {
  const said: string[] = [];
  const answers = ['0/2', '0/2', '1/2', undefined];
  const waiting = { say: (line: string) => said.push(line), signal: new AbortController().signal };
  await waitUntil('agents', { ...waiting, deadlineMs: Number.POSITIVE_INFINITY }, async () =>
    answers.shift(),
  );
  t.deepEqual(said, ['agents: 0/2', 'agents: 1/2']);
  await t.throwsAsync(
    waitUntil('agents', { ...waiting, deadlineMs: 0 }, async () => 'one is missing'),
    { code: 'TIMEOUT', message: /^wait for agents: one is missing; .*--wait-duration$/ },
  );
});

const component = (kind: string, name: string, desired: number) => ({
  kind,
  name,
  desired,
  ready: desired,
  available: desired,
  phases: { Running: desired },
  images: { 'fimbria:0.1.0': desired },
  errors: [] as string[],
  warnings: [] as string[],
});

test('the summary is laid out as Cilium’s, which the second document shows', t => {
  const status: ClusterStatus = {
    namespace: 'kube-system',
    version: '0.1.0',
    components: [component('DaemonSet', 'cilium', 3), component('Deployment', 'cilium-operator', 2)],
    pods: { total: 5, managed: 5 },
    errors: [],
    warnings: [],
  };
  t.is(
    formatClusterStatus(status),
    String.raw`    /¯¯\
 /¯¯\__/¯¯\    Cilium:             OK
 \__/¯¯\__/    Operator:           OK
 /¯¯\__/¯¯\    Envoy DaemonSet:    disabled (using embedded mode)
 \__/¯¯\__/    Hubble Relay:       disabled
    \__/       ClusterMesh:        disabled

DaemonSet              cilium             Desired: 3, Ready: 3/3, Available: 3/3
Deployment             cilium-operator    Desired: 2, Ready: 2/2, Available: 2/2
Containers:            cilium             Running: 3
                       cilium-operator    Running: 2
Cluster Pods:          5/5 managed by Cilium
Helm chart version:    0.1.0
Image versions         cilium             fimbria:0.1.0: 3
                       cilium-operator    fimbria:0.1.0: 2
`,
  );
  t.is(firstClusterProblem(status), undefined);
  const [agent, operator] = status.components as [
    ClusterStatus['components'][0],
    ClusterStatus['components'][0],
  ];
  const wrong: ClusterStatus = {
    ...status,
    components: [
      { ...agent, ready: 1, errors: ['cilium-x: it is Pending on w1', 'cilium-y: it is Pending on w2'] },
      { ...operator, warnings: ['cilium-operator-z: 0/1 nodes are available'] },
    ],
  };
  t.is(firstClusterProblem(wrong), 'cilium: cilium-x: it is Pending on w1');
  const text = formatClusterStatus(wrong);
  t.regex(text, /Cilium: +2 errors\n/);
  t.regex(text, /Operator: +1 warning\n/);
  t.regex(text, /Errors: +cilium +cilium-x: it is Pending on w1\n +cilium +cilium-y/);
  t.regex(text, /Warnings: +cilium-operator +cilium-operator-z/);
});
