import { type Family, renderMetrics } from '../base/metrics/text.ts';
import { packageVersion } from '../base/paths.ts';
import type { ClusterClient } from '../cluster/index.ts';
import { clientFamilies } from '../cluster/index.ts';

/** What one scrape of an operator is answered with. */
export function operatorMetrics(
  clients: readonly Pick<ClusterClient, 'calls' | 'config'>[],
  leading: boolean,
): string {
  const { user, system } = process.cpuUsage();
  const one = (value: number, labels: Record<string, string> = {}): Family['samples'] => [{ labels, value }];
  return renderMetrics([
    {
      name: 'cilium_operator_version',
      help: 'Version of the operator.',
      type: 'gauge',
      samples: one(1, { version: packageVersion(), arch: process.arch }),
    },
    {
      name: 'fimbria_operator_leading',
      help: '1 for the one operator that acts.',
      type: 'gauge',
      samples: one(leading ? 1 : 0),
    },
    ...clientFamilies(clients),
    {
      name: 'cilium_operator_process_resident_memory_bytes',
      help: 'Resident memory.',
      type: 'gauge',
      samples: one(process.memoryUsage.rss()),
    },
    {
      name: 'cilium_operator_process_cpu_seconds_total',
      help: 'CPU time, user and system.',
      type: 'counter',
      samples: one((user + system) / 1e6),
    },
  ]);
}
