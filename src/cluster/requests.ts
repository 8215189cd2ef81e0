import { type IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, FimbriaError } from '../base/errors.ts';
import { CallCounter } from './calls.ts';
import { refused, unreachable } from './errors.ts';
import { Transport, type TransportRequest, type TransportResponse } from './transport.ts';
import type { ClusterConfig } from './types.ts';

/** A server that asks for patience gets it so often; then the caller hears of it. */
const MOST_RETRIES = 10;
/** What Node calls the failures of a handshake: nothing has been asked by then. */
const HANDSHAKE = /^(ERR_(SSL|TLS)_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_)/;

/**
 * Requests to one API server, and what they become: parsed answers, or FimbriaErrors. An overloaded server (429 or 5xx
 * with Retry-After) is asked again when it wants to be, within the time that an answer may take; one that does not know us
 * (401) or that we do not know is asked once more with files read anew. Neither has done anything by then.
 */
export class Requests {
  readonly calls = new CallCounter();
  readonly #config: ClusterConfig;
  readonly #transport: Transport;
  readonly #timeouts: { readMs: number; writeMs: number };

  /** @throws FimbriaError INVALID when the server's URL cannot be used */
  constructor(config: ClusterConfig, userAgent: string, timeouts: { readMs: number; writeMs: number }) {
    this.#config = config;
    this.#timeouts = timeouts;
    try {
      this.#transport = new Transport(config, userAgent);
    } catch (error) {
      throw new FimbriaError({
        code: 'INVALID',
        op: 'connect to',
        object: 'cluster',
        why: error instanceof TypeError && !('input' in error) ? error.message : 'its address is no URL',
        hint: 'name a server such as https://10.0.0.1:6443',
      });
    }
  }

  /** What a server sent, without the token that it may have been sent: for messages. */
  redact(text: string): string {
    return this.#transport.redact(text);
  }

  /** The parsed answer. `op` and `object` are for messages. */
  async json<T>(op: string, object: string, request: TransportRequest): Promise<T> {
    const { status, headers, body } = await this.#patiently(op, object, request);
    if (status < 200 || status > 299)
      throw refused(op, object, status, this.redact(body), retryAfterMs(headers));
    try {
      return JSON.parse(body) as T;
    } catch {
      // Only the health checks answer in words.
      return body as T;
    }
  }

  /** An answer that goes on. The caller reads or destroys it; aborting destroys it too. */
  async stream(
    op: string,
    object: string,
    request: TransportRequest,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const response = await this.#known(
      op,
      object,
      'GET',
      () => this.#transport.stream(request, signal),
      answer => answer.statusCode ?? 0,
    );
    if (response.statusCode === 200) return response;
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) body += chunk;
    throw refused(op, object, response.statusCode ?? 0, this.redact(body), retryAfterMs(response.headers));
  }

  close(): void {
    this.#transport.close();
  }

  async #patiently(op: string, object: string, request: TransportRequest): Promise<TransportResponse> {
    const timeoutMs = request.method === 'GET' ? this.#timeouts.readMs : this.#timeouts.writeMs;
    const untilMs = performance.now() + timeoutMs;
    const leftMs = (): number => Math.max(1, Math.round(untilMs - performance.now()));
    for (let retries = 0; ; retries++) {
      const response = await this.#known(
        op,
        object,
        request.method,
        () => this.#transport.request(request, leftMs(), timeoutMs),
        answer => answer.status,
      );
      const { status, headers } = response;
      const waitMs = status === 429 || status >= 500 ? retryAfterMs(headers) : undefined;
      if (waitMs === undefined || retries >= MOST_RETRIES) return response;
      // Never sooner than asked for, and not all at once.
      const jitteredMs = waitMs * (1 + Math.random() / 4);
      if (jitteredMs >= leftMs()) return response;
      await delay(jitteredMs);
    }
  }

  /** Sends, and once more where one side did not take the other for who it is and files have changed. */
  async #known<R>(
    op: string,
    object: string,
    method: string,
    send: () => Promise<R>,
    statusOf: (answer: R) => number,
  ): Promise<R> {
    const attempt = async (): Promise<R> => {
      try {
        const answer = await send();
        this.calls.note(method, statusOf(answer));
        return answer;
      } catch (error) {
        this.calls.note(method, undefined);
        throw error;
      }
    };
    try {
      const answer = await attempt().catch(error => {
        if (!HANDSHAKE.test(codeOf(error) ?? '') || !this.#transport.reloadCredentials()) throw error;
        return attempt();
      });
      if (statusOf(answer) !== 401 || !this.#transport.reloadCredentials()) return answer;
      // Left unread, it would hold its connection.
      if (answer instanceof IncomingMessage) answer.destroy();
      return await attempt();
    } catch (error) {
      throw unreachable(op, object, this.#config.server, error);
    }
  }
}

/** Retry-After as milliseconds from now; it is seconds or a date. Undefined when absent or neither. Pure but for the clock. */
export function retryAfterMs(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['retry-after']?.trim();
  if (!text) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const dateMs = Date.parse(text);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - Date.now());
}
