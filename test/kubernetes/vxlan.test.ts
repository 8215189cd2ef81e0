import { existsSync } from 'node:fs';
import test from 'ava';
import type { CiliumEndpoint, CiliumNode, Node, Pod } from '../../src/model/types.ts';
import { collect, printed } from '../e2e/lab.ts';
import { lostOf } from '../e2e/traffic.ts';
import { TestCluster } from './lib/cluster.ts';
import { type Footprint, footprint } from './lib/footprint.ts';
import { BUSYBOX_IMAGE } from './lib/image.ts';
import { ask, ipOf, nodeOf, pingFrom, unreached } from './lib/pods.ts';
import { server, sleeper } from './lib/workloads.ts';

/** An installation with default values, which means VXLAN, from its beginning to its end. */

const CONFLIST = '/etc/cni/net.d/05-fimbria.conflist';

let cluster: TestCluster;
const bare = new Map<string, Footprint>();

test.before(async () => {
  cluster = await TestCluster.up();
  for (const { name, node } of cluster.members) bare.set(name, await footprint(node));
});

test.afterEach.always(async t => {
  if (!t.passed && cluster) t.log(await cluster.diagnosis());
});

test.after.always(() => cluster?.down());

const condition = (node: Node, type: string) => node.status?.conditions?.find(c => c.type === type);

test.serial('nodes are Ready when their agents are, and not before', async t => {
  for (const node of (await cluster.client.list<Node>('Node')).items) {
    t.is(condition(node, 'Ready')?.status, 'False');
    t.true(node.spec?.taints?.some(taint => taint.key === 'node.cilium.io/agent-not-ready'));
  }
  t.true(cluster.members.every(({ node }) => !existsSync(node.path(CONFLIST))));
  const said = await cluster.install();
  t.regex(said, /DaemonSet cilium: /);
  await cluster.nodesReady();
  for (const node of (await cluster.client.list<Node>('Node')).items) {
    t.like(condition(node, 'NetworkUnavailable'), { status: 'False', reason: 'CiliumIsUp' });
  }
  t.true(cluster.members.every(({ node }) => existsSync(node.path(CONFLIST))));
  t.regex(await cluster.fimbria('status', '--cluster', '--wait'), /Cilium: +OK/);
});

test.serial('Deployments of 1, 10 and 60 replicas roll out, and all Pods reach each other', async t => {
  const { client } = cluster;
  await cluster.apply(server('web'));
  let pods = await cluster.pods('web', 1);
  for (const replicas of [10, 60]) {
    await cluster.kubectl('scale', 'deployment', 'web', `--replicas=${replicas}`);
    await cluster.kubectl('rollout', 'status', 'deployment', 'web', '--timeout=240s');
    pods = await cluster.pods('web', replicas);
  }
  const addresses = pods.map(ipOf);
  t.is(new Set(addresses).size, 60);
  const blocks = new Map(
    (await client.list<CiliumNode>('CiliumNode')).items.map(n => [
      n.metadata.name,
      n.spec.ipam!.podCIDRs![0]!,
    ]),
  );
  for (const pod of pods) {
    const prefix = blocks.get(nodeOf(pod))!.replace(/\.0\/24$/, '.');
    t.true(ipOf(pod).startsWith(prefix), `${ipOf(pod)} of ${nodeOf(pod)} is not in ${prefix}0/24`);
  }
  for (const { name } of cluster.members) {
    const from = pods.find(pod => nodeOf(pod) === name)!;
    t.deepEqual(await unreached(cluster, from, addresses), {});
    for (const { name: there } of cluster.members) {
      const to = pods.findLast(pod => nodeOf(pod) === there)!;
      t.is(await ask(cluster, from, ipOf(to)), to.metadata.name);
    }
  }
  const { items } = await client.list<CiliumEndpoint>('CiliumEndpoint', { namespace: 'default' });
  t.deepEqual(items.map(e => e.metadata.name).sort(), pods.map(p => p.metadata.name).sort());
});

test.serial('exec, logs and port-forward work', async t => {
  const [pod] = await cluster.pods('web', 60);
  const { name } = pod!.metadata;
  t.is(await cluster.kubectl('exec', name, '--', 'hostname'), `${name}\n`);
  const route = await cluster.kubectl('exec', name, '--', 'ip', 'route');
  t.regex(route, /^default via ([\d.]+) dev eth0 (mtu \d+ )?\n\1 dev eth0 scope link/);
  t.is(await cluster.kubectl('logs', name), 'serving\n');
  const forward = cluster.spawnKubectl(['port-forward', `pod/${name}`, ':8080']);
  const ended = collect(forward);
  const [, port] = /127\.0\.0\.1:(\d+)/.exec(await printed(forward, /127\.0\.0\.1:(\d+)/))!;
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  t.is((await answer.text()).trim(), name);
  forward.kill('SIGINT');
  await ended;
});

test.serial('Pods in the network of their node talk with Pods, both ways', async t => {
  await cluster.apply(server('host', { hostNetwork: true, port: 18080, replicas: 1 }));
  const [host] = await cluster.pods('host', 1);
  t.is(ipOf(host!), cluster.member(nodeOf(host!)).ip);
  const hostname = (await cluster.kubectl('exec', host!.metadata.name, '--', 'hostname')).trim();
  const pods = await cluster.pods('web', 60);
  for (const { name } of cluster.members) {
    const pod = pods.find(one => nodeOf(one) === name)!;
    t.is(await ask(cluster, pod, ipOf(host!), 18080), hostname);
    for (const { node } of cluster.members) {
      const { status, stderr } = await node.run('ping', '-c', '2', '-i', '0.1', '-W', '5', ipOf(pod));
      t.is(status, 0, stderr);
    }
  }
  await cluster.kubectl('delete', 'deployment', 'host');
});

test.serial('a Pod whose probes fail is not ready, and is restarted', async t => {
  const probe = (path: string) => ({ httpGet: { path, port: 8080 }, periodSeconds: 1, failureThreshold: 1 });
  const container = {
    name: 'server',
    image: BUSYBOX_IMAGE,
    imagePullPolicy: 'Never',
    command: ['httpd', '-f', '-p', '8080', '-h', '/tmp'],
    readinessProbe: probe('/nothing'),
    livenessProbe: probe('/nothing'),
  };
  const metadata = { name: 'sick', labels: { app: 'sick' } };
  await cluster.apply({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [container] } });
  type Status = { containerStatuses?: { restartCount: number; ready: boolean }[] };
  const containersOf = (pod: Pod) => (pod.status as Status | undefined)?.containerStatuses ?? [];
  const pods = await cluster.until<Pod>('a restart', 'Pod', all =>
    all.some(p => p.metadata.name === 'sick' && containersOf(p).some(c => c.restartCount > 0)),
  );
  const sick = pods.find(p => p.metadata.name === 'sick')!;
  t.false(containersOf(sick)[0]!.ready);
  for (const kind of ['Liveness', 'Readiness']) {
    const wanted = `${kind} probe failed: HTTP probe failed with statuscode: 404`;
    await cluster.settles(`the event of a ${kind} probe`, async () => {
      const said = await cluster.kubectl('describe', 'pod', 'sick');
      return said.includes(wanted) ? undefined : said;
    });
  }
  await cluster.kubectl('delete', 'pod', 'sick', '--grace-period=0', '--force');
});

test.serial('what Pods had is free when they are gone', async t => {
  await cluster.kubectl('delete', 'deployment', 'web');
  await cluster.until<Pod>('Pods to go', 'Pod', pods =>
    pods.every(p => p.metadata.namespace === 'kube-system'),
  );
  await cluster.until<CiliumEndpoint>('endpoints to go', 'CiliumEndpoint', endpoints =>
    endpoints.every(e => e.metadata.namespace !== 'default'),
  );
  for (const member of cluster.members) {
    await cluster.settles(`${member.name} to be as before`, async () => {
      const { devices, pins, routes } = await footprint(member.node);
      const left = [
        ...devices!.filter(name => /^lxc[0-9a-f]{12}$/.test(name)),
        ...routes!.filter(route => /dev lxc[0-9a-f]{12}/.test(route)),
      ];
      const policies = pins!.filter(pin => /cilium_policy_\d+$/.test(pin));
      // Of the health endpoint.
      return left.length === 0 && policies.length <= 1 ? undefined : [...left, ...policies].join(', ');
    });
    const status = await cluster.agent(member.name, 'cilium', 'status', '-o', 'json');
    const { ipam } = JSON.parse(status) as { ipam: { allocations: Record<string, string> } };
    t.deepEqual(Object.values(ipam.allocations).sort(), ['health', 'router'], status);
  }
});

test.serial('an agent that is deleted and a DaemonSet that is upgraded lose no packet', async t => {
  for (const { name } of cluster.members) await cluster.apply(sleeper(`on-${name}`, { node: name }));
  await cluster.apply(sleeper('beside', { node: 'w1' }));
  const [from] = await cluster.pods('on-w1', 1);
  const [far] = await cluster.pods('on-w2', 1);
  const [near] = await cluster.pods('beside', 1);
  const end = await pingFrom(cluster, from!, [near!, far!].map(ipOf));
  const agents = await cluster.agents();
  await cluster.kubectl('-n', 'kube-system', 'delete', 'pod', ...agents.map(a => a.metadata.name));
  await cluster.agentsReady(agents);
  const before = await cluster.agents();
  // Another image, as a new version is.
  for (const { containerd } of cluster.members)
    await containerd.ctr('images', 'tag', `docker.io/library/${cluster.image}`, 'localhost/fimbria:next');
  await cluster.fimbria(
    'upgrade',
    '--set',
    'image.repository=localhost/fimbria',
    '--set',
    'image.tag=next',
    '--set',
    'debug.enabled=true',
  );
  await cluster.agentsReady(before);
  const pings = await end();
  t.deepEqual(pings.map(lostOf), [0, 0], pings.map(ping => ping.split('\n').slice(-4).join('\n')).join('\n'));
  const [agent] = await cluster.agents();
  t.is(agent!.spec.containers[0]!.image, 'localhost/fimbria:next');
});

test.serial('uninstalling leaves nothing on the nodes and in the cluster', async t => {
  await cluster.kubectl('delete', 'deployments', '--all');
  await cluster.until<Pod>('Pods to go', 'Pod', pods =>
    pods.every(p => p.metadata.namespace === 'kube-system'),
  );
  await cluster.fimbria('uninstall');
  for (const { name, node } of cluster.members) t.deepEqual(await footprint(node), bare.get(name)!);
  const everything = 'daemonsets,deployments,configmaps,serviceaccounts,roles,rolebindings,leases,pods';
  const left = await cluster.kubectl('-n', 'kube-system', 'get', everything, '-o', 'name');
  t.deepEqual(
    left.split('\n').filter(name => /cilium|fimbria/.test(name)),
    [],
  );
  t.notRegex(
    await cluster.kubectl('get', 'clusterroles,clusterrolebindings', '-o', 'name'),
    /cilium|fimbria/,
  );
  t.regex(await cluster.kubectl('get', 'crds', '-o', 'name'), /cilium\.io/);
  await cluster.fimbria('uninstall', '--purge');
  t.notRegex(await cluster.kubectl('get', 'crds', '-o', 'name'), /cilium\.io/);
});
