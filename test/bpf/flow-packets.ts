import { checksum, ethernet, ipv4, PROTO, tcp } from './packet.ts';
import { NODE } from './world.ts';

/** Packets of flows with right checksums, and what to read of them. */

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const ACK = 0x10;

export const frame = (payload: Uint8Array): Buffer =>
  ethernet({ dst: NODE.mac, src: '02:00:00:00:00:01' }, payload);

/** A TCP segment with a right checksum. */
export function segment(src: string, sport: number, dst: string, dport: number, flags = SYN): Buffer {
  const l4 = tcp(sport, dport);
  l4[13] = flags;
  const pseudo = ipv4({ src, dst, proto: PROTO.tcp }).subarray(12, 20);
  const sum = checksum(Buffer.concat([pseudo, Buffer.of(0, PROTO.tcp, 0, l4.length), l4]));
  l4.writeUInt16BE(sum, 16);
  return frame(ipv4({ src, dst, proto: PROTO.tcp }, l4));
}

/** What is wrong with a packet's checksums: 0 for none. */
export function checksumErrors(packet: Buffer): number {
  const ip = packet.subarray(14);
  const l4 = ip.subarray(20);
  const proto = ip[9]!;
  const pseudo =
    proto === PROTO.icmp
      ? Buffer.alloc(0)
      : Buffer.concat([ip.subarray(12, 20), Buffer.of(0, proto, 0, l4.length)]);
  return checksum(ip.subarray(0, 20)) | checksum(Buffer.concat([pseudo, l4]));
}

export const address = (packet: Buffer, at: number): string => [...packet.subarray(at, at + 4)].join('.');
export const ends = (packet: Buffer) => ({
  src: `${address(packet, 26)}:${packet.readUInt16BE(34)}`,
  dst: `${address(packet, 30)}:${packet.readUInt16BE(36)}`,
});
