import type { Family, Sample } from '../../base/metrics/text.ts';

/** A value without labels. */
export const one = (value: number): Sample => ({ labels: {}, value });

/** A sample for each name. */
export function byLabel(label: string, counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
}

export function gauge(name: string, help: string, samples: Sample[]): Family {
  return { name, help, type: 'gauge', samples };
}

export function counter(name: string, help: string, samples: Sample[]): Family {
  return { name, help, type: 'counter', samples };
}

export function histogram(name: string, help: string, samples: Sample[]): Family {
  return { name, help, type: 'histogram', samples };
}
