import { CtFlag, CtLifetime } from '../../../src/maps/abi.gen.ts';
import { type End, type FlowPacket, TCP, type Tuple } from './flows.ts';

/** What flows leave behind, and how long it lives, by the specification. */

export const CtFlags = CtFlag;
const FIN = 0x01;
const RST = 0x04;
export const NOTHING: End = { address: 0, port: 0 };

/** An entry of conntrack or of a translation. */
export interface Entry {
  flags: number;
  /** TCP flags seen from the side that opened the flow, and from the other. */
  tx: number;
  rx: number;
  expiresS: number;
  /** In whose name replies come, or which backend was given; of a translation the new name. */
  name: End;
  revNatIndex: number;
  backendId: number;
  sourceIdentity: number;
  packets: number;
  bytes: number;
}

/** What may be read of a run where the specification leaves a choice. */
export interface Seen {
  /** The frame as it was afterwards. */
  frame: Uint8Array;
  /** Every packet that goes on was reported. */
  isTraced: boolean;
  /** The name that the map of translations has at the end for a flow. */
  translationOf(key: string): End | undefined;
}

export type Side = 'opener' | 'reply';
export type Table = Map<string, Entry>;

const hasClosed = (tcpFlags: number): boolean => (tcpFlags & (FIN | RST)) !== 0;

/** Both sides have said goodbye, or one has hung up. */
const isOver = ({ tx, rx }: Entry): boolean => (hasClosed(tx) && hasClosed(rx)) || ((tx | rx) & RST) !== 0;

function lifetimeS(entry: Entry, l4Proto: number): number {
  if (l4Proto !== TCP) return CtLifetime.CT_LIFETIME_ANY_S;
  if (isOver(entry)) return CtLifetime.CT_LIFETIME_CLOSING_S;
  if (entry.flags & CtFlag.CT_F_SEEN_REPLY) return CtLifetime.CT_LIFETIME_TCP_S;
  // Of what a remote backend answers by itself no reply is ever seen.
  const established = CtFlag.CT_F_DSR | CtFlag.CT_F_SEEN_NON_SYN;
  if ((entry.flags & established) === established && !hasClosed(entry.tx))
    return CtLifetime.CT_LIFETIME_TCP_S;
  return CtLifetime.CT_LIFETIME_SYN_S;
}

export class FlowTables {
  readonly conntrack: Table = new Map();
  readonly translations: Table = new Map();
  /** Ports of datagrams whose first fragment came by. */
  readonly datagrams = new Map<string, [number, number]>();
  /** Backend ids by client and service. */
  readonly affinity = new Map<string, number>();
  /** Time runs in steps only. */
  nowS = 0;
  seen: Seen | undefined;

  forget(): void {
    for (const table of [this.conntrack, this.translations, this.datagrams, this.affinity]) table.clear();
  }

  static key(direction: string, t: Tuple): string {
    return `${direction} ${t.l4Proto} ${t.source}:${t.sourcePort} ${t.destination}:${t.destinationPort}`;
  }

  /** The entry if it is still good. */
  find(table: Table, direction: string, tuple: Tuple): Entry | undefined {
    const entry = table.get(FlowTables.key(direction, tuple));
    return entry && entry.expiresS > this.nowS ? entry : undefined;
  }

  /** An entry as the flow's first packet makes it. */
  fresh(packet: FlowPacket, what: Partial<Entry>): Entry {
    const none = { flags: 0, tx: 0, rx: 0, expiresS: 0, packets: 0, bytes: 0 };
    const entry = { ...none, name: NOTHING, revNatIndex: 0, backendId: 0, sourceIdentity: 0, ...what };
    this.note([entry], packet, 'opener');
    return entry;
  }

  open(direction: string, packet: FlowPacket, what: Partial<Entry>): Entry {
    const entry = this.fresh(packet, what);
    this.conntrack.set(FlowTables.key(direction, packet.tuple), entry);
    return entry;
  }

  /** A packet of the flow came by; the first entry decides for all. An ICMP error says nothing of a flow's life. */
  note(entries: Entry[], packet: FlowPacket, from: Side): void {
    if (packet.kind === 'icmp error') return;
    const [first] = entries as [Entry];
    let { flags, tx, rx } = first;
    if (from === 'opener' && packet.isSyn && isOver(first)) {
      flags &= ~(CtFlag.CT_F_SEEN_REPLY | CtFlag.CT_F_SEEN_NON_SYN);
      flags &= ~(CtFlag.CT_F_TX_CLOSING | CtFlag.CT_F_RX_CLOSING);
      tx = rx = 0;
    }
    const closes = hasClosed(packet.tcpFlags);
    if (from === 'reply') {
      rx |= packet.tcpFlags;
      flags |= CtFlag.CT_F_SEEN_REPLY | (closes ? CtFlag.CT_F_RX_CLOSING : 0);
    } else {
      tx |= packet.tcpFlags;
      flags |= closes ? CtFlag.CT_F_TX_CLOSING : 0;
    }
    if (!(packet.tcpFlags & 0x02)) flags |= CtFlag.CT_F_SEEN_NON_SYN;
    const life = { flags, tx, rx };
    const expiresS = this.nowS + lifetimeS({ ...first, ...life }, packet.tuple.l4Proto);
    for (const entry of entries) Object.assign(entry, life, { expiresS });
    first.packets++;
    first.bytes += packet.passage.bytes.length;
  }
}
