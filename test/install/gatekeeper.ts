import { once } from 'node:events';
import http from 'node:http';
import type { ExecutionContext } from 'ava';
import type { Rights } from '../../src/install/manifests/rbac.ts';
import { accessOf, rightFor } from './rights.ts';

/** Who asks, and where it is installed. */
export interface Guarded {
  /** What its User-Agent begins with. */
  userAgent: string;
  rights: Rights;
  home: string;
}

/**
 * Stands before an API server on a unix socket and lets through only what an installation's rights allow, as RBAC does;
 * requests of others pass. Notes which rights were used, and what was refused.
 */
export class Gatekeeper {
  readonly used = new Set<string>();
  readonly refused = new Set<string>();
  /** Watches bring everything so much later: whoever cannot wait has to ask. */
  watchDelayMs = 0;
  #wake = (): void => {};
  readonly #awaited: { resource: string; text: string; resolve: () => void }[] = [];

  /** Resolves at the next request that was allowed. */
  next(): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve;
    });
  }

  /** Listens on `socketPath` and passes on to `serverPath` until the test ends. */
  static async start(
    t: ExecutionContext,
    socketPath: string,
    serverPath: string,
    guarded: Guarded,
  ): Promise<Gatekeeper> {
    const keeper = new Gatekeeper();
    const server = http.createServer((request, response) =>
      keeper.#pass(request, response, serverPath, guarded),
    );
    server.listen(socketPath);
    await once(server, 'listening');
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    return keeper;
  }

  /** Resolves when a late watch has brought an object of this name. */
  passed(resource: string, name: string): Promise<void> {
    return new Promise(resolve => this.#awaited.push({ resource, text: `"name":"${name}"`, resolve }));
  }

  #late(response: http.ServerResponse, resource: string, chunk: Buffer): void {
    response.write(chunk);
    const text = chunk.toString('utf8');
    for (const awaited of this.#awaited)
      if (awaited.resource === resource && text.includes(awaited.text)) awaited.resolve();
  }

  #pass(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    serverPath: string,
    { userAgent, rights, home }: Guarded,
  ): void {
    const { method = 'GET', url = '/', headers } = request;
    const access = accessOf(method, url);
    if (access !== undefined && headers['user-agent']?.startsWith(userAgent)) {
      const right = rightFor(rights, access, home);
      if (right === undefined) {
        this.refused.add(`${access.verb} ${access.resource} in ${access.namespace ?? 'cluster'}`);
        response.writeHead(403, { 'content-type': 'application/json' });
        response.end(
          JSON.stringify({ kind: 'Status', code: 403, reason: 'Forbidden', message: 'forbidden' }),
        );
        return;
      }
      this.used.add(right);
      this.#wake();
    }
    const onward = http.request({ socketPath: serverPath, method, path: url, headers }, answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      response.flushHeaders();
      answer.on('data', (chunk: Buffer) => {
        if (access?.verb !== 'watch' || this.watchDelayMs === 0) response.write(chunk);
        else setTimeout(() => this.#late(response, access.resource, chunk), this.watchDelayMs);
      });
      answer.on('end', () => response.end());
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  }
}
