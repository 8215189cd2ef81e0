import type { Container, ContainerStatus, Pod } from './core.ts';

/** A column of the tables that `get` prints. */
export interface TableColumn {
  name: string;
  type: 'string' | 'integer' | 'boolean' | 'date';
  /** 0 is always shown, 1 only in the wide form. */
  priority: 0 | 1;
  /** The cell, undefined where the object has nothing to show. A date is an RFC 3339 text. Never throws. */
  value(object: unknown): string | number | boolean | undefined;
}

/** What a cell reads: ages instead of dates, `<none>` or `<unknown>` instead of nothing. */
export function cellText(column: TableColumn, object: unknown, now: Date): string | number | boolean {
  const value = column.value(object);
  if (column.type !== 'date') return value ?? (column.type === 'string' ? '<none>' : '');
  return typeof value === 'string' ? humanDuration(now.getTime() - Date.parse(value)) : '<unknown>';
}

/** A duration as Kubernetes prints ages: `45s`, `3m20s`, `5h`, `4d7h`, `2y30d`. */
export function humanDuration(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  if (Number.isNaN(seconds)) return '<unknown>';
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  const pair = (first: number, a: string, second: number, b: string): string =>
    second === 0 ? `${first}${a}` : `${first}${a}${second}${b}`;
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return pair(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return pair(days, 'd', hours % 24, 'h');
  if (days < 2 * 365) return `${days}d`;
  const years = Math.floor(days / 365);
  return years < 8 ? pair(years, 'y', days % 365, 'd') : `${years}y`;
}

type Value = string | number | boolean | undefined;

/** A field by its path; list indices are numbers. */
function at(...path: (string | number)[]): (object: unknown) => Value {
  return object => {
    let value = object;
    for (const part of path) value = (value as Record<string | number, unknown> | null | undefined)?.[part];
    return typeof value === 'object' ? undefined : (value as Value);
  };
}

function column(
  name: string,
  value: (object: never) => Value,
  options: { type?: TableColumn['type']; wide?: boolean } = {},
): TableColumn {
  return {
    name,
    type: options.type ?? 'string',
    priority: options.wide ? 1 : 0,
    value: object => {
      try {
        return value(object as never);
      } catch {
        // An object that breaks its kind's rules must not hide the others.
        return undefined;
      }
    },
  };
}

const AGE = column('Age', at('metadata', 'creationTimestamp'), { type: 'date' });
const WIDE = { wide: true };
const INTEGER = { type: 'integer' } as const;

interface Loose {
  // biome-ignore lint/suspicious/noExplicitAny: cells read objects of any shape, and `column` catches what goes wrong
  [field: string]: any;
}

const COLUMNS: Record<string, TableColumn[]> = {
  Namespace: [column('Status', at('status', 'phase')), AGE],
  Node: [
    column('Status', nodeStatus),
    column('Roles', nodeRoles),
    AGE,
    column('Version', at('status', 'nodeInfo', 'kubeletVersion')),
    column('Internal-IP', (node: Loose) => nodeAddress(node, 'InternalIP'), WIDE),
    column('External-IP', (node: Loose) => nodeAddress(node, 'ExternalIP'), WIDE),
    column('OS-Image', at('status', 'nodeInfo', 'osImage'), WIDE),
    column('Kernel-Version', at('status', 'nodeInfo', 'kernelVersion'), WIDE),
    column('Container-Runtime', at('status', 'nodeInfo', 'containerRuntimeVersion'), WIDE),
  ],
  Pod: [
    column('Ready', podReady),
    column('Status', podReason),
    column('Restarts', (pod: Pod) => String(total(pod.status?.containerStatuses ?? [], s => s.restartCount))),
    AGE,
    column('IP', at('status', 'podIP'), WIDE),
    column('Node', at('spec', 'nodeName'), WIDE),
    column('Nominated Node', at('status', 'nominatedNodeName'), WIDE),
    column('Readiness Gates', () => undefined, WIDE),
  ],
  ConfigMap: [column('Data', (map: Loose) => count(map['data']) + count(map['binaryData'])), AGE],
  ServiceAccount: [column('Secrets', (account: Loose) => (account['secrets'] ?? []).length, INTEGER), AGE],
  Service: [
    column('Type', at('spec', 'type')),
    column('Cluster-IP', at('spec', 'clusterIP')),
    column('External-IP', serviceExternal),
    column('Port(s)', (service: Loose) =>
      list((service['spec'].ports ?? []).map((p: Loose) => `${portPair(p)}/${p['protocol'] ?? 'TCP'}`)),
    ),
    AGE,
    column('Selector', (service: Loose) => labelText(service['spec'].selector), WIDE),
  ],
  Endpoints: [
    column('Endpoints', (endpoints: Loose) =>
      list(
        (endpoints['subsets'] ?? []).flatMap((subset: Loose) =>
          (subset['ports'] ?? [{}]).flatMap((port: Loose) =>
            (subset['addresses'] ?? []).map((a: Loose) =>
              port['port'] ? `${a['ip']}:${port['port']}` : a['ip'],
            ),
          ),
        ),
      ),
    ),
    AGE,
  ],
  EndpointSlice: [
    column('AddressType', at('addressType')),
    column('Ports', (slice: Loose) => list((slice['ports'] ?? []).map((port: Loose) => port['port']))),
    column('Endpoints', (slice: Loose) =>
      list((slice['endpoints'] ?? []).flatMap((e: Loose) => e['addresses'])),
    ),
    AGE,
  ],
  Event: [
    column(
      'Last Seen',
      (e: Loose) => e['lastTimestamp'] ?? e['eventTime'] ?? e['metadata'].creationTimestamp,
      {
        type: 'date',
      },
    ),
    column('Type', at('type')),
    column('Reason', at('reason')),
    column('Object', (e: Loose) => `${e['involvedObject'].kind?.toLowerCase()}/${e['involvedObject'].name}`),
    column('Source', at('source', 'component'), WIDE),
    column('Message', (e: Loose) => e['message']?.trim()),
  ],
  Lease: [column('Holder', at('spec', 'holderIdentity')), AGE],
  Deployment: [
    column('Ready', (d: Loose) => `${d['status']?.readyReplicas ?? 0}/${d['spec'].replicas ?? 1}`),
    column('Up-to-date', (d: Loose) => d['status']?.updatedReplicas ?? 0, INTEGER),
    column('Available', (d: Loose) => d['status']?.availableReplicas ?? 0, INTEGER),
    AGE,
    ...templateColumns(),
  ],
  ReplicaSet: [
    column('Desired', at('spec', 'replicas'), INTEGER),
    column('Current', (r: Loose) => r['status']?.replicas ?? 0, INTEGER),
    column('Ready', (r: Loose) => r['status']?.readyReplicas ?? 0, INTEGER),
    AGE,
    ...templateColumns(),
  ],
  NetworkPolicy: [column('Pod-Selector', (p: Loose) => labelText(p['spec'].podSelector?.matchLabels)), AGE],
  CustomResourceDefinition: [column('Created At', at('metadata', 'creationTimestamp'))],
  CiliumNode: [
    column('CiliumInternalIP', (node: Loose) => ciliumAddress(node, 'CiliumInternalIP')),
    column('InternalIP', (node: Loose) => ciliumAddress(node, 'InternalIP')),
    AGE,
  ],
  CiliumEndpoint: [
    column('Security Identity', at('status', 'identity', 'id'), INTEGER),
    column('Ingress Enforcement', at('status', 'policy', 'ingress', 'state'), WIDE),
    column('Egress Enforcement', at('status', 'policy', 'egress', 'state'), WIDE),
    column('Endpoint State', at('status', 'state')),
    column('IPv4', at('status', 'networking', 'addressing', 0, 'ipv4')),
    column('IPv6', at('status', 'networking', 'addressing', 0, 'ipv6')),
  ],
  CiliumIdentity: [column('Namespace', at('metadata', 'labels', 'io.kubernetes.pod.namespace')), AGE],
  CiliumLoadBalancerIPPool: [
    column('Disabled', at('spec', 'disabled'), { type: 'boolean' }),
    column('Conflicting', (pool: Loose) => condition(pool, 'cilium.io/PoolConflict')?.['status']),
    column('IPs Available', (pool: Loose) => condition(pool, 'cilium.io/IPsAvailable')?.['message']),
    AGE,
  ],
};

/** Columns of a kind, without NAME and NAMESPACE, which every kind has. */
export function columns(kind: string): readonly TableColumn[] {
  return COLUMNS[kind] ?? [AGE];
}

function templateColumns(): TableColumn[] {
  const containers = (o: Loose): Container[] => o['spec'].template?.spec.containers ?? [];
  return [
    column('Containers', (o: Loose) => list(containers(o).map(c => c.name)), WIDE),
    column('Images', (o: Loose) => list(containers(o).map(c => c.image)), WIDE),
    column('Selector', (o: Loose) => labelText(o['spec'].selector?.matchLabels), WIDE),
  ];
}

function podReady({ spec, status }: Pod): string {
  const ready = (status?.containerStatuses ?? []).filter(container => container.ready).length;
  return `${ready}/${spec.containers.length}`;
}

/** The STATUS of a pod: the most telling of phase, container reasons and deletion, as kubectl has it. */
function podReason({ metadata, status }: Pod): string {
  let reason: string = status?.reason ?? status?.phase ?? 'Unknown';
  const containers = [...(status?.containerStatuses ?? [])].reverse();
  for (const { state } of containers) {
    if (state?.waiting?.reason) reason = state.waiting.reason;
    else if (state?.terminated?.reason) reason = state.terminated.reason;
    else if (state?.terminated) {
      reason = state.terminated.signal
        ? `Signal:${state.terminated.signal}`
        : `ExitCode:${state.terminated.exitCode}`;
    }
  }
  const running = containers.some(
    (container: ContainerStatus) => container.ready && container.state?.running,
  );
  if (reason === 'Completed' && running) reason = 'Running';
  return metadata.deletionTimestamp ? 'Terminating' : reason;
}

function nodeStatus(node: Loose): string {
  const ready = condition(node, 'Ready')?.['status'];
  const text = ready === undefined ? 'Unknown' : ready === 'True' ? 'Ready' : 'NotReady';
  return node['spec']?.unschedulable ? `${text},SchedulingDisabled` : text;
}

function nodeRoles(node: Loose): string | undefined {
  const prefix = 'node-role.kubernetes.io/';
  const labels = Object.keys(node['metadata'].labels ?? {});
  return list(labels.filter(key => key.startsWith(prefix)).map(key => key.slice(prefix.length)));
}

function nodeAddress(node: Loose, type: string): string | undefined {
  return node['status']?.addresses?.find((address: Loose) => address['type'] === type)?.address;
}

function ciliumAddress(node: Loose, type: string): string | undefined {
  return node['spec'].addresses?.find((address: Loose) => address['type'] === type)?.ip;
}

function serviceExternal({ spec, status }: Loose): string | undefined {
  if (spec.type === 'ExternalName') return spec.externalName;
  const assigned = (status?.loadBalancer?.ingress ?? []).map((i: Loose) => i['ip'] ?? i['hostname']);
  const pending = spec.type === 'LoadBalancer' ? '<pending>' : undefined;
  return list([...assigned, ...(spec.externalIPs ?? [])]) ?? pending;
}

function portPair(port: Loose): string {
  return port['nodePort'] ? `${port['port']}:${port['nodePort']}` : `${port['port']}`;
}

function condition(object: Loose, type: string): Loose | undefined {
  return object['status']?.conditions?.find((entry: Loose) => entry['type'] === type);
}

function labelText(labels: Record<string, string> | undefined): string | undefined {
  return list(Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`));
}

function list(values: unknown[]): string | undefined {
  return values.length === 0 ? undefined : values.join(',');
}

function count(map: object | undefined): number {
  return Object.keys(map ?? {}).length;
}

function total<T>(items: T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
