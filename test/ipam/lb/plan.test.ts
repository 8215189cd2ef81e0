import test from 'ava';
import fc from 'fast-check';
import { planLoadBalancers } from '../../../src/ipam/lb/plan.ts';
import { parseAddress, readLbPool } from '../../../src/ipam/lb/ranges.ts';
import { mayShare, readLbService } from '../../../src/ipam/lb/service.ts';
import type { CiliumLoadBalancerIPPool, Service } from '../../../src/model/types.ts';

type PoolSpec = CiliumLoadBalancerIPPool['spec'];

let born = 0;

function pool(name: string, spec: PoolSpec): CiliumLoadBalancerIPPool {
  const creationTimestamp = new Date(++born * 1000).toISOString();
  return {
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumLoadBalancerIPPool',
    metadata: { name, creationTimestamp },
    spec,
  };
}

type Wish = {
  annotations?: Record<string, string>;
  labels?: Record<string, string>;
  ingress?: string[];
  known?: boolean;
  port?: number;
  namespace?: string;
  spec?: Partial<Service['spec']>;
};

function service(name: string, wish: Wish = {}): Service {
  const {
    annotations = {},
    labels = {},
    ingress = [],
    known = false,
    port = 80,
    namespace = 'default',
  } = wish;
  const creationTimestamp = new Date(++born * 1000).toISOString();
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, annotations, labels, creationTimestamp },
    spec: { type: 'LoadBalancer', ports: [{ port }], ...wish.spec } as Service['spec'],
    status: {
      loadBalancer: { ingress: ingress.map(ip => ({ ip })) },
      ...(known ? { conditions: [{ type: 'cilium.io/IPAMRequestSatisfied', status: 'True' }] } : {}),
    },
  };
}

function plan(pools: CiliumLoadBalancerIPPool[], services: Service[]) {
  const { services: outcomes, pools: reports } = planLoadBalancers(
    pools.map(readLbPool),
    services.map(readLbService),
  );
  return {
    of: (name: string, namespace = 'default') => {
      const { addresses = [], reason } = outcomes.get(`${namespace}/${name}`) ?? {};
      return `${addresses.join(' ')} ${reason}`.trim();
    },
    pool: (name: string) => reports.get(name),
  };
}

test('a pool written with cidrs keeps its first and last address; one with blocks gives them', t => {
  const old = plan([pool('lb', { cidrs: [{ cidr: '10.0.250.0/24' }] })], [service('web')]);
  t.is(old.of('web'), '10.0.250.1 satisfied');
  t.is(old.pool('lb')?.total, 254n);
  const now = plan([pool('lb', { blocks: [{ cidr: '10.0.250.0/24' }] })], [service('web')]);
  t.is(now.of('web'), '10.0.250.0 satisfied');
  t.is(now.pool('lb')?.available, 255n);
  const asked = plan(
    [pool('lb', { blocks: [{ cidr: '10.0.250.0/24' }], allowFirstLastIPs: 'No' })],
    [service('web')],
  );
  t.is(asked.of('web'), '10.0.250.1 satisfied');
  const tiny = plan([pool('lb', { cidrs: [{ cidr: '10.0.250.4/31' }] })], [service('web')]);
  t.is(tiny.of('web'), '10.0.250.4 satisfied');
});

test('the smallest range that has room gives its lowest free address', t => {
  const pools = [pool('a', { blocks: [{ cidr: '10.0.0.0/24' }, { start: '10.9.0.5', stop: '10.9.0.6' }] })];
  const result = plan(pools, [service('one'), service('two'), service('three')]);
  t.deepEqual(
    ['one', 'two', 'three'].map(name => result.of(name)),
    ['10.9.0.5 satisfied', '10.9.0.6 satisfied', '10.0.0.0 satisfied'],
  );
});

test('selectors see labels, name and namespace', t => {
  const pools = [
    pool('blue', { blocks: [{ start: '10.1.0.1' }], serviceSelector: { matchLabels: { colour: 'blue' } } }),
    pool('kube', {
      blocks: [{ start: '10.2.0.1' }],
      serviceSelector: { matchLabels: { 'io.kubernetes.service.namespace': 'kube-system' } },
    }),
  ];
  const result = plan(pools, [
    service('a', { labels: { colour: 'blue' } }),
    service('b', { namespace: 'kube-system' }),
    service('c', { labels: { 'io.kubernetes.service.namespace': 'kube-system' } }),
  ]);
  t.is(result.of('a'), '10.1.0.1 satisfied');
  t.is(result.of('b', 'kube-system'), '10.2.0.1 satisfied');
  t.is(result.of('c'), 'no_pool');
});

test('what is asked for by name is given, refused when taken, and waits for a pool that has it', t => {
  const pools = [pool('lb', { blocks: [{ cidr: '10.0.0.0/29' }] })];
  const ask = (ips: string): Wish => ({ annotations: { 'lbipam.cilium.io/ips': ips } });
  const result = plan(pools, [
    service('any'),
    service('first', ask('10.0.0.0,10.0.0.3')),
    service('second', ask('10.0.0.3')),
    service('far', ask('192.0.2.1')),
    service('old', { spec: { loadBalancerIP: '10.0.0.5' } }),
    service('odd', ask('10.0.0.4, banana')),
  ]);
  t.is(result.of('any'), '10.0.0.1 satisfied', 'those that ask by name come first');
  t.is(result.of('first'), '10.0.0.0 10.0.0.3 satisfied');
  t.is(result.of('second'), 'already_allocated');
  t.is(result.of('far'), 'no_pool');
  t.is(result.of('old'), '10.0.0.5 satisfied');
  t.is(result.of('odd'), '10.0.0.4 invalid_request');
});

test('an address is shared by key, where ports, namespaces and traffic policies allow it', t => {
  const pools = [pool('lb', { blocks: [{ cidr: '10.0.0.0/29' }] })];
  const key = { 'lbipam.cilium.io/sharing-key': 'k' };
  const local = { externalTrafficPolicy: 'Local' as const };
  const result = plan(pools, [
    service('a', { annotations: key, port: 80 }),
    service('b', { annotations: key, port: 443 }),
    service('clash', { annotations: key, port: 80 }),
    service('local', { annotations: key, port: 81, spec: local }),
    service('other', { annotations: key, port: 82, namespace: 'n2' }),
    service('invited', {
      annotations: { ...key, 'lbipam.cilium.io/sharing-cross-namespace': '*' },
      port: 83,
      namespace: 'n3',
    }),
  ]);
  t.is(result.of('a'), '10.0.0.0 satisfied');
  t.is(result.of('b'), '10.0.0.0 satisfied');
  t.is(result.of('clash'), '10.0.0.1 satisfied');
  t.is(result.of('local'), '10.0.0.2 satisfied');
  t.is(result.of('other', 'n2'), '10.0.0.3 satisfied');
  t.is(result.of('invited', 'n3'), '10.0.0.4 satisfied', 'the others do not allow its namespace');
  const insists = plan(pools, [
    service('a', { annotations: key }),
    service('b', { annotations: { ...key, 'lbipam.cilium.io/ips': '10.0.0.0' } }),
  ]);
  t.is(insists.of('a'), '10.0.0.1 satisfied');
  const held = plan(pools, [
    service('a', { annotations: key, ingress: ['10.0.0.0'], known: true }),
    service('b', { annotations: { ...key, 'lbipam.cilium.io/ips': '10.0.0.0' } }),
  ]);
  t.is(held.of('b'), 'already_allocated_incompatible_service');
});

test('of pools that overlap the younger gives nothing new and keeps what it gave', t => {
  const pools = [
    pool('old', { blocks: [{ cidr: '10.0.0.0/30' }] }),
    pool('young', { blocks: [{ cidr: '10.0.0.2/31' }, { cidr: '10.5.0.0/30' }] }),
  ];
  const result = plan(pools, [
    service('kept', { ingress: ['10.5.0.1'], known: true }),
    ...'abcde'.split('').map(name => service(name)),
  ]);
  t.is(result.of('kept'), '10.5.0.1 satisfied');
  t.is(result.of('d'), '10.0.0.3 satisfied');
  t.is(result.of('e'), 'out_of_ips');
  t.is(result.pool('old')?.conflict, undefined);
  t.regex(
    result.pool('young')?.conflict ?? '',
    /^10\.0\.0\.2-10\.0\.0\.3 overlaps 10\.0\.0\.0-10\.0\.0\.3 of pool old;/,
  );
});

test('disabled pools keep what they gave; deleted ones do not', t => {
  const given = service('web', { ingress: ['10.0.0.2'], known: true });
  const spec: PoolSpec = { blocks: [{ cidr: '10.0.0.0/30' }] };
  t.is(plan([pool('lb', { ...spec, disabled: true })], [given]).of('web'), '10.0.0.2 satisfied');
  t.is(plan([], [given]).of('web'), 'no_pool');
  const readable = plan(
    [pool('lb', { blocks: [{ start: '10.0.0.9', stop: '10.0.0.1' }] })],
    [service('web')],
  );
  t.regex(readable.pool('lb')?.conflict ?? '', /ends before it starts/);
});

const address = fc.integer({ min: 0, max: 23 }).map(n => `10.0.0.${n}`);
const pools = fc.array(
  fc.record({
    base: fc.constantFrom('10.0.0.0/28', '10.0.0.8/30', '10.0.0.16/30', '10.0.0.20/31'),
    old: fc.boolean(),
    disabled: fc.boolean(),
  }),
  { maxLength: 4 },
);
const services = fc.array(
  fc.record({
    ingress: fc.array(address, { maxLength: 2 }),
    asks: fc.option(fc.array(address, { maxLength: 2 }), { nil: undefined }),
    shares: fc.boolean(),
    port: fc.integer({ min: 80, max: 83 }),
    local: fc.boolean(),
  }),
  { maxLength: 24 },
);

test('no address has two owners that do not share it, all are of a pool, and the plan is what it says next time', t => {
  fc.assert(
    fc.property(pools, services, (poolWishes, serviceWishes) => {
      const world = poolWishes.map(({ base, old, disabled }, index) =>
        pool(`p${index}`, { [old ? 'cidrs' : 'blocks']: [{ cidr: base }], disabled }),
      );
      const wanting = serviceWishes.map(({ ingress, asks, shares, port, local }, index) =>
        service(`s${index}`, {
          ingress,
          known: true,
          port,
          annotations: {
            ...(asks ? { 'lbipam.cilium.io/ips': asks.join(',') } : {}),
            ...(shares ? { 'lbipam.cilium.io/sharing-key': 'k' } : {}),
          },
          spec: { externalTrafficPolicy: local ? 'Local' : 'Cluster' },
        }),
      );
      const lbPools = world.map(readLbPool);
      const first = planLoadBalancers(lbPools, wanting.map(readLbService));
      const owners = new Map<string, Service[]>();
      for (const one of wanting) {
        const { addresses } = first.services.get(`default/${one.metadata.name}`)!;
        t.is(new Set(addresses).size, addresses.length);
        for (const text of addresses) {
          const { family, value } = parseAddress(text);
          t.true(
            lbPools.some(p => p.ranges.some(r => r.family === family && r.first <= value && value <= r.last)),
          );
          for (const other of owners.get(text) ?? [])
            t.true(mayShare(readLbService(other), readLbService(one)));
          owners.set(text, [...(owners.get(text) ?? []), one]);
        }
      }
      const written = wanting.map(one => ({
        ...one,
        status: {
          ...one.status,
          loadBalancer: {
            ingress: first.services.get(`default/${one.metadata.name}`)!.addresses.map(ip => ({ ip })),
          },
        },
      }));
      const second = planLoadBalancers(lbPools, written.map(readLbService));
      const texts = (result: typeof first) =>
        [...result.services].map(([key, { addresses }]) => [key, ...addresses]).sort();
      t.deepEqual(texts(second), texts(first));
    }),
  );
});
