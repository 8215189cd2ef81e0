/**
 * Numbers that look random and follow from the seed alone (Marsaglia's xorshift128), so that a failure can be repeated.
 * Not for secrets.
 */
export class Random {
  readonly #state: Uint32Array;

  /** `stream` separates users of one seed: what one of them takes does not move the others. */
  constructor(seed: number, stream = '') {
    let hash = seed >>> 0;
    for (const byte of Buffer.from(stream)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    // An odd word, so that the state is never all zero, where it would stay.
    this.#state = Uint32Array.of(hash, ~hash, Math.imul(hash, 0x9e3779b1), hash | 1);
    for (let i = 0; i < 32; i++) this.word();
  }

  /** 0 to 2^32 - 1. */
  word(): number {
    const state = this.#state;
    let t = state[3]!;
    const first = state[0]!;
    state.copyWithin(1, 0, 3);
    t ^= t << 11;
    t ^= t >>> 8;
    state[0] = t ^ first ^ (first >>> 19);
    return state[0]!;
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.word() / 2 ** 32) * limit);
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
