import { codeOf, FimbriaError } from '../base/errors.ts';
import { createLogger, type Logger } from '../base/log.ts';
import { findKind, type Kind, kindOf } from '../model/kinds.ts';
import type { KubeObject, NewObject, Status } from '../model/types.ts';
import type { CallCount } from './calls.ts';
import { type InformerTuning, ListWatchInformer } from './informer.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { describe, query, resourcePath } from './paths.ts';
import { Requests } from './requests.ts';
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
import { type SpokenVersion, SpokenVersions } from './versions.ts';

export interface ClientOptions {
  /** Sent as User-Agent; its part before `/` is the field manager. */
  userAgent?: string;
  /** How long an answer may take. */
  timeoutMs?: number;
  /** The same for what writes. */
  writeTimeoutMs?: number;
  log?: Logger;
  /** How informers pace themselves; for tests. */
  tuning?: Partial<InformerTuning>;
}

const PAGE_SIZE = 500;
const TIMEOUT_MS = 30_000;
const METADATA = 'as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const METADATA_LIST = 'as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const PATCH_TYPES = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
} as const;

type ListRequest = ListOptions & { metadataOnly?: boolean };

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
  readonly #requests: Requests;
  readonly #versions = new SpokenVersions(path => this.rawGet(path));
  readonly #manager: string;
  readonly #log: Logger;
  readonly #tuning: Partial<InformerTuning>;
  readonly #informers = new Set<{ close(): void }>();

  constructor(config: ClusterConfig, options: ClientOptions) {
    // What is public gets into logs and crashes one day.
    const { token: _token, clientKey: _key, ...shown } = config;
    this.config = shown;
    const userAgent = options.userAgent ?? 'fimbria';
    this.#manager = userAgent.split('/')[0]!;
    this.#log = options.log ?? createLogger('warn');
    this.#tuning = options.tuning ?? {};
    this.#requests = new Requests(config, userAgent, {
      readMs: options.timeoutMs ?? TIMEOUT_MS,
      writeMs: options.writeTimeoutMs ?? options.timeoutMs ?? TIMEOUT_MS,
    });
  }

  async get<T extends KubeObject>(kind: string, name: string, namespace?: string): Promise<T> {
    const known = kindNamed(kind);
    const ns = this.#namespace(known, namespace);
    const spoken = await this.#versions.of(known);
    const object = await this.#requests.json<T>('get', describe(known, ns, name), {
      method: 'GET',
      path: resourcePath(known, ns, name, undefined, spoken.apiVersion),
    });
    return fromServer(spoken, object);
  }

  async list<T extends KubeObject>(kind: string, options: ListOptions = {}): Promise<ListResult<T>> {
    return this.#list<T, T>(kindNamed(kind), options, item => item);
  }

  async create<T extends KubeObject>(object: NewObject<T>, options: WriteOptions = {}): Promise<T> {
    const known = kindOfObject(object as unknown as KubeObject);
    const ns = this.#namespace(known, object.metadata.namespace);
    const name = object.metadata.name ?? `${object.metadata.generateName ?? ''}*`;
    const spoken = await this.#versions.of(known);
    const sent = toServer(spoken, object);
    const made = await this.#requests.json<T>('create', describe(known, ns, name), {
      method: 'POST',
      path: resourcePath(known, ns, undefined, undefined, apiVersion(sent)) + this.#write(options),
      body: JSON.stringify(sent),
    });
    return fromServer(spoken, made);
  }

  async update<T extends KubeObject>(object: T, options: UpdateOptions = {}): Promise<T> {
    const known = kindOfObject(object);
    const { name } = object.metadata;
    const ns = this.#namespace(known, object.metadata.namespace);
    const spoken = await this.#versions.of(known);
    const sent = toServer(spoken, object);
    const path = resourcePath(known, ns, name, options.subresource, apiVersion(sent));
    const made = await this.#requests.json<T>('update', describe(known, ns, name), {
      method: 'PUT',
      path: path + this.#write(options),
      body: JSON.stringify(sent),
    });
    return fromServer(spoken, made);
  }

  async patch<T extends KubeObject>(
    kind: string,
    name: string,
    patch: unknown,
    options: PatchOptions = {},
  ): Promise<T> {
    const known = kindNamed(kind);
    const ns = this.#namespace(known, options.namespace);
    const spoken = await this.#versions.of(known);
    const path = resourcePath(known, ns, name, options.subresource, spoken.apiVersion);
    const made = await this.#requests.json<T>('patch', describe(known, ns, name), {
      method: 'PATCH',
      path: path + this.#write(options),
      body: JSON.stringify(patch),
      contentType: PATCH_TYPES[options.type ?? 'merge'],
    });
    return fromServer(spoken, made);
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
    const { apiVersion: version } = await this.#versions.of(known);
    try {
      await this.#requests.json<Status>('delete', describe(known, ns, name), {
        method: 'DELETE',
        path: resourcePath(known, ns, name, undefined, version),
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
    return this.#requests.json('create', `${describe(known, ns, name)}/${subresource}`, {
      method: 'POST',
      path: resourcePath(known, ns, name, subresource) + this.#write({}),
      body: JSON.stringify(body),
    });
  }

  serverVersion(): Promise<Record<string, string>> {
    return this.#requests.json('get', 'server version', { method: 'GET', path: '/version' });
  }

  rawGet(path: string): Promise<unknown> {
    return this.#requests.json('get', path, { method: 'GET', path });
  }

  raw: ClusterClient['raw'] = (op, object, { body, ...request }) =>
    this.#requests.json(op, object, {
      ...request,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });

  informer<T extends KubeObject>(kind: string, options: InformerOptions<T> = {}): Informer<T> {
    const known = kindNamed(kind);
    // A watch goes on from a list, in the version of that list.
    let spoken: SpokenVersion = { apiVersion: known.apiVersion };
    const informer = new ListWatchInformer<T>({
      name: known.plural,
      list: async keep => {
        spoken = await this.#versions.of(known);
        return this.#list<T, ReturnType<typeof keep>>(known, options, keep);
      },
      watch: (resourceVersion, timeoutSeconds, signal) =>
        this.#watch(known, options, spoken, { resourceVersion, timeoutSeconds }, signal),
      whole: object => fromServer(spoken, withKind(known, object)),
      redact: text => this.#requests.redact(text),
      log: this.#log,
      onClose: () => this.#informers.delete(informer),
      tuning: this.#tuning,
      ...(options.pick && { pick: options.pick }),
    });
    this.#informers.add(informer);
    return informer;
  }

  calls(): readonly CallCount[] {
    return this.#requests.calls.list();
  }

  close(): void {
    for (const informer of [...this.#informers]) informer.close();
    this.#requests.close();
  }

  async #list<T, R>(kind: Kind, options: ListRequest, keep: (item: T) => R): Promise<ListResult<R>> {
    const spoken = await this.#versions.of(kind);
    try {
      return await this.#pages<T, R>(kind, spoken, options, options.limit ?? PAGE_SIZE, keep);
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') this.#versions.forget(kind);
      // The pages' common version expired under way: one big page needs none.
      if (codeOf(error) !== 'GONE') throw error;
      return await this.#pages<T, R>(kind, spoken, options, undefined, keep);
    }
  }

  /** Of each page only what `keep` makes of its items outlives it: a large cluster is never in memory at once. */
  async #pages<T, R>(
    kind: Kind,
    spoken: SpokenVersion,
    options: ListRequest,
    limit: number | undefined,
    keep: (item: T) => R,
  ): Promise<ListResult<R>> {
    const items: R[] = [];
    let next: string | undefined;
    let resourceVersion = '';
    do {
      const page = await this.#requests.json<ListPage<T>>('list', kind.plural, {
        method: 'GET',
        path:
          resourcePath(kind, options.namespace, undefined, undefined, spoken.apiVersion) +
          query({
            labelSelector: options.labelSelector,
            fieldSelector: options.fieldSelector,
            limit,
            continue: next,
          }),
        ...(options.metadataOnly && { accept: accepting(METADATA_LIST) }),
      });
      for (const item of page.items ?? []) items.push(keep(fromServer(spoken, withKind(kind, item))));
      resourceVersion = page.metadata?.resourceVersion ?? '';
      next = page.metadata?.continue || undefined;
    } while (next !== undefined);
    return { items, resourceVersion };
  }

  #watch(
    kind: Kind,
    options: ListRequest,
    { apiVersion }: SpokenVersion,
    from: { resourceVersion: string; timeoutSeconds: number },
    signal: AbortSignal,
  ): Promise<AsyncIterable<Buffer>> {
    const path =
      resourcePath(kind, options.namespace, undefined, undefined, apiVersion) +
      query({
        watch: 1,
        allowWatchBookmarks: true,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        ...from,
      });
    const accept = options.metadataOnly && { accept: accepting(METADATA) };
    return this.#requests.stream('watch', kind.plural, { method: 'GET', path, ...accept }, signal);
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

function fromServer<T>({ older }: SpokenVersion, object: T): T {
  return older ? (older.fromServer(object as Record<string, unknown>) as T) : object;
}

function toServer<T extends object>({ older }: SpokenVersion, object: T): T {
  return older ? (older.toServer(object as Record<string, unknown>) as T) : object;
}

/** Lists leave out what every item has in common, and what has only metadata does not say of what kind it was. */
function withKind<T>(kind: Kind, object: T & { kind?: string; apiVersion?: string }): T {
  if (object.kind === undefined || object.kind === 'PartialObjectMetadata') {
    object.kind = kind.kind;
    object.apiVersion = kind.apiVersion;
  }
  return object;
}

/** A server that knows no such thing answers with whole objects. */
function accepting(what: string): string {
  return `application/json;${what},application/json`;
}
