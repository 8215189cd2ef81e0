/**
 * Undo stack for multi-step work: each step that changed something pushes how to take it back.
 * Not shared between operations: one stack belongs to one call.
 */
export class Undo {
  #steps: { what: string; revert: () => unknown }[] = [];

  /** Remembers how to take back what was just done; `what` names it in errors. */
  push(what: string, revert: () => unknown): void {
    this.#steps.push({ what, revert });
  }

  /** The work succeeded: nothing will be taken back. */
  commit(): void {
    this.#steps = [];
  }

  /** Takes everything back, last step first. Goes on past failures and returns them. */
  async rollback(): Promise<{ what: string; error: unknown }[]> {
    const failures: { what: string; error: unknown }[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.revert();
      } catch (error) {
        failures.push({ what: step.what, error });
      }
    }
    return failures;
  }
}

/** Runs `work` with a fresh stack; when it throws, everything pushed is taken back and the error goes on. */
export async function withUndo<T>(
  work: (undo: Undo) => Promise<T>,
  onRevertError: (what: string, error: unknown) => void,
): Promise<T> {
  const undo = new Undo();
  try {
    const result = await work(undo);
    undo.commit();
    return result;
  } catch (error) {
    for (const failure of await undo.rollback()) onRevertError(failure.what, failure.error);
    throw error;
  }
}
