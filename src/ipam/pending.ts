/** How long a request counts after the last attempt. */
const EXPIRY_MS = 5 * 60_000;

/**
 * Who waits for an address of which pool. An owner counts once however often it asks, and no more when it has not
 * asked for a while. In memory only: whoever still waits after a restart asks again.
 */
export class PendingRequests {
  readonly #now: () => number;
  readonly #byPool = new Map<string, Map<string, number>>();

  /** @param now a monotonic clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** True when the owner did not wait before. */
  add(pool: string, owner: string): boolean {
    const owners = this.#byPool.get(pool) ?? new Map<string, number>();
    this.#byPool.set(pool, owners);
    const fresh = !owners.has(owner);
    owners.set(owner, this.#now() + EXPIRY_MS);
    return fresh;
  }

  /** The owner has what it waited for, or is gone. True when it waited. */
  delete(owner: string): boolean {
    let waited = false;
    for (const [pool, owners] of this.#byPool) {
      waited = owners.delete(owner) || waited;
      if (owners.size === 0) this.#byPool.delete(pool);
    }
    return waited;
  }

  count(pool: string): number {
    this.#expire();
    return this.#byPool.get(pool)?.size ?? 0;
  }

  /** Pools that somebody waits for. */
  pools(): string[] {
    this.#expire();
    return [...this.#byPool.keys()];
  }

  #expire(): void {
    const now = this.#now();
    for (const [pool, owners] of this.#byPool) {
      for (const [owner, until] of owners) if (until <= now) owners.delete(owner);
      if (owners.size === 0) this.#byPool.delete(pool);
    }
  }
}
