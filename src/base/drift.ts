import type { Logger } from './log.ts';
import type { Drift } from './reconcile.ts';

/** What one table lost to others since start. */
export interface DriftSummary {
  table: string;
  repaired: number;
  recent: readonly Drift[];
}

/** Repairs of the same thing that make it a quarrel, and for how long it is one after the last of them. */
const QUARREL_REPAIRS = 5;
const QUARREL_MS = 120_000;
/** How long after a notification a pass begins: at once, and ever later while the same thing keeps changing. */
const DELAY = { baseMs: 50, maxMs: 30_000 };
const RECENT = 16;
/** Names that are watched for a quarrel at a time; a whole table that was lost is no quarrel over each entry. */
const MOST_WATCHED = 1_024;
/** Quarrels that are named in `status`. */
const MOST_NAMED = 16;

/** What is said in one line, however much it is. */
class Tally {
  #count = 0;
  #first: string | undefined;
  #last: string | undefined;

  add(what: string): void {
    this.#count++;
    this.#first ??= what;
    this.#last = what;
  }

  /** Fields for the log; undefined when there is nothing to say. Begins anew. */
  take(firstIs: string): Record<string, unknown> | undefined {
    const [count, first, last] = [this.#count, this.#first, this.#last];
    this.#count = 0;
    this.#first = undefined;
    if (count === 0) return undefined;
    return { [firstIs]: first, ...(count > 1 ? { others: count - 1, last } : {}) };
  }
}

/**
 * The account of repairs: what drifted is told once, what somebody keeps changing back is told once more as a
 * quarrel, and then repaired ever less often. Knows no wall clock but for showing times.
 */
export class DriftLedger {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #tables = new Map<string, { repaired: number; recent: Drift[] }>();
  readonly #repeats = new Map<string, { count: number; lastMs: number }>();
  readonly #unsaid = new Tally();
  readonly #begun = new Tally();
  /** The table that drifted first in this pass: what follows in others is taken for its consequence. */
  #cause: string | undefined;

  /** @param now a monotonic clock in milliseconds */
  constructor(log: Logger, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  /** Takes up what a pass repaired. */
  note(table: string, found: readonly Drift[]): void {
    this.#expire();
    const entry = this.#tables.get(table) ?? { repaired: 0, recent: [] };
    entry.repaired += found.length;
    entry.recent = [...entry.recent, ...found].slice(-RECENT);
    this.#tables.set(table, entry);
    this.#cause ??= table;
    for (const { key, what } of found) {
      const name = `${table} ${key}`;
      if (table !== this.#cause) {
        this.#unsaid.add(`${name} ${what}`);
        continue;
      }
      const before = this.#repeats.get(name);
      const count = (before?.count ?? 0) + 1;
      if (before || this.#repeats.size < MOST_WATCHED)
        this.#repeats.set(name, { count, lastMs: this.#now() });
      if (count < QUARREL_REPAIRS) this.#unsaid.add(`${name} ${what}`);
      if (count === QUARREL_REPAIRS) this.#begun.add(name);
    }
  }

  /** One line in the log for what one pass repaired; a quarrel is told when it begins and then not again. */
  endOfPass(): void {
    this.#cause = undefined;
    const quarrel = this.#begun.take('what');
    if (quarrel)
      this.#log.error('somebody keeps changing what is ours; find out who, it is repaired ever less often', {
        ...quarrel,
        repaired: QUARREL_REPAIRS,
      });
    const repaired = this.#unsaid.take('first');
    if (repaired) this.#log.warn('repaired what somebody else changed', repaired);
  }

  /** How long to wait between a notification and the pass that it asks for, in milliseconds. */
  get delayMs(): number {
    this.#expire();
    let most = 1;
    for (const { count } of this.#repeats.values()) most = Math.max(most, count);
    return Math.min(DELAY.maxMs, DELAY.baseMs * 2 ** (most - 1));
  }

  /** What is being quarrelled over now, in words for `status`. */
  get quarrels(): string[] {
    this.#expire();
    const words = [...this.#repeats]
      .filter(([, r]) => r.count >= QUARREL_REPAIRS)
      .map(([name, r]) => `${name} was changed by somebody else ${r.count} times; find out who`);
    const more = words.length - MOST_NAMED;
    return more > 0 ? [...words.slice(0, MOST_NAMED), `so were ${more} others`] : words;
  }

  get summary(): DriftSummary[] {
    return [...this.#tables].map(([table, entry]) => ({ table, ...entry }));
  }

  #expire(): void {
    for (const [name, { lastMs }] of this.#repeats)
      if (this.#now() - lastMs > QUARREL_MS) this.#repeats.delete(name);
  }
}
