import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { createClient, formatKubeconfig, inClusterConfig, loadKubeconfig } from '../../src/cluster/index.ts';
import { splitLines } from '../../src/cluster/lines.ts';
import { configMap, fakeServer, sendStatus } from './fake.ts';

test('answers become errors with a stable code', async t => {
  const cases: [http: number, reason: string, code: string][] = [
    [404, 'NotFound', 'NOT_FOUND'],
    [409, 'AlreadyExists', 'ALREADY_EXISTS'],
    [409, 'Conflict', 'CONFLICT'],
    [410, 'Expired', 'GONE'],
    [422, 'Invalid', 'INVALID'],
    [400, 'BadRequest', 'INVALID'],
    [401, 'Unauthorized', 'FORBIDDEN'],
    [403, 'Forbidden', 'FORBIDDEN'],
    [429, 'TooManyRequests', 'UNAVAILABLE'],
    [500, 'InternalError', 'UNAVAILABLE'],
  ];
  let next = 0;
  const client = await fakeServer(t, (_query, response) => {
    const [code, reason] = cases[next++]!;
    sendStatus(response, code, reason, `because of ${reason}`);
  });
  for (const [, reason, code] of cases) {
    const error = await t.throwsAsync(client.get('cm', 'a'), { instanceOf: FimbriaError });
    t.is(error?.code, code);
    t.is(error?.message, `get configmap default/a: because of ${reason}`);
  }
});

test('a server that is away, silent or hangs up is unavailable', async t => {
  const away = createClient({ server: 'unix:///nonexistent/api.sock' });
  t.is((await t.throwsAsync(away.get('cm', 'a'), { instanceOf: FimbriaError }))?.code, 'UNAVAILABLE');
  away.close();
  const silentServer = await fakeServer(t, () => {}, { timeoutMs: 50 });
  const late = await t.throwsAsync(silentServer.get('cm', 'a'), { instanceOf: FimbriaError });
  t.is(late?.code, 'UNAVAILABLE');
  t.regex(late?.message ?? '', /timed out after 50 ms/);
  const rude = await fakeServer(t, (_query, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{"half":');
    setImmediate(() => response.destroy());
  });
  t.is((await t.throwsAsync(rude.get('cm', 'a'), { instanceOf: FimbriaError }))?.code, 'UNAVAILABLE');
});

test('requests carry what the caller asked for', async t => {
  const seen: string[] = [];
  const client = await fakeServer(
    t,
    (_query, response, request) => {
      seen.push(`${request.method} ${request.url} ${request.headers['content-type'] ?? ''}`.trim());
      response.end(JSON.stringify(configMap('a', 1)));
    },
    { userAgent: 'tester/1' },
  );
  await client.get('cm', 'a', 'ns');
  await client.create(configMap('a', 1), { dryRun: true });
  await client.update(configMap('a', 1), { subresource: 'status' });
  await client.patch('node', 'n/1', [], { type: 'json', fieldManager: 'other' });
  await client.delete('ciliumnode', 'n1');
  t.deepEqual(seen, [
    'GET /api/v1/namespaces/ns/configmaps/a',
    'POST /api/v1/namespaces/default/configmaps?fieldManager=tester&dryRun=All application/json',
    'PUT /api/v1/namespaces/default/configmaps/a/status?fieldManager=tester application/json',
    'PATCH /api/v1/nodes/n%2F1?fieldManager=other application/json-patch+json',
    'DELETE /apis/cilium.io/v2/ciliumnodes/n1 application/json',
  ]);
});

test('unknown kinds are refused without asking', async t => {
  const client = createClient({ server: 'unix:///nonexistent' });
  const error = await t.throwsAsync(client.get('gizmo', 'a'), { instanceOf: FimbriaError });
  t.is(error?.code, 'NOT_FOUND');
  client.close();
});

test('a kubeconfig is read as kubectl reads it', t => {
  const directory = mkdtempSync(join(tmpdir(), 'fimbria-test-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'config');
  const config = { server: 'https://127.0.0.1:6443', ca: 'PEM\n', token: 'secret', namespace: 'team' };
  writeFileSync(path, formatKubeconfig('lab', config));
  t.deepEqual(loadKubeconfig(path), config);
  writeFileSync(join(directory, 'ca.crt'), 'FILE\n');
  writeFileSync(
    path,
    `current-context: b
contexts: [{name: a, context: {cluster: x}}, {name: b, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://h", certificate-authority: ca.crt, tls-server-name: n}}]
users: [{name: u, user: {tokenFile: token}}]
`,
  );
  t.deepEqual(loadKubeconfig(path), {
    server: 'https://h',
    caFile: join(directory, 'ca.crt'),
    tlsServerName: 'n',
    tokenFile: join(directory, 'token'),
  });
  const failure = (text: string): string => {
    writeFileSync(path, text);
    const error = t.throws(() => loadKubeconfig(path), { instanceOf: FimbriaError });
    t.is(error?.code, 'INVALID');
    return error?.message ?? '';
  };
  t.regex(failure('current-context: nowhere'), /no context named "nowhere"/);
  t.regex(failure('{"'), /read kubeconfig/);
  t.regex(failure('contexts: [{name: a, context: {cluster: x}}]\ncurrent-context: a'), /names no cluster/);
  const missing = t.throws(() => loadKubeconfig(join(directory, 'none')), { instanceOf: FimbriaError });
  t.is(missing?.code, 'NOT_FOUND');
});

test('a Pod finds its cluster', t => {
  const directory = mkdtempSync(join(tmpdir(), 'fimbria-test-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of [
    ['token', 't'],
    ['ca.crt', 'PEM'],
    ['namespace', 'ns\n'],
  ] as const) {
    writeFileSync(join(directory, name), text);
  }
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
  t.deepEqual(inClusterConfig(env, directory), {
    server: 'https://[fd00::1]:6443',
    caFile: join(directory, 'ca.crt'),
    tokenFile: join(directory, 'token'),
    namespace: 'ns',
  });
  t.is(inClusterConfig({}, directory), undefined);
});

test('lines are whole, however the bytes are cut', async t => {
  const text = '{"a":"ü"}\n\n{"b":2}\n';
  const bytes = Buffer.from(text);
  for (let size = 1; size <= bytes.length; size++) {
    const chunks = (async function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    })();
    const lines: string[] = [];
    for await (const line of splitLines(chunks)) lines.push(line);
    t.deepEqual(lines, ['{"a":"ü"}', '{"b":2}']);
  }
});
