import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import type { BpfTable, BpfTables, FlushableTable, FlushedMap } from './bpf.ts';
import { readNdjson } from './ndjson.ts';
import { errorOf, type Problem } from './problem.ts';
import type {
  ConfigResponse,
  EndpointModel,
  IdentityModel,
  IpamResponse,
  IpModel,
  MapModel,
  MonitorEvent,
  MonitorFilter,
  NodeModel,
  ServiceModel,
  StatusResponse,
} from './types.ts';

/** Where an agent listens unless told otherwise. */
export const DEFAULT_SOCKET_PATH = '/run/fimbria/fimbria.sock';

const UNREACHABLE: Record<string, string> = {
  ENOENT: 'no socket there',
  ECONNREFUSED: 'nobody answers there',
  ECONNRESET: 'it hung up',
  EACCES: 'permission denied',
};

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'code' in value && 'message' in value;
}

/**
 * Speaks to one agent. Every method is one request; failures are FimbriaErrors: AGENT_UNREACHABLE when nobody
 * answers, otherwise the agent's own code. Safe for concurrent calls; holds no connection between them.
 */
export class ApiClient {
  readonly socketPath: string;
  readonly #timeoutMs: number;

  /** @param options.timeoutMs silence after which a request fails with TIMEOUT; streams have none */
  constructor(socketPath: string = DEFAULT_SOCKET_PATH, options: { timeoutMs?: number } = {}) {
    this.socketPath = socketPath;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  async healthz(options: { brief?: boolean } = {}): Promise<StatusResponse> {
    return await this.#get(options.brief ? '/healthz?brief=true' : '/healthz');
  }
  async config(): Promise<ConfigResponse> {
    return await this.#get('/config');
  }
  async endpoints(): Promise<EndpointModel[]> {
    return await this.#get('/endpoint');
  }
  /** Undefined when there is none. */
  async endpoint(id: string): Promise<EndpointModel | undefined> {
    try {
      return await this.#get<EndpointModel>(`/endpoint/${encodeURIComponent(id)}`);
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined;
      throw error;
    }
  }
  /** False when it was not there. */
  async endpointDelete(id: string): Promise<boolean> {
    return await this.#delete(`/endpoint/${encodeURIComponent(id)}`);
  }
  async ipamAllocate(owner: string): Promise<IpamResponse> {
    return await this.#json('POST', `/ipam?family=ipv4&owner=${encodeURIComponent(owner)}`);
  }
  async ipamClaim(ip: string, owner: string): Promise<IpamResponse> {
    return await this.#json('POST', `/ipam/${ip}?owner=${encodeURIComponent(owner)}`);
  }
  /** False when it was not allocated. */
  async ipamRelease(ip: string): Promise<boolean> {
    return await this.#delete(`/ipam/${ip}`);
  }
  async nodes(): Promise<NodeModel[]> {
    return await this.#get('/cluster/nodes');
  }
  async identities(): Promise<IdentityModel[]> {
    return await this.#get('/identity');
  }
  async ips(): Promise<IpModel[]> {
    return await this.#get('/ip');
  }
  async services(): Promise<ServiceModel[]> {
    return await this.#get('/service');
  }
  /** Text in Prometheus' exposition format. */
  async metrics(): Promise<string> {
    return await this.#read('GET', '/metrics');
  }
  async maps(): Promise<MapModel[]> {
    return await this.#get('/map');
  }
  /** @param endpoint the endpoint's id, for table `policy` */
  async bpf<T extends BpfTable>(table: T, endpoint?: string): Promise<BpfTables[T][]> {
    return await this.#get(`/bpf/${table}${endpoint === undefined ? '' : `?endpoint=${endpoint}`}`);
  }

  /** Takes every entry away that flows have left in a table. */
  async bpfFlush(table: FlushableTable): Promise<FlushedMap[]> {
    return await this.#json('DELETE', `/bpf/${table}`);
  }

  /**
   * Events from now on; ends when `signal` aborts or the agent goes away.
   * @param onOpen called once, when the agent has begun to listen: nothing is missed from then on
   */
  async *monitor(
    filter: MonitorFilter,
    signal: AbortSignal,
    onOpen?: () => Promise<void>,
  ): AsyncGenerator<MonitorEvent> {
    const query = new URLSearchParams();
    if (filter.types) query.set('type', filter.types.join(','));
    if (filter.from) query.set('from', filter.from.join(','));
    if (filter.to) query.set('to', filter.to.join(','));
    if (filter.related) query.set('related-to', filter.related.join(','));
    if (filter.packets) query.set('packets', filter.packets);
    try {
      const response = await this.#send('GET', `/monitor?${query}`, { signal });
      await this.#check(response);
      await onOpen?.();
      yield* readNdjson<MonitorEvent>(response);
    } catch (error) {
      if (!signal.aborted) throw this.#unreachable(error);
    }
  }

  async #get<T>(path: string): Promise<T> {
    return await this.#json('GET', path);
  }

  async #delete(path: string): Promise<boolean> {
    try {
      await this.#json('DELETE', path);
      return true;
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return false;
      throw error;
    }
  }

  async #json<T>(method: string, path: string): Promise<T> {
    const text = await this.#read(method, path);
    try {
      return (text === '' ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  async #read(method: string, path: string): Promise<string> {
    try {
      const response = await this.#send(method, path, { timeoutMs: this.#timeoutMs });
      await this.#check(response);
      return await this.#text(response);
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  async #send(
    method: string,
    path: string,
    options: { timeoutMs?: number; signal?: AbortSignal },
  ): Promise<IncomingMessage> {
    return await new Promise((resolve, reject) => {
      const sent: ClientRequest = request(
        {
          socketPath: this.socketPath,
          path: `/v1${path}`,
          method,
          agent: false,
          headers: { host: 'localhost' },
          ...(options.signal && { signal: options.signal }),
        },
        resolve,
      );
      sent.once('error', reject);
      if (options.timeoutMs !== undefined) {
        const timeoutMs = options.timeoutMs;
        sent.setTimeout(timeoutMs, () => {
          sent.destroy(
            new FimbriaError({
              code: 'TIMEOUT',
              op: 'ask agent at',
              object: this.socketPath,
              why: `no answer within ${timeoutMs / 1000} s`,
              hint: 'look at the log of fimbria-agent',
            }),
          );
        });
      }
      sent.end();
    });
  }

  async #text(response: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  }

  async #check(response: IncomingMessage): Promise<void> {
    const status = response.statusCode ?? 0;
    if (status < 400) return;
    const text = await this.#text(response);
    let body: unknown = text;
    try {
      body = JSON.parse(text);
    } catch {
      // Not from our server; the text itself is the reason.
    }
    if (isProblem(body)) throw errorOf(body);
    throw new FimbriaError({
      code: status === 404 ? 'NOT_FOUND' : `HTTP_${status}`,
      op: 'ask agent at',
      object: this.socketPath,
      why: typeof body === 'string' && body !== '' ? body : `status ${status}`,
    });
  }

  #unreachable(error: unknown): unknown {
    if (error instanceof FimbriaError) return error;
    const code = codeOf(error) ?? '';
    const why = UNREACHABLE[code] ?? messageOf(error);
    return new FimbriaError({
      code: 'AGENT_UNREACHABLE',
      op: 'reach agent at',
      object: this.socketPath,
      why,
      hint:
        code === 'EACCES'
          ? 'run this as root or as a member of the socket’s group'
          : 'start fimbria-agent, or name its socket with --socket or $FIMBRIA_SOCK',
      cause: error,
    });
  }
}
