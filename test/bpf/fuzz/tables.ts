import { ctEntryCodec, ctKeyCodec, natEntryCodec, natKeyCodec } from '../../../src/maps/abi.gen.ts';
import type { Loaded } from '../harness.ts';
import { type Entry, FlowTables, type Table } from './conntrack.ts';
import type { End } from './flows.ts';

/** What flows have left behind in the maps, beside what the oracle says that they have. */

const CT_DIRECTIONS = ['egress', 'ingress', 'service'];
const NAT_DIRECTIONS = ['out', 'in'];

interface Key {
  saddr: number;
  daddr: number;
  sport: number;
  dport: number;
  l4Proto: number;
  direction: number;
}

const textOf = (names: string[], { saddr, daddr, sport, dport, l4Proto, direction }: Key): string =>
  FlowTables.key(names[direction] ?? `${direction}`, {
    ...{ l4Proto, source: saddr, destination: daddr },
    ...{ sourcePort: sport, destinationPort: dport },
  });

/** All but the time is compared as text; times by their distance from the oracle's clock. */
interface Row {
  text: string;
  expiresS: number;
}

const ctRow = (
  e: Omit<Entry, 'expiresS' | 'bytes' | 'packets'> & { packets: bigint; bytes: bigint },
): string =>
  `${e.name.address}:${e.name.port} flags ${e.flags} tcp ${e.tx} ${e.rx} service ${e.revNatIndex} backend ${e.backendId} by ${e.sourceIdentity} packets ${e.packets} bytes ${e.bytes}`;
const natRow = (e: Pick<Entry, 'name' | 'flags' | 'tx' | 'rx'>): string =>
  `${e.name.address}:${e.name.port} flags ${e.flags} tcp ${e.tx} ${e.rx}`;

function conntrackOf(loaded: Loaded): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const name of ['cilium_ct4_global', 'cilium_ct_any4_global'])
    for (const [key, value] of loaded.map(name).entries()) {
      const e = ctEntryCodec.read(value);
      const end = { address: e.natAddress, port: e.natPort };
      const text = ctRow({ ...e, name: end, tx: e.txTcpFlags, rx: e.rxTcpFlags });
      rows.set(textOf(CT_DIRECTIONS, ctKeyCodec.read(key)), { text, expiresS: e.expiresS });
    }
  return rows;
}

function translationsOf(loaded: Loaded): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const [key, value] of loaded.map('cilium_snat_v4_external').entries()) {
    const e = natEntryCodec.read(value);
    const text = natRow({ ...e, name: e, tx: e.txTcpFlags, rx: e.rxTcpFlags });
    rows.set(textOf(NAT_DIRECTIONS, natKeyCodec.read(key)), { text, expiresS: e.expiresS });
  }
  return rows;
}

/** The names that flows leave with by the map. */
export function namesOf(loaded: Loaded): Map<string, End> {
  const names = new Map<string, End>();
  for (const [key, value] of loaded.map('cilium_snat_v4_external').entries())
    names.set(textOf(NAT_DIRECTIONS, natKeyCodec.read(key)), natEntryCodec.read(value));
  return names;
}

function compare(
  what: string,
  rows: Map<string, Row>,
  wanted: Table,
  textOfEntry: (entry: Entry) => string,
  clock: { fromS: number; toS: number },
): string | undefined {
  for (const [key, entry] of wanted) {
    const row = rows.get(key);
    if (!row) return `${what}: ${key} is missing`;
    const text = textOfEntry(entry);
    if (row.text !== text) return `${what}: ${key}: specified ${text}, got ${row.text}`;
    const ahead = row.expiresS - entry.expiresS;
    // The programs' clock is a tick behind.
    if (ahead < clock.fromS - 1 || ahead > clock.toS)
      return `${what}: ${key}: it ends ${ahead - clock.fromS} s after its time`;
  }
  for (const key of rows.keys()) if (!wanted.has(key)) return `${what}: ${key} is too many`;
  return undefined;
}

/** @param clock the kernel's when the oracle's began, and now, in seconds */
export function differingTable(
  loaded: Loaded,
  tables: FlowTables,
  clock: { fromS: number; toS: number },
): string | undefined {
  const ctText = (e: Entry): string => ctRow({ ...e, packets: BigInt(e.packets), bytes: BigInt(e.bytes) });
  return (
    compare('conntrack', conntrackOf(loaded), tables.conntrack, ctText, clock) ??
    compare('translations', translationsOf(loaded), tables.translations, natRow, clock)
  );
}
