import test from 'ava';
import { ServiceHealthServers } from '../../src/agent/service-health.ts';
import { silent } from '../../src/base/log.ts';
import { freePort } from '../../src/lab/daemons.ts';

test('a health check says whether this node has a ready endpoint, and goes with its service', async t => {
  const servers = new ServiceHealthServers(silent);
  t.teardown(() => servers.close());
  const nodePort = await freePort();
  const url = `http://127.0.0.1:${nodePort}/`;
  const asked = async (): Promise<[number, unknown]> => {
    const response = await fetch(url, { headers: { connection: 'close' } });
    return [response.status, await response.json()];
  };
  const service = { namespace: 'default', name: 'web' };
  servers.update([{ name: 'default/web', nodePort, localReady: 2 }]);
  t.deepEqual(await asked(), [200, { service, localEndpoints: 2, serviceProxyHealthy: true }]);
  servers.update([{ name: 'default/web', nodePort, localReady: 0 }]);
  t.deepEqual(await asked(), [503, { service, localEndpoints: 0, serviceProxyHealthy: true }]);
  servers.update([]);
  await t.throwsAsync(fetch(url));
});
