import test from 'ava';
import type { EndpointSlice, Service } from '../../src/model/types.ts';
import { ANY_ADDRESS, ServiceCatalog, translateService } from '../../src/service/index.ts';

const NODE = { name: 'n1', addresses: ['192.168.10.100'], maglev: false, dsr: false };

function service(
  spec: Partial<Service['spec']> = {},
  name = 'web',
  created = '2026-01-01T00:00:00Z',
): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', uid: name, resourceVersion: '1', creationTimestamp: created },
    spec: { type: 'ClusterIP', clusterIP: '10.96.0.1', ports: [{ port: 80 }], ...spec },
  } as Service;
}

type Endpoint = EndpointSlice['endpoints'][number];
const ready = { ready: true, serving: true, terminating: false };
const leaving = { ready: false, serving: true, terminating: true };
const unready = { ready: false, serving: false, terminating: false };
const endpoint = (n: number, nodeName: string, conditions: Endpoint['conditions'] = ready): Endpoint => ({
  addresses: [`10.0.0.${n}`],
  nodeName,
  ...(conditions ? { conditions } : {}),
});

function slice(
  endpoints: Endpoint[],
  ports: EndpointSlice['ports'] = [{ name: '', port: 8080 }],
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 's',
      namespace: 'default',
      uid: 's',
      resourceVersion: '1',
      labels: { 'kubernetes.io/service-name': 'web' },
    },
    addressType: 'IPv4',
    endpoints,
    ports,
  } as EndpointSlice;
}

const texts = (list: readonly { address: string; port: number }[]): string[] =>
  list.map(b => `${b.address}:${b.port}`);

test('who is ready gets clients; where nobody is, those that go and still serve', t => {
  const of = (...endpoints: Endpoint[]) =>
    translateService(service(), [slice(endpoints)], NODE).frontends[0]!;
  const both = of(endpoint(1, 'n1'), endpoint(2, 'n2', leaving), endpoint(3, 'n2', unready));
  t.deepEqual(texts(both.external.backends), ['10.0.0.1:8080']);
  t.deepEqual(texts(both.terminating), ['10.0.0.2:8080']);
  const last = of(endpoint(2, 'n2', leaving), endpoint(3, 'n2', unready));
  t.deepEqual(texts(last.external.backends), ['10.0.0.2:8080']);
  t.deepEqual(last.terminating, []);
  t.deepEqual(of(endpoint(3, 'n2', unready)).external.backends, []);
});

test('traffic policies: clients outside and inside may get others', t => {
  const endpoints = [endpoint(1, 'n1'), endpoint(2, 'n2')];
  const nodePort = { type: 'NodePort' as const, ports: [{ port: 80, nodePort: 30_080 }] };
  const of = (spec: Partial<Service['spec']>) =>
    translateService(service({ ...nodePort, ...spec }), [slice(endpoints)], NODE).frontends;
  const local = of({ externalTrafficPolicy: 'Local' });
  t.deepEqual(
    local.map(f => `${f.type} ${f.address}:${f.port}`),
    ['ClusterIP 10.96.0.1:80', 'NodePort 192.168.10.100:30080', `NodePort ${ANY_ADDRESS}:30080`],
  );
  t.is(local[0]!.external.backends.length, 2);
  t.deepEqual(texts(local[1]!.external.backends), ['10.0.0.1:8080']);
  t.true(local[1]!.external.local);
  t.is(local[1]!.internal!.backends.length, 2);
  const inside = of({ internalTrafficPolicy: 'Local' });
  t.deepEqual(texts(inside[0]!.external.backends), ['10.0.0.1:8080']);
  t.is(inside[1]!.external.backends.length, 2);
  t.is(inside[1]!.internal!.backends.length, 1);
  t.is(of({})[1]!.internal, undefined);
});

test('named ports, affinity, source ranges, load balancer and external addresses', t => {
  const full = service({
    type: 'LoadBalancer',
    ports: [
      { name: 'dns', protocol: 'UDP', port: 53, nodePort: 30053 },
      { name: 'dns-tcp', protocol: 'TCP', port: 53, nodePort: 30053 },
    ],
    sessionAffinity: 'ClientIP',
    externalIPs: ['10.99.0.1'],
    loadBalancerSourceRanges: ['10.0.0.0/8', 'nonsense'],
  });
  full.status = { loadBalancer: { ingress: [{ ip: '10.0.250.1' }] } };
  const ports = [
    { name: 'dns', protocol: 'UDP', port: 5353 },
    { name: 'dns-tcp', protocol: 'TCP', port: 5354 },
  ];
  const { frontends, problems } = translateService(full, [slice([endpoint(1, 'n1')], ports)], NODE);
  t.deepEqual(
    frontends.map(f => `${f.type} ${f.address}:${f.port}/${f.l4Proto} -> ${texts(f.external.backends)}`),
    [
      'ClusterIP 10.96.0.1:53/17 -> 10.0.0.1:5353',
      'NodePort 192.168.10.100:30053/17 -> 10.0.0.1:5353',
      'NodePort 0.0.0.0:30053/17 -> 10.0.0.1:5353',
      'LoadBalancer 10.0.250.1:53/17 -> 10.0.0.1:5353',
      'ExternalIPs 10.99.0.1:53/17 -> 10.0.0.1:5353',
      'ClusterIP 10.96.0.1:53/6 -> 10.0.0.1:5354',
      'NodePort 192.168.10.100:30053/6 -> 10.0.0.1:5354',
      'NodePort 0.0.0.0:30053/6 -> 10.0.0.1:5354',
      'LoadBalancer 10.0.250.1:53/6 -> 10.0.0.1:5354',
      'ExternalIPs 10.99.0.1:53/6 -> 10.0.0.1:5354',
    ],
  );
  t.true(frontends.every(f => f.affinityTimeoutS === 10_800));
  t.deepEqual(frontends[3]!.sourceRanges, ['10.0.0.0/8']);
  t.is(frontends[4]!.sourceRanges, undefined);
  t.is(problems.length, 1);
});

test('what cannot be balanced is said', t => {
  t.deepEqual(translateService(service({ clusterIP: 'None' }), [], NODE).frontends, []);
  t.deepEqual(translateService(service({ type: 'ExternalName' }), [], NODE).problems, []);
  t.regex(translateService(service({ ports: [] }), [], NODE).problems[0]!, /no ports/);
  const sctp = translateService(service({ ports: [{ port: 1, protocol: 'SCTP' }] }), [], NODE);
  t.deepEqual(
    [sctp.frontends.length, sctp.problems],
    [0, ['port 1: protocol SCTP is not balanced; TCP and UDP are']],
  );
});

test('what is no address and no port is said, and the rest is balanced', t => {
  const bad = [
    slice([endpoint(1, 'n1'), { addresses: ['10.0.0.300'] }, { addresses: [] }, { addresses: ['fd00::1'] }]),
    {
      ...slice([endpoint(2, 'n1')], [{ name: '', port: 70_000 }]),
      metadata: { ...slice([]).metadata, name: 'p' },
    },
    { ...slice([{ addresses: ['web.example.org'] }]), addressType: 'FQDN' },
    { ...slice([{ addresses: ['fd00::2'] }]), addressType: 'IPv6' },
  ] as EndpointSlice[];
  const spec = { externalIPs: ['10.99.0.1', 'fd00::3', 'x'], ports: [{ port: 80 }, { port: 0 }] };
  const { frontends, problems } = translateService(service(spec), bad, NODE);
  t.deepEqual(
    frontends.map(f => `${f.type} ${texts(f.external.backends)}`),
    ['ClusterIP 10.0.0.1:8080', 'ExternalIPs 10.0.0.1:8080'],
  );
  t.deepEqual(problems, [
    'EndpointSlice s: "10.0.0.300" is no IPv4 address',
    'EndpointSlice s: "" is no IPv4 address',
    'EndpointSlice s: "fd00::1" is no IPv4 address',
    'EndpointSlice p: 70000 is no port; write one of 1 to 65535',
    'EndpointSlice s: names are no backends; write addresses',
    'external IP "fd00::3" is no IPv4 address',
    'external IP "x" is no IPv4 address',
    'port 0 is no port; write one of 1 to 65535',
  ]);
  const six = translateService(service({ clusterIP: 'fd00:1::1' }), [], NODE);
  t.deepEqual([six.frontends, six.problems.length], [[], 1]);
  t.regex(six.problems[0]!, /^cluster IP fd00:1::1: IPv6 is not balanced/);
  const many = Array.from({ length: 500 }, (_, i) => ({ addresses: [`no address ${i}`] }));
  t.is(translateService(service(), [slice(many)], NODE).problems.at(-1), 'and 490 more');
});

test('a thousand slices of one Service: one that flaps is one change of one owner', t => {
  const catalog = new ServiceCatalog(NODE);
  const named = (i: number, conditions = ready): EndpointSlice => ({
    ...slice([
      { addresses: [`10.${i >> 8}.${i & 255}.1`], conditions, nodeName: 'n1' },
      { addresses: [`10.${i >> 8}.${i & 255}.2`], conditions, nodeName: 'n2' },
    ]),
    metadata: { ...slice([]).metadata, name: `web-${i}` },
  });
  catalog.setService(service());
  catalog.setService(service({ clusterIP: '10.96.0.2' }, 'other'));
  for (let i = 0; i < 1000; i++) catalog.setSlice(named(i));
  const backends = (): number => catalog.take().get('default/web')![0]!.external.backends.length;
  t.is(backends(), 2000);
  for (let i = 0; i < 5; i++) catalog.setSlice(named(7, i % 2 === 0 ? unready : ready));
  const changes = catalog.take();
  t.deepEqual([...changes.keys()], ['default/web']);
  t.is(changes.get('default/web')![0]!.external.backends.length, 1998);
  catalog.deleteSlice(named(7));
  t.is(backends(), 1998);
});

test('of two services with one external address the older has it, until it goes', t => {
  const catalog = new ServiceCatalog(NODE);
  const young = service(
    { clusterIP: '10.96.0.2', externalIPs: ['10.99.0.1'] },
    'young',
    '2026-02-01T00:00:00Z',
  );
  const old = service({ externalIPs: ['10.99.0.1'] }, 'old');
  const has = (changes: ReturnType<ServiceCatalog['take']>, name: string): string[] =>
    (changes.get(`default/${name}`) ?? []).map(f => f.address);
  catalog.setService(young);
  t.deepEqual(has(catalog.take(), 'young'), ['10.96.0.2', '10.99.0.1']);
  catalog.setService(old);
  const both = catalog.take();
  t.deepEqual(has(both, 'old'), ['10.96.0.1', '10.99.0.1']);
  t.deepEqual(has(both, 'young'), ['10.96.0.2']);
  t.deepEqual(catalog.problems('default/young'), ["10.99.0.1:80 is already default/old's"]);
  catalog.deleteService(old);
  const after = catalog.take();
  t.deepEqual([...after.keys()].sort(), ['default/old', 'default/young']);
  t.deepEqual(has(after, 'young'), ['10.96.0.2', '10.99.0.1']);
  t.deepEqual(catalog.problems('default/young'), []);
  t.is(catalog.take().size, 0);
});
