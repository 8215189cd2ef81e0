/** One metric of an exposition, as its lines say it. */
export interface Exposed {
  type: string;
  help: string;
  samples: { name: string; labels: Record<string, string>; value: number }[];
}

/**
 * A strict reader of Prometheus' text format 0.0.4, written from its specification and not from our writer: HELP and
 * TYPE before the samples of their metric, once each; names and escapes as allowed; no sample twice; histograms whole.
 * @throws Error with the line that breaks a rule
 */
export function readExposition(text: string): Map<string, Exposed> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const metrics = new Map<string, Exposed>();
  const seen = new Set<string>();
  let current: string | undefined;
  let help: [string, string] | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/s.exec(line);
    if (comment) {
      const [, word, name, rest] = comment as unknown as [string, string, string, string];
      if (metrics.has(name)) fail('metric described twice');
      if (word === 'HELP') {
        if (!/^(?:[^\\]|\\[\\n])*$/.test(rest)) fail('bad escape');
        help = [name, rest];
        continue;
      }
      if (help?.[0] !== name) fail('TYPE without HELP before it');
      if (!['counter', 'gauge', 'histogram'].includes(rest)) fail('unknown type');
      metrics.set(name, { type: rest, help: help![1], samples: [] });
      current = name;
      continue;
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$/s.exec(line) ?? fail('neither comment nor sample');
    const [, name, labelText = '{}', valueText = ''] = sample as unknown as [
      string,
      string,
      string?,
      string?,
    ];
    const labels: Record<string, string> = {};
    let rest = labelText.slice(1, -1);
    while (rest !== '') {
      const pair =
        /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/.exec(rest) ?? fail('bad label');
      if (pair[1]! in labels) fail('label twice');
      labels[pair[1]!] = pair[2]!.replaceAll(/\\(.)/g, (_, sign) => (sign === 'n' ? '\n' : sign));
      rest = rest.slice(pair[0].length);
    }
    const value = Number(valueText.replace(/^[+-]Inf$/, '$&inity'));
    if (Number.isNaN(value)) fail('bad value');
    const metric = metrics.get(current ?? '') ?? fail('sample before its TYPE');
    const plain = metric.type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name;
    if (plain !== current) fail('sample among those of another metric');
    if (metric.type === 'counter' && !name.endsWith('_total'))
      fail('a counter whose name does not end in _total');
    const key = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
    if (seen.has(key)) fail('sample twice');
    seen.add(key);
    metric.samples.push({ name, labels, value });
  }
  for (const [name, metric] of metrics) if (metric.type === 'histogram') checkHistogram(name, metric);
  return metrics;
}

function checkHistogram(name: string, { samples }: Exposed): void {
  for (const count of samples.filter(s => s.name === `${name}_count`)) {
    const same = (labels: Record<string, string>): boolean => {
      const { le: _, ...others } = labels;
      return JSON.stringify(others) === JSON.stringify(count.labels);
    };
    const buckets = samples.filter(s => s.name === `${name}_bucket` && same(s.labels));
    const rising = buckets.every((b, i) => i === 0 || b.value >= buckets[i - 1]!.value);
    if (!rising || buckets.at(-1)?.labels['le'] !== '+Inf' || buckets.at(-1)?.value !== count.value)
      throw new Error(`${name}: buckets do not add up to the count`);
  }
}
