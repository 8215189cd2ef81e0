/** The eBPF tables as text, column for column as Cilium's commands print them where it has the command. All pure. */
import type {
  BpfAffinityRow,
  BpfBackendRow,
  BpfCtRow,
  BpfEndpointRow,
  BpfIpcacheRow,
  BpfIpmasqRow,
  BpfLbRow,
  BpfMaglevRow,
  BpfMetricsRow,
  BpfNatRow,
  BpfPolicyRow,
  BpfResponderRow,
  BpfRevNatRow,
  BpfSourceRangeRow,
} from '../../api/bpf.ts';
import { byAddress, byText } from './tables.ts';
import { table } from './tabwriter.ts';

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

/**
 * `bpf ct list`: a line each.
 * @param timeDiff also how long each has left
 */
export function bpfCtLines(entries: BpfCtRow[], timeDiff = false): string {
  return entries
    .map(
      row =>
        `${row.proto} ${row.direction} ${row.source} -> ${row.destination} expires=${row.expiresAtS} ` +
        `${timeDiff ? `(remaining: ${row.expiresS} sec(s)) ` : ''}` +
        `Packets=${row.packets} Bytes=${row.bytes} RxFlagsSeen=${hex(row.rxTcpFlags, 2)} ` +
        `TxFlagsSeen=${hex(row.txTcpFlags, 2)} Flags=${hex(row.flags, 4)} ` +
        `[ ${row.flagNames.map(name => `${name} `).join('')}] RevNAT=${row.revNat} ` +
        `SourceSecurityID=${row.sourceIdentity} BackendID=${row.backendId}` +
        `${row.translated ? ` Translated=${row.translated}` : ''}\n`,
    )
    .join('');
}

/** `bpf nat list`: a line each. */
export function bpfNatLines(entries: BpfNatRow[]): string {
  return entries
    .map(
      ({ proto, direction, source, destination, translated, createdS, ofNode }) =>
        `${proto} ${direction} ${source} -> ${destination} ` +
        `XLATE_${direction === 'IN' ? 'DST' : 'SRC'} ${translated} Created=${createdS}sec ago NeedsCT=${ofNode ? 1 : 0}\n`,
    )
    .join('');
}

const byNumber = <T>(rows: readonly T[], numberOf: (row: T) => number): T[] =>
  rows.toSorted((a, b) => numberOf(a) - numberOf(b));

/** `bpf lb list --backends`. */
export function bpfBackendTable(entries: BpfBackendRow[]): string {
  const rows = byNumber(entries, row => row.id).map(({ id, address, state }) => [`${id}`, address, state]);
  return table([['ID', 'BACKEND ADDRESS', 'STATE'], ...rows]);
}

/** `bpf lb list --revnat`. */
export function bpfRevNatTable(entries: BpfRevNatRow[]): string {
  const rows = byNumber(entries, row => row.id).map(({ id, frontend }) => [`${id}`, frontend]);
  return table([['ID', 'SERVICE ADDRESS'], ...rows]);
}

/** `bpf lb list --source-ranges`. */
export function bpfSourceRangeTable(entries: BpfSourceRangeRow[]): string {
  const rows = byNumber(entries, row => row.revNat).map(({ revNat, frontend, cidr }) => [
    `${revNat}`,
    frontend ?? '-',
    cidr,
  ]);
  return table([['REVNAT_ID', 'SERVICE ADDRESS', 'SOURCE RANGE'], ...rows]);
}

/** `bpf lb list --affinity`. */
export function bpfAffinityTable(entries: BpfAffinityRow[]): string {
  const rows = byNumber(entries, row => row.revNat).map(row => [
    row.client,
    `${row.frontend ?? '-'} (${row.revNat})`,
    `${row.backend ?? '-'} (${row.backendId})`,
    `${row.lastUsedS}s ago`,
  ]);
  return table([
    ['CLIENT', 'SERVICE ADDRESS (REVNAT_ID)', 'BACKEND ADDRESS (BACKEND_ID)', 'LAST USED'],
    ...rows,
  ]);
}

/** `bpf lb maglev list`: the share of each backend. */
export function bpfMaglevTable(entries: BpfMaglevRow[]): string {
  const rows = [['REVNAT_ID', 'SERVICE ADDRESS', 'BACKEND ADDRESS (BACKEND_ID)', 'PLACES']];
  for (const { revNat, frontend, scope, shares } of byNumber(entries, row => row.revNat)) {
    const name = `${frontend ?? '-'}${scope === 'internal' ? '/i' : ''}`;
    const lines = shares.map(({ backendId, backend, places }) => [
      `${backend ?? '-'} (${backendId})`,
      `${places}`,
    ]);
    const [first = ['', ''], ...rest] = lines;
    rows.push([`${revNat}`, name, ...first], ...rest.map(line => ['', '', ...line]));
  }
  return table(rows);
}

/** `bpf lb maglev get`: backend ids by place. */
export function bpfMaglevTables(entries: BpfMaglevRow[]): string {
  return table([
    ['SVC ID', 'LOOKUP TABLE'],
    ...entries.map(({ revNat, scope, table: places }) => [
      `${revNat}${scope === 'internal' ? '/i' : ''}`,
      `[${places.join(' ')}]`,
    ]),
  ]);
}

/** `bpf l2-responder list`. */
export function bpfResponderTable(entries: BpfResponderRow[]): string {
  const rows = entries
    .toSorted((a, b) => byAddress(a.address, b.address))
    .map(row => [
      row.address,
      row.device ?? `ifindex ${row.ifindex}`,
      row.mac,
      `${row.responses}`,
      row.validS > 0 ? `${row.validS}s` : 'expired',
    ]);
  return table([['IP ADDRESS', 'DEVICE', 'MAC', 'RESPONSES', 'LEASE VALID FOR'], ...rows]);
}

/** `bpf ipmasq list`. */
export function bpfIpmasqTable(entries: BpfIpmasqRow[]): string {
  const rows = entries.map(({ prefix }) => prefix).toSorted(byAddress);
  return table([['IP PREFIX/ADDRESS'], ...rows.map(prefix => [prefix])]);
}
