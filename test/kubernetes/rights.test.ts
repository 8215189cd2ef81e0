import test from 'ava';
import { codeOf, messageOf } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import { type ClusterClient, createClient, loadKubeconfig } from '../../src/cluster/index.ts';
import { loadValues } from '../../src/config/index.ts';
import { AGENT, OPERATOR } from '../../src/install/manifests/names.ts';
import { AGENT_RIGHTS, OPERATOR_RIGHTS, type Rights } from '../../src/install/manifests/rbac.ts';
import { render, withoutRules } from '../../src/install/render.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { allCrds } from '../../src/model/crd/index.ts';
import type { KubeObject } from '../../src/model/types.ts';
import { rightsOf, rightText } from '../install/rights.ts';
import { TestCluster } from './lib/cluster.ts';

/** What the service accounts of an installation may do, asked of Kubernetes' own RBAC with their tokens. */

const HOME = 'kube-system';

let cluster: TestCluster;

test.before(async () => {
  cluster = await TestCluster.up([]);
  const { objects } = render(loadValues([], []), { namespace: HOME, kubernetes: '1.20' });
  const rbac = /^(ServiceAccount|(Cluster)?Role(Binding)?)$/;
  await cluster.apply([...allCrds().map(withoutRules), ...objects.filter(({ kind }) => rbac.test(kind))]);
  await cluster.kubectl('wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s');
});

test.after.always(() => cluster?.down());

/** A client that is a service account, by the token that Kubernetes made for it. */
async function clientOf(account: string): Promise<{ client: ClusterClient; token: string }> {
  const token = await waitUntil(`token of ${account}`, 60_000, async () => {
    const { stdout } = await cluster.tryKubectl([
      ...['-n', HOME, 'get', 'secrets', '-o'],
      `jsonpath={range .items[?(@.metadata.annotations.kubernetes\\.io/service-account\\.name=="${account}")]}{.data.token}{end}`,
    ]);
    return stdout || undefined;
  });
  const { server, ca } = loadKubeconfig(cluster.plane.kubeconfig);
  const text = Buffer.from(token, 'base64').toString('utf8');
  const config = { server, ...(ca !== undefined && { ca }), token: text };
  return { client: createClient(config, { log: silent, userAgent: `fimbria-test-${account}` }), token: text };
}

interface Review extends KubeObject {
  spec: object;
  status?: { allowed: boolean };
}

/** Asks RBAC itself, as `kubectl auth can-i` does. */
async function mayI(client: ClusterClient, attributes: Record<string, string>): Promise<boolean> {
  const review = await client.raw<Review>('create', 'review', {
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: attributes },
    },
  });
  return review.status?.allowed === true;
}

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'];

interface ResourceList {
  resources: { name: string }[];
}

/** Every resource that the server has, subresources too, with its group. */
async function resources(): Promise<{ group: string; resource: string }[]> {
  const groups = (await cluster.client.rawGet('/apis')) as {
    groups: { name: string; preferredVersion: { groupVersion: string } }[];
  };
  const paths = [
    ['', '/api/v1'],
    ...groups.groups.map(g => [g.name, `/apis/${g.preferredVersion.groupVersion}`]),
  ] as [string, string][];
  const lists = await Promise.all(
    paths.map(async ([group, path]) => {
      const { resources } = (await cluster.client.rawGet(path)) as ResourceList;
      return resources.map(({ name }) => ({ group, resource: name }));
    }),
  );
  return lists.flat();
}

for (const [account, rights] of [
  [AGENT, AGENT_RIGHTS],
  [OPERATOR, OPERATOR_RIGHTS],
] as const satisfies readonly (readonly [string, Rights])[]) {
  test(`of everything that the server has, ${account} may do what it needs and nothing else`, async t => {
    const { client } = await clientOf(account);
    t.teardown(() => client.close());
    const wanted = new Set(rightsOf(rights));
    const names = new Map(
      rights.home.flatMap(({ resources, resourceNames }) =>
        resources.map(r => [r, resourceNames?.[0] ?? '']),
      ),
    );
    const differing: string[] = [];
    let asked = 0;
    for (const { group, resource } of await resources()) {
      const [plural, subresource = ''] = resource.split('/') as [string, string?];
      // What everybody may: ask what one may, and who one is.
      if (group === 'authorization.k8s.io') continue;
      const answers = VERBS.flatMap(verb =>
        (
          [
            ['cluster', ''],
            ['home', HOME],
            ['elsewhere', 'default'],
          ] as const
        ).map(async ([where, namespace]) => {
          const name = where === 'home' && verb !== 'create' ? (names.get(resource) ?? '') : '';
          const may = await mayI(client, {
            ...{ group, resource: plural, subresource, verb, namespace },
            ...(name && { name }),
          });
          asked++;
          const everywhere = wanted.has(rightText('cluster', verb, resource, group));
          const should =
            everywhere || (where === 'home' && wanted.has(rightText('home', verb, resource, group)));
          if (may !== should) differing.push(`${verb} ${resource}.${group} in ${where}: ${may}`);
        }),
      );
      await Promise.all(answers);
    }
    t.log(`asked ${asked} times`);
    t.deepEqual(differing, []);
  });

  test(`what ${account} may not do is refused when it is done, and its token is not told`, async t => {
    const { client, token } = await clientOf(account);
    t.teardown(() => client.close());
    const container = { name: 'c', image: 'x' };
    const attempts: Record<string, () => Promise<unknown>> = {
      'read secrets': () => client.rawGet(`/api/v1/namespaces/${HOME}/secrets`),
      'read all secrets': () => client.rawGet('/api/v1/secrets'),
      'read the configuration of others': () => client.list('ConfigMap'),
      'make a Pod': () =>
        client.create({
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'evil', namespace: HOME },
          spec: { containers: [container] },
        } as never),
      'enter a Pod': () =>
        client.raw('create', 'exec', {
          method: 'POST',
          path: '/api/v1/namespaces/default/pods/a/exec?command=sh',
        }),
      'delete a Pod': () => client.delete('Pod', 'a', { namespace: 'default' }),
      'delete a Node': () => client.delete('Node', 'a'),
      'make a token': () =>
        client.raw('create', 'token', {
          method: 'POST',
          path: `/api/v1/namespaces/${HOME}/serviceaccounts/default/token`,
          body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
        }),
      'be somebody else': () =>
        client.raw('create', 'binding', {
          method: 'POST',
          path: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
          body: {
            apiVersion: 'rbac.authorization.k8s.io/v1',
            kind: 'ClusterRoleBinding',
            metadata: { name: 'evil' },
            roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
            subjects: [{ kind: 'ServiceAccount', name: account, namespace: HOME }],
          },
        }),
      "write another's lease": () => client.list('Lease', { namespace: 'kube-node-lease' }),
    };
    for (const [what, attempt] of Object.entries(attempts)) {
      const error = await t.throwsAsync(attempt(), undefined, what);
      t.is(codeOf(error), 'FORBIDDEN', `${what}: ${messageOf(error)}`);
      t.false(JSON.stringify([messageOf(error), error?.stack, { ...error }]).includes(token), what);
    }
  });
}

test('where an agent asks for metadata only, Kubernetes sends no more', async t => {
  const { client } = await clientOf(AGENT);
  t.teardown(() => client.close());
  const namespaces = client.informer<KubeObject>('Namespace', { metadataOnly: true });
  const late = new Promise<KubeObject>(resolve => {
    const look = (object: KubeObject): void => void (object.metadata.name === 'late' && resolve(object));
    namespaces.on({ added: look });
  });
  await namespaces.synced;
  await cluster.client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'late' } });
  for (const object of [await late, namespaces.get('default')])
    t.deepEqual(Object.keys(object ?? {}).sort(), ['apiVersion', 'kind', 'metadata']);
  t.is((await late).kind, 'Namespace');
});
