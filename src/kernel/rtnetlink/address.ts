import { attributes, type NetlinkMessage, text } from '../netlink/parse.ts';
import { NLM, type Train } from '../netlink/train.ts';
import { AF_INET, addressText, rawAddress, scopeNumber, scopeText } from './codec.ts';
import type { Address, NewAddress } from './types.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, BROADCAST: 4 } as const;
const IFADDR_BYTES = 8;

/** struct ifaddrmsg. */
function ifaddr(family: number, prefixLength: number, scope: number, ifindex: number): Buffer {
  const header = Buffer.alloc(IFADDR_BYTES);
  header[0] = family;
  header[1] = prefixLength;
  header[3] = scope;
  header.writeUInt32LE(ifindex, 4);
  return header;
}

/** @param family kernel number, 0 = all families */
export function encodeAddressDump(train: Train, family: number, ifindex = 0): void {
  train.message(RTM_GETADDR, NLM.DUMP, ifaddr(family, 0, 0, ifindex));
}

function encode(train: Train, type: number, flags: number, o: NewAddress): void {
  const { family, bytes } = rawAddress(o.address);
  train
    .message(type, flags, ifaddr(family, o.prefixLength, scopeNumber(o.scope ?? 'global'), o.ifindex))
    .attr(IFA.LOCAL, bytes)
    .attr(IFA.ADDRESS, bytes);
  if (o.broadcast !== undefined) train.attr(IFA.BROADCAST, rawAddress(o.broadcast).bytes);
}

export function encodeAddressAdd(train: Train, o: NewAddress): void {
  encode(train, RTM_NEWADDR, NLM.ACK | NLM.CREATE | NLM.REPLACE, o);
}

export function encodeAddressDelete(train: Train, o: NewAddress): void {
  encode(train, RTM_DELADDR, NLM.ACK, o);
}

/** Reads an RTM_NEWADDR or RTM_DELADDR message. */
export function decodeAddress(message: NetlinkMessage): Address {
  const { body } = message;
  const attrs = attributes(body, IFADDR_BYTES);
  // IPv4 tells the own address in LOCAL and a point-to-point peer in ADDRESS; IPv6 has ADDRESS only.
  const own = attrs.get(IFA.LOCAL) ?? attrs.get(IFA.ADDRESS);
  const address: Address = {
    ifindex: body.readUInt32LE(4),
    address: own === undefined ? '' : addressText(own),
    prefixLength: body[1]!,
    scope: scopeText(body[3]!),
  };
  const broadcast = attrs.get(IFA.BROADCAST);
  if (broadcast !== undefined && body[0] === AF_INET) address.broadcast = addressText(broadcast);
  const label = attrs.get(IFA.LABEL);
  if (label !== undefined) address.label = text(label);
  return address;
}
