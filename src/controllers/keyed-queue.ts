import { Backoff } from '../base/backoff.ts';
import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { Semaphore } from './semaphore.ts';

export interface KeyedQueueOptions {
  /**
   * Looks at what stands behind a key and does what is to be done. Returns after how many ms it wants to look again
   * though nothing happened; undefined for not at all.
   */
  run(key: string): Promise<number | undefined>;
  log: Logger;
  /** Keys looked at side by side. */
  parallel?: number;
}

interface Entry {
  state: 'idle' | 'queued' | 'running';
  again: boolean;
  backoff: Backoff;
  timer: NodeJS.Timeout | undefined;
  said: string;
}

const PARALLEL = 8;
const RETRY = { baseMs: 50, maxMs: 10_000 };
/** Longer than a timer can be set for. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Keys that want a look. One key is never looked at twice at once; whatever adds it meanwhile becomes one more look
 * afterwards. A look that throws is tried again, ever later; a lost race (CONFLICT) is no reason to complain.
 */
export class KeyedQueue {
  readonly #options: KeyedQueueOptions;
  readonly #slots: Semaphore;
  readonly #entries = new Map<string, Entry>();
  #closed = false;

  constructor(options: KeyedQueueOptions) {
    this.#options = options;
    this.#slots = new Semaphore(options.parallel ?? PARALLEL);
  }

  add(key: string): void {
    if (this.#closed) return;
    const entry = this.#entries.get(key) ?? this.#newEntry(key);
    if (entry.state === 'running') entry.again = true;
    if (entry.state !== 'idle') return;
    clearTimeout(entry.timer);
    entry.state = 'queued';
    // After the present burst of informer calls, so that one look sees all of it.
    setImmediate(() => void this.#slots.run(() => this.#look(key, entry)));
  }

  /** No look begins afterwards; those under way end by themselves. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
  }

  #newEntry(key: string): Entry {
    const entry: Entry = {
      state: 'idle',
      again: false,
      backoff: new Backoff(RETRY),
      timer: undefined,
      said: '',
    };
    this.#entries.set(key, entry);
    return entry;
  }

  async #look(key: string, entry: Entry): Promise<void> {
    if (this.#closed) return;
    entry.state = 'running';
    entry.again = false;
    let afterMs: number | undefined;
    try {
      afterMs = await this.#options.run(key);
      entry.backoff.reset();
      entry.said = '';
    } catch (error) {
      afterMs = entry.backoff.next();
      this.#complain(key, entry, error);
    }
    entry.state = 'idle';
    if (this.#closed) return;
    if (entry.again) this.add(key);
    else if (afterMs === undefined) this.#entries.delete(key);
    else entry.timer = setTimeout(() => this.add(key), Math.min(LONGEST_MS, afterMs));
  }

  #complain(key: string, entry: Entry, error: unknown): void {
    const why = messageOf(error);
    if (codeOf(error) === 'CONFLICT' || entry.said === why) return;
    entry.said = why;
    this.#options.log.warn('will be tried again', { key, error: why });
  }
}
