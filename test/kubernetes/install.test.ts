import test, { type ExecutionContext } from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { type InstallContext, install, upgrade } from '../../src/install/install.ts';
import { uninstall } from '../../src/install/uninstall.ts';
import type { CiliumPodIPPool, ConfigMap, KubeObject } from '../../src/model/types.ts';
import { TestCluster } from './lib/cluster.ts';

/** What an administrator meets when things are not as they should be: a real API server, and no node. */

let cluster: TestCluster;

test.before(async () => {
  cluster = await TestCluster.up([]);
});

test.after.always(() => cluster?.down());

interface Installer extends InstallContext {
  readonly said: string[];
}

function installer(t: ExecutionContext, namespace: string): Installer {
  const client: ClusterClient = createClient(cluster.plane.kubeconfig);
  t.teardown(() => client.close());
  const said: string[] = [];
  const { signal } = new AbortController();
  return { client, namespace, waitMs: 0, signal, said, say: line => void said.push(line) };
}

/** A namespace of the test's own. Roles of the whole cluster have one name, so the tests are one after the other. */
async function namespace(name: string): Promise<string> {
  await cluster.kubectl('create', 'namespace', name);
  return name;
}

const none = { files: [], sets: [] };
const objects = async (ns: string): Promise<string[]> =>
  (await cluster.kubectl('get', 'ds,deploy,cm,sa,role,rolebinding', '-n', ns, '-o', 'name'))
    .split('\n')
    .filter(line => /cilium|fimbria/.test(line));

test.serial('install, change, take away: repeatable, and each step knows the others', async t => {
  const context = installer(t, await namespace('one'));
  await t.throwsAsync(upgrade(context, { ...none, reset: false }), {
    code: 'NOT_FOUND',
    message: /Fimbria is not installed there; install it first/,
  });
  await install(context, { files: [], sets: ['cluster.name=blue,MTU=1400'] });
  t.true(
    context.said.some(line =>
      /^there is no kube-proxy: agents reach the API server at 192\.168\.10\.10:/.test(line),
    ),
  );
  await t.throwsAsync(install(context, none), { code: 'ALREADY_EXISTS', message: /fimbria upgrade/ });

  context.said.length = 0;
  await upgrade(context, { ...none, reset: false });
  t.true(context.said.includes('DaemonSet cilium: unchanged'), context.said.join('\n'));
  await upgrade(context, { files: [], sets: ['operator.enabled=false'], reset: false });
  const map = await context.client.get<ConfigMap>('ConfigMap', 'cilium-config', 'one');
  t.like(map.data, { 'cluster-name': 'blue', mtu: '1400' });
  // Its Pods go first.
  await cluster.kubectl('wait', '--for=delete', 'deployment/cilium-operator', '-n', 'one', '--timeout=60s');
  t.false(
    (await objects('one')).some(name => name.includes('operator')),
    'what is not wanted any more goes',
  );
  await upgrade(context, { ...none, reset: true });
  t.is((await context.client.get<ConfigMap>('ConfigMap', 'cilium-config', 'one')).data!['mtu'], '0');
  t.true((await objects('one')).includes('deployment.apps/cilium-operator'));

  t.true(await uninstall({ ...context, waitMs: 60_000 }, { purge: false, skipCleanup: true }));
  t.deepEqual(await objects('one'), []);
  t.false(await uninstall({ ...context, waitMs: 60_000 }, { purge: false, skipCleanup: true }));
});

test.serial('what a running cluster cannot change is refused before anything is written', async t => {
  const context = installer(t, await namespace('two'));
  await install(context, none);
  const versions = async (): Promise<string> =>
    cluster.kubectl(
      'get',
      'ds,deploy,cm',
      '-n',
      'two',
      '-o',
      'jsonpath={.items[*].metadata.resourceVersion}',
    );
  const before = await versions();
  for (const set of [
    'ipam.mode=multi-pool',
    'ipam.operator.clusterPoolIPv4MaskSize=25',
    'operator.replicas=x',
    'nonsense=1',
  ]) {
    await t.throwsAsync(
      upgrade(context, { files: [], sets: [set], reset: false }),
      { code: 'BAD_VALUES' },
      set,
    );
  }
  t.is(await versions(), before);
  const elsewhere = installer(t, await namespace('elsewhere'));
  for (const change of [
    install(elsewhere, none),
    uninstall({ ...elsewhere, waitMs: 60_000 }, { purge: false, skipCleanup: false }),
  ]) {
    await t.throwsAsync(change, { code: 'CONFLICT', message: /installed in namespace two; use -n two$/ });
  }
  t.is(await versions(), before);
  await uninstall({ ...context, waitMs: 60_000 }, { purge: false, skipCleanup: true });
});

test.serial('names that somebody else has are left alone', async t => {
  const context = installer(t, await namespace('three'));
  await cluster.kubectl(
    'create',
    'configmap',
    'cilium-config',
    '-n',
    'three',
    '--from-literal=ipam=cluster-pool',
  );
  await t.throwsAsync(install(context, none), {
    code: 'CONFLICT',
    message: /ConfigMap cilium-config is there/,
  });
  t.false(await uninstall({ ...context, waitMs: 60_000 }, { purge: false, skipCleanup: true }));
  t.deepEqual(await objects('three'), ['configmap/cilium-config']);
});

test.serial(
  'an installation that was interrupted goes on, and one that is half there can be taken away',
  async t => {
    const context = installer(t, await namespace('four'));
    const abort = new AbortController();
    const stopped = {
      ...context,
      signal: abort.signal,
      say: (line: string) => {
        if (line.startsWith('ConfigMap')) abort.abort();
      },
    };
    await t.throwsAsync(install(stopped, { files: [], sets: ['MTU=1400'] }), { any: true });
    t.false((await objects('four')).some(name => name.startsWith('daemonset')));
    await install(context, { files: [], sets: ['MTU=1400'] });
    t.true((await objects('four')).includes('daemonset.apps/cilium'));
    await cluster.kubectl('delete', 'ds', 'cilium', '-n', 'four');
    await cluster.kubectl('delete', 'cm', 'fimbria-values', '-n', 'four');
    t.true(await uninstall({ ...context, waitMs: 60_000 }, { purge: false, skipCleanup: true }));
    t.deepEqual(await objects('four'), []);
  },
);

test.serial('only purging takes the definitions, with pools that nobody releases any more', async t => {
  const context = installer(t, await namespace('five'));
  await install(context, none);
  await cluster.kubectl('wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s');
  await context.client.create<CiliumPodIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name: 'held', finalizers: ['ipam.cilium.io/blocks-in-use', 'example.org/keep'] },
    spec: { ipv4: { cidrs: ['10.99.0.0/16'], maskSize: 24 } },
  });
  await uninstall({ ...context, waitMs: 60_000 }, { purge: false, skipCleanup: true });
  const pool = await context.client.get<KubeObject>('CiliumPodIPPool', 'held');
  t.deepEqual(pool.metadata.finalizers, ['example.org/keep']);
  await context.client.patch('CiliumPodIPPool', 'held', { metadata: { finalizers: null } });
  t.true(await uninstall({ ...context, waitMs: 60_000 }, { purge: true, skipCleanup: true }));
  t.notRegex(await cluster.kubectl('get', 'crd', '-o', 'name'), /cilium/);
});
