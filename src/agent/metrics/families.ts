import type { ClusterHealth, MapUsage } from '../../api/types.ts';
import type { ControllerStatus } from '../../base/controller.ts';
import type { Family, Sample } from '../../base/metrics/text.ts';
import { type ClusterClient, clientFamilies } from '../../cluster/index.ts';
import type { PoolUsage } from '../../ipam/types.ts';
import type { MetricsRow } from '../../maps/metrics.ts';
import type { MapOps } from '../../maps/ops.ts';
import { reasonText } from '../../monitor/index.ts';
import { pressureOf } from '../map-usage.ts';
import { byLabel, counter, gauge, one } from './sample.ts';
import {
  type AnnouncedFacts,
  announcedFamilies,
  type FlowGcFacts,
  flowGcFamilies,
  type ServiceFacts,
  serviceFamilies,
} from './service-families.ts';

/** Reasons from here on are drops; below are verdicts and observations. Cilium's numbers. */
const FIRST_DROP_REASON = 130;
const FORWARDED = 0;

/** What the metrics are made from; the agent gathers it. */
export interface MetricsInput {
  version: string;
  nodeName: string;
  clusterName: string;
  /** Endpoints by state. */
  endpointStates: Readonly<Record<string, number>>;
  ipam: PoolUsage;
  flowGc: FlowGcFacts;
  services: ServiceFacts | undefined;
  announced: AnnouncedFacts | undefined;
  /** What the audit of addresses found. */
  ipamViolations: number;
  maps: readonly MapUsage[];
  /** What user space wrote to each map, by its pin's name. */
  mapOps: readonly { map: string; ops: MapOps }[];
  datapath: readonly MetricsRow[];
  controllers: readonly ControllerStatus[];
  /** From the process's start to the first probe that crossed the datapath; absent before. */
  bootstrapSeconds?: number;
  apiTimes: Sample[];
  logLines: Sample[];
  /** Of the API server. */
  client: Pick<ClusterClient, 'calls' | 'config'>;
  cluster: ClusterHealth;
  /** By `reserved` and `cluster_local`. */
  identities: Readonly<Record<string, number>>;
  /** Entries that were put right, by table. */
  repaired: readonly { table: string; repaired: number }[];
  eventsLost: { ringBuffer: number; client: number };
  monitorClients: number;
  process: { residentBytes: number; cpuSeconds: number; startSeconds: number };
}

/** Every metric of an agent. Names and labels are Cilium's where the meaning is; `fimbria_` are our own. Pure. */
export function metricFamilies(input: MetricsInput): Family[] {
  return [
    gauge('cilium_version', 'Version of the agent.', [
      { labels: { version: input.version, arch: process.arch }, value: 1 },
    ]),
    gauge('cilium_endpoint_state', 'Endpoints by state.', byLabel('endpoint_state', input.endpointStates)),
    gauge('cilium_ipam_capacity', 'Addresses that this node can give out.', [
      { labels: { family: 'ipv4' }, value: input.ipam.capacity },
    ]),
    gauge('cilium_ip_addresses', 'Addresses in use.', [
      { labels: { family: 'ipv4' }, value: input.ipam.used },
    ]),
    gauge('fimbria_ipam_violations', 'Invariants of IPAM that do not hold.', [one(input.ipamViolations)]),
    gauge('cilium_identity', 'Identities that are known, by type.', byLabel('type', input.identities)),
    ...flowGcFamilies(input.flowGc),
    ...serviceFamilies(input.services),
    ...announcedFamilies(input.announced),
    ...mapFamilies(input.maps),
    ...mapOpFamilies(input.mapOps),
    ...packetFamilies(input.datapath),
    ...controllerFamilies(input.controllers),
    gauge(
      'cilium_agent_bootstrap_seconds',
      'From start to ready.',
      input.bootstrapSeconds === undefined
        ? []
        : [{ labels: { scope: 'overall', outcome: 'success' }, value: input.bootstrapSeconds }],
    ),
    {
      name: 'cilium_agent_api_process_time_seconds',
      help: 'Time to answer requests on the socket.',
      type: 'histogram',
      samples: input.apiTimes,
    },
    counter('cilium_errors_warnings_total', 'Lines logged as warning or error.', input.logLines),
    ...clientFamilies([input.client]),
    ...healthFamilies(input),
    counter(
      'fimbria_repaired_total',
      'Entries that others had changed and that were put right.',
      input.repaired.map(({ table, repaired }) => ({ labels: { table }, value: repaired })),
    ),
    counter('fimbria_events_lost_total', 'Events that reached no monitor.', [
      { labels: { source: 'ring_buffer' }, value: input.eventsLost.ringBuffer },
      { labels: { source: 'client' }, value: input.eventsLost.client },
    ]),
    gauge('fimbria_monitor_clients', 'Monitors that listen.', [one(input.monitorClients)]),
    gauge('cilium_process_resident_memory_bytes', 'Resident memory.', [one(input.process.residentBytes)]),
    counter('cilium_process_cpu_seconds_total', 'CPU time, user and system.', [
      one(input.process.cpuSeconds),
    ]),
    gauge('cilium_process_start_time_seconds', 'Start, as Unix time.', [one(input.process.startSeconds)]),
  ];
}

function mapOpFamilies(maps: MetricsInput['mapOps']): Family[] {
  return [
    counter(
      'cilium_bpf_map_ops_total',
      'Entries of maps that the agent wrote or deleted.',
      maps.flatMap(({ map, ops }) =>
        (['update', 'delete'] as const).flatMap(operation =>
          (['success', 'fail'] as const).map(outcome => ({
            labels: { map_name: map, operation, outcome },
            value: ops[operation][outcome],
          })),
        ),
      ),
    ),
  ];
}

function mapFamilies(maps: readonly MapUsage[]): Family[] {
  const name = (usage: MapUsage): string => usage.map ?? usage.name;
  return [
    gauge(
      'cilium_bpf_map_capacity',
      'Entries that fit into a map; bytes for cilium_events.',
      maps.map(usage => ({ labels: { map_group: name(usage) }, value: usage.size })),
    ),
    gauge(
      'cilium_bpf_map_pressure',
      'Share of a map that is in use; of the fullest one for cilium_policy.',
      maps.flatMap(usage => {
        const value = pressureOf(usage);
        return value === undefined ? [] : [{ labels: { map_name: name(usage) }, value }];
      }),
    ),
  ];
}

/** Rows of one reason and direction are one sample, wherever in the programs they were counted. */
function packetFamilies(rows: readonly MetricsRow[]): Family[] {
  const sums = new Map<string, { reason: number; direction: string; packets: bigint; bytes: bigint }>();
  for (const { reason, direction, packets, bytes } of rows) {
    const key = `${reason} ${direction}`;
    const sum = sums.get(key) ?? { reason, direction: direction.toUpperCase(), packets: 0n, bytes: 0n };
    sums.set(key, { ...sum, packets: sum.packets + packets, bytes: sum.bytes + bytes });
  }
  const all = [...sums.values()];
  const drops = all.filter(r => r.reason >= FIRST_DROP_REASON);
  const forwarded = all.filter(r => r.reason === FORWARDED);
  const dropLabels = (r: (typeof all)[number]): Record<string, string> => ({
    reason: reasonText(r.reason),
    direction: r.direction,
  });
  return [
    counter(
      'cilium_drop_count_total',
      'Packets dropped, by reason.',
      drops.map(r => ({ labels: dropLabels(r), value: r.packets })),
    ),
    counter(
      'cilium_drop_bytes_total',
      'Bytes dropped, by reason.',
      drops.map(r => ({ labels: dropLabels(r), value: r.bytes })),
    ),
    counter(
      'cilium_forward_count_total',
      'Packets forwarded.',
      forwarded.map(r => ({ labels: { direction: r.direction }, value: r.packets })),
    ),
    counter(
      'cilium_forward_bytes_total',
      'Bytes forwarded.',
      forwarded.map(r => ({ labels: { direction: r.direction }, value: r.bytes })),
    ),
  ];
}

function controllerFamilies(controllers: readonly ControllerStatus[]): Family[] {
  const sum = (of: (c: ControllerStatus) => number): number => controllers.reduce((n, c) => n + of(c), 0);
  return [
    counter('cilium_controllers_runs_total', 'Runs of controllers by outcome.', [
      { labels: { status: 'success' }, value: sum(c => c.successCount) },
      { labels: { status: 'failure' }, value: sum(c => c.failureCount) },
    ]),
    gauge('cilium_controllers_failing', 'Controllers whose last run failed.', [
      one(controllers.filter(c => c.consecutiveErrors > 0).length),
    ]),
  ];
}

function healthFamilies({ cluster, nodeName, clusterName }: MetricsInput): Family[] {
  const well = (path: { icmp?: { status?: string }; http?: { status?: string } }): boolean =>
    [path.icmp, path.http].every(probe => probe !== undefined && !probe.status);
  const hosts = cluster.nodes.map(n => well(n.host));
  const endpoints = cluster.nodes.flatMap(n => (n.endpoint ? [well(n.endpoint)] : []));
  const count = (all: boolean[], wanted: boolean): number => all.filter(ok => ok === wanted).length;
  const source = { source_cluster: clusterName, source_node_name: nodeName };
  return [
    gauge(
      'cilium_node_health_connectivity_status',
      'Last probes of nodes and of their health endpoints.',
      [
        { what: 'node', all: hosts },
        { what: 'endpoint', all: endpoints },
      ].flatMap(({ what, all }) =>
        (['reachable', 'unreachable'] as const).map(status => ({
          labels: { ...source, type: what, status },
          value: count(all, status === 'reachable'),
        })),
      ),
    ),
    gauge('cilium_unreachable_nodes', 'Nodes that did not answer.', [one(count(hosts, false))]),
    gauge('cilium_unreachable_health_endpoints', 'Health endpoints that did not answer.', [
      one(count(endpoints, false)),
    ]),
  ];
}
