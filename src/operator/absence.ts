/**
 * Tells what has been missing (or unused) for long enough to be removed. The clock is the caller's; all in memory,
 * so a restart only makes things wait longer.
 */
export class AbsenceTimer {
  readonly #graceMs: number;
  readonly #since = new Map<string, number>();

  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** To be called with everything that is absent now; what is not named starts anew when it is named again. */
  due(absent: Iterable<string>, nowMs: number): string[] {
    const names = new Set(absent);
    for (const name of [...this.#since.keys()]) if (!names.has(name)) this.#since.delete(name);
    const due: string[] = [];
    for (const name of names) {
      const since = this.#since.get(name);
      if (since === undefined) this.#since.set(name, nowMs);
      if (nowMs - (since ?? nowMs) >= this.#graceMs) due.push(name);
    }
    return due;
  }
}
