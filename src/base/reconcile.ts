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
  readonly #dirty = new Set<string>();
  #prune = false;
  #synced = false;
  #tail: Promise<unknown> = Promise.resolve();
  #drift: Drift[] = [];
  #repaired = 0;

  constructor(target: Target<D, A>, log: Logger) {
    this.#target = target;
    this.#log = log;
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

  set(key: string, desired: D): void {
    this.#desired.set(key, desired);
    this.#dirty.add(key);
  }

  remove(key: string): void {
    if (this.#desired.delete(key)) this.#dirty.add(key);
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
   * Realises the changes since the last commit.
   * @throws the first failure; failed keys stay dirty and are tried again by the next commit or pass
   */
  commit(): Promise<void> {
    return this.#serial(async () => {
      let failure: unknown;
      for (const key of [...this.#dirty]) {
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
      const actual = await this.#target.read();
      const changes = delta(this.#desired, actual, this.#target.same);
      const found: Drift[] = [];
      let failure: unknown;
      const attempt = async (
        key: string,
        what: Drift['what'],
        action: () => Promise<void>,
      ): Promise<void> => {
        const expected = this.#dirty.delete(key);
        try {
          await action();
          if (this.#synced && !expected) found.push({ key, what, atMs: Date.now() });
        } catch (error) {
          this.#dirty.add(key);
          failure ??= error;
        }
      };
      if (this.#prune) {
        for (const [key, have] of changes.remove)
          await attempt(key, 'foreign', () => this.#target.delete(key, have));
      }
      for (const [key, want] of changes.add)
        await attempt(key, 'missing', () => this.#target.update(key, want));
      for (const [key, want] of changes.update)
        await attempt(key, 'changed', () => this.#target.update(key, want));
      this.#synced = this.#prune;
      this.#report(found);
      if (failure !== undefined) throw failure;
      this.#dirty.clear();
      return found;
    });
  }

  #report(found: Drift[]): void {
    if (found.length === 0) return;
    this.#repaired += found.length;
    this.#drift = [...this.#drift, ...found].slice(-16);
    this.#log.warn(`repaired ${this.#target.name} that somebody else changed`, {
      count: found.length,
      first: `${found[0]!.key} ${found[0]!.what}`,
    });
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(work);
    this.#tail = mine.catch(error => this.#log.debug(`${this.#target.name}: ${messageOf(error)}`));
    return mine;
  }
}
