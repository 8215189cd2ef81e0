import { ETHERTYPE } from '../packet.ts';

/** A frame's fields, read by the standards and by nothing in `bpf/`. */
export interface Frame {
  bytes: Uint8Array;
  destinationMac: string;
  sourceMac: string;
  etherType: number;
  /** An IPv4 packet that can be routed; the fields behind it are valid only then. */
  wellFormed: boolean;
  headerBytes: number;
  /** Of the packet in the frame; what follows is padding. */
  packetBytes: number;
  ttl: number;
  l4Proto: number;
  source: number;
  destination: number;
  /** In units of 8 bytes. */
  fragmentOffset: number;
  /** Undefined where the packet ends before it. Of the protocols that have ports it is at the same place. */
  destinationPort: number | undefined;
}

export const frameBytes = (frame: Frame): number => frame.bytes.length;

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

export function macAt(bytes: Uint8Array, at: number): string {
  let text = HEX[bytes[at]!]!;
  for (let i = 1; i < 6; i++) text += `:${HEX[bytes[at + i]!]}`;
  return text;
}

export const u16At = (bytes: Uint8Array, at: number): number => bytes[at]! * 0x100 + bytes[at + 1]!;
export const u32At = (bytes: Uint8Array, at: number): number =>
  u16At(bytes, at) * 0x10000 + u16At(bytes, at + 2);

const ETHERNET_BYTES = 14;
const SHORTEST_HEADER = 20;

/** @param segmented the device is to cut it: a total length of 0 then stands for one that has no room in the field */
export function readFrame(bytes: Uint8Array, segmented: boolean): Frame {
  const frame: Frame = {
    bytes,
    destinationMac: macAt(bytes, 0),
    sourceMac: macAt(bytes, 6),
    etherType: u16At(bytes, 12),
    wellFormed: false,
    headerBytes: 0,
    packetBytes: 0,
    ttl: 0,
    l4Proto: 0,
    source: 0,
    destination: 0,
    fragmentOffset: 0,
    destinationPort: undefined,
  };
  const room = bytes.length - ETHERNET_BYTES;
  if (frame.etherType !== ETHERTYPE.ipv4 || room < SHORTEST_HEADER) return frame;
  frame.headerBytes = (bytes[14]! & 0xf) * 4;
  frame.packetBytes = u16At(bytes, 16) || (segmented ? room : 0);
  frame.fragmentOffset = u16At(bytes, 20) & 0x1fff;
  frame.ttl = bytes[22]!;
  frame.l4Proto = bytes[23]!;
  frame.source = u32At(bytes, 26);
  frame.destination = u32At(bytes, 30);
  frame.wellFormed =
    bytes[14]! >> 4 === 4 &&
    frame.headerBytes >= SHORTEST_HEADER &&
    frame.packetBytes >= frame.headerBytes &&
    frame.packetBytes <= room;
  if (frame.wellFormed && frame.packetBytes >= frame.headerBytes + 4)
    frame.destinationPort = u16At(bytes, ETHERNET_BYTES + frame.headerBytes + 2);
  return frame;
}

/** The ones' complement sum of an IPv4 header, modulo 65535: 0 when its checksum is right. */
export function headerSum(bytes: Uint8Array, headerBytes: number): number {
  let sum = 0;
  for (let at = ETHERNET_BYTES; at < ETHERNET_BYTES + headerBytes; at += 2) sum += u16At(bytes, at);
  return sum % 0xffff;
}
