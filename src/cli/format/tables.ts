/** The tables of the agent's lists, column for column as Cilium's commands print them. All pure. */
import type {
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

/**
 * `service list`, `service get`: one backend a line, sorted by id.
 * @param wide also whose each frontend is
 */
export function serviceTable(services: ServiceModel[], wide = false): string {
  const rows = [['ID', 'Frontend', 'Service Type', 'Backend', ...(wide ? ['Name'] : [])]];
  for (const { id, name, frontend, type, backends } of services.toSorted((a, b) => a.id - b.id)) {
    const [first = '', ...rest] = backends.map(
      ({ address, state }, slot) => `${slot + 1} => ${address} (${state})`,
    );
    rows.push(
      [String(id), frontend, type, first, ...(wide ? [name ?? ''] : [])],
      ...rest.map(backend => ['', '', '', backend, ...(wide ? [''] : [])]),
    );
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
