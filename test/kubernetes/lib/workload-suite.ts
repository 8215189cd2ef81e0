import type { TestFn } from 'ava';
import type { CiliumEndpoint, CiliumNode, Node, Pod } from '../../../src/model/types.ts';
import { collect, printed } from '../../e2e/lab.ts';
import type { Cluster } from './any-cluster.ts';
import { BUSYBOX_IMAGE } from './image.ts';
import { ask, ipOf, nodeOf, unreached } from './pods.ts';
import { server } from './workloads.ts';

/**
 * What users do with Pods, on any cluster that Fimbria is installed on with `cluster-pool` and a mask of 24, by kubectl
 * alone. At its end the Pods are gone, and what they had is free.
 */
export function workloadSuite(test: TestFn, clusterOf: () => Cluster): void {
  test.serial('Deployments of 1, 10 and 60 replicas roll out, and all Pods reach each other', async t => {
    const cluster = clusterOf();
    await cluster.apply(server('web'));
    let pods = await cluster.pods('web', 1);
    for (const replicas of [10, 60]) {
      await cluster.kubectl('scale', 'deployment', 'web', `--replicas=${replicas}`);
      await cluster.kubectl('rollout', 'status', 'deployment', 'web', '--timeout=240s');
      pods = await cluster.pods('web', replicas);
    }
    const addresses = pods.map(ipOf);
    t.is(new Set(addresses).size, 60);
    const blocks = await blocksOf(cluster);
    for (const pod of pods) {
      const prefix = blocks.get(nodeOf(pod))!.replace(/\.0\/24$/, '.');
      t.true(ipOf(pod).startsWith(prefix), `${ipOf(pod)} of ${nodeOf(pod)} is not in ${prefix}0/24`);
    }
    const nodes = [...new Set(pods.map(nodeOf))];
    t.true(nodes.length > 1, 'Pods are on several nodes');
    for (const node of nodes) {
      const from = pods.find(pod => nodeOf(pod) === node)!;
      t.deepEqual(await unreached(cluster, from, addresses), {});
      for (const there of nodes) {
        const to = pods.findLast(pod => nodeOf(pod) === there)!;
        t.is(await ask(cluster, from, ipOf(to)), to.metadata.name);
      }
    }
    const { items } = await cluster.client.list<CiliumEndpoint>('CiliumEndpoint', { namespace: 'default' });
    t.deepEqual(items.map(e => e.metadata.name).sort(), pods.map(p => p.metadata.name).sort());
  });

  test.serial('exec, logs and port-forward work', async t => {
    const cluster = clusterOf();
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
    const cluster = clusterOf();
    await cluster.apply(server('host', { hostNetwork: true, port: 18080 }));
    const [host] = await cluster.pods('host', 1);
    const node = await cluster.client.get<Node>('Node', nodeOf(host!));
    const address = node.status?.addresses?.find(a => a.type === 'InternalIP')?.address;
    t.is(ipOf(host!), address ?? '');
    const hostname = (await cluster.kubectl('exec', host!.metadata.name, '--', 'hostname')).trim();
    const pods = await cluster.pods('web', 60);
    const ends = [...new Set(pods.map(nodeOf))].map(name => pods.find(one => nodeOf(one) === name)!);
    for (const pod of ends) {
      t.is(await ask(cluster, pod, ipOf(host!), 18080), hostname);
      t.is(await ask(cluster, host!, ipOf(pod)), pod.metadata.name);
    }
    await cluster.kubectl('delete', 'deployment', 'host');
  });

  test.serial('a Pod whose probes fail is not ready, and is restarted', async t => {
    const cluster = clusterOf();
    const probe = { httpGet: { path: '/nothing', port: 8080 }, periodSeconds: 1, failureThreshold: 1 };
    const container = {
      name: 'server',
      image: BUSYBOX_IMAGE,
      imagePullPolicy: 'Never',
      command: ['httpd', '-f', '-p', '8080', '-h', '/tmp'],
      readinessProbe: probe,
      livenessProbe: probe,
    };
    // Without one it does not listen to the signal that asks it to end, and kubelet waits.
    const spec = { terminationGracePeriodSeconds: 0, containers: [container] };
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'sick', namespace: 'default' },
      spec,
    });
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
    const cluster = clusterOf();
    await cluster.kubectl('delete', 'deployment', 'web');
    await cluster.podsGone();
    await cluster.until<CiliumEndpoint>('endpoints to go', 'CiliumEndpoint', endpoints =>
      endpoints.every(e => e.metadata.namespace !== 'default'),
    );
    for (const name of (await blocksOf(cluster)).keys()) {
      await cluster.settles(`${name} to have no address and device of them`, async () => {
        const status = JSON.parse(await cluster.agent(name, 'cilium', 'status', '-o', 'json')) as {
          ipam: { allocations: Record<string, string> };
        };
        const owners = Object.values(status.ipam.allocations).filter(one => !/^(health|router)$/.test(one));
        const devices = (await cluster.agent(name, 'ip', '-o', 'link')).match(/: lxc[0-9a-f]{12}@/g) ?? [];
        // Of kube-system some may be there.
        const left = owners.filter(owner => owner.startsWith('default/'));
        if (left.length === 0 && devices.length === owners.length) return undefined;
        return `addresses of ${owners}, ${devices.length} devices`;
      });
    }
    t.pass();
  });
}

async function blocksOf(cluster: Cluster): Promise<Map<string, string>> {
  const { items } = await cluster.client.list<CiliumNode>('CiliumNode');
  return new Map(items.map(({ metadata, spec }) => [metadata.name, spec.ipam!.podCIDRs![0]!]));
}
