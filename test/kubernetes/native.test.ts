import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import type { CiliumEndpoint, CiliumNode, Pod } from '../../src/model/types.ts';
import { collect, printed } from '../e2e/lab.ts';
import { TestCluster } from './lib/cluster.ts';
import { type Footprint, footprint } from './lib/footprint.ts';
import { BUSYBOX_IMAGE } from './lib/image.ts';
import { ask, ipOf, nodeOf, pingFrom, runInPod, unreached } from './lib/pods.ts';
import { server, sleeper } from './lib/workloads.ts';

/** Native routing as the first document has it, and what an API server or a machine that fails does to it. */

const VALUES = [
  'routingMode=native',
  'autoDirectNodeRoutes=true',
  'ipv4NativeRoutingCIDR=172.20.0.0/16',
  'endpointRoutes.enabled=true',
  'ipam.operator.clusterPoolIPv4PodCIDRList={172.20.0.0/16}',
];
/** How long the API server is away; five minutes as the issue has it when there is time for it. */
const OUTAGE_MS = process.env['FIMBRIA_TEST_FULL'] ? 300_000 : 30_000;
const INIT_IDENTITY = 5;

let cluster: TestCluster;
const bare = new Map<string, Footprint>();

test.before(async () => {
  cluster = await TestCluster.up();
  for (const { name, node } of cluster.members) bare.set(name, await footprint(node));
  await cluster.install(VALUES);
  await cluster.nodesReady();
});

test.afterEach.always(async t => {
  if (!t.passed && cluster) t.log(await cluster.diagnosis());
});

test.after.always(() => cluster?.down());

const blockOf = async (node: string): Promise<string> =>
  (await cluster.client.get<CiliumNode>('CiliumNode', node)).spec.ipam!.podCIDRs![0]!;
const routesOf = (node: string): Promise<string> => cluster.member(node).node.must('ip', 'route');

test.serial('Pods reach each other by the routes that the first document shows', async t => {
  await cluster.apply(server('web', { replicas: 10 }));
  const pods = await cluster.pods('web', 10);
  const addresses = pods.map(ipOf);
  for (const { name, ip, node } of cluster.members) {
    const from = pods.find(pod => nodeOf(pod) === name)!;
    const far = pods.find(pod => nodeOf(pod) !== name)!;
    t.deepEqual(await unreached(cluster, from, addresses), {});
    t.is(await ask(cluster, from, ipOf(far)), far.metadata.name);
    const { status, stderr } = await node.run('ping', '-c', '2', '-i', '0.1', '-W', '5', ipOf(far));
    t.is(status, 0, stderr);
    const routes = await routesOf(name);
    for (const pod of pods.filter(one => nodeOf(one) === name)) {
      t.regex(routes, new RegExp(`^${ipOf(pod)} dev lxc[0-9a-f]{12} proto kernel scope link ?$`, 'm'));
    }
    for (const other of cluster.members.filter(one => one.name !== name)) {
      t.true(routes.includes(`${await blockOf(other.name)} via ${other.ip} dev eth0 proto kernel`), routes);
      t.false(routes.includes(`via ${ip} `));
    }
  }
  const [router] = /inet ([\d.]+)\/32/
    .exec(await cluster.member('w1').node.must('ip', 'addr', 'show', 'cilium_host'))!
    .slice(1);
  t.regex(
    await cluster.kubectl('get', 'ciliumnodes'),
    new RegExp(`^NAME +CILIUMINTERNALIP +INTERNALIP +AGE\nw1 +${router} +192\\.168\\.10\\.101 +\\d+`),
  );
  const path = '{range .items[*]}{.metadata.name}{" "}{.spec.ipam.podCIDRs[*]}{"\\n"}{end}';
  t.is(
    await cluster.kubectl('get', 'ciliumnode', '-o', `jsonpath=${path}`),
    `w1 ${await blockOf('w1')}\nw2 ${await blockOf('w2')}\n`,
  );
});

test.serial('on the wire packets have the addresses of the Pods', async t => {
  const pods = await cluster.pods('web', 10);
  const [from, to] = cluster.members.map(({ name }) => pods.find(pod => nodeOf(pod) === name)!);
  const tcpdump = cluster.member('w2').node.spawn(['tcpdump', '-n', '-l', '-i', 'eth0', '-c', '2', 'icmp']);
  const said = collect(tcpdump);
  await printed(tcpdump, /listening on/);
  await runInPod(cluster, from!, 'ping', '-c', '3', '-i', '0.2', ipOf(to!));
  const { stdout } = await said;
  t.true(stdout.includes(`${ipOf(from!)} > ${ipOf(to!)}: ICMP echo request`), stdout);
  t.true(stdout.includes(`${ipOf(to!)} > ${ipOf(from!)}: ICMP echo reply`), stdout);
});

test.serial(
  'while the API server is away Pods talk and new ones start; then all is as it should be',
  async t => {
    const pods = await cluster.pods('web', 10);
    const [from, to] = cluster.members.map(({ name }) => pods.find(pod => nodeOf(pod) === name)!);
    const near = pods.find(pod => nodeOf(pod) === 'w1' && pod !== from)!;
    const end = await pingFrom(cluster, from!, [near, to!].map(ipOf));
    await cluster.plane.stopApiserver();
    const beganMs = performance.now();
    // kubelets need nobody to tell them of these.
    for (const { name, kubelet } of cluster.members) {
      const container = { name: 'sleeper', image: BUSYBOX_IMAGE, imagePullPolicy: 'Never' };
      const metadata = { name: 'static', namespace: 'default', labels: { app: 'static' } };
      const text = JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata,
        spec: { containers: [container] },
      });
      const path = join(kubelet.manifests, '..', `static-${name}.json`);
      writeFileSync(path, text);
      renameSync(path, join(kubelet.manifests, 'static.json'));
    }
    const fresh: string[] = [];
    for (const { name, containerd } of cluster.members) {
      await cluster.settles(`the Pod of ${name} to run without an API server`, async () => {
        const sandboxes = await containerd.cri.sandboxes();
        const sandbox = sandboxes.find(one => one.name === `static-${name}` && one.state === 'SANDBOX_READY');
        const ip = sandbox && (await containerd.cri.sandboxStatus(sandbox.id)).ip;
        if (ip) fresh.push(ip);
        return ip ? undefined : JSON.stringify(sandboxes.map(one => one.name));
      });
    }
    t.deepEqual(await unreached(cluster, from!, fresh), {});
    await delay(Math.max(0, OUTAGE_MS - (performance.now() - beganMs)));
    await cluster.plane.startApiserver();
    await cluster.until<Pod>('the new Pods to be known', 'Pod', all => {
      const found = all.filter(pod => pod.metadata.labels?.['app'] === 'static');
      return found.length === 2 && found.every(pod => pod.status?.podIP);
    });
    await cluster.until<CiliumEndpoint>('their identities', 'CiliumEndpoint', endpoints => {
      const found = endpoints.filter(({ metadata }) => metadata.name.startsWith('static-'));
      return found.length === 2 && found.every(({ status }) => (status?.identity?.id ?? 0) > INIT_IDENTITY);
    });
    await cluster.nodesReady();
    const all = [...pods, ...(await cluster.pods('static', 2))].map(ipOf);
    t.deepEqual(await unreached(cluster, from!, all), {});
    await cluster.kubectl('scale', 'deployment', 'web', '--replicas=12');
    await cluster.pods('web', 12);
    t.deepEqual(await end(), [0, 0]);
  },
);

test.serial(
  'a machine that is drained, deleted and back under another address is routed to there',
  async t => {
    await cluster.apply(sleeper('stays', { node: 'w1' }));
    const [stays] = await cluster.pods('stays', 1);
    const old = await blockOf('w2');
    await cluster.kubectl('drain', 'w2', '--ignore-daemonsets', '--force', '--delete-emptydir-data');
    await cluster.pods('web', 12);
    await cluster.destroy('w2');
    await cluster.kubectl('delete', 'node', 'w2');
    await cluster.settles('the route to the old machine to go', async () => {
      const routes = await routesOf('w1');
      return routes.includes('via 192.168.10.102') ? routes : undefined;
    });
    await cluster.join('w2', '192.168.10.112');
    await cluster.nodesReady();
    await cluster.agentsReady();
    await cluster.apply(sleeper('back', { node: 'w2' }));
    const [back] = await cluster.pods('back', 1);
    const block = await blockOf('w2');
    t.log(`block before ${old}, after ${block}`);
    const route = `${block} via 192.168.10.112 dev eth0 proto kernel`;
    t.true((await routesOf('w1')).includes(route));
    t.deepEqual(await unreached(cluster, stays!, [ipOf(back!)]), {});
    t.deepEqual(await unreached(cluster, back!, [ipOf(stays!)]), {});
    t.regex(await cluster.kubectl('get', 'ciliumnodes'), /^w2 +[\d.]+ +192\.168\.10\.112 /m);
  },
);

test.serial('uninstalling leaves nothing, with Pods still there', async t => {
  await cluster.fimbria('uninstall', '--purge');
  const { devices, routes, ...rest } = await footprint(cluster.member('w1').node);
  const { devices: bareDevices, routes: bareRoutes, ...bareRest } = bare.get('w1')!;
  t.deepEqual(rest, bareRest);
  t.deepEqual(devices, bareDevices!);
  t.deepEqual(routes, bareRoutes!);
});
