import { randomBytes } from 'node:crypto';
import { codeOf, FimbriaError } from '../base/errors.ts';
import { type NetnsRef, native } from './addon.ts';

const ECHO_REPLY = 0;
const UNREACHABLE = 3;
const TIME_EXCEEDED = 11;
/** Code of UNREACHABLE: a router asks for smaller packets (RFC 1191). */
const FRAGMENTATION_NEEDED = 4;
const ECHO_REQUEST = 8;
const ICMP_BYTES = 8;
const NONCE_BYTES = 8;
const IPV4_HEADER_BYTES = 20;
const LARGEST_DATAGRAM_BYTES = 65_535;

const TOO_BIG = 'fragmentation needed';

/** What an echo request has besides its payload: a packet of N bytes carries N minus these. */
export const ECHO_OVERHEAD_BYTES = IPV4_HEADER_BYTES + ICMP_BYTES;

/** One's-complement sum of 16-bit words (RFC 1071). */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** An echo request whose payload begins with `nonce` and is filled up to `size` bytes. */
export function echoRequest(identifier: number, nonce: Uint8Array, size: number): Buffer {
  const packet = Buffer.alloc(ICMP_BYTES + Math.max(size, nonce.length));
  packet[0] = ECHO_REQUEST;
  packet.writeUInt16BE(identifier, 4);
  packet.writeUInt16BE(1, 6);
  packet.set(nonce, ICMP_BYTES);
  packet.writeUInt16BE(internetChecksum(packet), 2);
  return packet;
}

/**
 * What a received IPv4 datagram means for an echo: its reply, an error about it (as words), or nothing.
 * Pure.
 */
export function readReply(
  datagram: Buffer,
  identifier: number,
  nonce: Uint8Array,
): { reply: true } | { error: string } | undefined {
  const header = (datagram[0]! & 15) * 4;
  const icmp = datagram.subarray(header);
  if (icmp.length < ICMP_BYTES) return undefined;
  if (icmp[0] === ECHO_REPLY) {
    const same =
      icmp.readUInt16BE(4) === identifier &&
      icmp.subarray(ICMP_BYTES, ICMP_BYTES + nonce.length).equals(nonce);
    return same ? { reply: true } : undefined;
  }
  if (icmp[0] !== UNREACHABLE && icmp[0] !== TIME_EXCEEDED) return undefined;
  // An error quotes the packet it is about: IPv4 header and the first eight bytes, our ICMP header.
  const quoted = icmp.subarray(ICMP_BYTES);
  if (quoted.length < 20) return undefined;
  const inner = quoted.subarray((quoted[0]! & 15) * 4);
  if (inner.length < ICMP_BYTES || inner[0] !== ECHO_REQUEST || inner.readUInt16BE(4) !== identifier)
    return undefined;
  return {
    error:
      icmp[0] === TIME_EXCEEDED
        ? 'time to live exceeded'
        : icmp[1] === FRAGMENTATION_NEEDED
          ? TOO_BIG
          : `destination unreachable, code ${icmp[1]}`,
  };
}

/**
 * Sends one ICMP echo request from a namespace and waits for its reply. Any number may run at a time.
 * The round trip is measured by the kernel's receive time, so a busy event loop does not lengthen it.
 * @param options.size payload bytes, 56 when absent
 * @param options.dontFragment the packet passes whole or not at all: EMSGSIZE where the path is known to hold less
 * @throws FimbriaError ETIMEDOUT without an answer, EHOSTUNREACH when a router says so, ENETUNREACH without a route
 */
export function icmpEcho(options: {
  address: string;
  timeoutMs: number;
  netns?: NetnsRef;
  size?: number;
  dontFragment?: boolean;
}): Promise<{ rttUs: number }> {
  const { address, timeoutMs, netns, size = 56, dontFragment = false } = options;
  return new Promise((resolve, reject) => {
    const addon = native();
    const socket = addon.icmpSocket(netns, dontFragment);
    const nonce = randomBytes(NONCE_BYTES);
    const identifier = randomBytes(2).readUInt16BE();
    let sentNs = 0n;
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      watch.close();
      socket.close();
      settle();
    };
    const fail = (code: string, why: string): void =>
      finish(() => reject(new FimbriaError({ code, op: 'ping', object: address, why })));
    const timer = setTimeout(() => fail('ETIMEDOUT', `no reply within ${timeoutMs} ms`), timeoutMs);
    const watch = addon.watch(socket, () => {
      for (let got = addon.icmpReceive(socket); got !== undefined; got = addon.icmpReceive(socket)) {
        const meaning = readReply(got.data, identifier, nonce);
        if (meaning === undefined) continue;
        if ('error' in meaning) {
          return fail(meaning.error === TOO_BIG ? 'EMSGSIZE' : 'EHOSTUNREACH', meaning.error);
        }
        const rttUs = Math.max(0, Number(got.timeNs - sentNs) / 1000);
        return finish(() => resolve({ rttUs }));
      }
    });
    try {
      sentNs = addon.icmpSend(socket, address, echoRequest(identifier, nonce, size));
    } catch (error) {
      finish(() => reject(error));
    }
  });
}

/**
 * The largest packet in bytes, IPv4 header included, that this host sends to an address without fragmenting it: the MTU of
 * route and device, or less where a router has said so. Found by trying, with a few packets sent on the way.
 */
export function sendableBytes(address: string, netns?: NetnsRef): number {
  const addon = native();
  const socket = addon.icmpSocket(netns, true);
  try {
    const nonce = randomBytes(NONCE_BYTES);
    const identifier = randomBytes(2).readUInt16BE();
    const fits = (bytes: number): boolean => {
      try {
        addon.icmpSend(socket, address, echoRequest(identifier, nonce, bytes - ECHO_OVERHEAD_BYTES));
        return true;
      } catch (error) {
        if (codeOf(error) !== 'EMSGSIZE') throw error;
        return false;
      }
    };
    let least = ECHO_OVERHEAD_BYTES + NONCE_BYTES;
    let most = LARGEST_DATAGRAM_BYTES;
    while (least < most) {
      const middle = Math.ceil((least + most) / 2);
      if (fits(middle)) least = middle;
      else most = middle - 1;
    }
    return least;
  } finally {
    socket.close();
  }
}
