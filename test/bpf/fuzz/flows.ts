import type { FlowTables } from './conntrack.ts';
import { type Frame, u16At, u32At } from './frame.ts';
import type { Passage } from './passage.ts';

/** What a packet's flow is, by the standards: RFC 791, 792, 768, 9293; and how its ends are renamed, by RFC 1624. */

export interface End {
  address: number;
  port: number;
}

export interface Tuple {
  l4Proto: number;
  source: number;
  destination: number;
  sourcePort: number;
  destinationPort: number;
}

export type TupleKind = 'flow' | 'icmp error' | 'truncated' | 'lost fragment' | 'other';

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
const SHORTEST: Record<number, number> = { [ICMP]: 8, [TCP]: 20, [UDP]: 8 };
const CHECKSUM_AT: Record<number, number> = { [ICMP]: 2, [TCP]: 16, [UDP]: 6 };
const ERRORS = [3, 11, 12];
const ECHO = 8;
const ECHO_REPLY = 0;
const ICMP_ID_AT = 4;
export const SYN = 0x02;
const ACK = 0x10;

/** Ports, or an echo's identifier at the end of who asked. */
function portsAt(bytes: Uint8Array, at: number, l4Proto: number): [number, number] | undefined {
  if (l4Proto !== ICMP) return [u16At(bytes, at), u16At(bytes, at + 2)];
  if (bytes[at] === ECHO) return [u16At(bytes, at + 4), 0];
  if (bytes[at] === ECHO_REPLY) return [0, u16At(bytes, at + 4)];
  return undefined;
}

export const reversed = (tuple: Tuple): Tuple => ({
  l4Proto: tuple.l4Proto,
  source: tuple.destination,
  destination: tuple.source,
  sourcePort: tuple.destinationPort,
  destinationPort: tuple.sourcePort,
});

/** A well-formed packet as one of a flow. An ICMP error counts as a packet of the flow that it is about. */
export class FlowPacket {
  readonly passage: Passage;
  kind: TupleKind = 'other';
  tuple: Tuple;
  /** Where the transport header is; of an ICMP error the quoted packet's. */
  at: number;
  /** The transport header is in this packet, not in an earlier fragment. */
  here = false;
  tcpFlags = 0;
  /** On its way to a backend by now: no reply to anybody. */
  toService = false;
  /** It was seen to be of a flow that its sender, a pod, has begun. */
  isBegunHere = false;

  /** As it was read before on this passage, or read now. */
  static of(passage: Passage, tables: FlowTables): FlowPacket {
    passage.packet ??= new FlowPacket(passage, tables);
    return passage.packet;
  }

  /** @param tables knows the ports of datagrams whose first fragment came by, and learns them here */
  constructor(passage: Passage, tables: FlowTables) {
    const { frame } = passage;
    const { bytes, headerBytes, l4Proto, source, destination } = frame;
    this.passage = passage;
    this.at = 14 + headerBytes;
    this.tuple = { l4Proto, source, destination, sourcePort: 0, destinationPort: 0 };
    const need = SHORTEST[l4Proto];
    if (need === undefined) return;
    const moreFragments = (bytes[20]! & 0x20) !== 0;
    const datagram = `${source} ${destination} ${u16At(bytes, 18)} ${l4Proto}`;
    if (frame.fragmentOffset > 0) {
      const known = tables.datagrams.get(datagram);
      this.kind = known ? 'flow' : 'lost fragment';
      if (known) [this.tuple.sourcePort, this.tuple.destinationPort] = known;
      return;
    }
    const end = 14 + frame.packetBytes;
    this.kind = 'truncated';
    if (this.at + need > end) return;
    const ports = portsAt(bytes, this.at, l4Proto);
    if (!ports) {
      this.kind = 'other';
      if (!moreFragments && ERRORS.includes(bytes[this.at]!)) this.#readQuoted(frame, this.at + 8, end);
      return;
    }
    this.kind = 'flow';
    this.here = true;
    if (l4Proto === TCP) this.tcpFlags = bytes[this.at + 13]!;
    [this.tuple.sourcePort, this.tuple.destinationPort] = ports;
    if (moreFragments) tables.datagrams.set(datagram, ports);
  }

  #readQuoted({ bytes }: Frame, at: number, end: number): void {
    this.kind = 'truncated';
    if (at + 20 > end) return;
    const header = (bytes[at]! & 0xf) * 4;
    if (bytes[at]! >> 4 !== 4 || header < 20 || at + header + 8 > end) return;
    this.kind = 'other';
    const l4Proto = bytes[at + 9]!;
    const isLater = (u16At(bytes, at + 6) & 0x1fff) > 0;
    if (SHORTEST[l4Proto] === undefined || isLater) return;
    const ports = portsAt(bytes, at + header, l4Proto);
    if (!ports) return;
    const [source, destination] = [u32At(bytes, at + 12), u32At(bytes, at + 16)];
    this.tuple = reversed({ l4Proto, source, destination, sourcePort: ports[0], destinationPort: ports[1] });
    this.at = at + header;
    this.kind = 'icmp error';
  }

  get isFlow(): boolean {
    return this.kind === 'flow' || this.kind === 'icmp error';
  }

  get isSyn(): boolean {
    return this.here && this.tuple.l4Proto === TCP && (this.tcpFlags & (SYN | ACK)) === SYN;
  }

  get isEchoReply(): boolean {
    return this.kind === 'flow' && this.tuple.l4Proto === ICMP && this.tuple.destinationPort !== 0;
  }

  /** Another name for one end, with every checksum that covers it. */
  rename(end: 'source' | 'destination', to: End): void {
    const { tuple, passage } = this;
    const { frame } = passage;
    const isSource = end === 'source';
    const was: End = isSource
      ? { address: tuple.source, port: tuple.sourcePort }
      : { address: tuple.destination, port: tuple.destinationPort };
    const isError = this.kind === 'icmp error';
    const portAt = tuple.l4Proto === ICMP ? ICMP_ID_AT : isSource === isError ? 2 : 0;
    const outer = isSource ? frame.source : frame.destination;
    if (!isError) {
      this.#write32(isSource ? 26 : 30, to.address, [24, ...this.#pseudo()]);
      if (this.here) this.#write16(this.at + portAt, to.port, [this.at + CHECKSUM_AT[tuple.l4Proto]!]);
    } else {
      // The quoted packet goes the other way; only its own checksum sees its address, only the error's its port.
      const quoted = 14 + frame.headerBytes + 8;
      this.#write32(quoted + (isSource ? 16 : 12), to.address, [quoted + 10]);
      if (to.port !== was.port)
        this.#write16(this.at + portAt, to.port, [14 + frame.headerBytes + CHECKSUM_AT[ICMP]!]);
      if (outer === was.address) this.#write32(isSource ? 26 : 30, to.address, [24]);
    }
    if (isSource) [tuple.source, tuple.sourcePort] = [to.address, to.port];
    else [tuple.destination, tuple.destinationPort] = [to.address, to.port];
    passage.readAgain();
  }

  #pseudo(): number[] {
    const covers = this.here && this.tuple.l4Proto !== ICMP;
    return covers ? [this.at + CHECKSUM_AT[this.tuple.l4Proto]!] : [];
  }

  #isUdpSum(at: number): boolean {
    return this.kind === 'flow' && this.tuple.l4Proto === UDP && at !== 24;
  }

  #write32(at: number, value: number, sums: number[]): void {
    this.#write16(at, value >>> 16, sums);
    this.#write16(at + 2, value & 0xffff, sums);
  }

  #write16(at: number, value: number, sums: number[]): void {
    const { bytes } = this.passage;
    const was = bytes.readUInt16BE(at);
    bytes.writeUInt16BE(value, at);
    for (const sum of sums) this.passage.adjustSum(sum, was, value, this.#isUdpSum(sum));
  }
}
