const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** What `durationMs` reads. */
export const DURATION = /^(\d{1,6}(ms|s|m|h))+$/;

/** Milliseconds of a duration as Go writes it, such as `15s` or `1m30s`; the text matches `DURATION`. Pure. */
export function durationMs(text: string): number {
  return [...text.matchAll(/(\d+)(ms|s|m|h)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * UNITS_MS[unit!]!,
    0,
  );
}
