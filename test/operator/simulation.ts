import { FimbriaError } from '../../src/base/errors.ts';
import type { Clock, LeaderOptions } from '../../src/cluster/leader.ts';
import type { Lease } from '../../src/model/types.ts';

/** Simulated time: nothing happens but what was put into it, in its order. */
export class World {
  nowMs = 0;
  readonly #timers: { atMs: number; order: number; run: () => void }[] = [];
  #order = 0;

  after(delayMs: number, run: () => void): void {
    this.#timers.push({ atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, run });
  }

  /** Runs until `untilMs`; `look` is called whenever something may have changed. */
  async run(untilMs: number, look: () => void): Promise<void> {
    for (;;) {
      // Whatever follows from what has just happened happens now.
      await new Promise(setImmediate);
      look();
      this.#timers.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      const next = this.#timers[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers.shift();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = untilMs;
  }
}

/** What one request meets on its way. */
export interface Fate {
  /** Until it is at the server. */
  thereMs: number;
  /** Until its answer is back. */
  backMs: number;
  lost: 'no' | 'request' | 'answer';
}

/** One Lease as an API server keeps it. */
export class LeaseServer {
  lease: Lease | undefined;
  away = false;
  #version = 0;

  get(): Lease {
    if (this.lease) return structuredClone(this.lease);
    throw failure('NOT_FOUND');
  }

  create(lease: Lease): Lease {
    if (this.lease) throw failure('ALREADY_EXISTS');
    return this.#store(lease);
  }

  update(lease: Lease): Lease {
    if (lease.metadata.resourceVersion !== this.lease?.metadata.resourceVersion) throw failure('CONFLICT');
    return this.#store(lease);
  }

  #store(lease: Lease): Lease {
    const metadata = { ...lease.metadata, uid: 'u', resourceVersion: String(++this.#version) };
    this.lease = { ...structuredClone(lease), metadata };
    return this.get();
  }
}

/** One process: its clock, which may run too fast or too slow, may stand for a while and may end; and its connection. */
export class Process {
  readonly #world: World;
  readonly #server: LeaseServer;
  readonly #rate: number;
  readonly #fate: () => Fate;
  #heldUpUntilMs = 0;
  dead = false;

  constructor(world: World, server: LeaseServer, rate: number, fate: () => Fate) {
    this.#world = world;
    this.#server = server;
    this.#rate = rate;
    this.#fate = fate;
  }

  /** Does nothing for a while, as if stopped; time goes on. */
  holdUp(forMs: number): void {
    this.#heldUpUntilMs = this.#world.nowMs + forMs;
  }

  readonly clock: Clock = {
    nowMs: () => this.#world.nowMs * this.#rate,
    delay: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const abort = (): void => reject(signal?.reason);
        signal?.addEventListener('abort', abort, { once: true });
        this.#later(delayMs / this.#rate, () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        });
      }),
  };

  readonly client = {
    get: () => this.#ask(() => this.#server.get()),
    create: (lease: Lease) => this.#ask(() => this.#server.create(lease)),
    update: (lease: Lease) => this.#ask(() => this.#server.update(lease)),
  } as unknown as LeaderOptions['client'];

  /** What is due while the process is held up is done when it goes on; a dead one does nothing. */
  #later(delayMs: number, run: () => void): void {
    this.#world.after(delayMs, () => {
      if (this.dead) return;
      const leftMs = this.#heldUpUntilMs - this.#world.nowMs;
      if (leftMs > 0) this.#later(leftMs, run);
      else run();
    });
  }

  #ask<T>(handle: () => T): Promise<T> {
    const { thereMs, backMs, lost } = this.#fate();
    return new Promise((resolve, reject) => {
      const timeoutMs = 3_000;
      this.#later(timeoutMs, () => reject(failure('UNAVAILABLE')));
      // Once sent, a request arrives also when its sender is dead or gave up.
      this.#world.after(thereMs, () => {
        if (lost === 'request' || this.#server.away) return;
        let answer: () => void;
        try {
          const value = handle();
          answer = () => resolve(value);
        } catch (error) {
          answer = () => reject(error);
        }
        if (lost === 'no') this.#later(backMs, answer);
      });
    });
  }
}

function failure(code: string): FimbriaError {
  return new FimbriaError({ code, op: 'ask', why: code });
}
