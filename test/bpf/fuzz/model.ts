import { parseIpv4 } from '../../../src/base/addr.ts';
import { Identity, PacketMark } from '../../../src/maps/abi.gen.ts';
import { ENDPOINTS, IPCACHE, NODE, PODS, type PolicyRule } from '../world.ts';
import { type Frame, frameBytes } from './frame.ts';

/** The model's picture of a node, from the same data as its maps and routes, read in the plainest way. */

export interface Endpoint {
  ifindex: number;
  identity: number;
  endpointId: number;
  host: boolean;
  policyIngress: boolean;
  policyEgress: boolean;
  mac: string;
  nodeMac: string;
}

export interface Remote {
  identity: number;
  tunnelEndpoint: number;
  ownPodCidr: boolean;
  cluster: boolean;
  neighbour: boolean;
}

const prefixes = IPCACHE.map(([prefix, record]) => {
  const [address = '', length = '32'] = prefix.split('/');
  const span = 2 ** (32 - Number(length));
  return {
    span,
    block: Math.floor(parseIpv4(address) / span),
    record: { ...record, tunnelEndpoint: parseIpv4(record.tunnelEndpoint) } satisfies Remote,
  };
}).sort((a, b) => a.span - b.span);

const endpoints = new Map<number, Endpoint>(ENDPOINTS.map(([ip, entry]) => [parseIpv4(ip), entry]));

export const endpointAt = (address: number): Endpoint | undefined => endpoints.get(address);

export const remoteAt = (address: number): Remote | undefined =>
  prefixes.find(({ span, block }) => Math.floor(address / span) === block)?.record;

const macOfDevice = new Map<number, string>([
  [NODE.ifindex, NODE.mac],
  ...Object.values(PODS).map(({ ifindex, nodeMac }) => [ifindex, nodeMac] as const),
]);

/** Whether a device takes a frame for its own, by the destination MAC. */
export const isForDevice = (ifindex: number, frame: Frame): boolean =>
  macOfDevice.get(ifindex) === frame.destinationMac;

/** Whether a device looks at a frame: one for it, or for several or all of a segment. */
export const isSeenBy = (ifindex: number, frame: Frame): boolean =>
  isForDevice(ifindex, frame) || (Number.parseInt(frame.destinationMac.slice(0, 2), 16) & 1) === 1;

/** Identity of a packet's source by its address alone. */
export const identityOf = (address: number): number => remoteAt(address)?.identity ?? Identity.IDENTITY_WORLD;

/** What a mark says of the sender; undefined when nothing. */
export function identityOfMark(mark: number): number | undefined {
  const magic = mark & PacketMark.MARK_MAGIC_MASK;
  if (magic === PacketMark.MARK_MAGIC_HOST) return Identity.IDENTITY_HOST;
  if (magic !== PacketMark.MARK_MAGIC_IDENTITY) return undefined;
  return (mark >>> 16) + (mark & 0xff) * 0x10000 || undefined;
}

/** Who sent a packet that comes out of the stack. */
export function senderBehindStack(mark: number, address: number): number {
  const endpoint = endpointAt(address);
  return (
    identityOfMark(mark) ??
    (endpoint?.host ? Identity.IDENTITY_HOST : (endpoint?.identity ?? identityOf(address)))
  );
}

export type PolicyAnswer =
  | 'allow'
  | 'DROP_POLICY'
  | 'DROP_POLICY_DENY'
  | 'DROP_POLICY_MAP_MISSING'
  | 'DROP_INVALID';

const PROTOCOLS_WITH_PORTS = [6, 17, 132];

/** A policy's answer: of all rules that match the one that says most, and of those the one that names the peer. */
export function policyAnswer(
  rules: PolicyRule[] | undefined,
  direction: 'ingress' | 'egress',
  peer: number,
  frame: Frame,
): PolicyAnswer {
  if (!rules) return 'DROP_POLICY_MAP_MISSING';
  let port: number | undefined;
  if (PROTOCOLS_WITH_PORTS.includes(frame.l4Proto) && frame.fragmentOffset === 0) {
    port = frame.destinationPort;
    if (port === undefined) return 'DROP_INVALID';
  }
  let best: { says: number; deny: boolean } | undefined;
  for (const [key, { deny }] of rules) {
    if (key.direction !== direction || (key.identity !== 0 && key.identity !== peer)) continue;
    if (key.l4Proto !== undefined && key.l4Proto !== frame.l4Proto) continue;
    if (key.dport !== undefined && key.dport !== port) continue;
    const says =
      (key.l4Proto === undefined ? 0 : 2) + (key.dport === undefined ? 0 : 2) + (key.identity === 0 ? 0 : 1);
    if (!best || says > best.says) best = { says, deny };
  }
  if (!best) return 'DROP_POLICY';
  return best.deny ? 'DROP_POLICY_DENY' : 'allow';
}

/**
 * Bytes of the largest IPv4 packet that this one is on the wire. Frames count whole, padding included; what the device
 * is to cut counts as one segment with the headers it has, and with the longest ones where they cannot be read.
 */
export function bytesOnWire(frame: Frame, gsoSize: number): number {
  if (gsoSize === 0) return frameBytes(frame) - 14;
  if (frame.l4Proto === 17) return frame.headerBytes + 8 + gsoSize;
  const tcpAt = 14 + frame.headerBytes;
  const readable = frame.l4Proto === 6 && frameBytes(frame) >= tcpAt + 20;
  return frame.headerBytes + (readable ? (frame.bytes[tcpAt + 12]! >> 4) * 4 : 60) + gsoSize;
}

const ROUTES: [string, number][] = [
  // What the stack has to deliver or refuse itself, by what is routed nowhere.
  ['0.0.0.0/8', 0],
  ['127.0.0.0/8', 0],
  [`${NODE.ip}/32`, 0],
  ['192.168.10.255/32', 0],
  ['203.0.113.0/24', 0],
  ['10.0.2.0/24', 0],
  ['224.0.0.0/3', 0],
  ['198.51.100.0/24', 1400],
];
const DEVICE_MTU = 1500;

const routes = ROUTES.map(([prefix, mtu]) => {
  const [address = '', length = ''] = prefix.split('/');
  const span = 2 ** (32 - Number(length));
  return { span, block: Math.floor(parseIpv4(address) / span), mtu };
});

/** Whether a packet may go to the network past the stack: `furnish`'s routes have a way for it, and it fits. */
export function routedPastStack(destination: number, wireBytes: number): boolean {
  const route = routes.find(({ span, block }) => Math.floor(destination / span) === block);
  return wireBytes <= (route?.mtu ?? DEVICE_MTU);
}
