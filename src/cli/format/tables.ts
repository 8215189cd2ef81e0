/** The tables of the agent's lists, column for column as Cilium's commands print them. All pure. */
import type {
  BpfCtRow,
  BpfEndpointRow,
  BpfIpcacheRow,
  BpfLbRow,
  BpfMetricsRow,
  BpfNatRow,
  BpfPolicyRow,
  ConfigResponse,
  EndpointModel,
  IdentityModel,
  IpModel,
  MapModel,
  NodeModel,
  ServiceModel,
} from '../../api/types.ts';
import { table } from './tabwriter.ts';

/** Where the values of `config view` begin. */
const CONFIG_VALUE_COLUMN = 50;
/** Where the values of the in-pod `config` begin. */
const OPTION_VALUE_COLUMN = 34;

/** Orders texts by code point. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Orders dotted addresses and prefixes by number, other text behind. */
export function byAddress(a: string, b: string): number {
  const key = (text: string): string =>
    text
      .split(/[./:]/)
      .map(part => part.padStart(5, '0'))
      .join('.');
  return byText(key(a), key(b));
}

function enforcement(policy: string, direction: 'ingress' | 'egress'): string {
  const audit = policy.startsWith('audit-');
  const which = audit ? policy.slice('audit-'.length) : policy;
  if (which !== direction && which !== 'both') return 'Disabled';
  return audit ? 'Disabled (Audit)' : 'Enabled';
}

/** `endpoint list`: two header lines, one label a line, sorted by id. */
export function endpointTable(endpoints: EndpointModel[]): string {
  const rows = [
    [
      'ENDPOINT',
      'POLICY (ingress)',
      'POLICY (egress)',
      'IDENTITY',
      'LABELS (source:key[=value])',
      'IPv6',
      'IPv4',
      'STATUS',
    ],
    ['', 'ENFORCEMENT', 'ENFORCEMENT', '', '', '', '', ''],
  ];
  for (const { id, status } of endpoints.toSorted((a, b) => a.id - b.id)) {
    const policy = status.policy.realized['policy-enabled'];
    const labels = status.identity.labels.length > 0 ? status.identity.labels.toSorted() : ['no labels'];
    const [first = '', ...rest] = labels;
    rows.push(
      [
        String(id),
        enforcement(policy, 'ingress'),
        enforcement(policy, 'egress'),
        status.identity.id === 0 ? '<no label id>' : String(status.identity.id),
        first,
        '',
        status.networking.addressing[0]?.ipv4 ?? '',
        status.state,
      ],
      ...rest.map(label => ['', '', '', '', label, '', '', '']),
    );
  }
  return table(rows, { trailing: true });
}

/** `config view`: keys sorted, values from column 50 on. */
export function configView(flat: Record<string, string>): string {
  return Object.entries(flat)
    .toSorted(([a], [b]) => byText(a, b))
    .map(([key, value]) => `${`${key} `.padEnd(CONFIG_VALUE_COLUMN)}${value}\n`)
    .join('');
}

/** `config` alone: what can be changed at run time, and whether policy is enforced. */
export function configOptions({ status: { realized } }: ConfigResponse): string {
  const line = (key: string, value: string): string => `${key.padEnd(OPTION_VALUE_COLUMN)}: ${value}\n`;
  const options = Object.entries(realized.options).toSorted(([a], [b]) => byText(a, b));
  return [
    '##### Read-write configurations #####\n',
    ...options.map(([key, value]) => line(key, value)),
    line('PolicyEnforcement', realized['policy-enforcement']),
  ].join('');
}

/** `node list`, sorted by name. */
export function nodeTable(nodes: NodeModel[]): string {
  const rows = nodes
    .toSorted((a, b) => byText(a.name, b.name))
    .map(node => {
      const { ipv4 } = node['primary-address'];
      return [node.name, ipv4.ip, ipv4['alloc-range'], '', '', node.source];
    });
  return table([
    ['Name', 'IPv4 Address', 'Endpoint CIDR', 'IPv6 Address', 'Endpoint CIDR', 'Source'],
    ...rows,
  ]);
}

/** `identity list`: one label a line, sorted by id. */
export function identityTable(identities: IdentityModel[]): string {
  const rows = [['ID', 'LABELS']];
  for (const { id, labels } of identities.toSorted((a, b) => a.id - b.id)) {
    const [first = '', ...rest] = labels.toSorted();
    rows.push([String(id), first], ...rest.map(label => ['', label]));
  }
  return table(rows);
}

/** `ip list`: prefixes by address. @param numeric the identity's number in place of its labels */
export function ipTable(ips: IpModel[], numeric: boolean): string {
  const rows = [['IP', 'IDENTITY', 'SOURCE']];
  for (const { cidr, identity, labels, metadata } of ips.toSorted((a, b) => byAddress(a.cidr, b.cidr))) {
    const [first = String(identity), ...rest] = numeric ? [String(identity)] : labels.toSorted();
    rows.push([cidr, first, metadata?.source ?? ''], ...rest.map(label => ['', label, '']));
  }
  return table(rows);
}

/** `service list`: one backend a line, sorted by id. */
export function serviceTable(services: ServiceModel[]): string {
  const rows = [['ID', 'Frontend', 'Service Type', 'Backend']];
  for (const { id, frontend, type, backends } of services.toSorted((a, b) => a.id - b.id)) {
    const [first = '', ...rest] = backends.map(
      ({ address, state }, slot) => `${slot + 1} => ${address} (${state})`,
    );
    rows.push([String(id), frontend, type, first], ...rest.map(backend => ['', '', '', backend]));
  }
  return table(rows);
}

/** `map list`. */
export function mapTable(maps: MapModel[]): string {
  const rows = maps.map(({ name, entries, errors, cached }) => [
    name,
    entries === undefined ? 'unknown' : String(entries),
    String(errors),
    String(cached),
  ]);
  return table([['Name', 'Num entries', 'Num errors', 'Cache enabled'], ...rows]);
}

/** `bpf endpoint list`, by address. */
export function bpfEndpointTable(entries: BpfEndpointRow[]): string {
  const rows = entries
    .toSorted((a, b) => byAddress(a.ip, b.ip))
    .map(row => [
      `${row.ip}:0`,
      row.host
        ? '(localhost)'
        : `id=${String(row.id).padEnd(5)} sec_id=${String(row.identity).padEnd(5)} ` +
          `flags=0x${row.flags.toString(16).padStart(4, '0')} ifindex=${String(row.ifindex).padEnd(3)} ` +
          `mac=${row.mac.toUpperCase()} nodemac=${row.nodeMac.toUpperCase()} parent_ifindex=0`,
    ]);
  return table([['IP ADDRESS', 'LOCAL ENDPOINT INFO'], ...rows]);
}

/** `bpf ipcache list`, by prefix. */
export function bpfIpcacheTable(entries: BpfIpcacheRow[]): string {
  const rows = entries
    .toSorted((a, b) => byAddress(a.prefix, b.prefix))
    .map(row => [
      row.prefix,
      `identity=${row.identity} encryptkey=${row.encryptKey} tunnelendpoint=${row.tunnelEndpoint} ` +
        `flags=${row.flags.join(',') || '<none>'}`,
    ]);
  return table([['IP PREFIX/ADDRESS', 'IDENTITY'], ...rows]);
}

/** `bpf policy get`: one label a line. */
export function bpfPolicyTable(entries: BpfPolicyRow[]): string {
  if (entries.length === 0) return 'Policy stats empty. Perhaps the policy enforcement is disabled?\n';
  const rows = [
    [
      'POLICY',
      'DIRECTION',
      'LABELS (source:key[=value])',
      'PORT/PROTO',
      'PROXY PORT',
      'AUTH TYPE',
      'BYTES',
      'PACKETS',
      'PREFIX',
      'COOKIE',
    ],
  ];
  for (const row of entries) {
    const [first = row.identity === 0 ? 'ANY' : String(row.identity), ...rest] = row.labels.toSorted();
    rows.push(
      [
        row.action,
        row.direction,
        first,
        row.port,
        row.proxyPort === 0 ? 'NONE' : String(row.proxyPort),
        row.authType,
        row.bytes === undefined ? '-' : String(row.bytes),
        row.packets === undefined ? '-' : String(row.packets),
        String(row.prefixLen),
        String(row.cookie),
      ],
      ...rest.map(label => ['', '', label, '', '', '', '', '', '', '']),
    );
  }
  return table(rows);
}

/** `bpf metrics list`, sorted as text column by column. */
export function bpfMetricsTable(entries: BpfMetricsRow[]): string {
  const rows = entries
    .map(row => [row.text, row.direction, String(row.packets), String(row.bytes), String(row.line), row.file])
    .toSorted((a, b) => byText(a.join('\0'), b.join('\0')));
  return table([['REASON', 'DIRECTION', 'PACKETS', 'BYTES', 'LINE', 'FILE'], ...rows]);
}

/** `bpf lb list`: a frontend's own line, then its backends. */
export function bpfLbTable(entries: BpfLbRow[]): string {
  const rows = entries.map(({ frontend, slot, revNat, flags, backend }) => [
    `${frontend} (${slot})`,
    slot === 0 ? `0.0.0.0:0 (${revNat}) (0) [${flags.join(', ')}]` : `${backend} (${revNat}) (${slot})`,
  ]);
  return table([['SERVICE ADDRESS', 'BACKEND ADDRESS (REVNAT_ID) (SLOT)'], ...rows]);
}

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, '0')}`;

/** `bpf ct list`: a line each. */
export function bpfCtLines(entries: BpfCtRow[]): string {
  return entries
    .map(
      row =>
        `${row.proto} ${row.direction} ${row.source} -> ${row.destination} expires=${row.expiresS} ` +
        `Packets=${row.packets} Bytes=${row.bytes} RxFlagsSeen=${hex(row.rxTcpFlags, 2)} ` +
        `TxFlagsSeen=${hex(row.txTcpFlags, 2)} Flags=${hex(row.flags, 4)} RevNAT=${row.revNat} ` +
        `SourceSecurityID=${row.sourceIdentity} BackendID=${row.backendId}` +
        `${row.translated ? ` Translated=${row.translated}` : ''}\n`,
    )
    .join('');
}

/** `bpf nat list`: a line each. */
export function bpfNatLines(entries: BpfNatRow[]): string {
  return entries
    .map(
      ({ proto, direction, source, destination, translated, createdS }) =>
        `${proto} ${direction} ${source} -> ${destination} ` +
        `XLATE_${direction === 'IN' ? 'DST' : 'SRC'} ${translated} Created=${createdS}sec ago\n`,
    )
    .join('');
}
