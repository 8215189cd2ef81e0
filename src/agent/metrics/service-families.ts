import type { Family, Sample } from '../../base/metrics/text.ts';
import type { SweepResult } from '../flow-gc.ts';
import { byLabel, counter, gauge, histogram, one } from './sample.ts';

/** Sweeps of what flows leave behind, and what the last one found by map. */
export interface FlowGcFacts {
  runs: number;
  results: ReadonlyMap<string, SweepResult>;
  durations: readonly Sample[];
}

/** What the agent knows of services. */
export interface ServiceFacts {
  /** Events about Services, by `add`, `update`, `delete`. */
  events: Readonly<Record<string, number>>;
  delays: readonly Sample[];
  /** Entries by map. */
  entries: Readonly<Record<string, number>>;
  /** Services that had no room. */
  refused: number;
}

/** What the agent announces on the network. */
export interface AnnouncedFacts {
  addresses: number;
  responses: number;
}

/** Labels as Cilium's: TCP and the rest are conntrack's, translations have metrics of their own. Pure. */
export function flowGcFamilies({ runs, results, durations }: FlowGcFacts): Family[] {
  const family = 'ipv4';
  const counts = (labels: Record<string, string>, { alive, deleted }: { alive: number; deleted: number }) => [
    { labels: { ...labels, status: 'alive' }, value: alive },
    { labels: { ...labels, status: 'deleted' }, value: deleted },
  ];
  const nat = results.get('nat');
  const inwards = nat?.inwards ?? { alive: 0, deleted: 0 };
  return [
    counter('cilium_datapath_conntrack_gc_runs_total', 'Sweeps of what flows leave behind.', [
      { labels: { family, status: 'completed' }, value: runs },
    ]),
    gauge(
      'cilium_datapath_conntrack_gc_entries',
      'Entries of flows at the last sweep.',
      [...results].flatMap(([kind, found]) =>
        kind === 'nat' ? [] : counts({ family, protocol: kind === 'tcp' ? 'TCP' : 'non-TCP' }, found),
      ),
    ),
    histogram('cilium_datapath_conntrack_gc_duration_seconds', 'Time of sweeps, by map.', [...durations]),
    gauge(
      'cilium_datapath_nat_gc_entries',
      'Entries of translations at the last sweep.',
      nat
        ? [
            ...counts({ family, direction: 'ingress' }, inwards),
            ...counts(
              { family, direction: 'egress' },
              { alive: nat.alive - inwards.alive, deleted: nat.deleted - inwards.deleted },
            ),
          ]
        : [],
    ),
  ];
}

/** None where services are not balanced. Pure. */
export function serviceFamilies(services: ServiceFacts | undefined): Family[] {
  if (!services) return [];
  return [
    counter(
      'cilium_services_events_total',
      'Events about Services, by what happened.',
      byLabel('action', services.events),
    ),
    histogram(
      'cilium_service_implementation_delay',
      'Seconds from a change of a Service or its endpoints until the datapath had it.',
      [...services.delays],
    ),
    gauge(
      'fimbria_service_entries',
      'Entries of services: frontends, slots (frontends included) and backends.',
      byLabel('kind', services.entries),
    ),
    gauge('fimbria_services_refused', 'Services that had no room in the maps.', [one(services.refused)]),
  ];
}

/** None where nothing is announced. Pure. */
export function announcedFamilies(announced: AnnouncedFacts | undefined): Family[] {
  if (!announced) return [];
  return [
    gauge('fimbria_l2_announced_addresses', 'Addresses that this node announces, by device one each.', [
      one(announced.addresses),
    ]),
    gauge('fimbria_l2_responses', 'ARP requests answered for the addresses that are announced now.', [
      one(announced.responses),
    ]),
  ];
}
