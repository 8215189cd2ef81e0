import test from 'ava';
import fc from 'fast-check';
import { cidrContains } from '../../src/base/addr.ts';
import { planAllocations, type ServiceRanges } from '../../src/controllers/services/allocation.ts';
import { endpointsOf, followsPods } from '../../src/controllers/services/endpoints.ts';
import type { Pod, Service, ServicePort } from '../../src/model/types.ts';

const RANGES: ServiceRanges = { clusterIps: '10.96.0.0/28', nodePorts: [30000, 30007] };

type ServiceSpec = Partial<Service['spec']>;

function service(name: string, spec: ServiceSpec = {}, createdAt = '2026-01-01T00:00:00Z'): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', uid: `uid-${name}`, creationTimestamp: createdAt },
    spec: { type: 'ClusterIP', ports: [{ port: 80, protocol: 'TCP' }], ...spec },
  };
}

/** A Service as it is after a plan was written. */
function written(one: Service, services: readonly Service[]): Service {
  const change =
    planAllocations(services, RANGES).allocations.find(({ service: s }) => s === one)?.spec ?? {};
  const spec = Object.entries({ ...one.spec, ...change }).filter(([, value]) => value !== undefined);
  return { ...one, spec: Object.fromEntries(spec) };
}

const ports = fc.uniqueArray(
  fc.record({
    port: fc.integer({ min: 80, max: 82 }),
    protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
  }),
  { selector: ({ port, protocol }) => `${port}/${protocol}`, minLength: 1, maxLength: 3 },
);
const specs: fc.Arbitrary<ServiceSpec> = fc.oneof(
  ports.map((some): ServiceSpec => ({ type: 'ClusterIP', ports: some })),
  ports.map((some): ServiceSpec => ({ type: 'ClusterIP', clusterIP: 'None', ports: some })),
  ports.map((some): ServiceSpec => ({ type: 'NodePort', ports: some })),
  ports.map((some): ServiceSpec => ({ type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports: some })),
  ports.map(
    (some): ServiceSpec => ({ type: 'LoadBalancer', allocateLoadBalancerNodePorts: false, ports: some }),
  ),
  fc.constant<ServiceSpec>({ type: 'ExternalName', externalName: 'x' }),
);
type Act = { do: 'create' | 'retype'; name: string; spec: ServiceSpec } | { do: 'delete'; name: string };
const name = fc.constantFrom(...'abcdefghijklmnopqr');
const act: fc.Arbitrary<Act> = fc.oneof(
  fc.record({ do: fc.constant('create' as const), name, spec: specs }),
  fc.record({ do: fc.constant('retype' as const), name, spec: specs }),
  fc.record({ do: fc.constant('delete' as const), name }),
);
const held = (values: (string | undefined)[]): string[] =>
  values.filter(value => value !== undefined && value !== '' && value !== 'None') as string[];

test('over any history no address and no node port has two owners, and whoever wants one has it while there are some', t => {
  fc.assert(
    fc.property(fc.array(fc.record({ act, dies: fc.boolean() }), { maxLength: 60 }), steps => {
      let services: Service[] = [];
      let made = 0;
      for (const { act: one, dies } of steps) {
        const old = services.find(({ metadata }) => metadata.name === one.name);
        if (one.do === 'delete') services = services.filter(s => s !== old);
        else if (one.do === 'create' && !old) {
          made++;
          services.push(service(one.name, one.spec, new Date(made * 1000).toISOString()));
        } else if (one.do === 'retype' && old) {
          const isHeadless = old.spec.clusterIP === 'None';
          const kept = old.spec.clusterIP && !isHeadless && one.spec.type !== 'ExternalName';
          const spec = { ...old.spec, ...one.spec, ...(kept && { clusterIP: old.spec.clusterIP! }) };
          services = services.map(s => (s === old ? { ...s, spec } : s));
        }
        // A controller that dies has written some of its plan.
        const before = services;
        services = services.map((s, i) => (dies && i % 2 === 1 ? s : written(s, before)));
      }
      const before = services;
      services = services.map(s => written(s, before));
      const addresses = held(services.map(({ spec }) => spec.clusterIP));
      t.is(new Set(addresses).size, addresses.length);
      t.true(addresses.every(ip => cidrContains(RANGES.clusterIps, ip)));
      t.false(addresses.some(ip => ['10.96.0.0', '10.96.0.1', '10.96.0.15'].includes(ip)));
      const nodePorts = services.flatMap(({ spec }) => [
        ...(spec.ports ?? []).filter(p => p.nodePort).map(p => `${p.nodePort}/${p.protocol}`),
        ...(spec['healthCheckNodePort'] ? [`${spec['healthCheckNodePort']}/TCP`] : []),
      ]);
      t.is(new Set(nodePorts).size, nodePorts.length);
      const { full, conflicts, allocations } = planAllocations(services, RANGES);
      t.deepEqual(conflicts, []);
      const starving = full.map(({ service: s }) => s.metadata.name);
      for (const { metadata, spec } of services) {
        if (starving.includes(metadata.name)) continue;
        t.is(Boolean(spec.clusterIP), spec.type !== 'ExternalName');
        const wants =
          spec.type === 'NodePort' ||
          (spec.type === 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] !== false);
        if (wants) t.true(spec.ports?.every(port => port.nodePort));
        if (spec.type === 'ClusterIP') t.false(spec.ports?.some(port => port.nodePort));
      }
      // Who starves does so since nothing is left.
      if (full.some(({ what }) => what.startsWith('cluster'))) t.is(addresses.length, 13);
      t.deepEqual(allocations, []);
    }),
    { numRuns: 600 },
  );
});

test('what two Services ask for is his who was there first; the other is told', t => {
  const first = service('b', {
    clusterIP: '10.96.0.5',
    type: 'NodePort',
    ports: [{ port: 1, nodePort: 30001 }],
  });
  const second = service(
    'a',
    { clusterIP: '10.96.0.5', type: 'NodePort', ports: [{ port: 1, nodePort: 30001 }] },
    '2026-01-02T00:00:00Z',
  );
  t.deepEqual(
    planAllocations([second, first]).conflicts.map(({ service: s, what, holder }) => [
      s.metadata.name,
      what,
      holder,
    ]),
    [
      ['a', 'Cluster IP 10.96.0.5', 'default/b'],
      ['a', 'Node port 30001/TCP', 'default/b'],
    ],
  );
});

test('a port is taken whoever has it: for health checks only, or left of a former type', t => {
  const ports = [{ port: 80, protocol: 'TCP' as const }];
  const holders: ServiceSpec[] = [
    {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      allocateLoadBalancerNodePorts: false,
      healthCheckNodePort: 30000,
      ports,
    },
    {
      type: 'LoadBalancer',
      allocateLoadBalancerNodePorts: false,
      ports: [{ ...ports[0]!, nodePort: 30000 }],
    },
    { type: 'ClusterIP', ports: [{ ...ports[0]!, nodePort: 30000 }] },
  ];
  for (const spec of holders) {
    const wanting = service('new', { type: 'NodePort', ports });
    const { full } = planAllocations([service('holder', spec), wanting], {
      ...RANGES,
      nodePorts: [30000, 30000],
    });
    t.deepEqual(
      full.map(({ service: { metadata } }) => metadata.name),
      ['new'],
    );
  }
});

test('a range that is full says so', t => {
  const services = Array.from({ length: 14 }, (_, i) => service(`s${i}`));
  const { allocations, full } = planAllocations(services, RANGES);
  t.is(allocations.length, 13);
  t.deepEqual(
    full.map(({ what }) => what),
    ['cluster IPs of 10.96.0.0/28'],
  );
});

interface PodOptions {
  ip?: string;
  ready?: boolean;
  leaving?: boolean;
  phase?: 'Running' | 'Failed';
  labels?: Record<string, string>;
  port?: number;
}

function pod(podName: string, options: PodOptions = {}): Pod {
  const { ip = '10.0.0.1', ready = true, phase = 'Running', labels = { app: 'a' } } = options;
  const deleted = options.leaving ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName, namespace: 'default', uid: `uid-${podName}`, labels, ...deleted },
    spec: {
      nodeName: 'n',
      containers: [{ name: 'c', ports: [{ name: 'web', containerPort: options.port ?? 8080 }] }],
    },
    status: { phase, podIP: ip, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  };
}

const selecting = (list: ServicePort[], more: ServiceSpec = {}): Service =>
  service('s', { selector: { app: 'a' }, ports: list, ...more });

test('ready Pods are addresses, others are said to be none, those that leave only serve', t => {
  const pods = [
    pod('ready', { ip: '10.0.0.1' }),
    pod('starting', { ip: '10.0.0.2', ready: false }),
    pod('leaving', { ip: '10.0.0.3', leaving: true }),
    pod('failed', { ip: '10.0.0.4', phase: 'Failed' }),
    pod('other', { ip: '10.0.0.5', labels: { app: 'b' } }),
    pod('without', { ip: '' }),
  ];
  const { slices, endpoints } = endpointsOf(selecting([{ port: 80, targetPort: 'web' }]), pods);
  t.is(slices.length, 1);
  const [slice] = slices;
  t.deepEqual(slice?.ports, [{ name: '', protocol: 'TCP', port: 8080 }]);
  t.deepEqual(
    slice?.endpoints.map(({ addresses, conditions, nodeName }) => [addresses[0], conditions, nodeName]),
    [
      ['10.0.0.3', { ready: false, serving: true, terminating: true }, 'n'],
      ['10.0.0.1', { ready: true, serving: true, terminating: false }, 'n'],
      ['10.0.0.2', { ready: false, serving: false, terminating: false }, 'n'],
    ],
  );
  t.like(slice?.metadata, {
    labels: {
      'kubernetes.io/service-name': 's',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
    },
  });
  const targetRef = (of: string) => ({ kind: 'Pod', namespace: 'default', name: of, uid: `uid-${of}` });
  t.deepEqual(endpoints.subsets, [
    {
      addresses: [{ ip: '10.0.0.1', nodeName: 'n', targetRef: targetRef('ready') }],
      notReadyAddresses: [{ ip: '10.0.0.2', nodeName: 'n', targetRef: targetRef('starting') }],
      ports: [{ port: 8080, protocol: 'TCP' }],
    },
  ]);
});

test('a named port that is another in some Pods makes slices of their own', t => {
  const pods = [pod('a'), pod('b', { ip: '10.0.0.2', port: 9090 }), pod('c', { ip: '10.0.0.3' })];
  const { slices, endpoints } = endpointsOf(selecting([{ port: 80, name: 'x', targetPort: 'web' }]), pods);
  t.deepEqual(
    slices.map(slice => [slice.ports?.[0]?.port, slice.endpoints.length]),
    [
      [8080, 2],
      [9090, 1],
    ],
  );
  t.is(endpoints.subsets?.length, 2);
});

test('every Pod is in exactly one slice of at most a hundred, whatever the order they are seen in', t => {
  fc.assert(
    fc.property(fc.nat({ max: 350 }), fc.boolean(), (count, reversed) => {
      const pods = Array.from({ length: count }, (_, i) => pod(`p${i}`, { ip: `10.0.${i >> 8}.${i & 255}` }));
      const one = selecting([{ port: 80 }]);
      const { slices } = endpointsOf(one, reversed ? [...pods].reverse() : pods);
      t.deepEqual(slices, endpointsOf(one, pods).slices);
      const addresses = slices.flatMap(slice => slice.endpoints.flatMap(e => e.addresses));
      t.is(new Set(addresses).size, count);
      t.is(addresses.length, count);
      t.is(slices.length, Math.max(1, Math.ceil(count / 100)));
      t.true(slices.every(slice => slice.endpoints.length <= 100));
      t.is(new Set(slices.map(({ metadata }) => metadata.name)).size, slices.length);
    }),
    { numRuns: 30 },
  );
});

test('headless Services and those that publish all say so; others have their endpoints from elsewhere', t => {
  const headless = endpointsOf(selecting([], { clusterIP: 'None' }), [pod('a')]);
  t.is(headless.endpoints.metadata.labels?.['service.kubernetes.io/headless'], '');
  t.deepEqual(headless.slices[0]?.ports, []);
  const all = endpointsOf(selecting([{ port: 1 }], { publishNotReadyAddresses: true }), [
    pod('a', { ready: false }),
  ]);
  t.true(all.slices[0]?.endpoints[0]?.conditions?.ready);
  t.false(followsPods(service('s')));
  t.false(followsPods(selecting([], { type: 'ExternalName' })));
});
