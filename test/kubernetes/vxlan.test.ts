import { existsSync } from 'node:fs';
import test from 'ava';
import type { Node } from '../../src/model/types.ts';
import { TestCluster } from './lib/cluster.ts';
import { type Footprint, footprint } from './lib/footprint.ts';
import { ipOf, pingFrom } from './lib/pods.ts';
import { workloadSuite } from './lib/workload-suite.ts';
import { sleeper } from './lib/workloads.ts';

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

workloadSuite(test, () => cluster);

test.serial('of Pods that are gone no device, route and map is left', async t => {
  for (const { name, node } of cluster.members) {
    await cluster.settles(`${name} to be as before`, async () => {
      const { devices, pins, routes } = await footprint(node);
      const left = [
        ...devices!.filter(device => /^lxc[0-9a-f]{12}$/.test(device)),
        ...routes!.filter(route => /dev lxc[0-9a-f]{12}/.test(route)),
      ];
      const policies = pins!.filter(pin => /cilium_policy_\d+$/.test(pin));
      // One is the health endpoint's.
      return left.length === 0 && policies.length <= 1 ? undefined : [...left, ...policies].join(', ');
    });
  }
  t.pass();
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
  t.deepEqual(await end(), [0, 0]);
  const [agent] = await cluster.agents();
  t.is(agent!.spec.containers[0]!.image, 'localhost/fimbria:next');
});

test.serial('uninstalling leaves nothing on the nodes and in the cluster', async t => {
  await cluster.kubectl('delete', 'deployments', '--all');
  await cluster.podsGone();
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
