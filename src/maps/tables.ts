import { formatIpv4, parseIpv4 } from '../base/addr.ts';
import { FimbriaError } from '../base/errors.ts';
import { formatMac, parseMac } from '../base/mac.ts';
import {
  EndpointFlag,
  endpointInfoCodec,
  endpointKeyCodec,
  IpcacheFlag,
  ipcacheInfoCodec,
  ipcacheKeyCodec,
  Maps,
  PolicyDirection,
  PolicyPrefix,
  policyEntryCodec,
  policyKeyCodec,
  runtimeInfoCodec,
} from './abi.gen.ts';
import { type RawMap, type Shape, TypedMap } from './typed.ts';

/** `cilium_lxc`: a local address. Addresses and MACs are text. */
export interface EndpointEntry {
  /** Host side device; 0 for the node's own addresses. */
  ifindex: number;
  identity: number;
  /** Also the slot in `cilium_policy_maps`. */
  endpointId: number;
  /** An address of the node itself: packets to it go to the stack. */
  host: boolean;
  /** The slot holds the endpoint's policy and is enforced. */
  policyIngress: boolean;
  policyEgress: boolean;
  /** Of the pod's own interface. */
  mac: string;
  /** Of the host side device; what the pod takes for its router. */
  nodeMac: string;
}

/** `cilium_ipcache`: who lives behind a prefix. */
export interface IpcacheRecord {
  identity: number;
  /** Node address, `0.0.0.0` when there is none. */
  tunnelEndpoint: string;
  /** A block of this node: an address in it that is no endpoint is nobody's (drop 151). */
  ownPodCidr: boolean;
  /** In the cluster's pod ranges: in tunnel mode nothing leaves without a tunnel endpoint (drop 160). */
  cluster: boolean;
  /** The tunnel endpoint is a neighbour of this node: native mode sends there without a route look-up. */
  neighbour: boolean;
}

/** One rule of `cilium_policy_<id>`. What is left out matches everything; a port needs a protocol. */
export interface PolicyRuleKey {
  direction: 'ingress' | 'egress';
  /** The peer's; 0 is anybody. */
  identity: number;
  /** IP protocol number, e.g. 6. */
  l4Proto?: number;
  /** Destination port, 1..65535. */
  dport?: number;
}

export interface PolicyVerdict {
  deny: boolean;
}

/** `cilium_runtime`: what changes without a reload. */
export interface RuntimeSettings {
  /** Every forwarded packet becomes an event. */
  trace: boolean;
  /** Seconds that conntrack's clock is ahead of CLOCK_MONOTONIC; 0 when absent. Only tests set it. */
  clockOffsetS?: number;
}

const IPV4_BITS = 32;

function bits(flags: [boolean, number][]): number {
  return flags.reduce((all, [on, bit]) => (on ? all | bit : all), 0);
}

const endpointShape: Shape<string, EndpointEntry> = {
  encodeKey: address => endpointKeyCodec.write({ ipv4: parseIpv4(address) }),
  decodeKey: bytes => formatIpv4(endpointKeyCodec.read(bytes).ipv4),
  encodeValue: entry =>
    endpointInfoCodec.write({
      ifindex: entry.ifindex,
      identity: entry.identity,
      endpointId: entry.endpointId,
      flags: bits([
        [entry.host, EndpointFlag.ENDPOINT_F_HOST],
        [entry.policyIngress, EndpointFlag.ENDPOINT_F_POLICY_INGRESS],
        [entry.policyEgress, EndpointFlag.ENDPOINT_F_POLICY_EGRESS],
      ]),
      mac: parseMac(entry.mac),
      nodeMac: parseMac(entry.nodeMac),
    }),
  decodeValue: bytes => {
    const { flags, mac, nodeMac, ...same } = endpointInfoCodec.read(bytes);
    return {
      ...same,
      host: (flags & EndpointFlag.ENDPOINT_F_HOST) !== 0,
      policyIngress: (flags & EndpointFlag.ENDPOINT_F_POLICY_INGRESS) !== 0,
      policyEgress: (flags & EndpointFlag.ENDPOINT_F_POLICY_EGRESS) !== 0,
      mac: formatMac(mac),
      nodeMac: formatMac(nodeMac),
    };
  },
};

/** Splits `10.0.0.0/24`; an address without length is a /32. */
function parsePrefix(text: string): { ipv4: number; prefixlen: number } {
  const [address = '', length = `${IPV4_BITS}`, ...rest] = text.split('/');
  const prefixlen = /^\d{1,2}$/.test(length) ? Number(length) : Number.NaN;
  if (rest.length > 0 || !(prefixlen <= IPV4_BITS)) {
    throw new FimbriaError({
      code: 'INVALID_ADDRESS',
      op: 'parse',
      object: `prefix "${text}"`,
      why: 'not an IPv4 address with a length of 0 to 32',
    });
  }
  return { ipv4: parseIpv4(address), prefixlen };
}

const ipcacheShape: Shape<string, IpcacheRecord> = {
  encodeKey: prefix => ipcacheKeyCodec.write(parsePrefix(prefix)),
  decodeKey: bytes => {
    const { ipv4, prefixlen } = ipcacheKeyCodec.read(bytes);
    return `${formatIpv4(ipv4)}/${prefixlen}`;
  },
  encodeValue: record =>
    ipcacheInfoCodec.write({
      identity: record.identity,
      tunnelEndpoint: parseIpv4(record.tunnelEndpoint),
      flags: bits([
        [record.ownPodCidr, IpcacheFlag.IPCACHE_F_OWN_PODCIDR],
        [record.cluster, IpcacheFlag.IPCACHE_F_CLUSTER],
        [record.neighbour, IpcacheFlag.IPCACHE_F_NEIGHBOUR],
      ]),
    }),
  decodeValue: bytes => {
    const { identity, tunnelEndpoint, flags } = ipcacheInfoCodec.read(bytes);
    return {
      identity,
      tunnelEndpoint: formatIpv4(tunnelEndpoint),
      ownPodCidr: (flags & IpcacheFlag.IPCACHE_F_OWN_PODCIDR) !== 0,
      cluster: (flags & IpcacheFlag.IPCACHE_F_CLUSTER) !== 0,
      neighbour: (flags & IpcacheFlag.IPCACHE_F_NEIGHBOUR) !== 0,
    };
  },
};

/** How many bits of the key a rule gives: the more, the more it says. */
function policyPrefix(key: PolicyRuleKey): number {
  if (key.l4Proto === undefined) {
    if (key.dport === undefined) return PolicyPrefix.POLICY_PREFIX_L3;
    throw new RangeError('a policy rule with a port needs a protocol');
  }
  return key.dport === undefined ? PolicyPrefix.POLICY_PREFIX_L4_PROTO : PolicyPrefix.POLICY_PREFIX_FULL;
}

const policyShape: Shape<PolicyRuleKey, PolicyVerdict> = {
  encodeKey: key =>
    policyKeyCodec.write({
      prefixlen: policyPrefix(key),
      egress: key.direction === 'egress' ? PolicyDirection.POLICY_EGRESS : PolicyDirection.POLICY_INGRESS,
      identity: key.identity,
      l4Proto: key.l4Proto ?? 0,
      dport: key.dport ?? 0,
    }),
  decodeKey: bytes => {
    const { prefixlen, egress, identity, l4Proto, dport } = policyKeyCodec.read(bytes);
    return {
      direction: egress === PolicyDirection.POLICY_EGRESS ? 'egress' : 'ingress',
      identity,
      ...(prefixlen >= PolicyPrefix.POLICY_PREFIX_L4_PROTO ? { l4Proto } : {}),
      ...(prefixlen >= PolicyPrefix.POLICY_PREFIX_FULL ? { dport } : {}),
    };
  },
  encodeValue: ({ deny }, key) =>
    policyEntryCodec.write({ deny: deny ? 1 : 0, prefixlen: policyPrefix(key) }),
  decodeValue: bytes => ({ deny: policyEntryCodec.read(bytes).deny !== 0 }),
};

const indexBytes = (index: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(index);
  return bytes;
};

const runtimeShape: Shape<number, RuntimeSettings> = {
  encodeKey: indexBytes,
  decodeKey: bytes => Buffer.from(bytes).readUInt32LE(0),
  encodeValue: ({ trace, clockOffsetS }) =>
    runtimeInfoCodec.write({ trace: trace ? 1 : 0, clockOffsetS: clockOffsetS ?? 0 }),
  decodeValue: bytes => {
    const { trace, clockOffsetS } = runtimeInfoCodec.read(bytes);
    return { trace: trace !== 0, ...(clockOffsetS === 0 ? {} : { clockOffsetS }) };
  },
};

/** `cilium_lxc`, by address. */
export const endpointMap = (map: RawMap): TypedMap<string, EndpointEntry> => new TypedMap(map, endpointShape);

/** `cilium_ipcache`, by prefix (`10.0.1.0/24`; a bare address is a /32). */
export const ipcacheMap = (map: RawMap): TypedMap<string, IpcacheRecord> => new TypedMap(map, ipcacheShape);

/** One `cilium_policy_<id>`. */
export const policyMap = (map: RawMap): TypedMap<PolicyRuleKey, PolicyVerdict> =>
  new TypedMap(map, policyShape);

/** `cilium_runtime`; its only entry is 0. */
export const runtimeMap = (map: RawMap): TypedMap<number, RuntimeSettings> => new TypedMap(map, runtimeShape);

/** Shape of every `cilium_policy_<id>` (an LPM trie without preallocation); `cilium_policy` in an object has its BTF. */
export const POLICY_KEY_SIZE = policyKeyCodec.size;
export const POLICY_VALUE_SIZE = policyEntryCodec.size;
export const POLICY_MAX_ENTRIES = Maps.cilium_policy.maxEntries;

/** The rule that matches every packet of a direction. */
export const allowAllKey = (direction: PolicyRuleKey['direction']): PolicyRuleKey => ({
  direction,
  identity: 0,
});

/** Puts an endpoint's policy map into its slot of `cilium_policy_maps`. Waits for an RCU grace period (8-16 ms). */
export function setPolicySlot(policyMaps: RawMap, endpointId: number, policy: { fd: number }): void {
  policyMaps.update(indexBytes(endpointId), indexBytes(policy.fd));
}

/** The same for many slots, for one grace period. */
export function setPolicySlots(
  policyMaps: RawMap,
  slots: readonly (readonly [number, { fd: number }])[],
): void {
  policyMaps.updateBatch(slots.map(([slot, policy]) => [indexBytes(slot), indexBytes(policy.fd)]));
}

/** Empties a slot; an endpoint whose flags still ask for it drops (203). Waits as `setPolicySlot`. */
export function clearPolicySlot(policyMaps: RawMap, endpointId: number): boolean {
  return policyMaps.delete(indexBytes(endpointId));
}
