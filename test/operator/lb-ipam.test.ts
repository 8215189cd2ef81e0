import test, { type ExecutionContext } from 'ava';
import { silent } from '../../src/base/log.ts';
import { parseFlat } from '../../src/config/index.ts';
import type { CiliumLoadBalancerIPPool, Event, Service } from '../../src/model/types.ts';
import { runOperator } from '../../src/operator/operator.ts';
import { Cluster } from './server.ts';

function operate(t: ExecutionContext, cluster: Cluster, identity = 'one'): () => Promise<void> {
  const abort = new AbortController();
  const config = parseFlat({ ipam: 'cluster-pool' });
  const done = runOperator({ client: cluster.newClient(), config, identity, log: silent }, abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await done;
  };
  t.teardown(stop);
  return stop;
}

function addPool(cluster: Cluster, name: string, spec: CiliumLoadBalancerIPPool['spec']): Promise<unknown> {
  return cluster.client.create<CiliumLoadBalancerIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumLoadBalancerIPPool',
    metadata: { name },
    spec,
  });
}

function addService(cluster: Cluster, name: string, spec: Partial<Service['spec']> = {}): Promise<unknown> {
  return cluster.client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec } as Service['spec'],
  });
}

const addressesOf = (services: Service[], name: string): string =>
  (services.find(({ metadata }) => metadata.name === name)?.status?.loadBalancer?.ingress ?? [])
    .map(({ ip }) => ip)
    .join(' ');

const reasonOf = (services: Service[], name: string): string | undefined =>
  services
    .find(({ metadata }) => metadata.name === name)
    ?.status?.conditions?.find(({ type }) => type === 'cilium.io/IPAMRequestSatisfied')?.reason;

function poolSays(pools: CiliumLoadBalancerIPPool[], name: string): string {
  const { status } = pools.find(({ metadata }) => metadata.name === name) ?? {};
  const say = (type: string) => status?.conditions?.find(one => one.type === `cilium.io/${type}`);
  return `${say('IPsTotal')?.message} ${say('IPsAvailable')?.message} ${say('IPsUsed')?.message} ${say('PoolConflict')?.status}`;
}

test('Services get addresses, pools say how full they are, and an operator that follows changes nothing', async t => {
  const cluster = await Cluster.start(t);
  const stop = operate(t, cluster);
  await addService(cluster, 'web');
  await addPool(cluster, 'lb-ip-pool', { cidrs: [{ cidr: '10.0.250.0/29' }] });
  await cluster.until<Service>('Service', services => addressesOf(services, 'web') === '10.0.250.1');
  await cluster.until<CiliumLoadBalancerIPPool>(
    'CiliumLoadBalancerIPPool',
    pools => poolSays(pools, 'lb-ip-pool') === '6 5 1 False',
  );
  for (const index of [1, 2, 3, 4, 5, 6]) await addService(cluster, `s${index}`);
  const full = await cluster.until<Service>('Service', services => reasonOf(services, 's6') === 'out_of_ips');
  const given = full.map(({ metadata }) => addressesOf(full, metadata.name)).filter(Boolean);
  t.is(new Set(given).size, 6);
  const [event] = await cluster.until<Event>('Event', events =>
    events.some(one => one.involvedObject?.name === 's6'),
  );
  t.regex(event?.message ?? '', /all addresses of lb-ip-pool are given; add a block/);

  await stop();
  await cluster.client.delete('Service', 's1', { namespace: 'default' });
  operate(t, cluster, 'two');
  const after = await cluster.until<Service>('Service', services => reasonOf(services, 's6') === 'satisfied');
  for (const name of ['web', 's2', 's3', 's4', 's5']) t.is(addressesOf(after, name), addressesOf(full, name));
  t.is(addressesOf(after, 's6'), addressesOf(full, 's1'));
});

test('a Service that is no load balancer any more gives its address back; what others gave is left alone', async t => {
  const cluster = await Cluster.start(t);
  operate(t, cluster);
  await addService(cluster, 'foreign');
  await cluster.client.patch(
    'Service',
    'foreign',
    { status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } } },
    { namespace: 'default', subresource: 'status' },
  );
  await addService(cluster, 'class', { loadBalancerClass: 'example.com/other' });
  await addService(cluster, 'web');
  await addPool(cluster, 'lb', { blocks: [{ start: '10.0.250.7' }] });
  await cluster.until<Service>('Service', services => addressesOf(services, 'web') === '10.0.250.7');
  await addPool(cluster, 'younger', { blocks: [{ cidr: '10.0.250.0/28' }] });
  await cluster.until<CiliumLoadBalancerIPPool>('CiliumLoadBalancerIPPool', pools =>
    poolSays(pools, 'younger').endsWith('True'),
  );
  await cluster.client.patch('Service', 'web', { spec: { type: 'ClusterIP' } }, { namespace: 'default' });
  const services = await cluster.until<Service>(
    'Service',
    all => reasonOf(all, 'web') === undefined && addressesOf(all, 'web') === '',
  );
  t.is(addressesOf(services, 'foreign'), '203.0.113.9');
  t.is(addressesOf(services, 'class'), '');
});
