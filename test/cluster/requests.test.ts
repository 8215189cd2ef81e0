import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { retryAfterMs } from '../../src/cluster/requests.ts';
import type { ConfigMap } from '../../src/model/types.ts';
import { configMap, fakeServer, follow, sendEvent, sendList, sendStatus, testFolder } from './fake.ts';

test('an overloaded server is asked again when it wants to be', async t => {
  const askedAtMs: number[] = [];
  const answers = [429, 503, 429, 200];
  const client = await fakeServer(t, (_query, response) => {
    askedAtMs.push(performance.now());
    const code = answers[askedAtMs.length - 1]!;
    if (code === 200) return void response.end(JSON.stringify(configMap('a', 1)));
    response.setHeader('retry-after', askedAtMs.length === 1 ? '1' : '0');
    sendStatus(response, code, 'TooManyRequests');
  });
  // Not even a write is lost by that: what was refused has not been done.
  await client.create(configMap('a', 1));
  t.is(askedAtMs.length, 4);
  t.true(askedAtMs[1]! - askedAtMs[0]! >= 999);
  t.deepEqual(client.calls(), [
    { method: 'POST', returnCode: '429', count: 2 },
    { method: 'POST', returnCode: '503', count: 1 },
    { method: 'POST', returnCode: '200', count: 1 },
  ]);
});

test('patience ends where the answer would come too late, and the error says for how long', async t => {
  let asked = 0;
  const client = await fakeServer(t, (_query, response) => {
    asked++;
    response.setHeader('retry-after', '60');
    sendStatus(response, 429, 'TooManyRequests', 'too many requests');
  });
  const error = await t.throwsAsync(client.get('cm', 'a'), { instanceOf: FimbriaError });
  t.is(error?.code, 'UNAVAILABLE');
  t.is(error?.retryAfterMs, 60_000);
  t.is(asked, 1);
});

test('a server that always asks for patience is not asked for ever', async t => {
  let asked = 0;
  const client = await fakeServer(t, (_query, response) => {
    asked++;
    response.setHeader('retry-after', '0');
    sendStatus(response, 503, 'ServiceUnavailable');
  });
  await t.throwsAsync(client.get('cm', 'a'), { instanceOf: FimbriaError });
  t.is(asked, 11);
});

test('an error that asks for no patience is told at once, writes are not repeated', async t => {
  let asked = 0;
  const client = await fakeServer(t, (_query, response) => {
    asked++;
    sendStatus(response, 500, 'InternalError');
  });
  await t.throwsAsync(client.create(configMap('a', 1)), { instanceOf: FimbriaError });
  t.is(asked, 1);
});

test('Retry-After is seconds or a date', t => {
  t.is(retryAfterMs({ 'retry-after': '3' }), 3000);
  t.is(retryAfterMs({ 'retry-after': 'soon' }), undefined);
  t.is(retryAfterMs({}), undefined);
  t.is(retryAfterMs({ 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }), 0);
});

test('a token that was replaced is used at once when the old one is refused', async t => {
  const file = join(testFolder(t), 'token');
  const seen: (string | undefined)[] = [];
  let valid = 'first';
  const client = await fakeServer(
    t,
    (_query, response, request) => {
      seen.push(request.headers.authorization);
      if (request.headers.authorization !== `Bearer ${valid}`)
        return sendStatus(response, 401, 'Unauthorized');
      response.end(JSON.stringify(configMap('a', 1)));
    },
    {},
    { tokenFile: file },
  );
  writeFileSync(file, 'first\n');
  await client.get('cm', 'a');
  valid = 'second';
  writeFileSync(`${file}.new`, 'second\n');
  renameSync(`${file}.new`, file);
  await client.get('cm', 'a');
  t.deepEqual(seen, ['Bearer first', 'Bearer first', 'Bearer second']);
  // Nothing new to try: refused, once.
  valid = 'third';
  t.is((await t.throwsAsync(client.get('cm', 'a'), { instanceOf: FimbriaError }))?.code, 'FORBIDDEN');
  t.is(seen.length, 4);
  // The file is away for a moment: what was read last goes on.
  rmSync(file);
  valid = 'second';
  await client.get('cm', 'a');
  t.is(seen.at(-1), 'Bearer second');
});

test('a watch begins with the new token, too', async t => {
  const file = join(testFolder(t), 'token');
  writeFileSync(file, 'old');
  let valid = 'old';
  const client = await fakeServer(
    t,
    (query, response, request) => {
      if (request.headers.authorization !== `Bearer ${valid}`)
        return sendStatus(response, 401, 'Unauthorized');
      if (!query.has('watch')) {
        // Between list and watch the token is replaced.
        valid = 'new';
        writeFileSync(file, 'new');
        return sendList(response, 5, []);
      }
      sendEvent(response, 'ADDED', configMap('a', 6));
    },
    { tuning: { backoffBaseMs: 3_600_000, backoffMaxMs: 3_600_000 } },
    { tokenFile: file },
  );
  const { until } = follow(client.informer<ConfigMap>('cm'));
  await until('+ a@6');
  t.pass();
});

test('a token file that is not there is an error of its own name', async t => {
  const client = await fakeServer(t, () => t.fail(), {}, { tokenFile: '/nonexistent/token' });
  const error = await t.throwsAsync(client.get('cm', 'a'), { instanceOf: FimbriaError });
  t.regex(error?.message ?? '', /\/nonexistent\/token/);
});
