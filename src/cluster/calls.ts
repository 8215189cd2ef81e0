/** How many requests ended in one way. */
export interface CallCount {
  method: string;
  /** The HTTP status, or `<error>` where there was no answer, as client-go says it. */
  returnCode: string;
  count: number;
}

/** Counts what one client asks of its server. */
export class CallCounter {
  readonly #counts = new Map<string, CallCount>();

  note(method: string, returnCode: number | undefined): void {
    const code = returnCode === undefined ? '<error>' : String(returnCode);
    const key = `${method} ${code}`;
    const entry = this.#counts.get(key);
    if (entry) entry.count++;
    else this.#counts.set(key, { method, returnCode: code, count: 1 });
  }

  list(): readonly CallCount[] {
    return [...this.#counts.values()];
  }
}
