import type { KubeObject, NewObject } from '../model/types.ts';
import type { CallCount } from './calls.ts';

/** Where a cluster's API is and who asks. */
export interface ClusterConfig {
  /** `https://host:port`, `http://host:port`, or `unix:///path` for plain HTTP on a unix socket. */
  server: string;
  /** PEM certificates that the server's must descend from; the system's own list when absent. */
  ca?: string;
  token?: string;
  /** PEM, for client certificates. */
  clientCertificate?: string;
  clientKey?: string;
  /** Files go over the texts above and are read again while we run, since clusters replace what is in them. */
  caFile?: string;
  tokenFile?: string;
  clientCertificateFile?: string;
  clientKeyFile?: string;
  /** The name in the server's certificate where it differs from the host. */
  tlsServerName?: string;
  insecureSkipTlsVerify?: boolean;
  /** Namespace where none is given; `default` when absent. */
  namespace?: string;
}

export interface ListOptions {
  /** Only this namespace; all when absent. */
  namespace?: string;
  /** `a=b,c!=d,e in (f,g),h,!i` */
  labelSelector?: string;
  /** `metadata.name=x,spec.nodeName=y` */
  fieldSelector?: string;
  /** Objects a page; the client fetches all pages. */
  limit?: number;
}

export interface ListResult<T> {
  items: T[];
  /** Where a watch that misses nothing begins. */
  resourceVersion: string;
}

export interface WriteOptions {
  /** The name that changes are made under; the client's own when absent. */
  fieldManager?: string;
  /** Check everything and change nothing. */
  dryRun?: boolean;
}

export interface UpdateOptions extends WriteOptions {
  subresource?: 'status' | 'scale';
}

export interface PatchOptions extends WriteOptions {
  namespace?: string;
  /** `merge` (RFC 7386) when absent; `json` is RFC 6902; `strategic` only for Kubernetes' own kinds. */
  type?: 'merge' | 'json' | 'strategic';
  subresource?: 'status' | 'scale';
}

export interface DeleteOptions {
  namespace?: string;
  /** Refuse (CONFLICT) unless the object has this uid. */
  uid?: string;
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
}

export interface InformerOptions<T> {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  /** Asks the server for `metadata` only; one that cannot leave out the rest sends it. */
  metadataOnly?: boolean;
  /** Keeps only what is needed of each object, to save memory. Applied before handlers see it. */
  pick?(object: T): T;
}

export interface InformerHandlers<T> {
  added?(object: T): void;
  updated?(object: T, old: T): void;
  deleted?(object: T): void;
}

/**
 * A live copy of a part of the cluster. Lists, then watches; goes on through lost connections, restarted servers and
 * expired histories. Handlers run one at a time, in order; an object that vanished while the connection was away is
 * reported deleted. Objects are shared: do not change them.
 */
export interface Informer<T> {
  /** Adds handlers. What is already known is reported `added` at once, before this returns. */
  on(handlers: InformerHandlers<T>): void;
  /** Resolves when the first full list is in the store and handlers have seen it. Never rejects. */
  readonly synced: Promise<void>;
  /** True while a watch is established, false while the server cannot be reached. */
  readonly connected: boolean;
  get(name: string, namespace?: string): T | undefined;
  list(): T[];
  /** Ends it; no handler runs afterwards. */
  close(): void;
}

/**
 * A client of the Kubernetes API. `kind` is anything that `findKind` understands.
 * Every failure is a FimbriaError with code NOT_FOUND, ALREADY_EXISTS, CONFLICT, INVALID, GONE, FORBIDDEN or
 * UNAVAILABLE (the server cannot be reached, is overloaded or does not answer in time).
 */
export interface ClusterClient {
  /** Without token and key. */
  readonly config: ClusterConfig;
  get<T extends KubeObject = KubeObject>(kind: string, name: string, namespace?: string): Promise<T>;
  list<T extends KubeObject = KubeObject>(kind: string, options?: ListOptions): Promise<ListResult<T>>;
  create<T extends KubeObject>(object: NewObject<T>, options?: WriteOptions): Promise<T>;
  /** Replaces. With `metadata.resourceVersion` it fails with CONFLICT if somebody else was faster. */
  update<T extends KubeObject>(object: T, options?: UpdateOptions): Promise<T>;
  patch<T extends KubeObject = KubeObject>(
    kind: string,
    name: string,
    patch: unknown,
    options?: PatchOptions,
  ): Promise<T>;
  /** False when it was not there. True also when it only began to go (finalizers, a Pod's grace period). */
  delete(kind: string, name: string, options?: DeleteOptions): Promise<boolean>;
  /** Creates through a subresource, such as `pods/NAME/binding` or `pods/NAME/eviction`. */
  createSubresource(
    kind: string,
    name: string,
    subresource: string,
    body: unknown,
    namespace?: string,
  ): Promise<unknown>;
  /** `{major, minor, gitVersion, …}` */
  serverVersion(): Promise<Record<string, string>>;
  /** GET of any path below the server; the parsed JSON, or the text where it is none. */
  rawGet(path: string): Promise<unknown>;
  /**
   * Any request below the server, for kinds that `findKind` does not know. The parsed JSON. `op` and `object` are for
   * messages; a body is sent as JSON.
   */
  raw<T>(
    op: string,
    object: string,
    request: {
      method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
      path: string;
      body?: unknown;
      contentType?: string;
    },
  ): Promise<T>;
  informer<T extends KubeObject>(kind: string, options?: InformerOptions<T>): Informer<T>;
  /** How many requests ended in which way, since the client was made. */
  calls(): readonly CallCount[];
  /** Closes connections and informers. */
  close(): void;
}
