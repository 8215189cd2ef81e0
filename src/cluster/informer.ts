import { setTimeout as delay } from 'node:timers/promises';
import { Backoff } from '../base/backoff.ts';
import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { KubeObject, Status, WatchEvent } from '../model/types.ts';
import { splitLines } from './lines.ts';
import type { Informer, InformerHandlers, ListResult } from './types.ts';
import { parseWatchEvent, watchError } from './watch-event.ts';

/** How an informer paces itself. */
export interface InformerTuning {
  /** The server ends a watch after this time, up to a fifth sooner, so that watches do not end together. */
  watchSeconds: number;
  /** A watch that brought nothing for so long, not even a bookmark, is taken for dead. */
  readDeadlineMs: number;
  /** A watch that lived so long was worth its request: the next one begins at once, after shorter ones there is a pause. */
  worthMs: number;
  backoffBaseMs: number;
  backoffMaxMs: number;
}

const TUNING: InformerTuning = {
  watchSeconds: 300,
  readDeadlineMs: 150_000,
  worthMs: 5_000,
  backoffBaseMs: 100,
  backoffMaxMs: 10_000,
};

/** However long a server wants to be left alone, after this it is asked again. */
const MOST_PATIENCE_MS = 5 * 60_000;

/** After so many events in a row that were errors or could not be read, the whole list is fetched instead. */
const MOST_BAD_EVENTS = 3;

/** What makes the version that a watch would go on from useless. */
const FORGET: readonly (string | undefined)[] = ['GONE', 'INVALID', 'NOT_FOUND'];

export interface ListWatchOptions<T> {
  /** For messages. */
  name: string;
  /** All objects, each as `keep` leaves it; `keep` is called as they arrive. */
  list(keep: (object: T) => Listed<T>): Promise<ListResult<Listed<T>>>;
  /** Resolves when the server has accepted; the bytes are one JSON event a line. Aborting `signal` ends it. */
  watch(resourceVersion: string, timeoutSeconds: number, signal: AbortSignal): Promise<AsyncIterable<Buffer>>;
  /** Adds to an event's object what the server did not send. */
  whole(object: T): T;
  /** Takes our token out of what a server sent, for messages. */
  redact(text: string): string;
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

/** An entry on its way from a list into the store. */
interface Listed<T> extends Entry<T> {
  key: string;
}

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
  /** Events in a row that were none. */
  #badEvents = 0;
  /** What was said of the trouble that is going on; empty while there is none. */
  #said = '';

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
      let watchedSinceMs = Number.POSITIVE_INFINITY;
      let askedMs = 0;
      try {
        if (this.#resourceVersion === undefined) await this.#relist();
        if (signal.aborted) return;
        watchedSinceMs = performance.now();
        await this.#watch();
      } catch (error) {
        if (signal.aborted) return;
        if (FORGET.includes(codeOf(error)) || this.#badEvents >= MOST_BAD_EVENTS) {
          this.#resourceVersion = undefined;
          this.#badEvents = 0;
        }
        if (codeOf(error) !== 'GONE') this.#complain(messageOf(error));
        if (error instanceof FimbriaError) askedMs = Math.min(error.retryAfterMs ?? 0, MOST_PATIENCE_MS);
      } finally {
        this.#connected = false;
      }
      // Whatever it ended by: nothing may make us ask again and again without a pause.
      if (performance.now() - watchedSinceMs >= this.#tuning.worthMs) this.#backoff.reset();
      else askedMs = Math.max(askedMs, this.#backoff.next());
      if (askedMs > 0) await delay(askedMs, undefined, { signal }).catch(() => {});
    }
  }

  /** Says once what is wrong, however often it is tried. */
  #complain(error: string): void {
    const { log, name } = this.#options;
    if (this.#said === error) log.debug('watch interrupted', { of: name, error });
    else log.warn('watch interrupted, it is tried again', { of: name, error });
    this.#said = error;
  }

  async #relist(): Promise<void> {
    const { items, resourceVersion } = await this.#options.list(object => this.#kept(object));
    if (this.#closing.signal.aborted) return;
    const present = new Set<string>();
    for (const item of items) {
      present.add(item.key);
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
    try {
      const signal = AbortSignal.any([this.#closing.signal, silence.signal]);
      const bytes = await this.#options.watch(this.#resourceVersion!, timeoutSeconds, signal);
      this.#connected = true;
      if (this.#said !== '') this.#options.log.info('watch goes on', { of: this.#options.name });
      this.#said = '';
      for await (const line of splitLines(bytes)) {
        if (this.#closing.signal.aborted) return;
        deadline.refresh();
        this.#badEvents++;
        this.#apply(parseWatchEvent<T>(line, this.#options.name));
        this.#badEvents = 0;
      }
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
    if (event.type === 'ERROR')
      throw watchError(this.#options.name, event.object as unknown as Partial<Status>, this.#options.redact);
    const { resourceVersion } = event.object.metadata;
    if (event.type === 'DELETED') {
      const { key, object } = this.#kept(this.#options.whole(event.object));
      if (this.#objects.has(key)) this.#remove(key, object);
    } else if (event.type !== 'BOOKMARK') {
      this.#store(this.#kept(this.#options.whole(event.object)));
    }
    if (resourceVersion) this.#resourceVersion = resourceVersion;
  }

  #store({ key, object, uid, resourceVersion }: Listed<T>): void {
    let old = this.#objects.get(key);
    // A list after a gap brings much that has not changed.
    if (old && old.resourceVersion === resourceVersion) return;
    if (old && old.uid !== uid) {
      // Deleted and made anew while nobody looked: two different objects.
      this.#remove(key, old.object);
      old = undefined;
    }
    this.#objects.set(key, { object, uid, resourceVersion });
    for (const handlers of [...this.#handlers]) {
      this.#call(() => (old ? handlers.updated?.(object, old.object) : handlers.added?.(object)));
    }
  }

  #remove(key: string, object: T): void {
    this.#objects.delete(key);
    for (const handlers of [...this.#handlers]) this.#call(() => handlers.deleted?.(object));
  }

  #kept(object: T): Listed<T> {
    const { uid, resourceVersion } = object.metadata;
    const { pick } = this.#options;
    return { key: keyOf(object), object: pick ? pick(object) : object, uid, resourceVersion };
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
