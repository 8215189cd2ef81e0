import type { Sample } from '../../base/metrics/text.ts';

/** Upper bounds in seconds, those that Prometheus clients have by default. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

interface Series {
  labels: Record<string, string>;
  counts: number[];
  sum: number;
}

/** How long things took, per set of labels. Callers keep the number of sets small. */
export class Histogram {
  readonly #series = new Map<string, Series>();

  observe(labels: Record<string, string>, seconds: number): void {
    const key = JSON.stringify(labels);
    let series = this.#series.get(key);
    if (!series) {
      series = { labels, counts: new Array(BUCKETS.length + 1).fill(0), sum: 0 };
      this.#series.set(key, series);
    }
    const bucket = BUCKETS.findIndex(bound => seconds <= bound);
    series.counts[bucket < 0 ? BUCKETS.length : bucket]!++;
    series.sum += seconds;
  }

  samples(): Sample[] {
    return [...this.#series.values()].flatMap(({ labels, counts, sum }) => {
      let total = 0;
      const buckets = counts.map((count, i): Sample => {
        total += count;
        return { suffix: '_bucket', labels: { ...labels, le: String(BUCKETS[i] ?? '+Inf') }, value: total };
      });
      return [...buckets, { suffix: '_sum', labels, value: sum }, { suffix: '_count', labels, value: total }];
    });
  }
}
