import { Backoff } from './backoff.ts';
import { messageOf } from './errors.ts';
import type { Logger } from './log.ts';

/** What `status --verbose` shows of a controller. Times are milliseconds since the epoch. */
export interface ControllerStatus {
  name: string;
  lastSuccessMs?: number;
  lastErrorMs?: number;
  consecutiveErrors: number;
  successCount: number;
  failureCount: number;
  message: string;
}

export interface ControllerOptions {
  name: string;
  run: () => Promise<void>;
  log: Logger;
  /** Runs again this long after each success; only on trigger when absent. */
  intervalMs?: number;
  /**
   * Kicks start runs at least this long apart: the first at once, those of a burst together. For work that looks at
   * everything however little changed.
   */
  spacingMs?: number;
  /** First and longest delay between attempts after an error. */
  retry?: { baseMs: number; maxMs: number };
}

/**
 * A named piece of work that is repeated: when triggered, on an interval, and with back-off after an error.
 * Runs of one controller never overlap; triggers during a run coalesce into one more run.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #backoff: Backoff;
  readonly #status: ControllerStatus;
  #timer: NodeJS.Timeout | undefined;
  #held: NodeJS.Timeout | undefined;
  /** By the monotonic clock. */
  #startedMs = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #stopped = false;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.retry ?? { baseMs: 500, maxMs: 30_000 });
    this.#status = {
      name: options.name,
      consecutiveErrors: 0,
      successCount: 0,
      failureCount: 0,
      message: 'no error',
    };
  }

  /**
   * Asks for a run. The promise settles with the first run that starts after this call;
   * it rejects with that run's error, which is retried by itself all the same.
   */
  trigger(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    if (!this.#running) return this.#start();
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.#stopped ? undefined : this.#start();
      });
    return this.#next;
  }

  /** Like trigger, for callers that do not care about the outcome; kept apart by `spacingMs`. */
  kick(): void {
    if (this.#held) return;
    const waitMs = this.#startedMs + (this.#options.spacingMs ?? 0) - performance.now();
    if (waitMs <= 0) {
      this.trigger().catch(() => {});
      return;
    }
    this.#held = setTimeout(() => {
      this.#held = undefined;
      this.trigger().catch(() => {});
    }, waitMs);
    this.#held.unref();
  }

  status(): ControllerStatus {
    return { ...this.#status };
  }

  /** Ends the repetition and waits for a run under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#held);
    await this.#running?.catch(() => {});
  }

  #start(): Promise<void> {
    clearTimeout(this.#timer);
    this.#startedMs = performance.now();
    this.#running = this.#once().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #once(): Promise<void> {
    const status = this.#status;
    try {
      await this.#options.run();
      status.lastSuccessMs = Date.now();
      status.successCount++;
      status.consecutiveErrors = 0;
      status.message = 'no error';
      this.#backoff.reset();
      if (this.#options.intervalMs !== undefined) this.#schedule(this.#options.intervalMs);
    } catch (error) {
      status.lastErrorMs = Date.now();
      status.failureCount++;
      status.consecutiveErrors++;
      // The same failure over and over is one line in the log; status shows the count.
      if (status.message !== messageOf(error) && !this.#stopped)
        this.#options.log.warn(`${this.#options.name} failed, will be retried`, { error });
      status.message = messageOf(error);
      this.#schedule(this.#backoff.next());
      throw error;
    }
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.kick(), delayMs);
    this.#timer.unref();
  }
}

/** The controllers of one process, for status and for an orderly stop. */
export class ControllerSet {
  readonly #log: Logger;
  readonly #controllers = new Map<string, Controller>();

  constructor(log: Logger) {
    this.#log = log;
  }

  add(options: Omit<ControllerOptions, 'log'>): Controller {
    const controller = new Controller({ ...options, log: this.#log });
    this.#controllers.set(options.name, controller);
    return controller;
  }

  async remove(name: string): Promise<void> {
    const controller = this.#controllers.get(name);
    this.#controllers.delete(name);
    await controller?.stop();
  }

  status(): ControllerStatus[] {
    return [...this.#controllers.values()].map(c => c.status()).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#controllers.values()].map(c => c.stop()));
  }
}
