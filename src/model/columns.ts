import type { Container, ContainerStatus, Pod } from './core.ts';

/** A column of the tables that `get` prints. */
export interface TableColumn {
  name: string;
  type: 'string' | 'integer' | 'boolean' | 'date';
  /** 0 is always shown, 1 only in the wide form. */
  priority: 0 | 1;
  /** Where a CustomResourceDefinition says that the value is; only columns of custom kinds have one. */
  jsonPath?: string;
  /** The cell, undefined where the object has nothing to show. A date is an RFC 3339 text. Never throws. */
  value(object: unknown): string | number | boolean | undefined;
}

/** What a cell reads: ages instead of dates, `<none>` or `<unknown>` instead of nothing. */
export function cellText(column: TableColumn, object: unknown, now: Date): string | number | boolean {
  const value = column.value(object);
  // A server leaves cells of custom kinds empty, as it does not know what nothing means to them.
  if (column.jsonPath !== undefined && value === undefined) return column.type === 'date' ? '<unknown>' : '';
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

/** A column of a custom kind. */
function field(
  name: string,
  jsonPath: string,
  options: { type?: TableColumn['type']; wide?: boolean } = {},
): TableColumn {
  return { ...column(name, parseJsonPath(jsonPath), options), jsonPath };
}

/** The subset of JSONPath that columns of custom kinds use: `.a.b`, `[0]`, `[?(@.type=="X")]`, `\\.` for a dot in a name. */
function parseJsonPath(text: string): (object: unknown) => Value {
  const steps = [...text.matchAll(/\.((?:\\.|[^.[\\])+)|\[(\d+)\]|\[\?\(@\.(\w+)=="([^"]*)"\)\]/g)];
  return object => {
    let value = object as Loose | undefined;
    for (const [, name, index, key, wanted] of steps) {
      if (key !== undefined) value = value?.['find']?.((item: Loose) => item[key] === wanted);
      else value = value?.[index ?? name!.replaceAll('\\', '')];
    }
    return typeof value === 'object' ? undefined : (value as Value);
  };
}

const AGE = column('Age', at('metadata', 'creationTimestamp'), { type: 'date' });
const CUSTOM_AGE = field('Age', '.metadata.creationTimestamp', { type: 'date' });
const WIDE = { wide: true };
const INTEGER = { type: 'integer' } as const;
const DATE = { type: 'date' } as const;

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
    column('Restarts', podRestarts),
    AGE,
    column('IP', at('status', 'podIP'), WIDE),
    column('Node', at('spec', 'nodeName'), WIDE),
    column('Nominated Node', at('status', 'nominatedNodeName'), WIDE),
    column('Readiness Gates', podReadinessGates, WIDE),
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
      firstFew(
        (endpoints['subsets'] ?? []).flatMap((subset: Loose) =>
          (subset['ports'] ?? [{}]).flatMap((port: Loose) =>
            (subset['addresses'] ?? []).map((a: Loose) => joinHostPort(a['ip'], port['port'])),
          ),
        ),
      ),
    ),
    AGE,
  ],
  EndpointSlice: [
    column('AddressType', at('addressType')),
    column(
      'Ports',
      (slice: Loose) => firstFew((slice['ports'] ?? []).map((p: Loose) => p['port'])) ?? '<unset>',
    ),
    column(
      'Endpoints',
      (slice: Loose) =>
        firstFew((slice['endpoints'] ?? []).flatMap((e: Loose) => e['addresses'])) ?? '<unset>',
    ),
    AGE,
  ],
  Event: [
    column(
      'Last Seen',
      (e: Loose) => e['series']?.lastObservedTime ?? e['lastTimestamp'] ?? firstSeen(e),
      DATE,
    ),
    column('Type', at('type')),
    column('Reason', at('reason')),
    column('Object', (e: Loose) => {
      const { kind, name } = e['involvedObject'];
      return name ? `${kind?.toLowerCase()}/${name}` : kind?.toLowerCase();
    }),
    column('Subobject', (e: Loose) => e['involvedObject'].fieldPath ?? '', WIDE),
    column('Source', (e: Loose) => eventSource(e), WIDE),
    column('Message', (e: Loose) => e['message']?.trim() ?? ''),
    column('First Seen', firstSeen, { ...DATE, ...WIDE }),
    column('Count', (e: Loose) => e['series']?.count ?? e['count'] ?? 1, { ...INTEGER, ...WIDE }),
    column('Name', at('metadata', 'name'), WIDE),
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
  NetworkPolicy: [column('Pod-Selector', (p: Loose) => selectorText(p['spec'].podSelector)), AGE],
  CustomResourceDefinition: [column('Created At', at('metadata', 'creationTimestamp'))],
  CiliumNode: [
    field('CiliumInternalIP', '.spec.addresses[?(@.type=="CiliumInternalIP")].ip'),
    field('InternalIP', '.spec.addresses[?(@.type=="InternalIP")].ip'),
    CUSTOM_AGE,
  ],
  CiliumEndpoint: [
    field('Security Identity', '.status.identity.id', INTEGER),
    field('Ingress Enforcement', '.status.policy.ingress.state', WIDE),
    field('Egress Enforcement', '.status.policy.egress.state', WIDE),
    field('Endpoint State', '.status.state'),
    field('IPv4', '.status.networking.addressing[0].ipv4'),
    field('IPv6', '.status.networking.addressing[0].ipv6'),
  ],
  CiliumIdentity: [field('Namespace', '.metadata.labels.io\\.kubernetes\\.pod\\.namespace'), CUSTOM_AGE],
  CiliumLoadBalancerIPPool: [
    field('Disabled', '.spec.disabled', { type: 'boolean' }),
    field('Conflicting', '.status.conditions[?(@.type=="cilium.io/PoolConflict")].status'),
    field('IPs Available', '.status.conditions[?(@.type=="cilium.io/IPsAvailable")].message'),
    CUSTOM_AGE,
  ],
};

/** Whether tables of a kind begin with the name: events bear names that say nothing. */
export function leadsWithName(kind: string): boolean {
  return kind !== 'Event';
}

/** Columns of a kind, without NAME (see {@link leadsWithName}) and NAMESPACE. */
export function columns(kind: string): readonly TableColumn[] {
  return COLUMNS[kind] ?? [kind.startsWith('Cilium') ? CUSTOM_AGE : AGE];
}

function templateColumns(): TableColumn[] {
  const containers = (o: Loose): Container[] => o['spec'].template?.spec.containers ?? [];
  return [
    column('Containers', (o: Loose) => list(containers(o).map(c => c.name)), WIDE),
    column('Images', (o: Loose) => list(containers(o).map(c => c.image)), WIDE),
    column('Selector', (o: Loose) => selectorText(o['spec'].selector), WIDE),
  ];
}

function podReady({ spec, status }: Pod): string {
  const ready = (status?.containerStatuses ?? []).filter(container => container.ready).length;
  return `${ready}/${spec.containers.length}`;
}

function podRestarts({ status }: Pod, now = Date.now()): string {
  const statuses = status?.containerStatuses ?? [];
  const count = total(statuses, container => container.restartCount);
  const ends = statuses.map(container => Date.parse(container.lastState?.terminated?.finishedAt ?? ''));
  const last = Math.max(...ends.filter(time => !Number.isNaN(time)));
  return count > 0 && Number.isFinite(last) ? `${count} (${humanDuration(now - last)} ago)` : String(count);
}

function podReadinessGates({ spec, status }: Pod): string | undefined {
  const gates = (spec['readinessGates'] ?? []) as { conditionType: string }[];
  if (gates.length === 0) return undefined;
  const ready = gates.filter(gate =>
    status?.conditions?.some(one => one.type === gate.conditionType && one.status === 'True'),
  );
  return `${ready.length}/${gates.length}`;
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

/** `a=b,c in (d,e),!f` */
function selectorText(selector: Loose | undefined): string | undefined {
  const exact = Object.entries(selector?.['matchLabels'] ?? {}).map(([key, value]) => `${key}=${value}`);
  const others = (selector?.['matchExpressions'] ?? []).map(({ key, operator, values = [] }: Loose) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator.toLowerCase()} (${[...values].sort().join(',')})`;
  });
  return list([...exact, ...others].sort());
}

/** Kubernetes shows three of a list and counts the others. */
function firstFew(values: unknown[]): string | undefined {
  if (values.length <= 3) return list(values);
  return `${values.slice(0, 3).join(',')} + ${values.length - 3} more...`;
}

function joinHostPort(host: string, port: number | undefined): string {
  if (port === undefined) return host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function firstSeen(event: Loose): string | undefined {
  return event['firstTimestamp'] ?? event['eventTime'] ?? event['metadata'].creationTimestamp;
}

function eventSource(event: Loose): string {
  const component = event['source']?.component ?? event['reportingComponent'] ?? '';
  const host = event['source']?.host ?? event['reportingInstance'];
  return host ? `${component}, ${host}` : component;
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
