import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { codeOf, FimbriaError, messageOf } from './errors.ts';

/** How long a prober may take for its request and our answer. */
const REQUEST_TIMEOUT_MS = 5_000;

/** `:9879`, `127.0.0.1:9879` or `[::1]:9879` as what `listen` takes. @throws FimbriaError USAGE */
export function parseListenAddress(text: string, what = 'address'): { host?: string; port: number } {
  const match = /^(?:\[([0-9a-f:]+)\]|([\w.-]*)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new FimbriaError({
      code: 'USAGE',
      op: 'use',
      object: `${what} "${text}"`,
      why: 'it is not [ADDRESS]:PORT',
      hint: 'for example :9962 or 127.0.0.1:9962',
    });
  }
  const host = match[1] ?? match[2];
  return { ...(host ? { host } : {}), port };
}

/**
 * What a kubelet probes. `GET /livez` answers 200 for as long as the process works at all, whatever it waits for: to be
 * killed would not help it. `GET /healthz` answers 200 when it does its work, else 503 and why not.
 */
export class HealthServer {
  readonly #server: Server;

  /** @param why what keeps it from its work; undefined when nothing does. Called for each request */
  constructor(why: () => string | undefined) {
    this.#server = createServer((request, response) => {
      const path = request.url?.split('?')[0];
      const problem = path === '/healthz' ? why() : undefined;
      const known = path === '/healthz' || path === '/livez';
      response
        .writeHead(known ? (problem === undefined ? 200 : 503) : 404, { 'content-type': 'text/plain' })
        .end(known ? `${problem ?? 'ok'}\n` : 'see /healthz and /livez\n');
    });
    this.#server.requestTimeout = REQUEST_TIMEOUT_MS;
  }

  /** @returns the port. @throws FimbriaError when it is taken */
  async listen(address: string): Promise<number> {
    const where = parseListenAddress(address, 'health address');
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', error =>
        reject(
          new FimbriaError({
            code: codeOf(error) ?? 'LISTEN',
            op: 'serve health on',
            object: address,
            why: messageOf(error),
            hint: 'name another --health-address',
            cause: error,
          }),
        ),
      );
      this.#server.listen(where, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }
}
