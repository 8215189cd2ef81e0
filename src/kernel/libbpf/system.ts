import { native } from '../addon.ts';

/** How many values a per-CPU map holds for each key. */
export function possibleCpus(): number {
  return native().possibleCpus();
}

/**
 * Turns on the kernel's run-time statistics of programs (`runTimeNs`, `runCount`) for as long as one
 * holder is open. It costs a few tens of nanoseconds a run.
 */
export function bpfStatsHold(): { close(): void } {
  return native().enableStats();
}
