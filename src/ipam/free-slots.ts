const FULL = 0xffffffff;

/** Which of `size` slots are taken, one bit each; finds a free one in microseconds however full it is. */
export class FreeSlots {
  readonly size: number;
  readonly #words: Uint32Array;
  #taken = 0;

  constructor(size: number) {
    this.size = size;
    this.#words = new Uint32Array(Math.ceil(size / 32));
    // Bits behind the last slot are never free.
    if (size % 32 !== 0) this.#words[this.#words.length - 1] = (FULL << (size % 32)) >>> 0;
  }

  get taken(): number {
    return this.#taken;
  }

  has(slot: number): boolean {
    return ((this.#words[slot >>> 5]! >>> (slot & 31)) & 1) === 1;
  }

  take(slot: number): void {
    if (this.has(slot)) return;
    this.#words[slot >>> 5]! |= 1 << (slot & 31);
    this.#taken++;
  }

  free(slot: number): void {
    if (!this.has(slot)) return;
    this.#words[slot >>> 5]! &= ~(1 << (slot & 31));
    this.#taken--;
  }

  /** Takes the first free slot from `start` on, going round at the end. The caller knows that there is one. */
  takeFrom(start: number): number {
    const words = this.#words.length;
    for (let step = 0; step <= words; step++) {
      const word = ((start >>> 5) + step) % words;
      // In the word of `start` the bits before it come last, after a whole round.
      const before = step === 0 ? (1 << (start & 31)) - 1 : 0;
      const free = ~(this.#words[word]! | before) >>> 0;
      if (free === 0) continue;
      const slot = word * 32 + (31 - Math.clz32(free & -free));
      this.take(slot);
      return slot;
    }
    throw new RangeError(`all ${this.size} slots are taken`);
  }
}
