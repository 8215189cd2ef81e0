import { delta } from './delta.ts';
import { messageOf } from './errors.ts';
import type { Logger } from './log.ts';

/**
 * The realised side of a table: a kernel map, a routing table, a set of attachments.
 * `update` is idempotent; `delete` of what is gone succeeds; `read` lists only what is ours.
 */
export interface Target<D, A = D> {
  /** Plural, for messages: `routes`. */
  name: string;
  read(): Promise<Map<string, A>>;
  same(desired: D, actual: A): boolean;
  /**
   * Whether an entry cannot be there at present, since what it stands on (its device) is gone: a full pass passes
   * it over, and its absence is no drift. Asked after `read`. Absent = never.
   */
  blocked?(desired: D, key: string): boolean;
  update(key: string, desired: D): Promise<void>;
  delete(key: string, actual: A | undefined): Promise<void>;
}

/** One thing that a full pass found different from what was wanted although nobody here had changed it. */
export interface Drift {
  key: string;
  what: 'missing' | 'changed' | 'foreign';
  atMs: number;
}

/**
 * Desired state of one kind, and the one writer of the kernel's side of it.
 *
 * Callers `set` and `remove` keys, then `commit` to have the changes realised; a full pass (`resync`) compares
 * everything and repairs drift. What nobody desires is deleted only after `allowPrune`, since at start the view
 * is not complete. Passes and commits never overlap.
 */
export class Reconciler<D, A = D> {
  readonly #target: Target<D, A>;
  readonly #log: Logger;
  readonly #desired = new Map<string, D>();
  readonly #onDrift: (table: string, found: readonly Drift[]) => void;
  #dirty = new Set<string>();
  /** Noted while the pass under way was reading. */
  readonly #noted = new Set<string>();
  #prune = false;
  #synced = false;
  /** Entries that are there although nobody desires them, as of the last pass. */
  #foreign = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #drift: Drift[] = [];
  #repaired = 0;

  /** @param onDrift told of what a pass repaired; it goes to the log when absent */
  constructor(
    target: Target<D, A>,
    log: Logger,
    onDrift: (table: string, found: readonly Drift[]) => void = (table, found) =>
      log.warn(`repaired ${table} that somebody else changed`, {
        count: found.length,
        first: `${found[0]!.key} ${found[0]!.what}`,
      }),
  ) {
    this.#target = target;
    this.#log = log;
    this.#onDrift = onDrift;
  }

  get name(): string {
    return this.#target.name;
  }

  get desired(): ReadonlyMap<string, D> {
    return this.#desired;
  }

  /** How many drifted entries were repaired since start, and the latest of them. */
  get drift(): { repaired: number; recent: readonly Drift[] } {
    return { repaired: this.#repaired, recent: this.#drift };
  }

  /**
   * How many entries the kernel's side holds: what is desired and not refused, and what the last pass left. Costs
   * nothing however large the table is.
   */
  get entries(): number {
    let unrealised = 0;
    for (const key of this.#dirty) if (this.#desired.has(key)) unrealised++;
    return this.#desired.size - unrealised + this.#foreign;
  }

  set(key: string, desired: D): void {
    this.#desired.set(key, desired);
    this.#dirty.add(key);
  }

  remove(key: string): void {
    if (this.#desired.delete(key)) this.#dirty.add(key);
  }

  /** Desires what the caller has realised already: there is nothing to commit, passes watch over it from now on. */
  note(key: string, desired: D): void {
    this.#desired.set(key, desired);
    this.#noted.add(key);
  }

  /** Replaces all desired entries whose key `mine` accepts; others stay. Marks only what differs. */
  replace(
    entries: ReadonlyMap<string, D>,
    mine: (key: string) => boolean,
    same: (a: D, b: D) => boolean,
  ): void {
    for (const key of [...this.#desired.keys()]) if (mine(key) && !entries.has(key)) this.remove(key);
    for (const [key, value] of entries) {
      const before = this.#desired.get(key);
      if (before === undefined || !same(value, before)) this.set(key, value);
    }
  }

  /** From now on a full pass deletes what is ours and not desired: the view is complete. */
  allowPrune(): void {
    this.#prune = true;
  }

  /**
   * Realises the changes since the last commit; what goes first makes room for what comes.
   * @param only these keys: who adds or deletes one thing does not fail because of others
   * @throws the first failure; failed keys stay dirty and are tried again by the next commit or pass
   */
  commit(only?: readonly string[]): Promise<void> {
    return this.#serial(async () => {
      let failure: unknown;
      const keys = (only ?? [...this.#dirty]).filter(key => this.#dirty.has(key));
      const gone = keys.filter(key => !this.#desired.has(key));
      for (const key of [...gone, ...keys.filter(key => this.#desired.has(key))]) {
        this.#dirty.delete(key);
        try {
          const desired = this.#desired.get(key);
          if (desired === undefined) await this.#target.delete(key, undefined);
          else await this.#target.update(key, desired);
        } catch (error) {
          this.#dirty.add(key);
          failure ??= error;
        }
      }
      if (failure !== undefined) throw failure;
    });
  }

  /** Compares everything with the kernel and repairs it. Returns what had drifted since the last pass. */
  resync(): Promise<Drift[]> {
    return this.#serial(async () => {
      this.#noted.clear();
      const actual = await this.#target.read();
      const changes = delta(this.#desired, actual, this.#target.same);
      // What is set while this pass works is the next commit's.
      const asked = this.#dirty;
      this.#dirty = new Set();
      const found: Drift[] = [];
      let failure: unknown;
      const attempt = async (
        key: string,
        what: Drift['what'],
        action: () => Promise<void>,
      ): Promise<void> => {
        const expected = asked.has(key) || this.#noted.has(key);
        try {
          await action();
          if (this.#synced && !expected) found.push({ key, what, atMs: Date.now() });
        } catch (error) {
          this.#dirty.add(key);
          failure ??= error;
        }
      };
      for (const [key, have] of changes.remove) {
        if (this.#prune || asked.has(key))
          await attempt(key, 'foreign', () => this.#target.delete(key, have));
      }
      for (const [key, want] of changes.add) {
        if (this.#target.blocked?.(want, key)) continue;
        await attempt(key, 'missing', () => this.#target.update(key, want));
      }
      for (const [key, want] of changes.update)
        await attempt(key, 'changed', () => this.#target.update(key, want));
      this.#foreign = this.#prune ? 0 : changes.remove.length;
      this.#synced = this.#prune;
      this.#report(found);
      if (failure !== undefined) throw failure;
      return found;
    });
  }

  #report(found: Drift[]): void {
    if (found.length === 0) return;
    this.#repaired += found.length;
    this.#drift = [...this.#drift, ...found].slice(-16);
    this.#onDrift(this.name, found);
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(work);
    this.#tail = mine.catch(error => this.#log.debug(`${this.#target.name}: ${messageOf(error)}`));
    return mine;
  }
}
