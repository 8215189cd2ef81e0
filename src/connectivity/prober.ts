import { FimbriaError, messageOf } from '../base/errors.ts';
import { PROBES } from './probes.ts';
import type { ProbeOutcome, Target } from './types.ts';

/** A packet may get lost, and the first to an address waits for its neighbour. */
const ATTEMPTS = 3;

/** Tries one target: one kind after the other, with less patience and nothing in vain once something has failed. */
async function probeTarget(target: Target, tell: (outcome: ProbeOutcome) => void): Promise<void> {
  const { scenario, to, kinds, ...where } = target;
  let attempts = ATTEMPTS;
  const failed = new Set<string>();
  for (const kind of kinds) {
    const start = performance.now();
    const outcome = (ok: boolean, detail: string): void =>
      tell({ scenario, to, kind, ok, detail, durationMs: Math.round(performance.now() - start) });
    if (kind === 'transfer' && failed.has('tcp')) {
      outcome(false, 'there is no connection to try it on');
      continue;
    }
    try {
      outcome(true, await PROBES[kind]({ ...where, attempts }));
    } catch (error) {
      failed.add(kind);
      attempts = 1;
      outcome(false, error instanceof FimbriaError ? error.why : messageOf(error));
    }
  }
}

/** Tries all targets from where this process is, side by side, and tells each outcome as it comes. Never rejects. */
export async function probe(
  targets: readonly Target[],
  tell: (outcome: ProbeOutcome) => void,
): Promise<void> {
  await Promise.all(targets.map(target => probeTarget(target, tell)));
}

/** Outcomes among the lines that a prober printed; what is no outcome is left out. Pure. */
export function readOutcomes(text: string): ProbeOutcome[] {
  return text.split('\n').flatMap((line): ProbeOutcome[] => {
    if (!line.startsWith('{"scenario":')) return [];
    try {
      return [JSON.parse(line) as ProbeOutcome];
    } catch {
      // A log that was cut off ends within a line.
      return [];
    }
  });
}
