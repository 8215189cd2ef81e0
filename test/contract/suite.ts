import type { ExecutionContext, TestFn } from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import type { ClusterClient, Informer, InformerHandlers } from '../../src/cluster/types.ts';
import { isAtLeast } from '../../src/install/template.ts';
import type {
  CiliumIdentity,
  CiliumNode,
  CiliumPodIPPool,
  ConfigMap,
  Deployment,
  KubeObject,
  Lease,
  Namespace,
  NewObject,
  Pod,
} from '../../src/model/types.ts';

/** Makes a client that ends with the test. */
export type MakeClient = (t: ExecutionContext) => Promise<ClusterClient>;

/** Waits until a namespace that was just made can hold Pods. */
export type Settle = (client: ClusterClient, namespace: string) => Promise<unknown>;

/** The first Kubernetes that evaluates rules (CEL) in CustomResourceDefinitions. */
const RULES_SINCE = '1.25';

/**
 * What Fimbria expects of any Kubernetes API server, the embedded one or a real one with Cilium's
 * CustomResourceDefinitions. Each test works in a namespace of its own and removes what it made outside.
 */
export function contractSuite(
  test: TestFn,
  makeClient: MakeClient,
  settle: Settle = () => Promise.resolve(),
): void {
  const withNamespace = (
    title: string,
    body: (t: ExecutionContext, client: ClusterClient, namespace: string) => Promise<void>,
  ): void => {
    test(title, async t => {
      const client = await makeClient(t);
      const { metadata } = await client.create<Namespace>({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { generateName: 'contract-' },
      });
      try {
        await settle(client, metadata.name);
        await body(t, client, metadata.name);
      } finally {
        await client.delete('Namespace', metadata.name);
      }
    });
  };

  withNamespace('a new object gets an identity and a version', async (t, client, namespace) => {
    const made = await client.create(configMap(namespace, 'a', { x: '1' }));
    t.regex(made.metadata.uid ?? '', /^[0-9a-f-]{36}$/);
    t.regex(made.metadata.creationTimestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    t.truthy(made.metadata.resourceVersion);
    t.deepEqual((await client.get<ConfigMap>('cm', 'a', namespace)).data, { x: '1' });
  });

  withNamespace('a name is generated where it is asked for', async (t, client, namespace) => {
    const object = configMap(namespace, '', {});
    object.metadata = { namespace, generateName: 'some-' };
    const first = await client.create(object);
    const second = await client.create(object);
    t.regex(first.metadata.name, /^some-[a-z0-9]{5}$/);
    t.not(first.metadata.name, second.metadata.name);
  });

  withNamespace('creating twice is refused', async (t, client, namespace) => {
    await client.create(configMap(namespace, 'a', {}));
    const error = await refusal(t, client.create(configMap(namespace, 'a', {})));
    t.is(error.code, 'ALREADY_EXISTS');
    t.regex(error.message, /configmaps "a" already exists/);
  });

  withNamespace('what is not there is not found, deleting it is no failure', async (t, client, namespace) => {
    const core = await refusal(t, client.get('pod', 'nobody', namespace));
    t.is(core.code, 'NOT_FOUND');
    t.regex(core.message, /pods "nobody" not found/);
    const custom = await refusal(t, client.get('ciliumnode', 'nobody'));
    t.regex(custom.message, /ciliumnodes\.cilium\.io "nobody" not found/);
    t.false(await client.delete('pod', 'nobody', { namespace }));
    const unknown = await refusal(t, client.rawGet('/apis/cilium.io/v2/nonsense'));
    t.is(unknown.code, 'NOT_FOUND');
  });

  withNamespace('of two writers who saw the same version the second loses', async (t, client, namespace) => {
    const seen = await client.create(configMap(namespace, 'a', { x: '1' }));
    await client.update<ConfigMap>({ ...seen, data: { x: '2' } });
    const error = await refusal(t, client.update<ConfigMap>({ ...seen, data: { x: '3' } }));
    t.is(error.code, 'CONFLICT');
    t.regex(
      error.message,
      /Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again/,
    );
    t.deepEqual((await client.get<ConfigMap>('cm', 'a', namespace)).data, { x: '2' });
  });

  withNamespace('a write that changes nothing makes no version', async (t, client, namespace) => {
    const made = await client.create(configMap(namespace, 'a', { x: '1' }));
    const again = await client.update<ConfigMap>(made);
    t.is(again.metadata.resourceVersion, made.metadata.resourceVersion);
    const patched = await client.patch('cm', 'a', { data: { x: '1' } }, { namespace });
    t.is(patched.metadata.resourceVersion, made.metadata.resourceVersion);
  });

  withNamespace('a dry run answers and changes nothing', async (t, client, namespace) => {
    const made = await client.create(configMap(namespace, 'a', {}), { dryRun: true });
    t.is(made.metadata.name, 'a');
    t.is((await refusal(t, client.get('cm', 'a', namespace))).code, 'NOT_FOUND');
  });

  withNamespace('merge patches merge, null deletes', async (t, client, namespace) => {
    await client.create(configMap(namespace, 'a', { x: '1', y: '2' }));
    const patch = { data: { x: null, z: '3' } };
    const patched = await client.patch<ConfigMap>('cm', 'a', patch, { namespace });
    t.deepEqual(patched.data, { y: '2', z: '3' });
  });

  withNamespace('JSON patches apply whole or not at all', async (t, client, namespace) => {
    await client.create(configMap(namespace, 'a', { x: '1' }));
    const good = [
      { op: 'test', path: '/data/x', value: '1' },
      { op: 'replace', path: '/data/x', value: '2' },
    ];
    const patched = await client.patch<ConfigMap>('cm', 'a', good, { namespace, type: 'json' });
    t.deepEqual(patched.data, { x: '2' });
    const error = await refusal(t, client.patch('cm', 'a', good, { namespace, type: 'json' }));
    t.is(error.code, 'INVALID');
    t.deepEqual((await client.get<ConfigMap>('cm', 'a', namespace)).data, { x: '2' });
  });

  withNamespace('strategic patches merge lists by their keys', async (t, client, namespace) => {
    await client.create(deployment(namespace, 'd'));
    const containers = [{ name: 'main', env: [{ name: 'B', value: '2' }] }];
    const patch = { spec: { template: { spec: { containers } } } };
    const patched = await client.patch<Deployment>('deploy', 'd', patch, { namespace, type: 'strategic' });
    const [container] = patched.spec.template.spec.containers;
    t.is(container?.image, 'nginx');
    // In which order is the server's own affair.
    const env = [...(container?.env ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1));
    t.deepEqual(env, [
      { name: 'A', value: '1' },
      { name: 'B', value: '2' },
    ]);
  });

  withNamespace('strategic patches are refused for custom kinds', async (t, client) => {
    const node = await temporary(t, client, ciliumNode({}));
    const patch = { spec: { bootid: 'x' } };
    const error = await refusal(t, client.patch('cn', node.metadata.name, patch, { type: 'strategic' }));
    t.is(error.code, 'INVALID');
  });

  withNamespace('a patch with an old version is refused', async (t, client, namespace) => {
    const { metadata } = await client.create(configMap(namespace, 'a', {}));
    await client.patch('cm', 'a', { data: { x: '1' } }, { namespace });
    const patch = { metadata: { resourceVersion: metadata.resourceVersion }, data: { x: '2' } };
    t.is((await refusal(t, client.patch('cm', 'a', patch, { namespace }))).code, 'CONFLICT');
  });

  withNamespace('specification and status have a door each', async (t, client) => {
    const made = await temporary(t, client, ciliumNode({ bootid: 'first' }));
    const { name } = made.metadata;
    t.is(made.metadata.generation, 1);
    const status = { ipam: { 'operator-status': { error: 'full' } } };
    await client.patch('cn', name, { status, spec: { bootid: 'by status' } }, { subresource: 'status' });
    const afterStatus = await client.get<CiliumNode>('cn', name);
    t.deepEqual(afterStatus.status, status);
    t.is(afterStatus.spec.bootid, 'first');
    t.is(afterStatus.metadata.generation, 1);
    await client.update<CiliumNode>({ ...afterStatus, status: {}, spec: { bootid: 'second' } });
    const afterSpec = await client.get<CiliumNode>('cn', name);
    t.deepEqual(afterSpec.status, status);
    t.is(afterSpec.spec.bootid, 'second');
    t.is(afterSpec.metadata.generation, 2);
  });

  withNamespace('updates of custom objects name the version that they saw', async (t, client) => {
    const made = await temporary(t, client, ciliumNode({}));
    const { resourceVersion: _dropped, ...metadata } = made.metadata;
    const error = await refusal(t, client.update<CiliumNode>({ ...made, metadata }));
    t.is(error.code, 'INVALID');
    t.regex(error.message, /metadata\.resourceVersion: Invalid value: .*: must be specified for an update/);
  });

  withNamespace('labels and fields select', async (t, client, namespace) => {
    for (const [name, app] of [
      ['a', 'web'],
      ['b', 'web'],
      ['c', 'db'],
    ] as const) {
      const object = configMap(namespace, name, {});
      object.metadata.labels = { app };
      await client.create(object);
    }
    const names = async (labelSelector: string, fieldSelector?: string): Promise<string[]> => {
      const options = { namespace, labelSelector, ...(fieldSelector !== undefined && { fieldSelector }) };
      const { items } = await client.list('cm', options);
      return items.map(item => item.metadata.name).filter(name => name.length === 1);
    };
    t.deepEqual(await names('app=web'), ['a', 'b']);
    t.deepEqual(await names('app!=web'), ['c']);
    t.deepEqual(await names('app in (db, other)'), ['c']);
    t.deepEqual(await names('!app'), []);
    t.deepEqual(await names('app', 'metadata.name=b'), ['b']);
    const error = await refusal(t, client.list('cm', { namespace, fieldSelector: 'data.x=1' }));
    t.is(error.code, 'INVALID');
    t.regex(error.message, /data\.x/);
    t.is((await refusal(t, client.list('cm', { namespace, labelSelector: 'a=b=c' }))).code, 'INVALID');
  });

  withNamespace('lists come in pages and whole', async (t, client, namespace) => {
    for (let i = 0; i < 7; i++) await client.create(configMap(namespace, `n${i}`, {}));
    const { items } = await client.list('cm', { namespace, limit: 3 });
    const names = items.map(item => item.metadata.name).filter(name => /^n\d$/.test(name));
    t.deepEqual(names, ['n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6']);
    const path = `/api/v1/namespaces/${namespace}/configmaps?limit=3`;
    const page = (await client.rawGet(path)) as { items: unknown[]; metadata: { continue?: string } };
    t.is(page.items.length, 3);
    t.truthy(page.metadata.continue);
  });

  withNamespace('an informer sees what is there and what happens', async (t, client, namespace) => {
    await client.create(configMap(namespace, 'before', {}));
    const fieldSelector = 'metadata.name!=kube-root-ca.crt';
    const informer = client.informer<ConfigMap>('cm', { namespace, fieldSelector });
    const seen = record(informer);
    await informer.synced;
    await client.create(configMap(namespace, 'after', { x: '1' }));
    await client.patch('cm', 'after', { data: { x: '2' } }, { namespace });
    await client.delete('cm', 'before', { namespace });
    await seen.until(4);
    t.deepEqual(seen.events, ['added before', 'added after', 'updated after', 'deleted before']);
    t.deepEqual(informer.get('after', namespace)?.data, { x: '2' });
    t.is(informer.list().length, 1);
    informer.close();
  });

  withNamespace('a Pod is bound to a node once', async (t, client, namespace) => {
    await client.create(pod(namespace, 'p'));
    const binding = (node: string) => ({
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'p', namespace },
      target: { apiVersion: 'v1', kind: 'Node', name: node },
    });
    await client.createSubresource('pod', 'p', 'binding', binding('n1'), namespace);
    t.is((await client.get<Pod>('pod', 'p', namespace)).spec.nodeName, 'n1');
    const again = client.createSubresource('pod', 'p', 'binding', binding('n2'), namespace);
    const error = await refusal(t, again);
    t.is(error.code, 'CONFLICT');
    t.regex(error.message, /pod p is already assigned to node "n1"/);
    await client.delete('pod', 'p', { namespace, gracePeriodSeconds: 0 });
  });

  withNamespace(
    "a watch of one node's Pods begins when they are bound to it",
    async (t, client, namespace) => {
      const informer = client.informer<Pod>('pod', { namespace, fieldSelector: 'spec.nodeName=n1' });
      const seen = record(informer);
      await informer.synced;
      await client.create(pod(namespace, 'p'));
      const body = { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'p' }, target: { name: 'n1' } };
      await client.createSubresource('pod', 'p', 'binding', body, namespace);
      await client.delete('pod', 'p', { namespace, gracePeriodSeconds: 0 });
      // A server may say first that it is on its way out.
      while (seen.events.at(-1) !== 'deleted p') await seen.until(seen.events.length + 1);
      t.deepEqual(
        seen.events.filter(event => event !== 'updated p'),
        ['added p', 'deleted p'],
      );
      informer.close();
    },
  );

  withNamespace('a Pod on a node stays until its kubelet lets it go', async (t, client, namespace) => {
    const object = pod(namespace, 'p');
    object.spec.nodeName = 'n1';
    await client.create(object);
    t.true(await client.delete('pod', 'p', { namespace, gracePeriodSeconds: 60 }));
    const going = await client.get<Pod>('pod', 'p', namespace);
    t.truthy(going.metadata.deletionTimestamp);
    t.is(going.metadata.deletionGracePeriodSeconds, 60);
    t.true(await client.delete('pod', 'p', { namespace, gracePeriodSeconds: 0, uid: going.metadata.uid! }));
    t.is((await refusal(t, client.get('pod', 'p', namespace))).code, 'NOT_FOUND');
  });

  withNamespace('finalizers hold an object until the last is gone', async (t, client, namespace) => {
    const object = configMap(namespace, 'a', {});
    object.metadata.finalizers = ['fimbria.io/test'];
    await client.create(object);
    t.true(await client.delete('cm', 'a', { namespace }));
    const going = await client.get('cm', 'a', namespace);
    t.truthy(going.metadata.deletionTimestamp);
    const more = { metadata: { finalizers: ['fimbria.io/test', 'fimbria.io/more'] } };
    t.is((await refusal(t, client.patch('cm', 'a', more, { namespace }))).code, 'INVALID');
    await client.patch('cm', 'a', { metadata: { finalizers: null } }, { namespace });
    t.is((await refusal(t, client.get('cm', 'a', namespace))).code, 'NOT_FOUND');
  });

  withNamespace('a deletion can be meant for one life of an object only', async (t, client, namespace) => {
    const first = await client.create(configMap(namespace, 'a', {}));
    await client.delete('cm', 'a', { namespace });
    await client.create(configMap(namespace, 'a', {}));
    const error = await refusal(t, client.delete('cm', 'a', { namespace, uid: first.metadata.uid! }));
    t.is(error.code, 'CONFLICT');
    t.regex(error.message, /UID in (the )?precondition/);
    t.is((await client.get('cm', 'a', namespace)).metadata.name, 'a');
  });

  withNamespace('there must be a namespace', async (t, client, namespace) => {
    const error = await refusal(t, client.create(configMap(`${namespace}-nowhere`, 'a', {})));
    t.is(error.code, 'NOT_FOUND');
    t.regex(error.message, /namespaces "contract-.*-nowhere" not found/);
  });

  withNamespace('bad custom objects are refused with their path and leave nothing', async (t, client) => {
    const cases: [spec: unknown, message: RegExp][] = [
      [{ ipv4: { cidrs: ['10.0.0.0/16'], maskSize: 64 } }, /spec\.ipv4\.maskSize: Invalid value: 64/],
      [{ ipv4: { cidrs: ['10.0.0.0/16'], maskSize: 'x' } }, /spec\.ipv4\.maskSize/],
      [{ ipv4: { maskSize: 24 } }, /spec\.ipv4\.cidrs: Required value/],
      [{ ipv4: { cidrs: ['nonsense'], maskSize: 24 } }, /spec\.ipv4\.cidrs(\[0\])?/],
    ];
    for (const [spec, message] of cases) {
      const pool = {
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumPodIPPool',
        metadata: { name: 'contract-bad' },
        spec,
      } as NewObject<CiliumPodIPPool>;
      const error = await refusal(t, client.create(pool));
      t.is(error.code, 'INVALID');
      t.regex(error.message, message);
      t.is((await refusal(t, client.get('cpip', 'contract-bad'))).code, 'NOT_FOUND');
    }
  });

  withNamespace('bad objects of Kubernetes are refused with their path', async (t, client, namespace) => {
    const empty = pod(namespace, 'p');
    empty.spec.containers = [];
    t.regex((await refusal(t, client.create(empty))).message, /spec\.containers: Required value/);
    const nameless = pod(namespace, 'p');
    nameless.spec.containers = [{ name: 'Bad_Name', image: 'x' }];
    t.regex(
      (await refusal(t, client.create(nameless))).message,
      /spec\.containers\[0\]\.name: Invalid value/,
    );
    const badName = await refusal(t, client.create(configMap(namespace, 'Not_A_Name', {})));
    t.is(badName.code, 'INVALID');
    t.regex(badName.message, /metadata\.name: Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain/);
    const badLabel = configMap(namespace, 'a', {});
    badLabel.metadata.labels = { 'x y': 'z' };
    t.regex((await refusal(t, client.create(badLabel))).message, /metadata\.labels: Invalid value: "x y"/);
    const { items } = await client.list('pod', { namespace });
    t.deepEqual(items, []);
  });

  withNamespace('fields that a custom kind does not have are left out', async (t, client) => {
    const spec = { bootid: 'x', nonsense: { a: 1 } } as CiliumNode['spec'];
    const made = await temporary(t, client, ciliumNode(spec));
    t.deepEqual(made.spec, { bootid: 'x' });
  });

  withNamespace('identities keep their labels', async (t, client) => {
    const identity = await temporary<CiliumIdentity>(t, client, {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumIdentity',
      metadata: { generateName: '4711-', labels: { 'io.kubernetes.pod.namespace': 'default' } },
      'security-labels': { 'k8s:app': 'web', 'k8s:io.kubernetes.pod.namespace': 'default' },
    });
    const found = await client.get<CiliumIdentity>('ciliumid', identity.metadata.name);
    t.deepEqual(found['security-labels'], identity['security-labels']);
  });

  withNamespace('one of two takes a lease', async (t, client, namespace) => {
    const seen = await client.create<Lease>({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'l', namespace },
      spec: { holderIdentity: '', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:00.123456Z' },
    });
    const taken = await Promise.allSettled(
      ['a', 'b'].map(holderIdentity =>
        client.update<Lease>({ ...seen, spec: { ...seen.spec, holderIdentity } }),
      ),
    );
    t.deepEqual(taken.map(result => result.status).sort(), ['fulfilled', 'rejected']);
    const { spec } = await client.get<Lease>('lease', 'l', namespace);
    t.is(spec?.renewTime, '2026-01-01T00:00:00.123456Z');
  });

  withNamespace('old and new versions of a kind are one object', async (t, client, namespace) => {
    const path = `namespaces/${namespace}/ciliumnodeconfigs`;
    await client.create({
      apiVersion: 'cilium.io/v2alpha1',
      kind: 'CiliumNodeConfig',
      metadata: { name: 'c', namespace },
      spec: { defaults: { a: 'b' }, nodeSelector: {} },
    } as NewObject<KubeObject>);
    const seen = (await client.rawGet(`/apis/cilium.io/v2/${path}/c`)) as KubeObject;
    t.is(seen.apiVersion, 'cilium.io/v2');
    const old = (await client.rawGet(`/apis/cilium.io/v2alpha1/${path}/c`)) as KubeObject;
    t.is(old.apiVersion, 'cilium.io/v2alpha1');
    t.is(old.metadata.uid, seen.metadata.uid);
  });

  withNamespace('a pool stays what its nodes were told', async (t, client) => {
    const spec = { ipv4: { cidrs: ['10.20.0.0/16'], maskSize: 27 } };
    const pool = await temporary<CiliumPodIPPool>(t, client, {
      apiVersion: 'cilium.io/v2alpha1',
      kind: 'CiliumPodIPPool',
      metadata: { generateName: 'contract-' },
      spec,
    });
    const { name } = pool.metadata;
    const patch = (ipv4: object) => client.patch<CiliumPodIPPool>('cpip', name, { spec: { ipv4 } });
    const forbidden = [
      [{ maskSize: 28 }, /spec\.ipv4\.maskSize: Invalid value: .*: maskSize is immutable/],
      [{ cidrs: ['10.21.0.0/16'] }, /spec\.ipv4\.cidrs: Invalid value: (.*: )?ranges can be appended/],
      [
        { cidrs: ['10.20.0.0/16', '10.20.1.0/24'] },
        /spec\.ipv4\.cidrs: Invalid value: (.*: )?ranges must not overlap/,
      ],
      [
        { cidrs: ['10.20.0.0/16', '10.21.0.1/16'] },
        /spec\.ipv4\.cidrs\[1\]: Invalid value: .*: must not have bits set/,
      ],
      [
        { cidrs: ['10.20.0.0/16', 'fd00::/64'] },
        /spec\.ipv4\.cidrs\[1\]: Invalid value: .*: must be an IPv4 range/,
      ],
    ] as const;
    const { gitVersion } = await client.serverVersion();
    // An older server takes it all; the operator and the agents look at it themselves.
    for (const [ipv4, message] of isAtLeast(gitVersion!, RULES_SINCE) ? forbidden : []) {
      const error = await refusal(t, patch(ipv4));
      t.is(error.code, 'INVALID');
      t.regex(error.message, message);
    }
    t.deepEqual((await client.get<CiliumPodIPPool>('cpip', name)).spec, spec);
    const grown = await patch({ cidrs: ['10.20.0.0/16', '10.21.0.0/16'] });
    t.is(grown.metadata.generation, 2);
    const conditions = [{ type: 'Used', status: 'True' as const }];
    await client.patch('cpip', name, { status: { conditions } }, { subresource: 'status' });
    const { status, metadata } = await client.get<CiliumPodIPPool>('cpip', name);
    t.is(status?.conditions?.[0]?.type, 'Used');
    t.is(metadata.generation, 2);
  });

  withNamespace(
    'fields that a kind of Kubernetes does not have are left out',
    async (t, client, namespace) => {
      const object = pod(namespace, 'p');
      object.spec.containers = [{ name: 'main', image: 'nginx', imagee: 'x' }];
      object.spec['volumes'] = [{ name: 'v', emptyDir: {}, nonsense: 1 }];
      const made = await client.create<Pod>(object);
      t.false('imagee' in made.spec.containers[0]!);
      t.false(JSON.stringify(made.spec['volumes']).includes('nonsense'));
      const wrong = pod(namespace, 'q');
      wrong.spec['volumes'] = 'none';
      await refusal(t, client.create(wrong));
      await client.delete('pod', 'p', { namespace, gracePeriodSeconds: 0 });
    },
  );

  withNamespace('definitions of kinds and their fields can be read', async (t, client) => {
    const { metadata, spec } = (await client.get('crd', 'ciliumnodes.cilium.io')) as unknown as {
      metadata: { name: string };
      spec: { names: { kind: string } };
    };
    t.is(metadata.name, 'ciliumnodes.cilium.io');
    t.is(spec.names.kind, 'CiliumNode');
    const swagger = (await client.rawGet('/openapi/v2')) as { swagger: string; definitions: object };
    t.is(swagger.swagger, '2.0');
    t.true(Object.keys(swagger.definitions).includes('io.k8s.api.core.v1.Pod'));
  });

  withNamespace('a server says what it has', async (t, client) => {
    const version = await client.serverVersion();
    t.truthy(version['gitVersion']);
    t.is(await client.rawGet('/readyz'), 'ok');
    const { groups } = (await client.rawGet('/apis')) as { groups: { name: string }[] };
    for (const name of ['apps', 'cilium.io', 'coordination.k8s.io', 'discovery.k8s.io']) {
      t.true(
        groups.some(group => group.name === name),
        name,
      );
    }
    const { resources } = (await client.rawGet('/api/v1')) as {
      resources: { name: string; verbs: string[] }[];
    };
    for (const name of ['pods', 'pods/status', 'pods/binding', 'namespaces', 'nodes', 'services']) {
      t.true(
        resources.some(resource => resource.name === name),
        name,
      );
    }
  });
}

async function refusal(t: ExecutionContext, attempt: Promise<unknown>): Promise<FimbriaError> {
  return (await t.throwsAsync(attempt, { instanceOf: FimbriaError }))!;
}

/** An object outside namespaces that goes with the test. */
async function temporary<T extends KubeObject>(
  t: ExecutionContext,
  client: ClusterClient,
  object: NewObject<T>,
): Promise<T> {
  const made = await client.create<T>(object);
  const { name } = made.metadata;
  // Teardowns run last first: the client is still open.
  t.teardown(async () => {
    await client.delete(made.kind, name).catch(() => {});
  });
  return made;
}

/** Notes what an informer reports. */
function record<T extends KubeObject>(
  informer: Informer<T>,
): { events: string[]; until(count: number): Promise<void> } {
  const events: string[] = [];
  let wake = (): void => {};
  const note = (what: string) => (object: T) => {
    events.push(`${what} ${object.metadata.name}`);
    wake();
  };
  const handlers: InformerHandlers<T> = {
    added: note('added'),
    updated: note('updated'),
    deleted: note('deleted'),
  };
  informer.on(handlers);
  return {
    events,
    async until(count) {
      while (events.length < count) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    },
  };
}

function configMap(namespace: string, name: string, data: Record<string, string>): NewObject<ConfigMap> {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

function pod(namespace: string, name: string): NewObject<Pod> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { containers: [{ name: 'main', image: 'nginx' }] },
  };
}

function deployment(namespace: string, name: string): NewObject<Deployment> {
  const labels = { app: name };
  const containers = [{ name: 'main', image: 'nginx', env: [{ name: 'A', value: '1' }] }];
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
    },
  };
}

function ciliumNode(spec: CiliumNode['spec']): NewObject<CiliumNode> {
  return { apiVersion: 'cilium.io/v2', kind: 'CiliumNode', metadata: { generateName: 'contract-' }, spec };
}
