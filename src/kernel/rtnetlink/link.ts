import { formatMac, parseMac } from '../../base/mac.ts';
import { attributes, type NetlinkMessage, text } from '../netlink/parse.ts';
import { NLM, type Train } from '../netlink/train.ts';
import { AF_INET } from './codec.ts';
import type { Link, LinkChange, LinkRef, VethOptions, VxlanOptions } from './types.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  LINK_NETNSID: 37,
  GSO_MAX_SIZE: 41,
} as const;
const IFLA_INET_CONF = 1;
/** IPV4_DEVCONF_* (linux/ip.h): what `/proc/sys/net/ipv4/conf/<device>/` has, by number. */
const DEVCONF = { forwarding: 1, send_redirects: 6, rp_filter: 8, accept_local: 23 } as const;
const INFO_KIND = 1;
const INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const VXLAN = { ID: 1, LEARNING: 7, PORT: 15, COLLECT_METADATA: 25 } as const;
/** Leaves counters out of answers: they are most of the bytes. */
const SKIP_STATS = 8;

const IFF = { UP: 1, LOOPBACK: 8, NOARP: 0x80, LOWER_UP: 0x10000 } as const;
const IFINFO_BYTES = 16;

/** struct ifinfomsg. */
function ifinfo(ifindex = 0, flags = 0, change = 0): Buffer {
  const header = Buffer.alloc(IFINFO_BYTES);
  header.writeInt32LE(ifindex, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

function flagBits(o: { up?: boolean | undefined; noarp?: boolean | undefined }): {
  flags: number;
  change: number;
} {
  let flags = 0;
  let change = 0;
  if (o.up !== undefined) {
    change |= IFF.UP;
    if (o.up) flags |= IFF.UP;
  }
  if (o.noarp !== undefined) {
    change |= IFF.NOARP;
    if (o.noarp) flags |= IFF.NOARP;
  }
  return { flags, change };
}

function common(
  train: Train,
  o: {
    name?: string | undefined;
    mac?: string | undefined;
    mtu?: number | undefined;
    gsoMaxSize?: number | undefined;
  },
): void {
  if (o.name !== undefined) train.attrString(IFLA.IFNAME, o.name);
  if (o.mac !== undefined) train.attr(IFLA.ADDRESS, parseMac(o.mac));
  if (o.mtu !== undefined) train.attrU32(IFLA.MTU, o.mtu);
  if (o.gsoMaxSize !== undefined) train.attrU32(IFLA.GSO_MAX_SIZE, o.gsoMaxSize);
}

/** Begins a request about one device. */
function about(
  train: Train,
  type: number,
  flags: number,
  ref: LinkRef,
  bits = { flags: 0, change: 0 },
): Train {
  const ifindex = typeof ref === 'number' ? ref : 0;
  train.message(type, flags, ifinfo(ifindex, bits.flags, bits.change));
  return typeof ref === 'string' ? train.attrString(IFLA.IFNAME, ref) : train;
}

export function encodeLinkDump(train: Train): void {
  train.message(RTM_GETLINK, NLM.DUMP, ifinfo()).attrU32(IFLA.EXT_MASK, SKIP_STATS);
}

export function encodeLinkGet(train: Train, ref: LinkRef): void {
  about(train, RTM_GETLINK, NLM.ACK, ref).attrU32(IFLA.EXT_MASK, SKIP_STATS);
}

export function encodeLinkDelete(train: Train, ref: LinkRef): void {
  about(train, RTM_DELLINK, NLM.ACK, ref);
}

/** Puts a device into a group, a number that many devices may share. */
export function encodeLinkGroup(train: Train, ref: LinkRef, group: number): void {
  about(train, RTM_SETLINK, NLM.ACK, ref).attrU32(IFLA.GROUP, group);
}

/** Deletes every device of a group (`rtnl_group_dellink`). */
export function encodeGroupDelete(train: Train, group: number): void {
  train.message(RTM_DELLINK, NLM.ACK, ifinfo()).attrU32(IFLA.GROUP, group);
}

/** @param peerNetnsFd descriptor of the namespace in which the peer is born */
export function encodeVeth(train: Train, o: VethOptions, peerNetnsFd: number | undefined): void {
  const host = flagBits(o);
  train.message(RTM_NEWLINK, NLM.ACK | NLM.CREATE | NLM.EXCL, ifinfo(o.ifindex, host.flags, host.change));
  common(train, o);
  const peer = flagBits({ noarp: o.peer.noarp });
  train.nest(IFLA.LINKINFO).attrString(INFO_KIND, 'veth').nest(INFO_DATA);
  train.nest(VETH_INFO_PEER, ifinfo(o.peer.ifindex, peer.flags, peer.change));
  common(train, o.peer);
  if (peerNetnsFd !== undefined) train.attrU32(IFLA.NET_NS_FD, peerNetnsFd);
  train.end().end().end();
}

export function encodeVxlan(train: Train, o: VxlanOptions): void {
  const bits = flagBits(o);
  train.message(RTM_NEWLINK, NLM.ACK | NLM.CREATE | NLM.EXCL, ifinfo(o.ifindex, bits.flags, bits.change));
  common(train, o);
  train.nest(IFLA.LINKINFO).attrString(INFO_KIND, 'vxlan').nest(INFO_DATA);
  train.attrU8(VXLAN.COLLECT_METADATA, 1).attrU8(VXLAN.LEARNING, 0).attrU16BE(VXLAN.PORT, o.port);
  train.end().end();
}

/** A device of a kind that needs no options, such as `bridge`. */
export function encodePlainLink(
  train: Train,
  kind: string,
  o: { name: string; mac?: string; mtu?: number; up?: boolean },
): void {
  const bits = flagBits(o);
  train.message(RTM_NEWLINK, NLM.ACK | NLM.CREATE | NLM.EXCL, ifinfo(0, bits.flags, bits.change));
  common(train, o);
  train.nest(IFLA.LINKINFO).attrString(INFO_KIND, kind).end();
}

/** @param netnsFd descriptor of the namespace to move to */
export function encodeLinkChange(
  train: Train,
  ref: LinkRef,
  o: LinkChange,
  netnsFd: number | undefined,
): void {
  about(train, RTM_SETLINK, NLM.ACK, ref, flagBits(o));
  common(train, o);
  if (o.alias !== undefined) train.attr(IFLA.IFALIAS, Buffer.from(o.alias));
  if (o.master !== undefined) train.attrU32(IFLA.MASTER, o.master);
  if (netnsFd !== undefined) train.attrU32(IFLA.NET_NS_FD, netnsFd);
}

/** A device's IPv4 sysctls that can be set by request. */
export type Devconf = Partial<Record<keyof typeof DEVCONF, number>>;

/** Sets IPv4 sysctls of a device (`inet_set_link_af`), without a file each. */
export function encodeDevconf(train: Train, ref: LinkRef, conf: Devconf): void {
  about(train, RTM_SETLINK, NLM.ACK, ref).nest(IFLA.AF_SPEC).nest(AF_INET).nest(IFLA_INET_CONF);
  for (const [name, value] of Object.entries(conf)) train.attrU32(DEVCONF[name as keyof Devconf], value);
  train.end().end().end();
}

/** Reads an RTM_NEWLINK or RTM_DELLINK message. */
export function decodeLink(message: NetlinkMessage): Link {
  const { body } = message;
  const attrs = attributes(body, IFINFO_BYTES);
  const flags = body.readUInt32LE(8);
  const mac = attrs.get(IFLA.ADDRESS);
  const link: Link = {
    ifindex: body.readInt32LE(4),
    name: text(attrs.get(IFLA.IFNAME) ?? Buffer.alloc(0)),
    mac: mac?.length === 6 ? formatMac(mac) : '',
    mtu: attrs.get(IFLA.MTU)?.readUInt32LE(0) ?? 0,
    up: (flags & IFF.UP) !== 0,
    running: (flags & IFF.LOWER_UP) !== 0,
    noarp: (flags & IFF.NOARP) !== 0,
    loopback: (flags & IFF.LOOPBACK) !== 0,
    flags,
  };
  const master = attrs.get(IFLA.MASTER)?.readUInt32LE(0);
  if (master !== undefined && master !== 0) link.master = master;
  const alias = attrs.get(IFLA.IFALIAS);
  if (alias !== undefined && alias.length > 0) link.alias = text(alias);
  const gsoMaxSize = attrs.get(IFLA.GSO_MAX_SIZE)?.readUInt32LE(0);
  if (gsoMaxSize !== undefined) link.gsoMaxSize = gsoMaxSize;
  decodeKind(link, attrs);
  return link;
}

function decodeKind(link: Link, attrs: Map<number, Buffer>): void {
  const info = attrs.get(IFLA.LINKINFO);
  if (info === undefined) return;
  const inner = attributes(info, 0);
  const kind = inner.get(INFO_KIND);
  if (kind === undefined) return;
  link.kind = text(kind);
  if (link.kind === 'veth') {
    const peer = attrs.get(IFLA.LINK)?.readUInt32LE(0);
    if (peer !== undefined && peer !== 0) link.peerIfindex = peer;
    const netnsId = attrs.get(IFLA.LINK_NETNSID)?.readInt32LE(0);
    if (netnsId !== undefined) link.peerNetnsId = netnsId;
  }
  const data = inner.get(INFO_DATA);
  if (link.kind === 'vxlan' && data !== undefined) {
    const vxlan = attributes(data, 0);
    const external = vxlan.get(VXLAN.COLLECT_METADATA);
    link.vxlan = {
      external: external !== undefined && (external.length === 0 || external[0] !== 0),
      port: vxlan.get(VXLAN.PORT)?.readUInt16BE(0) ?? 0,
      vni: vxlan.get(VXLAN.ID)?.readUInt32LE(0) ?? 0,
      learning: (vxlan.get(VXLAN.LEARNING)?.[0] ?? 0) !== 0,
    };
  }
}
