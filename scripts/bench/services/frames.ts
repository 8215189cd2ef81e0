import { parseIpv4 } from '../../../src/base/addr.ts';
import { parseMac } from '../../../src/base/mac.ts';

/** One TCP segment with a byte of data, as it is in the middle of a connection. */
export interface Segment {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly source: string;
  readonly destination: string;
  readonly sport: number;
  readonly dport: number;
}

const TTL = 64;
const TCP = 6;
const ACK = 0x10;
const BYTES = 14 + 20 + 20 + 1;

/** The Internet checksum of RFC 1071 over an IPv4 header. Pure. */
function headerChecksum(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The frame; its TCP checksum is left out, since programs only ever add to it. Pure. */
export function tcpSegment(s: Segment): Buffer {
  const frame = Buffer.alloc(BYTES);
  frame.set(parseMac(s.destinationMac), 0);
  frame.set(parseMac(s.sourceMac), 6);
  frame.writeUInt16BE(0x0800, 12);
  const ip = frame.subarray(14, 34);
  ip[0] = 0x45;
  ip.writeUInt16BE(BYTES - 14, 2);
  ip[8] = TTL;
  ip[9] = TCP;
  ip.writeUInt32BE(parseIpv4(s.source), 12);
  ip.writeUInt32BE(parseIpv4(s.destination), 16);
  ip.writeUInt16BE(headerChecksum(ip), 10);
  frame.writeUInt16BE(s.sport, 34);
  frame.writeUInt16BE(s.dport, 36);
  frame[46] = 5 << 4;
  frame[47] = ACK;
  return frame;
}
