import { parseIpv4 } from '../base/addr.ts';
import { BROADCAST_MAC, parseMac, ZERO_MAC } from '../base/mac.ts';
import { type NetnsRef, native } from './addon.ts';

const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV4 = 0x0800;
const HARDWARE_ETHERNET = 1;
const REQUEST = 1;

/**
 * A frame that tells all of a segment that `ipv4` is at `mac` now: an ARP request for itself, which also those take
 * notice of who ignore replies that they did not ask for (RFC 5227, 3). Pure.
 */
export function gratuitousArp(mac: string, ipv4: string): Buffer {
  const own = parseMac(mac);
  const address = Buffer.alloc(4);
  address.writeUInt32BE(parseIpv4(ipv4));
  const head = Buffer.alloc(10);
  head.writeUInt16BE(ETHERTYPE_ARP, 0);
  head.writeUInt16BE(HARDWARE_ETHERNET, 2);
  head.writeUInt16BE(ETHERTYPE_IPV4, 4);
  head.writeUInt8(own.length, 6);
  head.writeUInt8(address.length, 7);
  head.writeUInt16BE(REQUEST, 8);
  return Buffer.concat([parseMac(BROADCAST_MAC), own, head, own, address, parseMac(ZERO_MAC), address]);
}

/** Sends one whole Ethernet frame out of a device. @throws FimbriaError ENETDOWN, ENXIO and the like */
export function sendFrame(ifindex: number, frame: Uint8Array, netns?: NetnsRef): void {
  native().packetSend(ifindex, frame, netns);
}
