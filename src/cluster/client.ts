import { FimbriaError } from '../base/errors.ts';
import { createLogger, type Logger } from '../base/log.ts';
import { findKind, type Kind, kindOf } from '../model/kinds.ts';
import type { KubeObject, NewObject, Status } from '../model/types.ts';
import { refused, unreachable } from './errors.ts';
import { type InformerTuning, ListWatchInformer } from './informer.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { describe, query, resourcePath } from './paths.ts';
import { Transport, type TransportRequest } from './transport.ts';
import type {
  ClusterClient,
  ClusterConfig,
  DeleteOptions,
  Informer,
  InformerOptions,
  ListOptions,
  ListResult,
  PatchOptions,
  UpdateOptions,
  WriteOptions,
} from './types.ts';

export interface ClientOptions {
  /** Sent as User-Agent; its part before `/` is the field manager. */
  userAgent?: string;
  /** How long an answer may take. */
  timeoutMs?: number;
  log?: Logger;
  /** How informers pace themselves; for tests. */
  tuning?: Partial<InformerTuning>;
}

const PAGE_SIZE = 500;
const PATCH_TYPES = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
} as const;

interface ListPage<T> {
  items?: (T & { kind?: string; apiVersion?: string })[];
  metadata?: { resourceVersion?: string; continue?: string };
}

/**
 * Makes a client for a cluster, given its configuration or the path of a kubeconfig. Connects on first use.
 * @throws FimbriaError INVALID or NOT_FOUND when the kubeconfig cannot be used
 */
export function createClient(config: ClusterConfig | string, options: ClientOptions = {}): ClusterClient {
  return new HttpClusterClient(typeof config === 'string' ? loadKubeconfig(config) : config, options);
}

class HttpClusterClient implements ClusterClient {
  readonly config: ClusterConfig;
  readonly #transport: Transport;
  readonly #timeoutMs: number;
  readonly #manager: string;
  readonly #log: Logger;
  readonly #tuning: Partial<InformerTuning>;
  readonly #informers = new Set<{ close(): void }>();

  constructor(config: ClusterConfig, options: ClientOptions) {
    this.config = config;
    const userAgent = options.userAgent ?? 'fimbria';
    this.#manager = userAgent.split('/')[0]!;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#log = options.log ?? createLogger('warn');
    this.#tuning = options.tuning ?? {};
    try {
      this.#transport = new Transport(config, userAgent);
    } catch (error) {
      throw unreachable('connect to', 'cluster', config.server, error);
    }
  }

  async get<T extends KubeObject>(kind: string, name: string, namespace?: string): Promise<T> {
    const known = kindNamed(kind);
    const ns = this.#namespace(known, namespace);
    return this.#json('get', describe(known, ns, name), {
      method: 'GET',
      path: resourcePath(known, ns, name),
    });
  }

  async list<T extends KubeObject>(kind: string, options: ListOptions = {}): Promise<ListResult<T>> {
    const known = kindNamed(kind);
    try {
      return await this.#pages<T>(known, options, options.limit ?? PAGE_SIZE);
    } catch (error) {
      // The pages' common version expired under way: one big page needs none.
      if (!(error instanceof FimbriaError) || error.code !== 'GONE') throw error;
      return await this.#pages<T>(known, options, undefined);
    }
  }

  async create<T extends KubeObject>(object: NewObject<T>, options: WriteOptions = {}): Promise<T> {
    const known = kindOfObject(object as unknown as KubeObject);
    const ns = this.#namespace(known, object.metadata.namespace);
    const name = object.metadata.name ?? `${object.metadata.generateName ?? ''}*`;
    return this.#json('create', describe(known, ns, name), {
      method: 'POST',
      path: resourcePath(known, ns, undefined, undefined, apiVersion(object)) + this.#write(options),
      body: JSON.stringify(object),
    });
  }

  async update<T extends KubeObject>(object: T, options: UpdateOptions = {}): Promise<T> {
    const known = kindOfObject(object);
    const { name } = object.metadata;
    const ns = this.#namespace(known, object.metadata.namespace);
    const path = resourcePath(known, ns, name, options.subresource, apiVersion(object));
    return this.#json('update', describe(known, ns, name), {
      method: 'PUT',
      path: path + this.#write(options),
      body: JSON.stringify(object),
    });
  }

  async patch<T extends KubeObject>(
    kind: string,
    name: string,
    patch: unknown,
    options: PatchOptions = {},
  ): Promise<T> {
    const known = kindNamed(kind);
    const ns = this.#namespace(known, options.namespace);
    return this.#json('patch', describe(known, ns, name), {
      method: 'PATCH',
      path: resourcePath(known, ns, name, options.subresource) + this.#write(options),
      body: JSON.stringify(patch),
      contentType: PATCH_TYPES[options.type ?? 'merge'],
    });
  }

  async delete(kind: string, name: string, options: DeleteOptions = {}): Promise<boolean> {
    const known = kindNamed(kind);
    const ns = this.#namespace(known, options.namespace);
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(options.uid !== undefined && { preconditions: { uid: options.uid } }),
      ...(options.gracePeriodSeconds !== undefined && { gracePeriodSeconds: options.gracePeriodSeconds }),
      ...(options.propagationPolicy !== undefined && { propagationPolicy: options.propagationPolicy }),
    };
    try {
      await this.#json<Status>('delete', describe(known, ns, name), {
        method: 'DELETE',
        path: resourcePath(known, ns, name),
        body: JSON.stringify(body),
      });
      return true;
    } catch (error) {
      if (error instanceof FimbriaError && error.code === 'NOT_FOUND') return false;
      throw error;
    }
  }

  async createSubresource(
    kind: string,
    name: string,
    subresource: string,
    body: unknown,
    namespace?: string,
  ): Promise<unknown> {
    const known = kindNamed(kind);
    const ns = this.#namespace(known, namespace);
    return this.#json('create', `${describe(known, ns, name)}/${subresource}`, {
      method: 'POST',
      path: resourcePath(known, ns, name, subresource) + this.#write({}),
      body: JSON.stringify(body),
    });
  }

  serverVersion(): Promise<Record<string, string>> {
    return this.#json('get', 'server version', { method: 'GET', path: '/version' });
  }

  rawGet(path: string): Promise<unknown> {
    return this.#json('get', path, { method: 'GET', path });
  }

  informer<T extends KubeObject>(kind: string, options: InformerOptions<T> = {}): Informer<T> {
    const known = kindNamed(kind);
    const informer = new ListWatchInformer<T>({
      name: known.plural,
      list: () => this.list<T>(kind, options),
      watch: (resourceVersion, timeoutSeconds, signal) =>
        this.#watch(known, options, resourceVersion, timeoutSeconds, signal),
      log: this.#log,
      onClose: () => this.#informers.delete(informer),
      tuning: this.#tuning,
      ...(options.pick && { pick: options.pick }),
    });
    this.#informers.add(informer);
    return informer;
  }

  close(): void {
    for (const informer of [...this.#informers]) informer.close();
    this.#transport.close();
  }

  async #pages<T>(kind: Kind, options: ListOptions, limit: number | undefined): Promise<ListResult<T>> {
    const items: T[] = [];
    let next: string | undefined;
    let resourceVersion = '';
    do {
      const page = await this.#json<ListPage<T>>('list', kind.plural, {
        method: 'GET',
        path:
          resourcePath(kind, options.namespace) +
          query({
            labelSelector: options.labelSelector,
            fieldSelector: options.fieldSelector,
            limit,
            continue: next,
          }),
      });
      for (const item of page.items ?? []) {
        // Lists of a real cluster leave out what every item has in common.
        item.kind ??= kind.kind;
        item.apiVersion ??= kind.apiVersion;
        items.push(item);
      }
      resourceVersion = page.metadata?.resourceVersion ?? '';
      next = page.metadata?.continue || undefined;
    } while (next !== undefined);
    return { items, resourceVersion };
  }

  async #watch(
    kind: Kind,
    options: ListOptions,
    resourceVersion: string,
    timeoutSeconds: number,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Buffer>> {
    const path =
      resourcePath(kind, options.namespace) +
      query({
        watch: 1,
        allowWatchBookmarks: true,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        resourceVersion,
        timeoutSeconds,
      });
    const response = await this.#transport
      .stream({ method: 'GET', path }, signal)
      .catch(error => Promise.reject(unreachable('watch', kind.plural, this.config.server, error)));
    if (response.statusCode === 200) return response;
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) body += chunk;
    throw refused('watch', kind.plural, response.statusCode ?? 0, body);
  }

  #namespace(kind: Kind, namespace: string | undefined): string | undefined {
    return kind.namespaced ? (namespace ?? this.config.namespace ?? 'default') : undefined;
  }

  #write(options: WriteOptions): string {
    return query({
      fieldManager: options.fieldManager ?? this.#manager,
      dryRun: options.dryRun ? 'All' : undefined,
    });
  }

  async #json<T>(op: string, object: string, request: TransportRequest): Promise<T> {
    const response = await this.#transport
      .request(request, this.#timeoutMs)
      .catch(error => Promise.reject(unreachable(op, object, this.config.server, error)));
    if (response.status < 200 || response.status > 299) {
      throw refused(op, object, response.status, response.body);
    }
    try {
      return JSON.parse(response.body) as T;
    } catch {
      // Only the health checks answer in words.
      return response.body as T;
    }
  }
}

function kindNamed(name: string): Kind {
  const kind = findKind(name);
  if (kind) return kind;
  throw new FimbriaError({
    code: 'NOT_FOUND',
    op: 'find kind',
    object: name,
    why: "the server doesn't have a resource type of that name",
  });
}

function kindOfObject(object: KubeObject): Kind {
  const kind = kindOf(object);
  if (kind) return kind;
  throw new FimbriaError({
    code: 'NOT_FOUND',
    op: 'find kind',
    object: `${object.kind}`,
    why: `no matches for kind "${object.kind}" in version "${object.apiVersion}"`,
  });
}

function apiVersion(object: object): string {
  return (object as KubeObject).apiVersion;
}
