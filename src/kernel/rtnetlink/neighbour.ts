import { formatMac, parseMac } from '../../base/mac.ts';
import { attributes, type NetlinkMessage } from '../netlink/parse.ts';
import { NLM, type Train } from '../netlink/train.ts';
import { addressText, rawAddress } from './codec.ts';
import type { Neighbour, NewNeighbour } from './types.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NDA = { DST: 1, LLADDR: 2, IFINDEX: 8 } as const;
const NDMSG_BYTES = 12;

const STATES: Record<number, Neighbour['state']> = {
  0: 'none',
  1: 'incomplete',
  2: 'reachable',
  4: 'stale',
  8: 'delay',
  16: 'probe',
  32: 'failed',
  64: 'noarp',
  128: 'permanent',
};

function stateNumber(state: Neighbour['state']): number {
  return Number(Object.entries(STATES).find(([, name]) => name === state)![0]);
}

/** struct ndmsg. */
function ndmsg(family: number, ifindex: number, state: number): Buffer {
  const header = Buffer.alloc(NDMSG_BYTES);
  header[0] = family;
  header.writeInt32LE(ifindex, 4);
  header.writeUInt16LE(state, 8);
  return header;
}

/** @param family kernel number */
export function encodeNeighbourDump(train: Train, family: number, ifindex: number | undefined): void {
  train.message(RTM_GETNEIGH, NLM.DUMP, ndmsg(family, 0, 0));
  if (ifindex !== undefined) train.attrU32(NDA.IFINDEX, ifindex);
}

export function encodeNeighbourReplace(train: Train, o: NewNeighbour): void {
  const { family, bytes } = rawAddress(o.address);
  train
    .message(
      RTM_NEWNEIGH,
      NLM.ACK | NLM.CREATE | NLM.REPLACE,
      ndmsg(family, o.ifindex, stateNumber(o.state ?? 'permanent')),
    )
    .attr(NDA.DST, bytes)
    .attr(NDA.LLADDR, parseMac(o.mac));
}

export function encodeNeighbourDelete(train: Train, o: { ifindex: number; address: string }): void {
  const { family, bytes } = rawAddress(o.address);
  train.message(RTM_DELNEIGH, NLM.ACK, ndmsg(family, o.ifindex, 0)).attr(NDA.DST, bytes);
}

/** Reads an RTM_NEWNEIGH or RTM_DELNEIGH message; undefined for entries without an IP address. */
export function decodeNeighbour(message: NetlinkMessage): Neighbour | undefined {
  const { body } = message;
  const attrs = attributes(body, NDMSG_BYTES);
  const dst = attrs.get(NDA.DST);
  if (dst === undefined) return undefined;
  const mac = attrs.get(NDA.LLADDR);
  return {
    ifindex: body.readInt32LE(4),
    address: addressText(dst),
    ...(mac?.length === 6 ? { mac: formatMac(mac) } : {}),
    state: STATES[body.readUInt16LE(8)] ?? 'none',
  };
}
