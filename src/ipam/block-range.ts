import { blockAt, blockSize, overlaps, type Prefix } from './prefix.ts';

/** Blocks beyond this are never given out: nobody has so many nodes, and indexes stay exact. */
const MOST_BLOCKS = 2 ** 32;
/** A held range that spans more blocks than this is remembered as one span. */
const WIDE_SPAN = 1024;

/**
 * One range of a pool cut into blocks of one size: who holds which, and the first that may be free. Held ranges of
 * any size count, so that no block is ever given that shares an address with one. Mutable; not shared.
 */
export class BlockRange {
  readonly range: Prefix;
  readonly maskSize: number;
  /** Blocks of the range; 0 when it is smaller than one. */
  readonly count: number;
  readonly #size: bigint;
  /** Holders by block index; several only where somebody wrote a conflict. */
  readonly #holders = new Map<number, string[]>();
  readonly #wide: { first: number; last: number; holder: string }[] = [];
  /** Everything before it is taken. */
  #next = 0;

  constructor(range: Prefix, maskSize: number) {
    this.range = range;
    this.maskSize = maskSize;
    this.#size = blockSize(range.family, maskSize);
    this.count = Math.min(Number((range.last - range.first + 1n) / this.#size), MOST_BLOCKS);
  }

  /** Notes that `holder` has `held`. Returns the others that have a part of it as well. */
  take(held: Prefix, holder: string): string[] {
    const span = this.#span(held);
    if (span === undefined) return [];
    const others = this.holders(held).filter(name => name !== holder);
    if (span.last - span.first >= WIDE_SPAN) this.#wide.push({ ...span, holder });
    else
      for (let index = span.first; index <= span.last; index++) {
        const names = this.#holders.get(index);
        if (names === undefined) this.#holders.set(index, [holder]);
        else names.push(holder);
      }
    return others;
  }

  /** Takes back one `take` of the same arguments. */
  free(held: Prefix, holder: string): void {
    const span = this.#span(held);
    if (span === undefined) return;
    this.#next = Math.min(this.#next, span.first);
    if (span.last - span.first >= WIDE_SPAN) {
      const at = this.#wide.findIndex(
        w => w.first === span.first && w.last === span.last && w.holder === holder,
      );
      if (at >= 0) this.#wide.splice(at, 1);
      return;
    }
    for (let index = span.first; index <= span.last; index++) {
      const names = this.#holders.get(index);
      const at = names?.indexOf(holder) ?? -1;
      if (names === undefined || at < 0) continue;
      names.splice(at, 1);
      if (names.length === 0) this.#holders.delete(index);
    }
  }

  /** Who has a part of `held`, once each. */
  holders(held: Prefix): string[] {
    const span = this.#span(held);
    if (span === undefined) return [];
    const found = new Set<string>();
    for (const wide of this.#wide)
      if (wide.first <= span.last && span.first <= wide.last) found.add(wide.holder);
    if (span.last - span.first < WIDE_SPAN) {
      for (let index = span.first; index <= span.last; index++)
        for (const name of this.#holders.get(index) ?? []) found.add(name);
    } else {
      for (const [index, names] of this.#holders)
        if (index >= span.first && index <= span.last) for (const name of names) found.add(name);
    }
    return [...found];
  }

  /** The first block that nobody has a part of; it is not taken yet. */
  firstFree(): Prefix | undefined {
    while (this.#next < this.count) {
      const wide = this.#wide.find(w => w.first <= this.#next && this.#next <= w.last);
      if (wide !== undefined) this.#next = wide.last + 1;
      else if (this.#holders.has(this.#next)) this.#next++;
      else
        return blockAt(this.range.family, this.range.first + BigInt(this.#next) * this.#size, this.maskSize);
    }
    return undefined;
  }

  /** Blocks that are free; a lower bound where somebody holds wide ranges that overlap. */
  get freeCount(): number {
    const wide = this.#wide.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    return Math.max(0, this.count - this.#holders.size - wide);
  }

  #span(held: Prefix): { first: number; last: number } | undefined {
    if (this.count === 0 || !overlaps(this.range, held)) return undefined;
    const at = (address: bigint): number => Number((address - this.range.first) / this.#size);
    const first = held.first <= this.range.first ? 0 : at(held.first);
    const last = held.last >= this.range.last ? this.count - 1 : at(held.last);
    return first >= this.count ? undefined : { first, last: Math.min(last, this.count - 1) };
  }
}
