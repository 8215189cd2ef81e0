import test from 'ava';
import fc from 'fast-check';
import { loadValues, valuesToFlat } from '../../src/config/index.ts';
import { render } from '../../src/install/render.ts';
import {
  fill,
  isAtLeast,
  items,
  MERGE,
  type Surroundings,
  text,
  value,
  when,
} from '../../src/install/template.ts';
import { allCrds } from '../../src/model/crd/index.ts';
import type { KubeObject } from '../../src/model/meta.ts';

interface Container {
  name: string;
  image: string;
  args?: string[];
  env?: { name: string; value?: string }[];
  securityContext?: { privileged?: boolean; capabilities?: { add?: string[]; drop?: string[] } };
  volumeMounts?: { name: string; mountPropagation?: string }[];
}

type Workload = KubeObject & {
  spec: {
    replicas?: number;
    template: {
      metadata: { annotations: Record<string, string> };
      spec: { initContainers?: Container[]; containers: Container[]; volumes: { name: string }[] };
    };
  };
};

function rendered(...sets: string[]) {
  const result = render(loadValues([], sets), { namespace: 'kube-system', kubernetes: '1.32' });
  const named = (kind: string, name: string): Workload =>
    result.objects.find(o => o.kind === kind && o.metadata.name === name) as Workload;
  return { ...result, agent: named('DaemonSet', 'cilium'), operator: named('Deployment', 'cilium-operator') };
}

test('the agent is not privileged, and only a privileged container has mounts that reach the node', t => {
  const { initContainers = [], containers } = rendered().agent.spec.template.spec;
  t.deepEqual(
    containers.map(c => c.name),
    ['cilium-agent'],
  );
  const [agent] = containers;
  t.is(agent!.securityContext?.privileged, undefined);
  t.deepEqual(agent!.securityContext?.capabilities?.drop, ['ALL']);
  for (const { securityContext, volumeMounts = [] } of [...initContainers, ...containers]) {
    // Kubernetes refuses it otherwise.
    const reaches = volumeMounts.some(m => m.mountPropagation === 'Bidirectional');
    t.is(reaches, securityContext?.privileged === true);
  }
});

test('every mount has its volume, and every volume is mounted', t => {
  for (const sets of [[], ['cni.install=false']]) {
    const { agent, operator } = rendered(...sets);
    for (const { spec } of [agent, operator]) {
      const { initContainers = [], containers, volumes } = spec.template.spec;
      const mounted = new Set(
        [...initContainers, ...containers].flatMap(c => c.volumeMounts!.map(m => m.name)),
      );
      const there = new Set(volumes.map(v => v.name));
      t.deepEqual(
        [...mounted].filter(name => !there.has(name)),
        [],
      );
      if (sets.length === 0)
        t.deepEqual(
          [...there].filter(name => !mounted.has(name)),
          [],
        );
    }
  }
});

test('values reach the containers', t => {
  const { agent, operator } = rendered(
    'image.repository=r.example/f,image.tag=v9,k8sServiceHost=10.0.0.1,debug.enabled=true,operator.replicas=1',
    'extraArgs={--mtu=1400},healthPort=9999',
  );
  const [container] = agent.spec.template.spec.containers;
  t.is(container!.image, 'r.example/f:v9');
  t.true(container!.args!.includes('--health-address=127.0.0.1:9999'));
  t.is(container!.args!.at(-1), '--mtu=1400');
  t.like(Object.fromEntries(container!.env!.map(e => [e.name, e.value])), {
    KUBERNETES_SERVICE_HOST: '10.0.0.1',
    KUBERNETES_SERVICE_PORT: '6443',
  });
  t.is(operator.spec.replicas, 1);
  t.false(rendered().agent.spec.template.spec.containers[0]!.env!.some(e => e.name.startsWith('KUBERNETES')));
});

test('agents are restarted by a change of the configuration and by nothing else', t => {
  const checksum = (...sets: string[]): string | undefined =>
    rendered(...sets).agent.spec.template.metadata.annotations['cilium.io/cilium-configmap-checksum'];
  t.is(checksum(), checksum('operator.replicas=1'));
  t.not(checksum(), checksum('MTU=1400'));
  t.is(checksum('rollOutCiliumPods=false'), undefined);
});

test('rules of definitions are left out where the API server does not know them', t => {
  const rules = (kubernetes?: string): boolean =>
    JSON.stringify(render({}, { namespace: 'x', kubernetes }).crds).includes('x-kubernetes-validations');
  t.true(rules());
  t.true(rules('1.31'));
  t.false(rules('1.30+'));
  t.true(JSON.stringify(allCrds()).includes('x-kubernetes-validations'), 'the model keeps them');
});

test('everything carries the labels by which it is removed, and its namespace where it has one', t => {
  const { crds, objects } = render({}, { namespace: 'net' });
  for (const { kind, metadata } of [...crds, ...objects]) {
    t.is(metadata.labels?.['app.kubernetes.io/managed-by'], 'fimbria', `${kind} ${metadata.name}`);
    const isClusters = /^Cluster|CustomResource/.test(kind);
    t.is(metadata.namespace, isClusters ? undefined : 'net', `${kind} ${metadata.name}`);
  }
});

test('wrong values are refused with their path', t => {
  for (const [set, message] of [
    ['operator.replicas=many', /values: operator\.replicas: "many" is not a whole number/],
    ['tolerations.a=1,image=x', /values: image: "x" is not a table/],
    ['operater.replicas=1', /unknown key.*did you mean operator/],
    ['ipam.mode=crd', /not built yet/],
    ['securityContext.privileged=maybe', /is not true or false/],
  ] as const) {
    t.throws(() => rendered(set), { code: 'BAD_VALUES', message }, set);
  }
  t.regex(rendered('hubble.tls.auto.method=helm').warnings.join(), /hubble\.tls.*means nothing here/);
});

test('the configuration is what a lab would get of the same values', t => {
  const sets = ['ipam.mode=kubernetes,devices={eth0,eth1}', 'prometheus.enabled=true'];
  t.deepEqual(rendered(...sets).flat, valuesToFlat(loadValues([], sets)).flat);
});

test('a template holds what its conditions say', t => {
  const around: Surroundings = {
    values: { on: true, off: false, list: ['b'], table: { x: 1 }, empty: [], word: 'w' },
    namespace: 'n',
    version: '1',
    managedBy: 'm',
    kubernetes: '1.29',
    configChecksum: 'c',
    flat: {},
  };
  t.deepEqual(
    fill(
      {
        a: when('on', 1),
        b: when('off', 1),
        c: when('empty', 1, 2),
        d: ['a', items('list'), when({ not: 'on' }, 'x'), when({ kubernetes: '1.29' }, 'new')],
        e: { y: 2, [MERGE]: items('table') },
        f: text`${value('word')}-${when('off', 'x', value('word'))}`,
        g: when({ any: ['off', { kubernetes: '1.30' }] }, 1),
      },
      around,
    ),
    { a: 1, c: 2, d: ['a', 'b', 'new'], e: { y: 2, x: 1 }, f: 'w-w' },
  );
});

test('versions are compared as numbers', t => {
  fc.assert(
    fc.property(fc.nat(3), fc.nat(99), fc.nat(3), fc.nat(99), (major, minor, wantMajor, wantMinor) => {
      const expected = major * 1000 + minor >= wantMajor * 1000 + wantMinor;
      return (
        isAtLeast(`v${major}.${minor}.7`, `${wantMajor}.${wantMinor}`) === expected &&
        isAtLeast(`${major}.${minor}+`, `${wantMajor}.${wantMinor}`) === expected
      );
    }),
  );
  t.pass();
});
