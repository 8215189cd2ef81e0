import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, linkSync, renameSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import { createClient } from '../../src/cluster/index.ts';
import type { ConfigMap, Namespace, NewObject, Pod, Status, WatchEvent } from '../../src/model/types.ts';
import { scratch, serve } from './helpers.ts';

interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
  json<T>(): T;
}

/** A request over the unix socket, as a client that is not ours would send it. */
async function call(
  socketPath: string,
  method: string,
  path: string,
  body?: string,
  headers: http.OutgoingHttpHeaders = {},
): Promise<Answer> {
  const request = http.request({ socketPath, method, path, headers, agent: false });
  // A server may refuse and hang up before it has read all: what counts is its answer.
  const answered = once(request, 'response');
  request.on('error', () => {});
  request.end(body);
  const [response] = (await answered) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: text,
    json: <T>() => JSON.parse(text) as T,
  };
}

/** The events of a watch that the server ends. */
async function watch(socketPath: string, path: string): Promise<WatchEvent[]> {
  const { body } = await call(socketPath, 'GET', path);
  return body
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as WatchEvent);
}

const configMap = (name: string, data: Record<string, string> = {}): NewObject<ConfigMap> => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
  data,
});

const boundPod = (name: string, namespace = 'default'): NewObject<Pod> => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace },
  spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'nginx' }] },
});

const MAPS = '/api/v1/namespaces/default/configmaps';

test('only who has a token is served over TLS, and only root may open the socket', async t => {
  const { server, socketPath, secure } = await serve(t, scratch(t));
  t.is(statSync(socketPath).mode & 0o777, 0o600);
  t.truthy(await secure().get('Namespace', 'default'));
  for (const token of [undefined, 'wrong']) {
    const client = createClient({ server: server.url, ca: server.ca, ...(token && { token }) });
    const error = await t.throwsAsync(client.get('Namespace', 'default'), { instanceOf: FimbriaError });
    t.is(error?.code, 'FORBIDDEN');
    t.is(await client.rawGet('/healthz'), 'ok');
    client.close();
  }
  const stranger = createClient({ server: server.url, token: 'x' });
  const error = await t.throwsAsync(stranger.serverVersion(), { instanceOf: FimbriaError });
  t.is(error?.code, 'UNAVAILABLE');
  stranger.close();
});

test('one server at a time has the state, the socket and the port', async t => {
  const directory = scratch(t);
  const { server } = await serve(t, directory);
  const locked = await t.throwsAsync(serve(t, directory, { socketPath: join(directory, 'other.sock') }), {
    instanceOf: FimbriaError,
  });
  t.is(locked?.code, 'IN_USE');
  const stateFile = join(directory, 'elsewhere');
  const busySocket = await t.throwsAsync(serve(t, directory, { stateFile }), { instanceOf: FimbriaError });
  t.is(busySocket?.code, 'IN_USE');
  t.false(existsSync(`${stateFile}.lock`));
  const port = Number(new URL(server.url).port);
  const busyPort = serve(t, directory, { stateFile, socketPath: join(directory, 'other.sock'), port });
  t.is((await t.throwsAsync(busyPort, { instanceOf: FimbriaError }))?.code, 'IN_USE');
});

test('what a killed server left is taken over', async t => {
  const directory = scratch(t);
  const socketPath = join(directory, 'api.sock');
  // A process id that is in use again by somebody else: the start time differs.
  writeFileSync(join(directory, 'state.lock'), `${process.pid} 1`);
  const dead = net.createServer().listen(socketPath);
  await once(dead, 'listening');
  // Closing would remove the file; a killed process does not.
  const path = `${socketPath}.kept`;
  linkSync(socketPath, path);
  dead.close();
  await once(dead, 'close');
  renameSync(path, socketPath);
  const { local } = await serve(t, directory);
  t.is(await local().rawGet('/readyz'), 'ok');
});

test('the namespaces that every cluster has are there', async t => {
  const { local } = await serve(t, scratch(t));
  const { items } = await local().list<Namespace>('ns');
  t.deepEqual(
    items.map(item => [item.metadata.name, item.status?.phase]),
    ['default', 'kube-node-lease', 'kube-public', 'kube-system'].map(name => [name, 'Active']),
  );
  const error = await t.throwsAsync(local().delete('ns', 'kube-system'), { instanceOf: FimbriaError });
  t.is(error?.code, 'FORBIDDEN');
});

test('a namespace goes when all in it has gone', async t => {
  const { local } = await serve(t, scratch(t));
  const client = local();
  await client.create<Namespace>({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'team' } });
  await client.create<ConfigMap>({ ...configMap('a'), metadata: { name: 'a', namespace: 'team' } });
  await client.create(boundPod('p', 'team'));
  const namespaces = client.informer<Namespace>('ns', { fieldSelector: 'metadata.name=team' });
  const maps = client.informer('cm', { namespace: 'team' });
  await Promise.all([namespaces.synced, maps.synced]);
  const mapGone = new Promise(resolve => maps.on({ deleted: resolve }));
  const namespaceGone = new Promise(resolve => namespaces.on({ deleted: resolve }));
  t.true(await client.delete('ns', 'team'));
  t.is((await client.get<Namespace>('ns', 'team')).status?.phase, 'Terminating');
  const late = client.create({ ...configMap('b'), metadata: { name: 'b', namespace: 'team' } });
  const error = await t.throwsAsync(late, { instanceOf: FimbriaError });
  t.is(error?.code, 'FORBIDDEN');
  t.regex(
    error?.message ?? '',
    /unable to create new content in namespace team because it is being terminated/,
  );
  await mapGone;
  const pod = await client.get<Pod>('pod', 'p', 'team');
  t.truthy(pod.metadata.deletionTimestamp);
  await client.delete('pod', 'p', { namespace: 'team', gracePeriodSeconds: 0 });
  await namespaceGone;
  t.is((await t.throwsAsync(client.get('ns', 'team'), { instanceOf: FimbriaError }))?.code, 'NOT_FOUND');
});

test('a watch goes on behind the version that the client saw', async t => {
  const { local, socketPath } = await serve(t, scratch(t));
  const client = local();
  const first = await client.create(configMap('a'));
  await client.patch('cm', 'a', { data: { x: '1' } });
  await client.delete('cm', 'a');
  const version = first.metadata.resourceVersion;
  const events = await watch(socketPath, `${MAPS}?watch=1&resourceVersion=${version}&timeoutSeconds=1`);
  t.deepEqual(
    events.map(event => event.type),
    ['MODIFIED', 'DELETED'],
  );
  t.true(
    Number(events[1]?.object.metadata.resourceVersion) > Number(events[0]?.object.metadata.resourceVersion),
  );
});

test('a watch without a version begins with what is there; bookmarks come while it lasts and at its end', async t => {
  const { local, socketPath } = await serve(t, scratch(t), { bookmarkIntervalMs: 300 });
  await local().create(configMap('a'));
  const path = `${MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=1`;
  const [added, ...bookmarks] = await watch(socketPath, path);
  t.is(added?.type, 'ADDED');
  t.true(bookmarks.length >= 2);
  for (const { type, object } of bookmarks) {
    t.is(type, 'BOOKMARK');
    t.is(object.kind, 'ConfigMap');
    t.is(object.metadata.resourceVersion, added?.object.metadata.resourceVersion);
  }
  const streaming = await watch(
    socketPath,
    `${path}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan`,
  );
  t.is(streaming[1]?.object.metadata.annotations?.['k8s.io/initial-events-end'], 'true');
});

test('a watch of a forgotten version is told so, and one of a version to come', async t => {
  const { local, socketPath } = await serve(t, scratch(t), { historyLimit: 2 });
  for (let n = 0; n < 8; n++) await local().create(configMap(`n${n}`));
  for (const [version, code] of [
    [1, 410],
    [9999, 504],
  ]) {
    const [event] = await watch(socketPath, `${MAPS}?watch=1&resourceVersion=${version}`);
    t.is(event?.type, 'ERROR');
    t.is((event?.object as Status | undefined)?.code, code);
  }
  const page = await call(socketPath, 'GET', `${MAPS}?limit=2`);
  const token = page.json<{ metadata: { continue: string } }>().metadata.continue;
  for (let n = 0; n < 8; n++) await local().create(configMap(`m${n}`));
  const next = await call(socketPath, 'GET', `${MAPS}?limit=2&continue=${token}`);
  t.is(next.status, 410);
  t.is(next.json<Status>().reason, 'Expired');
  t.is((await call(socketPath, 'GET', `${MAPS}?continue=nonsense`)).status, 400);
});

test('all pages of a list show one moment', async t => {
  const { local, socketPath } = await serve(t, scratch(t));
  const client = local();
  for (const name of ['a', 'b', 'c', 'd']) await client.create(configMap(name));
  interface Page {
    items: ConfigMap[];
    metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
  }
  const first = (await call(socketPath, 'GET', `${MAPS}?limit=2`)).json<Page>();
  t.is(first.metadata.remainingItemCount, 2);
  await client.delete('cm', 'c');
  await client.create(configMap('bb'));
  const second = (
    await call(socketPath, 'GET', `${MAPS}?limit=2&continue=${first.metadata.continue}`)
  ).json<Page>();
  t.deepEqual(
    [...first.items, ...second.items].map(item => item.metadata.name),
    ['a', 'b', 'c', 'd'],
  );
  t.is(second.metadata.resourceVersion, first.metadata.resourceVersion);
  t.is(second.metadata.continue, undefined);
});

test('tables are for people', async t => {
  const { local, socketPath } = await serve(t, scratch(t));
  await local().create(boundPod('p'));
  const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
  const { body } = await call(socketPath, 'GET', '/api/v1/namespaces/default/pods', undefined, { accept });
  const { kind, columnDefinitions, rows } = JSON.parse(body);
  t.is(kind, 'Table');
  t.deepEqual(
    columnDefinitions
      .filter((c: { priority: number }) => c.priority === 0)
      .map((c: { name: string }) => c.name),
    ['Name', 'Ready', 'Status', 'Restarts', 'Age'],
  );
  t.deepEqual(rows[0].cells.slice(0, 4), ['p', '0/1', 'Pending', '0']);
  t.regex(rows[0].cells[4], /^\d+s$/);
  t.is(rows[0].object.kind, 'PartialObjectMetadata');
});

test('bodies may be YAML, but not anything, nor of any size', async t => {
  const { socketPath } = await serve(t, scratch(t));
  const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: "1"}\n';
  const made = await call(socketPath, 'POST', MAPS, yaml, { 'content-type': 'application/yaml' });
  t.is(made.status, 201);
  const cbor = await call(socketPath, 'POST', MAPS, '\xa0', { 'content-type': 'application/cbor' });
  t.is(cbor.status, 415);
  const protobuf = await call(socketPath, 'POST', MAPS, 'k8s', {
    'content-type': 'application/vnd.kubernetes.protobuf',
  });
  t.is(protobuf.status, 400);
  const broken = await call(socketPath, 'POST', MAPS, '{"a":');
  t.is(broken.status, 400);
  const apply = await call(socketPath, 'PATCH', `${MAPS}/a`, yaml, {
    'content-type': 'application/apply-patch+yaml',
  });
  t.is(apply.status, 415);
  t.regex(apply.json<Status>().message ?? '', /server-side apply is not supported/);
  const big = configMap('big', { x: 'x'.repeat(4 << 20) });
  const refused = await call(socketPath, 'POST', MAPS, JSON.stringify(big)).catch(error => error.code);
  t.true(refused === 'EPIPE' || refused === 'ECONNRESET' || (refused as Answer).status === 413);
});

test('fields that are unknown warn, or are refused if the client wants that', async t => {
  const { socketPath } = await serve(t, scratch(t));
  const path = '/apis/cilium.io/v2/ciliumnodes';
  const body = (name: string): string =>
    JSON.stringify({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: { name },
      spec: { ipam: { podCidrs: [] }, addresses: [{ type: 'InternalIP', ip: '10.0.0.1', port: 1 }] },
    });
  const warned = await call(socketPath, 'POST', path, body('a'));
  t.is(warned.status, 201);
  t.regex(warned.headers['warning'] ?? '', /299 - "unknown field \\"spec\.ipam\.podCidrs\\""/);
  t.regex(warned.headers['warning'] ?? '', /spec\.addresses\[0\]\.port/);
  const strict = await call(socketPath, 'POST', `${path}?fieldValidation=Strict`, body('b'));
  t.is(strict.status, 400);
  t.regex(strict.json<Status>().message ?? '', /strict decoding error: unknown field "spec\.ipam\.podCidrs"/);
  t.is((await call(socketPath, 'GET', `${path}/b`)).status, 404);
});

test('what does not exist or is not allowed is answered as Kubernetes does', async t => {
  const { socketPath } = await serve(t, scratch(t));
  for (const path of [
    '/nonsense',
    '/api/v2',
    '/apis/nonsense.io',
    '/apis/apps/v1/nonsense',
    '/api/v1/nonsense',
    '/api/v1/namespaces/default/nodes',
    '/api/v1/pods/p',
    `${MAPS}/a/status`,
    `${MAPS}/a/b/c`,
  ]) {
    const { status, json } = await call(socketPath, 'GET', path);
    t.is(status, 404, path);
    t.is(json<Status>().reason, 'NotFound', path);
  }
  for (const [method, path] of [
    ['PUT', MAPS],
    ['POST', `${MAPS}/a`],
    ['POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'],
    ['POST', '/apis'],
  ] as const) {
    t.is((await call(socketPath, method, path, '{}')).status, 405, `${method} ${path}`);
  }
  t.is((await call(socketPath, 'POST', '/api/v1/configmaps', JSON.stringify(configMap('a')))).status, 400);
  t.is((await call(socketPath, 'GET', '/api/v1/%zz')).status, 400);
  t.is((await call(socketPath, 'GET', `${MAPS}?resourceVersion=abc`)).status, 400);
});

test('a deployment can be scaled, a pod evicted', async t => {
  const { local, socketPath } = await serve(t, scratch(t));
  const client = local();
  const labels = { app: 'd' };
  await client.create({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd', namespace: 'default' },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'nginx' }] } },
    },
  } as NewObject);
  const path = '/apis/apps/v1/namespaces/default/deployments/d';
  const scale = (await call(socketPath, 'GET', `${path}/scale`)).json<{ spec: unknown; kind: string }>();
  t.is(scale.kind, 'Scale');
  t.deepEqual(scale.spec, { replicas: 1 });
  await client.patch('deploy', 'd', { spec: { replicas: 3 } }, { subresource: 'scale' });
  const scaled = (await call(socketPath, 'GET', path)).json<{
    spec: { replicas: number };
    metadata: { generation: number };
  }>();
  t.is(scaled.spec.replicas, 3);
  t.is(scaled.metadata.generation, 2);
  await client.create(boundPod('p'));
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'p' } };
  await client.createSubresource('pod', 'p', 'eviction', eviction);
  t.truthy((await client.get('pod', 'p')).metadata.deletionTimestamp);
});

test('a collection is deleted by its selector', async t => {
  const { local, socketPath } = await serve(t, scratch(t));
  for (const [name, app] of [
    ['a', 'x'],
    ['b', 'y'],
  ] as const) {
    await local().create({ ...configMap(name), metadata: { name, namespace: 'default', labels: { app } } });
  }
  t.is((await call(socketPath, 'DELETE', `${MAPS}?labelSelector=app%3Dx`)).status, 200);
  t.deepEqual(
    (await local().list('cm')).items.map(item => item.metadata.name),
    ['b'],
  );
});

test('every client finds all that was acknowledged after kill -9, and its watches go on', async t => {
  const directory = scratch(t);
  const socket = join(directory, 'api.sock');
  const kubeconfig = join(directory, 'kubeconfig');
  const child = new URL('./main.child.ts', import.meta.url).pathname;
  const start = async () => {
    const args = ['--state', join(directory, 'state'), '--socket', socket, '--port', '0'];
    const server = spawn(
      process.execPath,
      ['--import=tsx', child, ...args, '--kubeconfig-out', kubeconfig, '--log-level', 'info'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    t.teardown(() => server.kill('SIGKILL'));
    await new Promise<void>((resolve, reject) => {
      server.stderr.on('data', text => /msg="serving"/.test(String(text)) && resolve());
      server.once('exit', () => reject(new Error('the server ended')));
    });
    return server;
  };
  let server = await start();
  const client = createClient(kubeconfig, { log: silent, timeoutMs: 2000, tuning: { backoffMaxMs: 100 } });
  t.teardown(() => client.close());
  const informer = client.informer<ConfigMap>('cm');
  const seen = new Set<string>();
  let deletions = 0;
  let wake = (): void => {};
  informer.on({
    added: object => {
      seen.add(object.metadata.name);
      wake();
    },
    deleted: () => deletions++,
  });
  await informer.synced;
  const acknowledged: string[] = [];
  for (let round = 0; round < 3; round++) {
    const killed = once(server, 'exit');
    const enough = acknowledged.length + 15;
    const writes = Array.from({ length: 40 }, async (_, n) => {
      const name = `r${round}-n${n}`;
      await client.create(configMap(name)).then(
        () => acknowledged.push(name),
        () => {},
      );
      if (acknowledged.length >= enough) server.kill('SIGKILL');
    });
    await Promise.all(writes);
    await killed;
    server = await start();
    const local = createClient(join(directory, 'local.kubeconfig'));
    const { items } = await local.list('cm');
    local.close();
    const present = new Set(items.map(item => item.metadata.name));
    t.deepEqual(
      acknowledged.filter(name => !present.has(name)),
      [],
    );
    // The version goes on from where it was: the informer needs no new list and misses nothing.
    await client.create(configMap(`last-${round}`));
    while (!seen.has(`last-${round}`)) {
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
    t.deepEqual(
      [...present].filter(name => !seen.has(name)),
      [],
    );
  }
  t.is(deletions, 0);
  server.kill('SIGTERM');
  const [code] = await once(server, 'exit');
  t.is(code, 0);
  t.false(existsSync(join(directory, 'state', 'state.lock')));
});

test('discovery comes whole to who asks for it, in the form that they know', async t => {
  const { socketPath } = await serve(t, scratch(t));
  const form = (version: string): string =>
    `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
  for (const version of ['v2', 'v2beta1']) {
    const accept = `${form(version)},application/json`;
    const answer = await call(socketPath, 'GET', '/apis', undefined, { accept });
    t.is(answer.headers['content-type'], form(version));
    const { items } = answer.json<{
      items: { metadata: { name: string }; versions: { resources: object[] }[] }[];
    }>();
    const cilium = items.find(({ metadata }) => metadata.name === 'cilium.io')!;
    t.true(cilium.versions.every(({ resources }) => resources.length > 0));
  }
  const plain = await call(socketPath, 'GET', '/apis', undefined, { accept: 'application/json' });
  t.is(plain.json<{ kind: string }>().kind, 'APIGroupList');
});

test('OpenAPI says of every kind what it has, and refers to nothing that is not there', async t => {
  const { socketPath } = await serve(t, scratch(t));
  const { paths } = (await call(socketPath, 'GET', '/openapi/v3')).json<{
    paths: Record<string, { serverRelativeURL: string }>;
  }>();
  t.true(Object.hasOwn(paths, 'api/v1') && Object.hasOwn(paths, 'apis/cilium.io/v2alpha1'));
  for (const { serverRelativeURL } of Object.values(paths)) {
    const { body, json } = await call(socketPath, 'GET', serverRelativeURL);
    const { schemas } = json<{ components: { schemas: Record<string, object> } }>().components;
    for (const [, name] of body.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      t.true(Object.hasOwn(schemas, name!), `${serverRelativeURL}: ${name}`);
    }
  }
  t.is((await call(socketPath, 'GET', '/openapi/v3/apis/nonsense/v1')).status, 404);
  t.is((await call(socketPath, 'POST', '/openapi/v2', '{}')).status, 405);
});

test('definitions of kinds are objects that only the release changes', async t => {
  const directory = scratch(t);
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ciliumpodippools.cilium.io';
  const first = await serve(t, directory);
  const seen = (await call(first.socketPath, 'GET', path)).body;
  t.regex(seen, /"Established"/);
  t.is((await call(first.socketPath, 'DELETE', path)).status, 405);
  t.is((await call(first.socketPath, 'PUT', path, seen)).status, 405);
  await first.server.close();
  const second = await serve(t, directory);
  t.is((await call(second.socketPath, 'GET', path)).body, seen);
});
