import { parseIpv4 } from '../../src/base/addr.ts';
import { parseMac } from '../../src/base/mac.ts';

/** Packets for tests, built from the inside out: `ethernet({…}, ipv4({…}, udp({…})))`. */

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
export const PROTO = { icmp: 1, tcp: 6, udp: 17, sctp: 132 } as const;

/** The Internet checksum of RFC 1071. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export interface EthernetFields {
  dst: string;
  src: string;
  type?: number;
}

export function ethernet(fields: EthernetFields, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(14);
  header.set(parseMac(fields.dst), 0);
  header.set(parseMac(fields.src), 6);
  header.writeUInt16BE(fields.type ?? ETHERTYPE.ipv4, 12);
  return Buffer.concat([header, payload]);
}

export interface Ipv4Fields {
  src: string;
  dst: string;
  ttl?: number;
  proto?: number;
  tos?: number;
  id?: number;
  /** In bytes, a multiple of 8. */
  fragmentOffset?: number;
  moreFragments?: boolean;
  dontFragment?: boolean;
  /** A multiple of four bytes, at most 40. */
  options?: Uint8Array;
  /** Lies for malformed packets; the checksum stays right. */
  version?: number;
  ihl?: number;
  totalLength?: number;
  checksum?: number;
}

export function ipv4(fields: Ipv4Fields, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const options = fields.options ?? Buffer.alloc(0);
  const header = Buffer.alloc(20 + options.length);
  header[0] = ((fields.version ?? 4) << 4) | (fields.ihl ?? header.length / 4);
  header[1] = fields.tos ?? 0;
  header.writeUInt16BE(fields.totalLength ?? header.length + payload.length, 2);
  header.writeUInt16BE(fields.id ?? 0x1234, 4);
  const flags = (fields.dontFragment ? 0x4000 : 0) | (fields.moreFragments ? 0x2000 : 0);
  header.writeUInt16BE(flags | ((fields.fragmentOffset ?? 0) / 8), 6);
  header[8] = fields.ttl ?? 64;
  header[9] = fields.proto ?? PROTO.udp;
  header.writeUInt32BE(parseIpv4(fields.src), 12);
  header.writeUInt32BE(parseIpv4(fields.dst), 16);
  header.set(options, 20);
  header.writeUInt16BE(fields.checksum ?? checksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** A UDP datagram without checksum. */
export function udp(sport: number, dport: number, data: Uint8Array = Buffer.from('fimbria')): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(sport, 0);
  header.writeUInt16BE(dport, 2);
  header.writeUInt16BE(8 + data.length, 4);
  return Buffer.concat([header, data]);
}

/** A TCP segment without checksum; `optionBytes` of no-operation options. */
export function tcp(
  sport: number,
  dport: number,
  data: Uint8Array = Buffer.alloc(0),
  optionBytes = 0,
): Buffer {
  const header = Buffer.alloc(20 + optionBytes, 1);
  header.fill(0, 0, 20);
  header.writeUInt16BE(sport, 0);
  header.writeUInt16BE(dport, 2);
  header[12] = ((20 + optionBytes) / 4) << 4;
  header[13] = 0x02;
  return Buffer.concat([header, data]);
}

export function icmpEcho(id = 1, sequence = 1): Buffer {
  const message = Buffer.alloc(8);
  message[0] = 8;
  message.writeUInt16BE(id, 4);
  message.writeUInt16BE(sequence, 6);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

export interface ArpFields {
  operation: 'request' | 'reply';
  senderMac: string;
  senderIp: string;
  targetMac?: string;
  targetIp: string;
  hardwareType?: number;
  protocolType?: number;
  hardwareBytes?: number;
  protocolBytes?: number;
}

/** The ARP message alone; wrap it in `ethernet({…, type: ETHERTYPE.arp})`. */
export function arp(fields: ArpFields): Buffer {
  const message = Buffer.alloc(28);
  message.writeUInt16BE(fields.hardwareType ?? 1, 0);
  message.writeUInt16BE(fields.protocolType ?? ETHERTYPE.ipv4, 2);
  message[4] = fields.hardwareBytes ?? 6;
  message[5] = fields.protocolBytes ?? 4;
  message.writeUInt16BE(fields.operation === 'request' ? 1 : 2, 6);
  message.set(parseMac(fields.senderMac), 8);
  message.writeUInt32BE(parseIpv4(fields.senderIp), 14);
  message.set(parseMac(fields.targetMac ?? '00:00:00:00:00:00'), 18);
  message.writeUInt32BE(parseIpv4(fields.targetIp), 24);
  return message;
}

/** The frame with an 802.1Q tag in it. */
export function tagged(frame: Uint8Array, vlan: number): Buffer {
  const tag = Buffer.alloc(4);
  tag.writeUInt16BE(ETHERTYPE.vlan, 0);
  tag.writeUInt16BE(vlan, 2);
  return Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)]);
}

/** What a router on the way makes of an IPv4 frame: one TTL less, checksum recomputed, new MACs. */
export function routed(frame: Uint8Array, macs: EthernetFields | undefined, ttlLoss = 1): Buffer {
  const copy = Buffer.from(frame);
  if (macs) {
    copy.set(parseMac(macs.dst), 0);
    copy.set(parseMac(macs.src), 6);
  }
  const header = copy.subarray(14, 14 + (copy[14]! & 0xf) * 4);
  header[8]! -= ttlLoss;
  header.writeUInt16BE(0, 10);
  header.writeUInt16BE(checksum(header), 10);
  return copy;
}
