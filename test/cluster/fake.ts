import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { silent } from '../../src/base/log.ts';
import { type ClientOptions, createClient } from '../../src/cluster/client.ts';
import type { ClusterClient, ClusterConfig, Informer } from '../../src/cluster/types.ts';
import type { ConfigMap, WatchEvent } from '../../src/model/types.ts';

/** Answers one request; the query tells lists from watches. */
export type Script = (query: URLSearchParams, response: ServerResponse, request: IncomingMessage) => void;

/** A server that does what a test says, to show a client what real ones do on bad days. */
export async function fakeServer(
  t: ExecutionContext,
  script: Script,
  options: ClientOptions = {},
  more: Partial<ClusterConfig> = {},
): Promise<ClusterClient> {
  const directory = testFolder(t);
  const socketPath = join(directory, 'api.sock');
  const server = http.createServer((request, response) => {
    script(new URL(request.url ?? '/', 'http://x').searchParams, response, request);
  });
  server.listen(socketPath);
  await once(server, 'listening');
  const client = createClient(
    { server: `unix://${socketPath}`, ...more },
    { log: silent, tuning: { backoffBaseMs: 1, backoffMaxMs: 5 }, ...options },
  );
  t.teardown(async () => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return client;
}

/** A folder that goes with the test. */
export function testFolder(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'fimbria-test-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A ConfigMap whose `data.v` is its version. */
export function configMap(name: string, version: number, uid = name): ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default', uid, resourceVersion: String(version) },
    data: { v: String(version) },
  };
}

export function sendList(response: ServerResponse, version: number, items: ConfigMap[], next?: string): void {
  const metadata = { resourceVersion: String(version), ...(next !== undefined && { continue: next }) };
  // Real servers leave kind and apiVersion out of the items of lists.
  const bare = items.map(({ kind: _kind, apiVersion: _apiVersion, ...item }) => item);
  response.end(JSON.stringify({ kind: 'ConfigMapList', apiVersion: 'v1', metadata, items: bare }));
}

export function sendEvent(response: ServerResponse, type: WatchEvent['type'], object: unknown): void {
  response.write(`${JSON.stringify({ type, object })}\n`);
}

export function sendStatus(response: ServerResponse, code: number, reason: string, message = reason): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, message, code }),
  );
}

/** What an informer reported, and how to wait for more. */
export function follow(informer: Informer<ConfigMap>): {
  events: string[];
  until(event: string): Promise<void>;
} {
  const events: string[] = [];
  let wake = (): void => {};
  const note = (what: string) => (object: ConfigMap) => {
    events.push(`${what} ${object.metadata.name}@${object.data?.['v']}`);
    wake();
  };
  informer.on({ added: note('+'), updated: note('~'), deleted: note('-') });
  return {
    events,
    async until(event) {
      while (!events.includes(event)) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    },
  };
}
