import { type Frame, u16At, u32At } from './frame.ts';

/** What a packet's flow is, by the standards: RFC 791, 792, 768, 9293. */

export interface Tuple {
  l4Proto: number;
  source: number;
  destination: number;
  sourcePort: number;
  destinationPort: number;
}

export type TupleKind = 'flow' | 'icmp error' | 'truncated' | 'lost fragment' | 'other';

const ICMP = 1;
const SHORTEST: Record<number, number> = { [ICMP]: 8, 6: 20, 17: 8 };
const ERRORS = [3, 11, 12];
const ECHO = 8;
const ECHO_REPLY = 0;

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

/** What conntrack remembers of the packets before: of flows that were let through, and of datagrams in fragments. */
export class FlowMemory {
  readonly #allowed = new Set<string>();
  readonly #datagrams = new Map<string, [number, number]>();

  forget(): void {
    this.#allowed.clear();
    this.#datagrams.clear();
  }

  allow(direction: 'ingress' | 'egress', tuple: Tuple): void {
    this.#allowed.add(`${direction} ${Object.values(tuple)}`);
  }

  isAllowed(direction: 'ingress' | 'egress', tuple: Tuple): boolean {
    return this.#allowed.has(`${direction} ${Object.values(tuple)}`);
  }

  /** For frames that are well-formed. An ICMP error counts as a packet of the flow that it is about. */
  tupleOf(frame: Frame): { kind: TupleKind; tuple: Tuple } {
    const { bytes, headerBytes, l4Proto, source, destination } = frame;
    const tuple: Tuple = { l4Proto, source, destination, sourcePort: 0, destinationPort: 0 };
    const need = SHORTEST[l4Proto];
    if (need === undefined) return { kind: 'other', tuple };
    const moreFragments = (bytes[20]! & 0x20) !== 0;
    const datagram = `${source} ${destination} ${u16At(bytes, 18)} ${l4Proto}`;
    if (frame.fragmentOffset > 0) {
      const ports = this.#datagrams.get(datagram);
      if (!ports) return { kind: 'lost fragment', tuple };
      [tuple.sourcePort, tuple.destinationPort] = ports;
      return { kind: 'flow', tuple };
    }
    const [at, end] = [14 + headerBytes, 14 + frame.packetBytes];
    if (at + need > end) return { kind: 'truncated', tuple };
    const ports = portsAt(bytes, at, l4Proto);
    if (!ports) {
      if (moreFragments || !ERRORS.includes(bytes[at]!)) return { kind: 'other', tuple };
      return this.#quoted(bytes, at + 8, end, tuple);
    }
    [tuple.sourcePort, tuple.destinationPort] = ports;
    if (moreFragments) this.#datagrams.set(datagram, ports);
    return { kind: 'flow', tuple };
  }

  #quoted(bytes: Uint8Array, at: number, end: number, outer: Tuple): { kind: TupleKind; tuple: Tuple } {
    if (at + 20 > end) return { kind: 'truncated', tuple: outer };
    const header = (bytes[at]! & 0xf) * 4;
    if (bytes[at]! >> 4 !== 4 || header < 20 || at + header + 8 > end)
      return { kind: 'truncated', tuple: outer };
    const l4Proto = bytes[at + 9]!;
    const isLater = (u16At(bytes, at + 6) & 0x1fff) > 0;
    if (SHORTEST[l4Proto] === undefined || isLater) return { kind: 'other', tuple: outer };
    const ports = portsAt(bytes, at + header, l4Proto);
    if (!ports) return { kind: 'other', tuple: outer };
    const [source, destination] = [u32At(bytes, at + 12), u32At(bytes, at + 16)];
    const about = { l4Proto, source, destination, sourcePort: ports[0], destinationPort: ports[1] };
    return { kind: 'icmp error', tuple: reversed(about) };
  }
}
