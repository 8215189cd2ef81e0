/** Exponential back-off with jitter. One instance belongs to one retried thing. */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #attempt = 0;

  constructor(options: { baseMs: number; maxMs: number; random?: () => number }) {
    this.#baseMs = options.baseMs;
    this.#maxMs = options.maxMs;
    this.#random = options.random ?? Math.random;
  }

  /** The next delay in milliseconds: between half and the whole of base·2ⁿ, at most maxMs. */
  next(): number {
    const whole = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#attempt++);
    return whole / 2 + (whole / 2) * this.#random();
  }

  reset(): void {
    this.#attempt = 0;
  }
}
