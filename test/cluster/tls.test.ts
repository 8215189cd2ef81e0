import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { silent } from '../../src/base/log.ts';
import { createClient } from '../../src/cluster/index.ts';
import { configMap, sendStatus, testFolder } from './fake.ts';

/** Makes `NAME.crt` and `NAME.key`, signed by `by` or by itself. */
function certificate(folder: string, name: string, by?: string): void {
  const run = (...args: string[]): Buffer => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-subj', `/O=fimbria/CN=${name}`];
  if (by === undefined) {
    run('req', '-x509', '-days', '2', ...key, '-out', `${name}.crt`);
    return;
  }
  run('req', ...key, '-out', `${name}.csr`);
  writeFileSync(join(folder, 'ext'), 'subjectAltName=IP:127.0.0.1\n');
  const ca = ['-CA', `${by}.crt`, '-CAkey', `${by}.key`, '-CAcreateserial', '-extfile', 'ext', '-days', '2'];
  run('x509', '-req', '-in', `${name}.csr`, ...ca, '-out', `${name}.crt`);
}

async function serve(t: ExecutionContext, server: https.Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('certificates and authorities that were replaced are used from the next refusal on', async t => {
  const folder = testFolder(t);
  const text = (name: string): string => readFileSync(join(folder, name), 'utf8');
  for (const ca of ['ca1', 'ca2']) certificate(folder, ca);
  for (const [name, ca] of [
    ['server1', 'ca1'],
    ['server2', 'ca2'],
    ['alice', 'ca1'],
    ['bob', 'ca1'],
  ] as const)
    certificate(folder, name, ca);
  let allowed = 'alice';
  const seen: string[] = [];
  const tls = { cert: text('server1.crt'), key: text('server1.key'), ca: text('ca1.crt') };
  const server = https.createServer({ ...tls, requestCert: true }, (request, response) => {
    const { CN } = (request.socket as TLSSocket).getPeerCertificate().subject;
    const who = String(CN);
    seen.push(who);
    if (who !== allowed) return sendStatus(response, 401, 'Unauthorized');
    response.end(JSON.stringify(configMap('a', 1)));
  });
  const url = await serve(t, server);
  const install = (from: string, to: string): void => writeFileSync(join(folder, to), text(from));
  install('alice.crt', 'me.crt');
  install('alice.key', 'me.key');
  install('ca1.crt', 'ca.crt');
  const client = createClient(
    {
      server: url,
      caFile: join(folder, 'ca.crt'),
      clientCertificateFile: join(folder, 'me.crt'),
      clientKeyFile: join(folder, 'me.key'),
    },
    { log: silent },
  );
  t.teardown(() => client.close());
  await client.get('cm', 'a');

  allowed = 'bob';
  install('bob.crt', 'me.crt');
  install('bob.key', 'me.key');
  await client.get('cm', 'a');
  t.deepEqual(seen, ['alice', 'alice', 'bob']);

  // We do not know the server any more: nothing was asked yet, so it is tried again with the authority read anew.
  server.setSecureContext({ cert: text('server2.crt'), key: text('server2.key'), ca: text('ca1.crt') });
  install('ca2.crt', 'ca.crt');
  server.closeAllConnections();
  await client.get('cm', 'a');
  t.is(seen.length, 4);
});
