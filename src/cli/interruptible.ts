import { FimbriaError } from '../base/errors.ts';

/** What long work is given: how it tells what it does, and how it is asked to end. */
export interface Interruptible {
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Runs long work: progress goes to stderr with the seconds since the start; SIGINT and SIGTERM end it in good order. */
export async function interruptible<T>(work: (context: Interruptible) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const start = Date.now();
  const interrupt = () =>
    controller.abort(new FimbriaError({ code: 'INTERRUPTED', op: 'go on', why: 'interrupted' }));
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    return await work({
      signal: controller.signal,
      progress: line => {
        const seconds = ((Date.now() - start) / 1000).toFixed(1).padStart(5);
        process.stderr.write(`${seconds}s ${line}\n`);
      },
    });
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}
