import { setTimeout as delay } from 'node:timers/promises';

/** How rounds are made. */
export interface GatherOptions {
  /** How long a round waits for others after its first. */
  lingerMs: number;
  /** How many a round takes; a full one waits no longer. */
  most: number;
}

/** One round of work: what it is for, and whoever waits for it. */
interface Round<T> {
  items: T[];
  full: AbortController;
  done: Promise<void>;
  settle(work: Promise<void>): void;
}

/**
 * Does work that costs as much for many as for one: what is asked for within a moment, or while the last round is at
 * work, is done together. One round at a time. A round that fails, fails for everything in it; the next one is begun all
 * the same.
 */
export class Gather<T> {
  readonly #work: (items: T[]) => Promise<void>;
  readonly #options: GatherOptions;
  readonly #waiting: Round<T>[] = [];
  #busy = false;

  constructor(work: (items: T[]) => Promise<void>, options: GatherOptions) {
    this.#work = work;
    this.#options = options;
  }

  /** Resolves, or rejects, as the round does that the item is in. */
  add(item: T): Promise<void> {
    let round = this.#waiting.at(-1);
    if (!round || round.items.length >= this.#options.most) {
      round = newRound();
      this.#waiting.push(round);
    }
    round.items.push(item);
    if (round.items.length >= this.#options.most) round.full.abort();
    if (!this.#busy) void this.#run();
    return round.done;
  }

  async #run(): Promise<void> {
    this.#busy = true;
    for (let round = this.#waiting[0]; round; round = this.#waiting[0]) {
      await delay(this.#options.lingerMs, undefined, { signal: round.full.signal }).catch(() => {});
      this.#waiting.shift();
      const work = this.#work(round.items);
      round.settle(work);
      await work.catch(() => {});
    }
    this.#busy = false;
  }
}

function newRound<T>(): Round<T> {
  let settle: (work: Promise<void>) => void = () => {};
  const done = new Promise<void>(resolve => {
    settle = resolve;
  });
  return { items: [], full: new AbortController(), done, settle };
}
