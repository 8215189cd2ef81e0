import { request } from 'node:https';
import { connect } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { ClusterClient } from '../../src/cluster/types.ts';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { connectTcp } from '../../src/kernel/tcp.ts';
import type { EndpointSlice, Endpoints, KubeObject, Service } from '../../src/model/types.ts';
import { scratch, serve, TOKEN } from './helpers.ts';

const ADDRESS = '192.0.2.10';

/** A namespace that has the address on its loopback device. It goes with the test. */
async function namespaceWithAddress(t: ExecutionContext): Promise<string> {
  const held = await createHeldNetns();
  t.teardown(() => held.close());
  const netlink = Rtnetlink.open({ netns: held.path });
  await netlink.setLink('lo', { up: true });
  await netlink.addAddress({ ifindex: 1, address: ADDRESS, prefixLength: 32 });
  netlink.close();
  return held.path;
}

/** Resolves when an object is as wanted; each change is looked at once. */
function until<T extends KubeObject>(
  client: ClusterClient,
  kind: string,
  wanted: (object: T | undefined) => boolean,
): Promise<void> {
  return new Promise(resolve => {
    const informer = client.informer<T>(kind, { namespace: 'default' });
    const look = (): void => {
      if (!wanted(informer.get('kubernetes', 'default'))) return;
      informer.close();
      resolve();
    };
    informer.on({ added: look, updated: look, deleted: look });
  });
}

test('the Service default/kubernetes leads to where the server listens, and is not to be got rid of', async t => {
  const netns = await namespaceWithAddress(t);
  const { server, local } = await serve(t, scratch(t), {
    advertise: { address: ADDRESS, port: 6443, clusterIps: '10.96.0.0/12', netns },
  });
  const client = local();
  const service = await client.get<Service>('Service', 'kubernetes', 'default');
  t.is(service.spec.clusterIP, '10.96.0.1');
  t.like(service.spec.ports?.[0], { name: 'https', port: 443, targetPort: 6443, protocol: 'TCP' });
  const endpoints = await client.get<Endpoints>('Endpoints', 'kubernetes', 'default');
  t.deepEqual(endpoints.subsets?.[0]?.addresses, [{ ip: ADDRESS }]);
  const slice = await client.get<EndpointSlice>('EndpointSlice', 'kubernetes', 'default');
  t.is(slice.metadata.labels?.['kubernetes.io/service-name'], 'kubernetes');
  t.deepEqual([slice.endpoints[0]?.addresses, slice.ports?.[0]?.port], [[ADDRESS], 6443]);

  // By each of its names, with the certificate that vouches for them.
  for (const servername of ['kubernetes.default.svc', 'kubernetes.default.svc.cluster.local', '10.96.0.1']) {
    const socket = await connectTcp({ address: ADDRESS, port: 6443, timeoutMs: 60_000, netns });
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const call = request(`https://${servername}/api/v1/nodes`, {
        createConnection: () => connect({ socket, ca: server.ca, host: servername }),
        headers: { authorization: `Bearer ${TOKEN}` },
      });
      call.on('response', response => resolve(response.resume().statusCode)).on('error', reject);
      call.end();
    });
    t.is(status, 200, servername);
  }

  await client.delete('Service', 'kubernetes', { namespace: 'default' });
  await until<Service>(client, 'Service', s => s !== undefined && s.metadata.uid !== service.metadata.uid);
  const patch = { subsets: null };
  await client.patch('Endpoints', 'kubernetes', patch, { namespace: 'default' });
  await until<Endpoints>(client, 'Endpoints', e => e?.subsets?.[0]?.addresses?.[0]?.ip === ADDRESS);
});

test('a server that moves says so in what it finds of before', async t => {
  const directory = scratch(t);
  const netns = await namespaceWithAddress(t);
  const at = (port: number) => ({ advertise: { address: ADDRESS, port, clusterIps: '10.96.0.0/12', netns } });
  const first = await serve(t, directory, at(6443));
  const before = await first.local().get<Service>('Service', 'kubernetes', 'default');
  await first.server.close();
  const second = await serve(t, directory, at(7443));
  const after = await second.local().get<Service>('Service', 'kubernetes', 'default');
  t.is(after.metadata.uid, before.metadata.uid);
  t.is(after.spec.ports?.[0]?.targetPort, 7443);
  await second.server.close();
  const third = await serve(t, directory, at(7443));
  const same = await third.local().get<Service>('Service', 'kubernetes', 'default');
  t.is(same.metadata.resourceVersion, after.metadata.resourceVersion);
});
