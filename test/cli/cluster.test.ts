import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startApiServer } from '../../src/apiserver/server.ts';
import { silent } from '../../src/base/log.ts';
import { createClient, formatKubeconfig } from '../../src/cluster/index.ts';
import type { AnyObject } from '../../src/model/meta.ts';
import { temporaryDirectory } from '../api/fixtures.ts';
import { finish, type Result, start } from './program.ts';

const WEB = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web, tier: front}}
spec: {containers: [{name: c, image: "a&b"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {app: d}}
  template: {metadata: {labels: {app: d}}, spec: {containers: [{name: c, image: nginx}]}}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumPodIPPool
metadata: {name: default}
spec: {ipv4: {cidrs: [172.20.0.0/16], maskSize: 28}}
`;

interface Cluster {
  directory: string;
  run(args: string[], input?: string): Promise<Result>;
  get(kind: string, name: string, namespace?: string): Promise<AnyObject>;
}

async function cluster(t: ExecutionContext): Promise<Cluster> {
  const directory = temporaryDirectory(t);
  const socketPath = join(directory, 'api.sock');
  const server = await startApiServer({
    stateFile: join(directory, 'state'),
    socketPath,
    address: '127.0.0.1',
    port: 0,
    certDir: directory,
    tokens: {},
    log: silent,
  });
  t.teardown(() => server.close());
  const kubeconfig = join(directory, 'kubeconfig');
  writeFileSync(kubeconfig, formatKubeconfig('test', { server: `unix://${socketPath}` }));
  const client = createClient(kubeconfig);
  t.teardown(() => client.close());
  return {
    directory,
    run: (args, input) => finish(start(args, { KUBECONFIG: kubeconfig }), input),
    get: (kind, name, namespace) => client.get<AnyObject>(kind, name, namespace),
  };
}

test.serial('apply creates, then leaves alone, then changes, then removes what is gone', async t => {
  const { run, get } = await cluster(t);
  const created = await run(['apply', '-f', '-'], WEB);
  t.is(created.stderr, '');
  t.is(
    created.stdout,
    'namespace/shop created\npod/web created\ndeployment.apps/d created\nciliumpodippool.cilium.io/default created\n',
  );
  t.is((await run(['apply', '-f', '-'], WEB)).stdout, created.stdout.replaceAll('created', 'unchanged'));
  const changed = await run(['apply', '-f', '-'], WEB.replace(', tier: front', ', colour: blue'));
  t.is(
    changed.stdout,
    created.stdout.replaceAll('created', 'unchanged').replace('web unchanged', 'web configured'),
  );
  const { labels, annotations } = (await get('pods', 'web', 'shop')).metadata;
  t.deepEqual(labels, { app: 'web', colour: 'blue' });
  t.is(
    annotations?.['kubectl.kubernetes.io/last-applied-configuration'],
    '{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{},"labels":{"app":"web","colour":"blue"},"name":"web","namespace":"shop"},"spec":{"containers":[{"image":"a\\u0026b","name":"c"}]}}\n',
  );
});

test.serial('apply goes on past what the server refuses and fails in the end', async t => {
  const { run } = await cluster(t);
  const manifest = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"lost","namespace":"nowhere"},"spec":{"containers":[{"name":"c"}]}}
---
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"}}`;
  const result = await run(['apply', '-f', '-'], manifest);
  t.is(result.code, 1);
  t.is(result.stdout, 'configmap/kept created\n');
  t.regex(result.stderr, /^fimbria: .*"nowhere" not found/);
  const clash = await run(['apply', '-n', 'default', '-f', '-'], WEB);
  t.is(clash.code, 2);
  t.regex(clash.stderr, /it is in namespace shop and -n says default/);
});

test.serial('get shows tables, objects, names and paths', async t => {
  const { run, directory } = await cluster(t);
  const file = join(directory, 'web.yaml');
  writeFileSync(file, WEB);
  t.is((await run(['create', '-f', file])).code, 0);
  t.regex((await run(['get', 'po', '-n', 'shop'])).stdout, /^NAME {3}READY .*\nweb +0\/1 /);
  t.regex((await run(['get', 'pods', '-A'])).stdout, /^NAMESPACE {3}NAME .*\nshop +web /);
  t.is(
    (await run(['get', 'pod', 'web', '-n', 'shop', '-o', 'jsonpath={.metadata.labels.tier}'])).stdout,
    'front',
  );
  t.is((await run(['get', 'po', '-A', '-l', 'app=other', '-o', 'name'])).stdout, '');
  t.is(
    (await run(['get', 'po,cpip', '-A', '-o', 'name'])).stdout,
    'pod/web\nciliumpodippool.cilium.io/default\n',
  );
  const list = JSON.parse((await run(['get', 'pods', '-n', 'shop', '-o', 'json'])).stdout);
  t.like(list, { apiVersion: 'v1', kind: 'List' });
  t.like(list.items[0], { apiVersion: 'v1', kind: 'Pod' });
  t.regex((await run(['get', 'ciliumpodippools', 'default', '-o', 'yaml'])).stdout, /^ +maskSize: 28$/m);
  const none = await run(['get', 'pods']);
  t.deepEqual([none.code, none.stdout, none.stderr], [0, '', 'No resources found in default namespace.\n']);
  const missing = await run(['get', 'pod', 'nobody']);
  t.is(missing.code, 1);
  t.regex(missing.stderr, /^fimbria: .*nobody.*not found/);
  t.is((await run(['get', 'pods', '-o', 'xml'])).code, 2);
});

test.serial('label and annotate change only what they are told, delete waits', async t => {
  const { run, get } = await cluster(t);
  await run(['create', '-f', '-'], WEB);
  const pod = ['pod', 'web', '-n', 'shop'];
  t.is((await run(['label', ...pod, 'x=1', 'tier-'])).stdout, 'pod/web labeled\n');
  t.deepEqual((await get('pods', 'web', 'shop')).metadata.labels, { app: 'web', x: '1' });
  t.is((await run(['label', ...pod, 'x=1'])).stdout, 'pod/web not labeled\n');
  const taken = await run(['label', ...pod, 'x=2']);
  t.is(
    taken.stderr,
    "fimbria: label pod/web: 'x' has the value '1' already; use --overwrite to replace it\n",
  );
  t.is((await run(['label', 'po/web', '-n', 'shop', 'x=2', '--overwrite'])).stdout, 'pod/web labeled\n');
  t.is((await run(['annotate', 'ns', 'shop', 'note=a b'])).stdout, 'namespace/shop annotated\n');
  t.is((await get('namespaces', 'shop')).metadata.annotations?.['note'], 'a b');
  t.is((await run(['label', 'pods', 'x=1'])).code, 2);

  t.is((await run(['delete', ...pod])).stdout, 'pod "web" deleted\n');
  const gone = await run(['delete', ...pod]);
  t.deepEqual([gone.code, gone.stdout], [1, '']);
  t.is((await run(['delete', ...pod, '--ignore-not-found'])).code, 0);
  t.is((await run(['delete', 'pods'])).code, 2);
  const rest = await run(['delete', '-f', '-', '--ignore-not-found'], WEB);
  t.is(
    rest.stdout,
    'ciliumpodippool.cilium.io "default" deleted\ndeployment.apps "d" deleted\nnamespace "shop" deleted\n',
  );
  await t.throwsAsync(get('namespaces', 'shop'));
});
