import test from 'ava';
import fc from 'fast-check';
import {
  identityObjectLabels,
  identityText,
  isClusterIdentity,
  labelsFromMap,
  labelsToMap,
  reservedIdentities,
  reservedLabels,
  sameLabels,
  securityLabels,
} from '../../src/identity/index.ts';

test("a pod's labels are its own, its namespace's and those of the cluster, sorted", t => {
  const pod = {
    metadata: {
      namespace: 'kube-system',
      labels: { 'k8s-app': 'kube-dns', 'pod-template-hash': '674b8bbfcf' },
    },
    spec: { serviceAccountName: 'coredns' },
  };
  const namespace = { metadata: { labels: { 'kubernetes.io/metadata.name': 'kube-system' } } };
  t.deepEqual(securityLabels(pod, namespace, 'default'), [
    'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=kube-system',
    'k8s:io.cilium.k8s.policy.cluster=default',
    'k8s:io.cilium.k8s.policy.serviceaccount=coredns',
    'k8s:io.kubernetes.pod.namespace=kube-system',
    'k8s:k8s-app=kube-dns',
  ]);
});

test('what is missing has its default', t => {
  t.deepEqual(securityLabels({ metadata: {} }, undefined, 'blue'), [
    'k8s:io.cilium.k8s.policy.cluster=blue',
    'k8s:io.cilium.k8s.policy.serviceaccount=default',
    'k8s:io.kubernetes.pod.namespace=default',
  ]);
});

test('a pod cannot claim to be of another namespace, cluster or service account', t => {
  const forged = {
    metadata: {
      namespace: 'here',
      labels: {
        'io.kubernetes.pod.namespace': 'there',
        'io.cilium.k8s.policy.cluster': 'x',
        'io.cilium.k8s.policy.serviceaccount': 'root',
        'io.cilium.k8s.namespace.labels.team': 'x',
      },
    },
  };
  const labels = securityLabels(forged, { metadata: { labels: { team: 'y' } } }, 'default');
  t.true(labels.includes('k8s:io.kubernetes.pod.namespace=here'));
  t.true(labels.includes('k8s:io.cilium.k8s.namespace.labels.team=y'));
  t.true(labels.includes('k8s:io.cilium.k8s.policy.serviceaccount=default'));
  t.is(labels.length, 4);
});

test('labels that differ from pod to pod of a workload make no identity, application labels do', t => {
  const keys = [
    'app',
    'app.kubernetes.io/name',
    'pod-template-hash',
    'pod-template-generation',
    'controller-revision-hash',
    'statefulset.kubernetes.io/pod-name',
    'apps.kubernetes.io/pod-index',
    'batch.kubernetes.io/job-completion-index',
    'kubernetes.io/arch',
    'beta.kubernetes.io/os',
    'failure-domain.beta.kubernetes.io/zone',
    'eks.amazonaws.com/component',
    'appearance',
  ];
  const labels = securityLabels(
    { metadata: { labels: Object.fromEntries(keys.map(key => [key, 'v'])) } },
    undefined,
    'default',
  );
  t.deepEqual(
    labels.filter(label => !label.includes('io.cilium') && !label.includes('io.kubernetes.pod')),
    ['k8s:app.kubernetes.io/name=v', 'k8s:app=v', 'k8s:appearance=v', 'k8s:eks.amazonaws.com/component=v'],
  );
});

test('the map form of CiliumIdentity and the texts are each other', t => {
  const key = fc.stringMatching(/^[a-z][a-z./-]{0,12}$/);
  const value = fc.stringMatching(/^[A-Za-z0-9=._-]{0,8}$/);
  fc.assert(
    fc.property(fc.dictionary(key, value), some => {
      const map = Object.fromEntries(Object.entries(some).map(([k, v]) => [`k8s:${k}`, v]));
      const labels = labelsFromMap(map);
      return (
        sameLabels(labelsFromMap(labelsToMap(labels)), labels) &&
        JSON.stringify(labelsToMap(labels)) ===
          JSON.stringify(Object.fromEntries(labels.map(l => l.split(/=(.*)/s)).map(([k, v]) => [k, v ?? ''])))
      );
    }),
  );
  t.deepEqual(labelsFromMap({ 'k8s:b': '', 'k8s:a': 'x=y' }), ['k8s:a=x=y', 'k8s:b']);
  t.true(sameLabels(['b', 'a'], ['a', 'b', 'a']));
  t.false(sameLabels(['a'], ['a', 'b']));
});

test('reserved identities have their numbers, texts and labels', t => {
  t.deepEqual(
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(id => reservedIdentities[id]),
    [
      'host',
      'world',
      'unmanaged',
      'health',
      'init',
      'remote-node',
      'kube-apiserver',
      'ingress',
      'world-ipv4',
      'world-ipv6',
    ],
  );
  t.deepEqual([0, 1, 5118].map(identityText), ['unknown', 'host', '5118']);
  t.deepEqual(reservedLabels(4), ['reserved:health']);
  t.deepEqual(reservedLabels(7), ['reserved:kube-apiserver', 'reserved:remote-node']);
  t.is(reservedLabels(0), undefined);
  t.is(reservedLabels(256), undefined);
  t.deepEqual([255, 256, 65535, 65536, 300.5].map(isClusterIdentity), [false, true, true, false, false]);
});

test("an identity's object is labelled with what can be a label", t => {
  t.deepEqual(
    identityObjectLabels([
      'k8s:app.kubernetes.io/name=web',
      'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop',
      `k8s:io.cilium.k8s.policy.serviceaccount=${'s'.repeat(64)}`,
      'k8s:io.kubernetes.pod.namespace=shop',
      'k8s:flag',
    ]),
    { 'app.kubernetes.io/name': 'web', 'io.kubernetes.pod.namespace': 'shop', flag: '' },
  );
  t.deepEqual(identityObjectLabels(['reserved:init']), {});
});
