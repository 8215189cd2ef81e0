import { createServer, type Server } from 'node:http';
import { codeOf, FimbriaError, messageOf } from '../errors.ts';
import { parseListenAddress } from '../health-server.ts';
import type { Logger } from '../log.ts';
import { METRICS_CONTENT_TYPE } from './text.ts';

/** How long a scraper may take for its request and our answer. */
const REQUEST_TIMEOUT_MS = 10_000;

/** Serves `GET /metrics` on a TCP port for as long as it is open. */
export class MetricsServer {
  readonly #server: Server;

  /** @param read makes the text anew for each scrape */
  constructor(read: () => string, log: Logger) {
    this.#server = createServer((request, response) => {
      if (request.url?.split('?')[0] !== '/metrics') {
        response.writeHead(404, { 'content-type': 'text/plain' }).end('see /metrics\n');
        return;
      }
      try {
        const text = read();
        response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(text);
      } catch (error) {
        log.error('could not answer a scrape', { error });
        response.writeHead(500, { 'content-type': 'text/plain' }).end('see the log\n');
      }
    });
    this.#server.requestTimeout = REQUEST_TIMEOUT_MS;
  }

  /** @returns the port. @throws FimbriaError when it is taken */
  async listen(address: string): Promise<number> {
    const where = parseListenAddress(address, 'metrics address');
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', error =>
        reject(
          new FimbriaError({
            code: codeOf(error) ?? 'LISTEN',
            op: 'serve metrics on',
            object: address,
            why: messageOf(error),
            hint: 'name another --metrics-address',
            cause: error,
          }),
        ),
      );
      this.#server.listen(where, resolve);
    });
    const bound = this.#server.address();
    return typeof bound === 'object' && bound ? bound.port : where.port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }
}
