import type { Progress } from './deadline.ts';

/** What a long command of the lab is given by its caller. */
export interface LabContext {
  readonly progress: Progress;
  /** Set when the user wants it to end: it stops at the next step and takes back what it did. */
  readonly signal: AbortSignal;
}
