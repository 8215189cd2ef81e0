import { parseIpv4 } from '../../src/base/addr.ts';
import { parseMac } from '../../src/base/mac.ts';

export const MAC_A = '26:98:44:5b:ad:22';
export const MAC_B = 'b6:11:82:28:11:c9';

export function ethernet(ethertype: number, payload: Uint8Array, destination = MAC_B): Uint8Array {
  return Uint8Array.of(
    ...parseMac(destination),
    ...parseMac(MAC_A),
    ethertype >> 8,
    ethertype & 255,
    ...payload,
  );
}

export function ipv4(
  o: {
    source: string;
    destination: string;
    l4Proto: number;
    ttl?: number;
    fragmentOffset?: number;
    options?: number;
  },
  payload: Uint8Array,
): Uint8Array {
  const headerBytes = 20 + (o.options ?? 0);
  const header = new Uint8Array(headerBytes);
  const view = new DataView(header.buffer);
  header[0] = 0x40 | (headerBytes / 4);
  view.setUint16(2, headerBytes + payload.length);
  view.setUint16(6, o.fragmentOffset ?? 0);
  header[8] = o.ttl ?? 64;
  header[9] = o.l4Proto;
  view.setUint32(12, parseIpv4(o.source));
  view.setUint32(16, parseIpv4(o.destination));
  return ethernet(0x0800, Uint8Array.of(...header, ...payload));
}

export function tcp(source: number, destination: number, flags: number): Uint8Array {
  const header = new Uint8Array(20);
  const view = new DataView(header.buffer);
  view.setUint16(0, source);
  view.setUint16(2, destination);
  header[12] = 0x50;
  header[13] = flags;
  return header;
}

export function udp(source: number, destination: number): Uint8Array {
  return Uint8Array.of(source >> 8, source & 255, destination >> 8, destination & 255, 0, 8, 0, 0);
}

export function icmp(type: number, code = 0): Uint8Array {
  return Uint8Array.of(type, code, 0, 0, 0, 1, 0, 1);
}

export function arp(operation: number, senderIp: string, targetIp: string): Uint8Array {
  const body = new Uint8Array(28);
  const view = new DataView(body.buffer);
  view.setUint32(0, 0x00010800);
  view.setUint16(4, 0x0604);
  view.setUint16(6, operation);
  body.set(parseMac(MAC_A), 8);
  view.setUint32(14, parseIpv4(senderIp));
  view.setUint32(24, parseIpv4(targetIp));
  return ethernet(0x0806, body, 'ff:ff:ff:ff:ff:ff');
}
