import { createServer, type Server } from 'node:http';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

/** What load balancers ask a node about one Service of external traffic policy Local. */
export interface ServiceHealth {
  /** `NAMESPACE/NAME` */
  name: string;
  nodePort: number;
  /** Ready endpoints on this node. */
  localReady: number;
}

/**
 * Answers on `healthCheckNodePort` of each Service that has one, as kube-proxy does: 200 while this node has a ready
 * endpoint, else 503. A port that is taken is told and tried again with the next change.
 */
export class ServiceHealthServers {
  readonly #servers = new Map<number, Server>();
  readonly #state = new Map<number, ServiceHealth>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Replaces what is served. */
  update(checks: readonly ServiceHealth[]): void {
    this.#state.clear();
    for (const check of checks) this.#state.set(check.nodePort, check);
    for (const [port, server] of this.#servers) {
      if (this.#state.has(port)) continue;
      this.#servers.delete(port);
      server.close();
      server.closeAllConnections();
    }
    for (const port of this.#state.keys()) if (!this.#servers.has(port)) this.#listen(port);
  }

  close(): void {
    this.update([]);
  }

  #listen(port: number): void {
    const server = createServer((_, response) => {
      const { name = '', localReady = 0 } = this.#state.get(port) ?? {};
      const [namespace, service] = name.split('/');
      response.writeHead(localReady > 0 ? 200 : 503, { 'content-type': 'application/json' });
      response.end(
        `${JSON.stringify({ service: { namespace, name: service }, localEndpoints: localReady, serviceProxyHealthy: true })}\n`,
      );
    });
    this.#servers.set(port, server);
    server.on('error', error => {
      if (this.#servers.get(port) === server) this.#servers.delete(port);
      this.#log.warn('cannot serve the health check of a service', { port, error: messageOf(error) });
    });
    server.listen(port, '0.0.0.0');
    // An agent that stops does not wait for load balancers.
    server.unref();
  }
}
