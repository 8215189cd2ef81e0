import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type ApiServer, type ApiServerOptions, startApiServer } from '../../src/apiserver/server.ts';
import { silent } from '../../src/base/log.ts';
import { type ClientOptions, createClient } from '../../src/cluster/client.ts';
import type { ClusterClient } from '../../src/cluster/types.ts';

export const TOKEN = 'token-of-the-test';

/** A folder of its own that goes with the test. */
export function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'fimbria-test-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export interface TestServer {
  server: ApiServer;
  socketPath: string;
  /** A client over the unix socket. */
  local(options?: ClientOptions): ClusterClient;
  /** A client over TLS. */
  secure(options?: ClientOptions): ClusterClient;
}

/** A server with its state in `directory`. Everything ends with the test. */
export async function serve(
  t: ExecutionContext,
  directory: string,
  options: Partial<ApiServerOptions> = {},
): Promise<TestServer> {
  const socketPath = join(directory, 'api.sock');
  const server = await startApiServer({
    stateFile: join(directory, 'state'),
    socketPath,
    address: '127.0.0.1',
    port: 0,
    certDir: directory,
    tokens: { admin: TOKEN },
    log: silent,
    ...options,
  });
  t.teardown(() => server.close());
  const client = (config: Parameters<typeof createClient>[0], more: ClientOptions = {}): ClusterClient => {
    const made = createClient(config, { log: silent, ...more });
    t.teardown(() => made.close());
    return made;
  };
  return {
    server,
    socketPath,
    local: more => client({ server: `unix://${socketPath}` }, more),
    secure: more => client({ server: server.url, ca: server.ca, token: TOKEN }, more),
  };
}
