import test from 'ava';
import { HealthServer, parseListenAddress } from '../../src/base/health-server.ts';

test('probes are told what keeps a daemon from its work, and are not told to kill it for that', async t => {
  let why: string | undefined = 'waiting for a block';
  const server = new HealthServer(() => why);
  const port = await server.listen('127.0.0.1:0');
  t.teardown(() => server.close());
  const ask = async (path: string): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return [response.status, await response.text()];
  };
  t.deepEqual(await ask('/healthz'), [503, 'waiting for a block\n']);
  t.deepEqual(await ask('/livez'), [200, 'ok\n']);
  why = undefined;
  t.deepEqual(await ask('/healthz?verbose'), [200, 'ok\n']);
  t.is((await ask('/'))[0], 404);
  await t.throwsAsync(new HealthServer(() => undefined).listen(`127.0.0.1:${port}`), {
    code: 'EADDRINUSE',
    message: /serve health on 127\.0\.0\.1:\d+: .*name another --health-address/,
  });
});

test('a server that never listened closes', async t => {
  await new HealthServer(() => undefined).close();
  t.throws(() => parseListenAddress('9879', 'health address'), {
    code: 'USAGE',
    message: /health address "9879"/,
  });
});
