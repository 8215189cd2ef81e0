import { FimbriaError } from '../../base/errors.ts';
import { attributes, type NetlinkMessage } from '../netlink/parse.ts';
import { align, NLM, type Train } from '../netlink/train.ts';
import {
  AF_INET,
  AF_INET6,
  addressText,
  protocolNumber,
  protocolText,
  type RawAddress,
  rawAddress,
  scopeNumber,
  scopeText,
} from './codec.ts';
import type { NewRoute, Route, RouteType } from './types.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
} as const;
const RTAX_MTU = 2;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
const RTMSG_BYTES = 12;
const RTNEXTHOP_BYTES = 8;
const TABLE_MAIN = 254;

const TYPES: RouteType[] = [
  'unspec',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
  'nat',
];

interface Header {
  family: number;
  prefixLength: number;
  table: number;
  protocol: number;
  scope: number;
  type: number;
  flags: number;
}

/** struct rtmsg. */
function rtmsg(o: Header): Buffer {
  const header = Buffer.alloc(RTMSG_BYTES);
  header[0] = o.family;
  header[1] = o.prefixLength;
  header[4] = o.table < 256 ? o.table : 0;
  header[5] = o.protocol;
  header[6] = o.scope;
  header[7] = o.type;
  header.writeUInt32LE(o.flags, 8);
  return header;
}

/** Family, bytes and length of `10.0.0.0/24`, a bare address, or `default` (IPv4 unless the gateway says otherwise). */
export function parseDestination(dst: string, gateway?: string): RawAddress & { prefixLength: number } {
  if (dst === 'default') {
    const family = gateway?.includes(':') ? AF_INET6 : AF_INET;
    return { family, bytes: new Uint8Array(family === AF_INET ? 4 : 16), prefixLength: 0 };
  }
  const [address, length, ...rest] = dst.split('/');
  const raw = rawAddress(address!);
  const most = raw.bytes.length * 8;
  const prefixLength = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : -1;
  if (rest.length > 0 || prefixLength < 0 || prefixLength > most) {
    throw new FimbriaError({
      code: 'EINVAL',
      op: 'use',
      object: `route destination ${dst}`,
      why: 'it is no prefix',
      hint: 'write ADDRESS/LENGTH or default',
    });
  }
  return { ...raw, prefixLength };
}

/** @param filter the kernel filters by it where it can; the caller filters again */
export function encodeRouteDump(
  train: Train,
  family: number,
  filter: { table?: number; ifindex?: number },
): void {
  train.message(
    RTM_GETROUTE,
    NLM.DUMP,
    rtmsg({ family, prefixLength: 0, table: 0, protocol: 0, scope: 0, type: 0, flags: 0 }),
  );
  if (filter.table !== undefined) train.attrU32(RTA.TABLE, filter.table);
  if (filter.ifindex !== undefined) train.attrU32(RTA.OIF, filter.ifindex);
}

function encode(
  train: Train,
  type: number,
  flags: number,
  route: NewRoute,
  header: Omit<Header, 'family' | 'prefixLength' | 'table'>,
): void {
  const { family, bytes, prefixLength } = parseDestination(route.dst, route.gateway);
  const table = route.table ?? TABLE_MAIN;
  train.message(type, flags, rtmsg({ ...header, family, prefixLength, table })).attrU32(RTA.TABLE, table);
  if (prefixLength > 0) train.attr(RTA.DST, bytes);
  if (route.gateway !== undefined) train.attr(RTA.GATEWAY, rawAddress(route.gateway).bytes);
  if (route.ifindex !== undefined) train.attrU32(RTA.OIF, route.ifindex);
  if (route.src !== undefined) train.attr(RTA.PREFSRC, rawAddress(route.src).bytes);
  if (route.priority !== undefined) train.attrU32(RTA.PRIORITY, route.priority);
  if (route.mtu !== undefined) train.nest(RTA.METRICS).attrU32(RTAX_MTU, route.mtu).end();
}

/** Creates the route, or replaces the one with the same destination, table and priority. */
export function encodeRouteReplace(train: Train, route: NewRoute): void {
  const type = route.type ?? 'unicast';
  const scope =
    route.scope ??
    (type === 'local' ? 'host' : type === 'unicast' && route.gateway === undefined ? 'link' : 'global');
  encode(train, RTM_NEWROUTE, NLM.ACK | NLM.CREATE | NLM.REPLACE, route, {
    protocol: protocolNumber(route.protocol ?? 'kernel'),
    scope: scopeNumber(scope),
    type: TYPES.indexOf(type),
    flags: route.onlink ? RTNH_F_ONLINK : 0,
  });
}

/** Deletes the first route that has everything that is given. */
export function encodeRouteDelete(train: Train, route: NewRoute): void {
  const { mtu: _mtu, ...match } = route;
  encode(train, RTM_DELROUTE, NLM.ACK, match, {
    protocol: route.protocol === undefined ? 0 : protocolNumber(route.protocol),
    scope: scopeNumber(route.scope ?? 'nowhere'),
    type: route.type === undefined ? 0 : TYPES.indexOf(route.type),
    flags: 0,
  });
}

/** Reads an RTM_NEWROUTE or RTM_DELROUTE message; undefined for cache entries. */
export function decodeRoute(message: NetlinkMessage): Route | undefined {
  const { body } = message;
  const flags = body.readUInt32LE(8);
  if ((flags & RTM_F_CLONED) !== 0) return undefined;
  const attrs = attributes(body, RTMSG_BYTES);
  const dst = attrs.get(RTA.DST);
  const route: Route = {
    dst: dst === undefined ? 'default' : `${addressText(dst)}/${body[1]}`,
    protocol: protocolText(body[5]!),
    scope: scopeText(body[6]!),
    table: attrs.get(RTA.TABLE)?.readUInt32LE(0) ?? body[4]!,
    type: TYPES[body[7]!] ?? 'unspec',
  };
  const gateway = attrs.get(RTA.GATEWAY);
  if (gateway !== undefined) route.gateway = addressText(gateway);
  const ifindex = attrs.get(RTA.OIF);
  if (ifindex !== undefined) route.ifindex = ifindex.readUInt32LE(0);
  const src = attrs.get(RTA.PREFSRC);
  if (src !== undefined) route.src = addressText(src);
  const priority = attrs.get(RTA.PRIORITY);
  if (priority !== undefined) route.priority = priority.readUInt32LE(0);
  const metrics = attrs.get(RTA.METRICS);
  const mtu = metrics === undefined ? undefined : attributes(metrics, 0).get(RTAX_MTU);
  if (mtu !== undefined) route.mtu = mtu.readUInt32LE(0);
  if ((flags & RTNH_F_ONLINK) !== 0) route.onlink = true;
  const multipath = attrs.get(RTA.MULTIPATH);
  if (multipath !== undefined) route.nexthops = decodeNexthops(multipath);
  return route;
}

/** A run of struct rtnexthop, each with attributes of its own. */
function decodeNexthops(payload: Buffer): NonNullable<Route['nexthops']> {
  const result: NonNullable<Route['nexthops']> = [];
  let at = 0;
  while (at + RTNEXTHOP_BYTES <= payload.length) {
    const length = payload.readUInt16LE(at);
    if (length < RTNEXTHOP_BYTES || at + length > payload.length) break;
    const gateway = attributes(payload.subarray(at, at + length), RTNEXTHOP_BYTES).get(RTA.GATEWAY);
    result.push({
      ...(gateway === undefined ? {} : { gateway: addressText(gateway) }),
      ifindex: payload.readInt32LE(at + 4),
      weight: payload[at + 3]! + 1,
    });
    at += align(length);
  }
  return result;
}
