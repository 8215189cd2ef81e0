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

/**
 * The account of repairs: what drifted is told once, what somebody keeps changing back is told once more as a
 * quarrel, and then repaired ever less often. Knows no wall clock but for showing times.
 */
export class DriftLedger {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #tables = new Map<string, { repaired: number; recent: Drift[] }>();
  readonly #repeats = new Map<string, { count: number; lastMs: number }>();
  #unsaid: string[] = [];
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
        this.#unsaid.push(`${name} ${what}`);
        continue;
      }
      const count = (this.#repeats.get(name)?.count ?? 0) + 1;
      this.#repeats.set(name, { count, lastMs: this.#now() });
      if (count < QUARREL_REPAIRS) this.#unsaid.push(`${name} ${what}`);
      if (count === QUARREL_REPAIRS)
        this.#log.error(
          'somebody keeps changing what is ours; find out who, it is repaired ever less often',
          {
            what: name,
            repaired: count,
          },
        );
    }
  }

  /** One line in the log for what one pass repaired; a quarrel has been told and is not told again. */
  endOfPass(): void {
    const [first, ...rest] = this.#unsaid;
    this.#unsaid = [];
    this.#cause = undefined;
    if (first === undefined) return;
    this.#log.warn('repaired what somebody else changed', {
      first,
      ...(rest.length > 0 ? { others: rest.length, last: rest.at(-1) } : {}),
    });
  }

  /** How long to wait between a notification and the pass that it asks for, in milliseconds. */
  get delayMs(): number {
    this.#expire();
    const most = Math.max(1, ...[...this.#repeats.values()].map(r => r.count));
    return Math.min(DELAY.maxMs, DELAY.baseMs * 2 ** (most - 1));
  }

  /** What is being quarrelled over now, in words for `status`. */
  get quarrels(): string[] {
    this.#expire();
    return [...this.#repeats]
      .filter(([, r]) => r.count >= QUARREL_REPAIRS)
      .map(([name, r]) => `${name} was changed by somebody else ${r.count} times; find out who`);
  }

  get summary(): DriftSummary[] {
    return [...this.#tables].map(([table, entry]) => ({ table, ...entry }));
  }

  #expire(): void {
    for (const [name, { lastMs }] of this.#repeats)
      if (this.#now() - lastMs > QUARREL_MS) this.#repeats.delete(name);
  }
}
