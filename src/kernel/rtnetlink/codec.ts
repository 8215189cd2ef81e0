import {
  addressFamily,
  formatIpv4,
  formatIpv6,
  ipv4Bytes,
  ipv6Bytes,
  ipv6FromBytes,
  parseIpv4,
  parseIpv6,
} from '../../base/addr.ts';
import { FimbriaError } from '../../base/errors.ts';
import type { RouteProtocol, Scope } from './types.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;

/** A parsed address: the kernel's family number and its bytes in network order. */
export interface RawAddress {
  family: typeof AF_INET | typeof AF_INET6;
  bytes: Uint8Array;
}

/** Bytes of an address text. @throws FimbriaError INVALID_ADDRESS */
export function rawAddress(text: string): RawAddress {
  if (addressFamily(text) === 6) return { family: AF_INET6, bytes: ipv6Bytes(parseIpv6(text)) };
  return { family: AF_INET, bytes: ipv4Bytes(parseIpv4(text)) };
}

/** Text of 4 or 16 bytes. @throws FimbriaError EBADMSG */
export function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return formatIpv4(bytes.readUInt32BE(0));
  if (bytes.length === 16) return formatIpv6(ipv6FromBytes(bytes));
  throw new FimbriaError({
    code: 'EBADMSG',
    op: 'parse',
    object: 'netlink address',
    why: `it has ${bytes.length} bytes`,
  });
}

const SCOPES: Record<number, Scope> = { 0: 'global', 200: 'site', 253: 'link', 254: 'host', 255: 'nowhere' };

export function scopeText(number: number): Scope {
  return SCOPES[number] ?? 'global';
}

export function scopeNumber(scope: Scope): number {
  return { global: 0, site: 200, link: 253, host: 254, nowhere: 255 }[scope];
}

const PROTOCOLS = ['unspec', 'redirect', 'kernel', 'boot', 'static'];
const HIGH_PROTOCOLS: Record<number, string> = { 9: 'ra', 16: 'dhcp' };

export function protocolText(number: number): RouteProtocol {
  return PROTOCOLS[number] ?? HIGH_PROTOCOLS[number] ?? String(number);
}

/** @throws FimbriaError EINVAL for a name that is neither known nor a number below 256 */
export function protocolNumber(protocol: RouteProtocol): number {
  const low = PROTOCOLS.indexOf(protocol);
  if (low >= 0) return low;
  const high = Object.entries(HIGH_PROTOCOLS).find(([, name]) => name === protocol);
  const number = Number(high?.[0] ?? protocol);
  if (Number.isInteger(number) && number >= 0 && number < 256) return number;
  throw new FimbriaError({
    code: 'EINVAL',
    op: 'use',
    object: `route protocol ${protocol}`,
    why: 'there is none of that name',
  });
}
