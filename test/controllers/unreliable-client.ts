import { FimbriaError } from '../../src/base/errors.ts';
import type {
  ClusterClient,
  ClusterConfig,
  Informer,
  InformerHandlers,
  InformerOptions,
} from '../../src/cluster/index.ts';
import type { KubeObject } from '../../src/model/types.ts';

type Write = 'create' | 'update' | 'patch' | 'delete' | 'createSubresource';
type Arguments = Parameters<ClusterClient[Write]>;

/** What becomes of the last write of a process that is killed. */
export type LastWrite = 'done' | 'not done';

const never = <T>(): Promise<T> => new Promise(() => {});

/**
 * A client whose watches can be held back, whose writes can be refused, and which can die as a killed process does: it
 * writes and hears nothing any more, and whoever waits for it waits for ever.
 */
export class UnreliableClient implements ClusterClient {
  readonly config: ClusterConfig;
  readonly #client: ClusterClient;
  readonly #informers = new Map<string, HeldInformer<KubeObject>>();
  #death: { afterWrites: number; last: LastWrite; died(): void } | undefined;
  #dead = false;
  /** Refuses the writes for which it gives an error. */
  refuse: (write: Write, args: Arguments) => FimbriaError | undefined = () => undefined;

  constructor(client: ClusterClient) {
    this.#client = client;
    this.config = client.config;
  }

  /** Dies with the n-th write from now, from 1. The promise resolves when it has. */
  dieAt(afterWrites: number, last: LastWrite): Promise<void> {
    return new Promise(died => {
      this.#death = { afterWrites, last, died };
    });
  }

  /** Changes of this kind are kept from everybody until `release`. */
  hold(kind: string): void {
    this.#informers.get(kind)?.hold();
  }

  release(kind: string): void {
    this.#informers.get(kind)?.release();
  }

  get: ClusterClient['get'] = (...args) => this.#read(() => this.#client.get(...args));
  list: ClusterClient['list'] = (...args) => this.#read(() => this.#client.list(...args));
  rawGet: ClusterClient['rawGet'] = path => this.#read(() => this.#client.rawGet(path));
  calls: ClusterClient['calls'] = () => this.#client.calls();
  raw: ClusterClient['raw'] = (...args) => this.#read(() => this.#client.raw(...args));
  serverVersion: ClusterClient['serverVersion'] = () => this.#read(() => this.#client.serverVersion());
  create: ClusterClient['create'] = (...args) =>
    this.#write('create', args, () => this.#client.create(...args));
  update: ClusterClient['update'] = (...args) =>
    this.#write('update', args, () => this.#client.update(...args));
  patch: ClusterClient['patch'] = (...args) => this.#write('patch', args, () => this.#client.patch(...args));
  delete: ClusterClient['delete'] = (...args) =>
    this.#write('delete', args, () => this.#client.delete(...args));
  createSubresource: ClusterClient['createSubresource'] = (...args) =>
    this.#write('createSubresource', args, () => this.#client.createSubresource(...args));

  informer<T extends KubeObject>(kind: string, options?: InformerOptions<T>): Informer<T> {
    const held = new HeldInformer<T>(this.#client.informer<T>(kind, options));
    this.#informers.set(kind, held as unknown as HeldInformer<KubeObject>);
    return held;
  }

  close(): void {
    this.#client.close();
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    if (this.#dead) return never();
    const answer = await read();
    return this.#dead ? never() : answer;
  }

  async #write<T>(write: Write, args: unknown[], perform: () => Promise<T>): Promise<T> {
    if (this.#dead) return never();
    const refused = this.refuse(write, args as Arguments);
    if (refused) throw refused;
    const death = this.#death;
    if (death && --death.afterWrites === 0) {
      this.#dead = true;
      for (const informer of this.#informers.values()) informer.hold();
      if (death.last === 'done') await perform().catch(() => {});
      death.died();
      return never();
    }
    const answer = await perform();
    return this.#dead ? never() : answer;
  }
}

/** Passes an informer's changes on, or keeps them for a while. */
class HeldInformer<T extends KubeObject> implements Informer<T> {
  readonly synced: Promise<void>;
  readonly #informer: Informer<T>;
  readonly #objects = new Map<string, T>();
  readonly #handlers: InformerHandlers<T>[] = [];
  #waiting: (() => void)[] | undefined;

  constructor(informer: Informer<T>) {
    this.#informer = informer;
    this.synced = informer.synced;
    const pass = (change: () => void): void => {
      if (this.#waiting) this.#waiting.push(change);
      else change();
    };
    const each = (call: (handlers: InformerHandlers<T>) => void): void => this.#handlers.forEach(call);
    informer.on({
      added: object =>
        pass(() => {
          this.#objects.set(keyOf(object), object);
          each(handlers => handlers.added?.(object));
        }),
      updated: (object, old) =>
        pass(() => {
          this.#objects.set(keyOf(object), object);
          each(handlers => handlers.updated?.(object, old));
        }),
      deleted: object =>
        pass(() => {
          this.#objects.delete(keyOf(object));
          each(handlers => handlers.deleted?.(object));
        }),
    });
  }

  hold(): void {
    this.#waiting ??= [];
  }

  release(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const change of waiting) change();
  }

  get connected(): boolean {
    return this.#informer.connected;
  }

  on(handlers: InformerHandlers<T>): void {
    this.#handlers.push(handlers);
    for (const object of this.#objects.values()) handlers.added?.(object);
  }

  get(name: string, namespace = ''): T | undefined {
    return this.#objects.get(`${namespace}/${name}`);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  close(): void {
    this.#informer.close();
  }
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

/** What a server says that does not want an object. */
export function refusal(why: string): FimbriaError {
  return new FimbriaError({ code: 'INVALID', op: 'create', object: 'pod', why });
}
