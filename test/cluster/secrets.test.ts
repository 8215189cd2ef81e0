import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import test from 'ava';
import { createLogger } from '../../src/base/log.ts';
import { createClient, loadKubeconfig } from '../../src/cluster/index.ts';
import type { ConfigMap } from '../../src/model/types.ts';
import { configMap, fakeServer, testFolder } from './fake.ts';

const TOKEN = 'eyJhbGciOiJSUzI1NiJ9.c2VjcmV0LXRva2Vu.c2lnbmF0dXJl';
const KEY = '-----BEGIN PRIVATE KEY-----\nc2VjcmV0LWtleQ==\n-----END PRIVATE KEY-----\n';
const SECRETS = [TOKEN, 'c2VjcmV0LWtleQ', 'hunter2', Buffer.from(KEY).toString('base64')];

/** Whatever a crash, a logger or a debugger would show of a value. */
function shown(value: unknown): string {
  const error = value instanceof Error ? [value.message, value.stack, value.cause] : [];
  return [inspect(value, { depth: 10, showHidden: true, getters: true }), JSON.stringify(value), ...error]
    .map(part => (typeof part === 'string' ? part : inspect(part, { depth: 10 })))
    .join('\n');
}

const tells = (text: string): string[] => SECRETS.filter(secret => text.includes(secret));

test('a kubeconfig that cannot be read is not quoted', t => {
  const path = join(testFolder(t), 'config');
  const good = (user: string): string =>
    `current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: "https://h"}}]\n${user}\n`;
  const texts = [
    good(`users: [{name: u, user: {token: ${TOKEN}}]`),
    good(`users:\n- name: u\n  user:\n    token: ${TOKEN}\n   bad: 1`),
    good(`users:\n- name: u\n  user:\n    token: "${TOKEN}\n`),
    good(`users:\n- name: u\n  user:\n    token: !${TOKEN} x\n    exec: {}`),
    good(`users:\n- name: u\n  user:\n    token: *${TOKEN}`),
    good(`users: [{name: u, user: {token: ${TOKEN}, exec: {env: [{name: PASSWORD, value: hunter2}]}}}]`),
    `${TOKEN}: : :\n- ${TOKEN}`,
    good(
      `users: [{name: u, user: {client-key-data: ${Buffer.from(KEY).toString('base64')}, client-certificate: ${path}.none}}]`,
    ),
  ];
  for (const text of texts) {
    writeFileSync(path, text);
    const error = t.throws(() => loadKubeconfig(path), undefined, text);
    t.deepEqual(tells(shown(error)), [], error?.message);
    t.regex(error?.message ?? '', /^read kubeconfig \//);
  }
});

test('a server address with a password is refused without it', t => {
  for (const server of [
    'https://admin:hunter2@10.0.0.1',
    'http://hunter2@h',
    'ftp://a:hunter2@h',
    'hunter2@h:1',
  ]) {
    const error = t.throws(() => createClient({ server, token: TOKEN }));
    t.deepEqual(tells(shown(error)), [], error?.message);
  }
});

test('neither a client nor its errors show a token, not even where the server sends it back', async t => {
  const lines: string[] = [];
  const log = createLogger('debug', line => lines.push(line));
  const answers = [
    [401, () => 'Unauthorized'],
    [403, (sent: string) => sent],
    [500, (sent: string) => `<html>your request was: ${sent}</html>`],
    [
      400,
      (sent: string) => JSON.stringify({ kind: 'Status', message: `bad ${sent}`, reason: sent, code: 400 }),
    ],
    [200, (sent: string) => JSON.stringify({ type: 'ERROR', object: { code: 500, message: sent } })],
  ] as const;
  let nth = 0;
  const client = await fakeServer(
    t,
    (query, response, request) => {
      if (query.has('resourceVersion')) {
        response.end(`${answers[4][1](request.headers.authorization ?? '')}\n`);
        return;
      }
      if (query.has('limit')) return void response.end('{"metadata":{"resourceVersion":"1"},"items":[]}');
      const [status, body] = answers[nth++ % 4]!;
      response.statusCode = status;
      response.end(body(request.headers.authorization ?? ''));
    },
    { log },
    { token: TOKEN, clientKey: KEY },
  );
  t.deepEqual(tells(shown(client)), []);
  for (let i = 0; i < 8; i++) {
    const error = await t.throwsAsync(i % 2 ? client.create(configMap('a', 1)) : client.get('cm', 'a'));
    t.deepEqual(tells(shown(error)), [], error?.message);
  }
  const informer = client.informer<ConfigMap>('cm');
  await informer.synced;
  while (lines.length === 0) await new Promise(setImmediate);
  t.deepEqual(tells(shown(informer)), []);
  t.deepEqual(tells(lines.join('\n')), []);
});

test('a token that is no header is not quoted either', async t => {
  const client = createClient({ server: 'http://127.0.0.1:1', token: `${TOKEN}\n${TOKEN}` });
  t.teardown(() => client.close());
  const error = await t.throwsAsync(client.get('cm', 'a'));
  t.deepEqual(tells(shown(error)), []);
});
