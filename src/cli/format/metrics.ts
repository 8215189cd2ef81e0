import { FimbriaError } from '../../base/errors.ts';
import { table } from './tabwriter.ts';

/** One sample of a metric. */
export interface MetricValue {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/s;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)",?/gy;

/** Reads Prometheus' text format. @throws FimbriaError INVALID with the line that is none. Pure. */
export function parseMetrics(text: string): MetricValue[] {
  return text
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => {
      const [, name, labels = '', value = ''] = LINE.exec(line) ?? [];
      const number = Number(value.replace(/^[+-]Inf$/, '$&inity'));
      const pairs = [...labels.matchAll(LABEL)];
      const read = pairs.reduce((length, pair) => length + pair[0].length, 0);
      if (name === undefined || Number.isNaN(number) || read !== labels.length) {
        throw new FimbriaError({
          code: 'INVALID',
          op: 'read metrics',
          object: `"${line}"`,
          why: 'it is no sample',
        });
      }
      return {
        name,
        labels: Object.fromEntries(pairs.map(([, key, quoted]) => [key!, unquote(quoted!)])),
        value: number,
      };
    });
}

/** `metrics list`. */
export function metricsTable(metrics: readonly MetricValue[]): string {
  const rows = metrics.map(({ name, labels, value }) => [
    name,
    Object.entries(labels)
      .map(([key, text]) => `${key}="${text}"`)
      .join(' '),
    Number.isInteger(value) ? String(value) : value.toFixed(6),
  ]);
  return table([['Metric', 'Labels', 'Value'], ...rows]);
}

function unquote(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, sign: string) => (sign === 'n' ? '\n' : sign));
}
