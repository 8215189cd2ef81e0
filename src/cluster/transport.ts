import http from 'node:http';
import https from 'node:https';
import { Credentials } from './credentials.ts';
import type { ClusterConfig } from './types.ts';

export interface TransportRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Absolute path with query. */
  path: string;
  body?: string;
  contentType?: string;
  accept?: string;
}

export interface TransportResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
}

const TCP_KEEPALIVE_MS = 15_000;

/** HTTP(S) to one API server, over TCP or a unix socket. Keeps connections open between requests. */
export class Transport {
  readonly #credentials: Credentials;
  readonly #userAgent: string;
  readonly #agent: http.Agent;
  readonly #target: http.RequestOptions;
  readonly #secure: boolean;

  /** @throws TypeError when the server's URL cannot be read */
  constructor(config: ClusterConfig, userAgent: string) {
    this.#credentials = new Credentials(config);
    this.#userAgent = userAgent;
    const url = new URL(config.server);
    if (url.username || url.password) throw new TypeError('the address must not name a user; use a token');
    this.#secure = url.protocol === 'https:';
    const keep = { keepAlive: true, keepAliveMsecs: TCP_KEEPALIVE_MS };
    if (url.protocol === 'unix:') {
      this.#target = { socketPath: decodeURIComponent(url.pathname), host: 'localhost' };
      this.#agent = new http.Agent(keep);
    } else if (this.#secure) {
      this.#target = { host: bare(url.hostname), port: url.port || 443 };
      this.#agent = new https.Agent({
        ...keep,
        ...(config.tlsServerName !== undefined && { servername: config.tlsServerName }),
        rejectUnauthorized: config.insecureSkipTlsVerify !== true,
      });
    } else if (url.protocol === 'http:') {
      this.#target = { host: bare(url.hostname), port: url.port || 80 };
      this.#agent = new http.Agent(keep);
    } else {
      throw new TypeError('the address must begin with https://, http:// or unix://');
    }
  }

  /** Sends and reads the whole answer. Rejects when there is none within `timeoutMs`, the rest of `wholeMs`. */
  async request(
    request: TransportRequest,
    timeoutMs: number,
    wholeMs = timeoutMs,
  ): Promise<TransportResponse> {
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      return await this.#exchange(request, signal);
    } catch (error) {
      // The server may have closed an idle connection in the moment in which we picked it. Only what changes nothing
      // may be sent twice.
      if (request.method === 'GET' && error instanceof StaleConnection) {
        return await this.#exchange(request, signal);
      }
      throw signal.aborted ? new Error(`timed out after ${wholeMs} ms`) : error;
    }
  }

  /** Sends and resolves at the answer's head. The caller reads or destroys the message; aborting destroys it too. */
  stream(request: TransportRequest, signal: AbortSignal): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = this.#send(request, signal);
      // A watch holds its connection for minutes: it must not be found dead only by the next write.
      sent.on('socket', socket => socket.setKeepAlive(true, TCP_KEEPALIVE_MS));
      sent.on('response', resolve);
      sent.on('error', error =>
        reject(sent.reusedSocket ? new StaleConnection(error.message, { cause: error }) : error),
      );
      sent.end(request.body);
    });
  }

  /** Reads tokens and certificates anew; true when they have changed. */
  reloadCredentials(): boolean {
    return this.#credentials.reload();
  }

  /** A text that a server sent, without the token that it may have been sent. */
  redact(text: string): string {
    return this.#credentials.redact(text);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange(request: TransportRequest, signal: AbortSignal): Promise<TransportResponse> {
    const response = await this.stream(request, signal);
    response.setEncoding('utf8');
    let body = '';
    for await (const chunk of response) body += chunk;
    if (!response.complete) throw new Error('the connection ended before the answer did');
    return { status: response.statusCode ?? 0, headers: response.headers, body };
  }

  #send(request: TransportRequest, signal: AbortSignal): http.ClientRequest {
    const token = this.#credentials.bearer();
    const headers: http.OutgoingHttpHeaders = {
      accept: request.accept ?? 'application/json',
      'user-agent': this.#userAgent,
    };
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (request.body !== undefined) {
      headers['content-type'] = request.contentType ?? 'application/json';
      headers['content-length'] = Buffer.byteLength(request.body);
    }
    const options: https.RequestOptions = {
      ...this.#target,
      // The agent keeps connections of different certificates apart: after a change there is a new one.
      ...(this.#secure && this.#credentials.tls()),
      method: request.method,
      path: request.path,
      agent: this.#agent,
      headers,
      signal,
    };
    return this.#secure ? https.request(options) : http.request(options);
  }
}

/** The connection had been used before, so the request may never have reached the server. */
class StaleConnection extends Error {}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}
