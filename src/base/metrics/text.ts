/** One value of a metric. `suffix` is that of a histogram's parts: `_bucket`, `_sum`, `_count`. */
export interface Sample {
  labels: Record<string, string>;
  value: number | bigint;
  suffix?: string;
}

/** A metric with its samples. Names are Cilium's where the meaning is the same. */
export interface Family {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram';
  samples: Sample[];
}

/** What a scrape is answered with. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** The text that Prometheus reads, exposition format 0.0.4. Metrics without a sample are left out. Pure. */
export function renderMetrics(families: readonly Family[]): string {
  return families
    .filter(family => family.samples.length > 0)
    .map(
      ({ name, help, type, samples }) =>
        `# HELP ${name} ${quoted(help, /[\\\n]/g)}\n# TYPE ${name} ${type}\n${samples
          .map(s => `${name}${s.suffix ?? ''}${labelText(s.labels)} ${valueText(s.value)}\n`)
          .join('')}`,
    )
    .join('');
}

function labelText(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${quoted(value, /[\\\n"]/g)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function valueText(value: number | bigint): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

function quoted(text: string, special: RegExp): string {
  return text.replaceAll(special, sign => (sign === '\n' ? '\\n' : `\\${sign}`));
}
