import { setTimeout as delay } from 'node:timers/promises';
import { FimbriaError } from '../base/errors.ts';

/** Says what is going on to whoever waits; one line, no newline. */
export type Progress = (line: string) => void;

const STILL_WAITING_EVERY_MS = 5000;

/**
 * Asks `probe` until it gives a value. It returns undefined for "not yet", optionally after telling `because` why, and
 * throws when waiting longer is of no use.
 * @throws FimbriaError TIMEOUT with the last reason
 */
export async function waitUntil<T>(
  what: string,
  timeoutMs: number,
  probe: (because: (why: string) => void) => Promise<T | undefined> | T | undefined,
  progress?: Progress,
): Promise<T> {
  const start = performance.now();
  let why = 'no answer yet';
  let saidAt = start;
  for (let pauseMs = 25; ; pauseMs = Math.min(250, pauseMs * 1.5)) {
    const value = await probe(reason => {
      why = reason;
    });
    if (value !== undefined) return value;
    const now = performance.now();
    if (now - start >= timeoutMs) {
      throw new FimbriaError({
        code: 'TIMEOUT',
        op: 'wait for',
        object: what,
        why: `${why} (after ${Math.round(timeoutMs / 1000)} s)`,
      });
    }
    if (progress && now - saidAt >= STILL_WAITING_EVERY_MS) {
      saidAt = now;
      progress(`waiting for ${what}: ${why} (${Math.round((now - start) / 1000)} s)`);
    }
    await delay(Math.min(pauseMs, Math.max(1, timeoutMs - (now - start))));
  }
}
