/**
 * Numbers that are not given again soon after they were freed: a flow that still knows one must not meet another's.
 * Pure but for its own state.
 */
export class Ids {
  readonly #used = new Set<number>();
  readonly #most: number;
  #next = 1;

  /** @param most the largest number; the smallest is 1 */
  constructor(most = 0xffff_ffff) {
    this.#most = most;
  }

  get size(): number {
    return this.#used.size;
  }

  has(id: number): boolean {
    return this.#used.has(id);
  }

  /** Takes a number that is known already; false when somebody has it. */
  claim(id: number): boolean {
    if (id < 1 || id > this.#most || this.#used.has(id)) return false;
    this.#used.add(id);
    if (id >= this.#next) this.#next = id === this.#most ? 1 : id + 1;
    return true;
  }

  /** @throws RangeError when all are taken */
  take(): number {
    if (this.#used.size >= this.#most) throw new RangeError('all numbers are taken');
    while (this.#used.has(this.#next)) this.#step();
    const id = this.#next;
    this.#used.add(id);
    this.#step();
    return id;
  }

  free(id: number): void {
    this.#used.delete(id);
  }

  #step(): void {
    this.#next = this.#next === this.#most ? 1 : this.#next + 1;
  }
}
