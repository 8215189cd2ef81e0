import { setTimeout as delay } from 'node:timers/promises';
import { Backoff } from '../base/backoff.ts';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { KubeObject, Status, WatchEvent } from '../model/types.ts';
import { errorCode } from './errors.ts';
import { splitLines } from './lines.ts';
import type { Informer, InformerHandlers, ListResult } from './types.ts';

/** How an informer paces itself. */
export interface InformerTuning {
  /** The server ends a watch after this time, up to a fifth sooner, so that watches do not end together. */
  watchSeconds: number;
  /** A watch that brought nothing for so long, not even a bookmark, is taken for dead. */
  readDeadlineMs: number;
  backoffBaseMs: number;
  backoffMaxMs: number;
}

const TUNING: InformerTuning = {
  watchSeconds: 300,
  readDeadlineMs: 150_000,
  backoffBaseMs: 100,
  backoffMaxMs: 10_000,
};

export interface ListWatchOptions<T> {
  /** For messages. */
  name: string;
  list(): Promise<ListResult<T>>;
  /** Resolves when the server has accepted; the bytes are one JSON event a line. Aborting `signal` ends it. */
  watch(resourceVersion: string, timeoutSeconds: number, signal: AbortSignal): Promise<AsyncIterable<Buffer>>;
  pick?(object: T): T;
  log: Logger;
  onClose(): void;
  tuning: Partial<InformerTuning>;
}

/** What `pick` left of an object, and what it may have taken away. */
interface Entry<T> {
  object: T;
  uid: string | undefined;
  resourceVersion: string | undefined;
}

/** A watch that ends so soon without a word is treated as failed, lest we ask again and again. */
const SHORT_WATCH_MS = 1000;

/** {@link Informer} over any pair of list and watch. Starts at once. */
export class ListWatchInformer<T extends KubeObject> implements Informer<T> {
  readonly synced: Promise<void>;
  readonly #options: ListWatchOptions<T>;
  readonly #tuning: InformerTuning;
  readonly #objects = new Map<string, Entry<T>>();
  readonly #handlers: InformerHandlers<T>[] = [];
  readonly #closing = new AbortController();
  readonly #backoff: Backoff;
  #markSynced: () => void = () => {};
  #resourceVersion: string | undefined;
  #connected = false;

  constructor(options: ListWatchOptions<T>) {
    this.#options = options;
    this.#tuning = { ...TUNING, ...options.tuning };
    this.#backoff = new Backoff({ baseMs: this.#tuning.backoffBaseMs, maxMs: this.#tuning.backoffMaxMs });
    this.synced = new Promise(resolve => {
      this.#markSynced = resolve;
    });
    void this.#run();
  }

  get connected(): boolean {
    return this.#connected;
  }

  on(handlers: InformerHandlers<T>): void {
    this.#handlers.push(handlers);
    for (const object of this.list()) this.#call(() => handlers.added?.(object));
  }

  get(name: string, namespace = ''): T | undefined {
    return this.#objects.get(`${namespace}/${name}`)?.object;
  }

  list(): T[] {
    return [...this.#objects.values()].map(entry => entry.object);
  }

  close(): void {
    this.#closing.abort();
    this.#connected = false;
    this.#options.onClose();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === undefined) await this.#relist();
        await this.#watch();
      } catch (error) {
        if (signal.aborted) return;
        if (codeOf(error) === 'GONE') this.#resourceVersion = undefined;
        else this.#options.log.warn('watch interrupted', { of: this.#options.name, error: messageOf(error) });
        await delay(this.#backoff.next(), undefined, { signal }).catch(() => {});
      } finally {
        this.#connected = false;
      }
    }
  }

  async #relist(): Promise<void> {
    const { items, resourceVersion } = await this.#options.list();
    if (this.#closing.signal.aborted) return;
    const present = new Set<string>();
    for (const item of items) {
      present.add(keyOf(item));
      this.#store(item);
    }
    for (const [key, { object }] of [...this.#objects]) if (!present.has(key)) this.#remove(key, object);
    this.#resourceVersion = resourceVersion;
    this.#markSynced();
  }

  /** One watch, until the server ends it. Throws when it ended in any other way. */
  async #watch(): Promise<void> {
    const { watchSeconds, readDeadlineMs } = this.#tuning;
    const timeoutSeconds = Math.max(1, Math.round(watchSeconds * (1 - Math.random() / 5)));
    const silence = new AbortController();
    const deadline = setTimeout(() => silence.abort(), readDeadlineMs);
    const startMs = performance.now();
    let events = 0;
    try {
      const signal = AbortSignal.any([this.#closing.signal, silence.signal]);
      const bytes = await this.#options.watch(this.#resourceVersion!, timeoutSeconds, signal);
      this.#connected = true;
      for await (const line of splitLines(bytes)) {
        if (this.#closing.signal.aborted) return;
        deadline.refresh();
        this.#apply(JSON.parse(line) as WatchEvent<T>);
        this.#backoff.reset();
        events++;
      }
      if (events === 0 && performance.now() - startMs < SHORT_WATCH_MS) throw new Error('it ended at once');
    } catch (error) {
      if (!silence.signal.aborted) throw error;
      throw new FimbriaError({
        code: 'UNAVAILABLE',
        op: 'watch',
        object: this.#options.name,
        why: `nothing was heard for ${readDeadlineMs} ms`,
        cause: error,
      });
    } finally {
      clearTimeout(deadline);
    }
  }

  #apply(event: WatchEvent<T>): void {
    if (event.type === 'ERROR') throw watchError(this.#options.name, event.object as unknown as Status);
    const { resourceVersion } = event.object.metadata;
    if (event.type === 'DELETED') {
      const key = keyOf(event.object);
      if (this.#objects.has(key)) this.#remove(key, this.#picked(event.object));
    } else if (event.type !== 'BOOKMARK') {
      this.#store(event.object);
    }
    if (resourceVersion) this.#resourceVersion = resourceVersion;
  }

  #store(item: T): void {
    const key = keyOf(item);
    const { uid, resourceVersion } = item.metadata;
    let old = this.#objects.get(key);
    // A list after a gap brings much that has not changed.
    if (old && old.resourceVersion === resourceVersion) return;
    if (old && old.uid !== uid) {
      // Deleted and made anew while nobody looked: two different objects.
      this.#remove(key, old.object);
      old = undefined;
    }
    const object = this.#picked(item);
    this.#objects.set(key, { object, uid, resourceVersion });
    for (const handlers of [...this.#handlers]) {
      this.#call(() => (old ? handlers.updated?.(object, old.object) : handlers.added?.(object)));
    }
  }

  #remove(key: string, object: T): void {
    this.#objects.delete(key);
    for (const handlers of [...this.#handlers]) this.#call(() => handlers.deleted?.(object));
  }

  #picked(object: T): T {
    return this.#options.pick ? this.#options.pick(object) : object;
  }

  #call(handler: () => void): void {
    if (this.#closing.signal.aborted) return;
    try {
      handler();
    } catch (error) {
      // One broken handler must not cost the others their events.
      this.#options.log.error('informer handler failed', { of: this.#options.name, error });
    }
  }
}

function keyOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

function watchError(name: string, status: Partial<Status>): FimbriaError {
  return new FimbriaError({
    code: errorCode(status.code ?? 500, status),
    op: 'watch',
    object: name,
    why: status.message ?? 'the server ended the watch with an error',
  });
}
