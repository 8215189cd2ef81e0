import { type Family, renderMetrics } from '../base/metrics/text.ts';
import { packageVersion } from '../base/paths.ts';
import type { ClusterClient } from '../cluster/index.ts';
import { clientFamilies } from '../cluster/index.ts';
import type { LbUsage } from './lb-ipam.ts';

/** What one scrape of an operator is answered with. */
export function operatorMetrics(
  clients: readonly Pick<ClusterClient, 'calls' | 'config'>[],
  leading: boolean,
  lb?: LbUsage,
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
    ...(lb ? lbFamilies(lb) : []),
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

/** LB-IPAM's, by Cilium's names. */
function lbFamilies({ pools, matching, unsatisfied }: LbUsage): Family[] {
  const gauge = (name: string, help: string, samples: Family['samples']): Family => ({
    name: `cilium_operator_lbipam_${name}`,
    help,
    type: 'gauge',
    samples,
  });
  const byPool = (of: (pool: LbUsage['pools'][number]) => number): Family['samples'] =>
    pools.map(pool => ({ labels: { pool: pool.name }, value: of(pool) }));
  const count = (value: number): Family['samples'] => [{ labels: {}, value }];
  return [
    gauge('conflicting_pools', 'Pools that give nothing, since another has their addresses.', [
      { labels: {}, value: pools.filter(({ conflicting }) => conflicting).length },
    ]),
    gauge(
      'ips_available',
      'Addresses that a pool can still give.',
      byPool(({ available }) => available),
    ),
    gauge(
      'ips_used',
      'Addresses of a pool that Services have.',
      byPool(({ used }) => used),
    ),
    gauge('services_matching', 'Services that have addresses of pools or ask for them.', count(matching)),
    gauge('services_unsatisfied', 'Services that lack an address.', count(unsatisfied)),
  ];
}
