/** What a set of values says: its middle, and how far the middle half is spread. */
export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly min: number;
  readonly max: number;
  /** Distance of the quartiles over the median: 0.05 means that half of the values lie within 5 %. */
  readonly spread: number;
}

/** The value below which the share `q` of the values lies, between neighbours in proportion. Pure. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)]!;
  const high = sorted[Math.ceil(at)]!;
  return low + (high - low) * (at - Math.floor(at));
}

/** The middle of the values. Pure. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Sums values up. Pure. */
export function summarize(values: readonly number[]): Summary {
  const p50 = median(values);
  return {
    count: values.length,
    p50,
    p99: quantile(values, 0.99),
    min: Math.min(...values),
    max: Math.max(...values),
    spread: (quantile(values, 0.75) - quantile(values, 0.25)) / p50,
  };
}

/** Ratios of values taken in the same round; rounds that either side lacks are left out. Pure. */
export function pairedRatios(
  values: ReadonlyMap<number, number>,
  baseline: ReadonlyMap<number, number>,
): number[] {
  return [...values].flatMap(([round, value]) => {
    const base = baseline.get(round);
    return base === undefined ? [] : [value / base];
  });
}

/** Above this spread of its paired ratios a case is too noisy to be ranked. */
export const NOISY_SPREAD = 0.08;

/** The same for single calls of a plugin, which differ by nature. */
export const NOISY_CALLS = 0.5;

/** Whether values lie too far apart to say anything by their median. Pure. */
export const isNoisy = (summary: Summary, limit = NOISY_SPREAD): boolean => !(summary.spread <= limit);
