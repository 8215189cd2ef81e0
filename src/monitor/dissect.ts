import { formatIpv4, formatIpv6, ipv6FromBytes } from '../base/addr.ts';
import { formatMac } from '../base/mac.ts';
import { icmpText } from './icmp.ts';

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
export const L4_PROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** What is in a frame, as far as it was captured. Layers that were cut off or are not known are absent. */
export interface Dissection {
  readonly ethernet?: { readonly source: string; readonly destination: string; readonly ethertype: number };
  readonly arp?: {
    /** 1 request, 2 reply. */
    readonly operation: number;
    readonly senderMac: string;
    readonly senderIp: string;
    readonly targetMac: string;
    readonly targetIp: string;
  };
  readonly ip?: {
    readonly version: 4 | 6;
    readonly source: string;
    readonly destination: string;
    readonly l4Proto: number;
    /** TTL or hop limit. */
    readonly ttl: number;
    /** Bytes, header included, as the packet says. */
    readonly length: number;
    /** True for every fragment but the first: there is no layer 4 in it. */
    readonly laterFragment: boolean;
  };
  readonly ports?: { readonly source: number; readonly destination: number };
  /** `SYN`, `ACK`, `RST`, `FIN`, those that are set, in this order. */
  readonly tcpFlags?: readonly string[];
  readonly icmp?: { readonly type: number; readonly code: number; readonly text: string };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Takes an Ethernet frame apart. Never throws: a frame may be cut anywhere and say anything. Pure.
 */
export function dissect(frame: Uint8Array): Dissection {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const result: Mutable<Dissection> = {};
  if (frame.length < 14) return result;
  let ethertype = view.getUint16(12);
  let at = 14;
  if (ethertype === ETHERTYPE.vlan && frame.length >= 18) {
    ethertype = view.getUint16(16);
    at = 18;
  }
  result.ethernet = { destination: formatMac(frame, 0), source: formatMac(frame, 6), ethertype };
  if (ethertype === ETHERTYPE.arp) arp(frame, view, at, result);
  else if (ethertype === ETHERTYPE.ipv4) ipv4(view, at, result);
  else if (ethertype === ETHERTYPE.ipv6) ipv6(frame, view, at, result);
  return result;
}

function arp(frame: Uint8Array, view: DataView, at: number, result: Mutable<Dissection>): void {
  const ethernetForIpv4 =
    frame.length >= at + 28 && view.getUint32(at) === 0x00010800 && view.getUint16(at + 4) === 0x0604;
  if (!ethernetForIpv4) return;
  result.arp = {
    operation: view.getUint16(at + 6),
    senderMac: formatMac(frame, at + 8),
    senderIp: formatIpv4(view.getUint32(at + 14)),
    targetMac: formatMac(frame, at + 18),
    targetIp: formatIpv4(view.getUint32(at + 24)),
  };
}

function ipv4(view: DataView, at: number, result: Mutable<Dissection>): void {
  if (view.byteLength < at + 20 || view.getUint8(at) >>> 4 !== 4) return;
  const headerBytes = (view.getUint8(at) & 0x0f) * 4;
  if (headerBytes < 20) return;
  const laterFragment = (view.getUint16(at + 6) & 0x1fff) !== 0;
  const l4Proto = view.getUint8(at + 9);
  result.ip = {
    version: 4,
    source: formatIpv4(view.getUint32(at + 12)),
    destination: formatIpv4(view.getUint32(at + 16)),
    l4Proto,
    ttl: view.getUint8(at + 8),
    length: view.getUint16(at + 2),
    laterFragment,
  };
  if (!laterFragment) layer4(view, at + headerBytes, l4Proto, 4, result);
}

/** Extension headers that are laid out as next header, length in 8 bytes beyond the first 8. */
const SKIPPED_EXTENSIONS = new Set([0, 43, 60, 135]);
const FRAGMENT_EXTENSION = 44;

function ipv6(frame: Uint8Array, view: DataView, at: number, result: Mutable<Dissection>): void {
  if (frame.length < at + 40 || view.getUint8(at) >>> 4 !== 6) return;
  let l4Proto = view.getUint8(at + 6);
  let next = at + 40;
  let laterFragment = false;
  while (frame.length >= next + 8 && (SKIPPED_EXTENSIONS.has(l4Proto) || l4Proto === FRAGMENT_EXTENSION)) {
    if (l4Proto === FRAGMENT_EXTENSION) laterFragment ||= (view.getUint16(next + 2) & 0xfff8) !== 0;
    const bytes = l4Proto === FRAGMENT_EXTENSION ? 8 : 8 + 8 * view.getUint8(next + 1);
    l4Proto = view.getUint8(next);
    next += bytes;
  }
  result.ip = {
    version: 6,
    source: formatIpv6(ipv6FromBytes(frame.subarray(at + 8, at + 24))),
    destination: formatIpv6(ipv6FromBytes(frame.subarray(at + 24, at + 40))),
    l4Proto,
    ttl: view.getUint8(at + 7),
    length: 40 + view.getUint16(at + 4),
    laterFragment,
  };
  if (!laterFragment) layer4(view, next, l4Proto, 6, result);
}

function layer4(
  view: DataView,
  at: number,
  l4Proto: number,
  version: 4 | 6,
  result: Mutable<Dissection>,
): void {
  const have = view.byteLength - at;
  if (l4Proto === L4_PROTO.tcp || l4Proto === L4_PROTO.udp || l4Proto === L4_PROTO.sctp) {
    if (have < 4) return;
    result.ports = { source: view.getUint16(at), destination: view.getUint16(at + 2) };
    if (l4Proto === L4_PROTO.tcp && have >= 14) result.tcpFlags = tcpFlags(view.getUint8(at + 13));
  } else if ((version === 4 && l4Proto === L4_PROTO.icmp) || (version === 6 && l4Proto === L4_PROTO.icmpv6)) {
    if (have < 2) return;
    const [type, code] = [view.getUint8(at), view.getUint8(at + 1)];
    result.icmp = { type, code, text: icmpText(version, type, code) };
  }
}

function tcpFlags(bits: number): string[] {
  const names: [number, string][] = [
    [0x02, 'SYN'],
    [0x10, 'ACK'],
    [0x04, 'RST'],
    [0x01, 'FIN'],
  ];
  return names.flatMap(([bit, name]) => (bits & bit ? [name] : []));
}

const etherNames: Readonly<Record<number, string>> = {
  [ETHERTYPE.arp]: 'ARP',
  [ETHERTYPE.ipv4]: 'IPv4',
  [ETHERTYPE.ipv6]: 'IPv6',
  34915: 'PPPoEDiscovery',
  34916: 'PPPoESession',
  34887: 'MPLSUnicast',
  35020: 'LinkLayerDiscovery',
};

const l4Names: Readonly<Record<number, string>> = {
  [L4_PROTO.icmp]: 'icmp',
  [L4_PROTO.icmpv6]: 'icmp',
  [L4_PROTO.tcp]: 'tcp',
  [L4_PROTO.udp]: 'udp',
  [L4_PROTO.sctp]: 'sctp',
};

/** `tcp`, `udp`, `icmp`, or the protocol's number. */
export function l4ProtoText(l4Proto: number): string {
  return l4Names[l4Proto] ?? String(l4Proto);
}

function withPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `10.0.0.1:41996 -> 10.0.0.2:80 tcp SYN`, `10.0.0.1 -> 10.0.0.2 icmp EchoRequest`, `aa:… -> ff:… ARP`. */
export function connectionSummary(packet: Dissection): string {
  const { ethernet, ip, ports, icmp, tcpFlags } = packet;
  if (ip === undefined) {
    if (ethernet === undefined) return '[unknown]';
    const type = etherNames[ethernet.ethertype] ?? `0x${ethernet.ethertype.toString(16).padStart(4, '0')}`;
    return `${ethernet.source} -> ${ethernet.destination} ${type}`;
  }
  const proto = l4ProtoText(ip.l4Proto);
  if (ports !== undefined) {
    const flags = tcpFlags === undefined || tcpFlags.length === 0 ? '' : ` ${tcpFlags.join(', ')}`;
    return `${withPort(ip.source, ports.source)} -> ${withPort(ip.destination, ports.destination)} ${proto}${flags}`;
  }
  const detail = icmp === undefined ? '' : ` ${icmp.text}`;
  return `${ip.source} -> ${ip.destination} ${proto}${detail}`;
}
