import { formatIpv4, parseIpv4 } from '../base/addr.ts';
import {
  type CtKey,
  ctEntryCodec,
  ctKeyCodec,
  deviceAddressCodec,
  deviceKeyCodec,
  ipmasqCodec,
  ipmasqKeyCodec,
  NatDirection,
  type NatKey,
  natEntryCodec,
  natKeyCodec,
} from './abi.gen.ts';
import { type RawMap, type Shape, TypedMap } from './typed.ts';

/** What flows leave behind: conntrack, translations, and the destinations that are exempt from them. */

/** Both ends as the packets of one direction name them. ICMP echo has its identifier as `sport`, and `dport` 0. */
export interface FlowTuple {
  saddr: string;
  daddr: string;
  sport: number;
  dport: number;
  /** IP protocol number, e.g. 6. */
  l4Proto: number;
  /** `CtDirection` in conntrack's maps, `NatDirection` in that of translations. */
  direction: number;
}

/** One entry of `cilium_ct4_global` or `cilium_ct_any4_global`. */
export interface CtRecord {
  packets: bigint;
  bytes: bigint;
  /** Seconds of CLOCK_MONOTONIC plus `RuntimeSettings.clockOffsetS`. */
  expiresS: number;
  /** Service of the flow, 0 none. */
  revNatIndex: number;
  /** Of CT_SERVICE entries. */
  backendId: number;
  sourceIdentity: number;
  /** Of CT_SERVICE entries the backend; else the frontend that replies come from, `0.0.0.0` when they are left alone. */
  natAddress: string;
  natPort: number;
  /** `CtFlag`, or-ed. */
  flags: number;
  txTcpFlags: number;
  rxTcpFlags: number;
}

/** One entry of `cilium_snat_v4_external`; two make a translation. */
export interface NatRecord {
  /** The new source of what goes out, the new destination of what comes in. */
  address: string;
  /** Or ICMP identifier. */
  port: number;
  /** `CtFlag`, or-ed. */
  flags: number;
  /** As in `CtRecord`. */
  expiresS: number;
  createdS: number;
  txTcpFlags: number;
  rxTcpFlags: number;
}

const packed = ({ saddr, daddr, ...same }: FlowTuple): CtKey & NatKey => ({
  ...same,
  saddr: parseIpv4(saddr),
  daddr: parseIpv4(daddr),
});

const unpacked = ({ saddr, daddr, ...same }: CtKey | NatKey): FlowTuple => ({
  ...same,
  saddr: formatIpv4(saddr),
  daddr: formatIpv4(daddr),
});

const ctShape: Shape<FlowTuple, CtRecord> = {
  encodeKey: tuple => ctKeyCodec.write(packed(tuple)),
  decodeKey: bytes => unpacked(ctKeyCodec.read(bytes)),
  encodeValue: entry => ctEntryCodec.write({ ...entry, natAddress: parseIpv4(entry.natAddress) }),
  decodeValue: bytes => {
    const entry = ctEntryCodec.read(bytes);
    return { ...entry, natAddress: formatIpv4(entry.natAddress) };
  },
};

const natShape: Shape<FlowTuple, NatRecord> = {
  encodeKey: tuple => natKeyCodec.write(packed(tuple)),
  decodeKey: bytes => unpacked(natKeyCodec.read(bytes)),
  encodeValue: entry => natEntryCodec.write({ ...entry, address: parseIpv4(entry.address) }),
  decodeValue: bytes => {
    const entry = natEntryCodec.read(bytes);
    return { ...entry, address: formatIpv4(entry.address) };
  },
};

const ipmasqShape: Shape<string, true> = {
  encodeKey: prefix => {
    const [address = '', length = '32'] = prefix.split('/');
    return ipmasqKeyCodec.write({ prefixlen: Number(length), ipv4: parseIpv4(address) });
  },
  decodeKey: bytes => {
    const { ipv4, prefixlen } = ipmasqKeyCodec.read(bytes);
    return `${formatIpv4(ipv4)}/${prefixlen}`;
  },
  encodeValue: () => ipmasqCodec.write({ skip: 1 }),
  decodeValue: () => true,
};

const deviceAddressShape: Shape<number, string> = {
  encodeKey: ifindex => deviceKeyCodec.write({ ifindex }),
  decodeKey: bytes => deviceKeyCodec.read(bytes).ifindex,
  encodeValue: address => deviceAddressCodec.write({ ipv4: parseIpv4(address) }),
  decodeValue: bytes => formatIpv4(deviceAddressCodec.read(bytes).ipv4),
};

/** `cilium_ct4_global` (TCP) or `cilium_ct_any4_global`. */
export const ctMap = (map: RawMap): TypedMap<FlowTuple, CtRecord> => new TypedMap(map, ctShape);

/** `cilium_snat_v4_external`. */
export const natMap = (map: RawMap): TypedMap<FlowTuple, NatRecord> => new TypedMap(map, natShape);

/** `cilium_ipmasq_v4`, by prefix: what pods reach with their own address. */
export const ipmasqMap = (map: RawMap): TypedMap<string, true> => new TypedMap(map, ipmasqShape);

/** Where the other half of a translation is, as long as it is whole. Pure. */
export function natTwin(
  { saddr, daddr, sport, dport, l4Proto, direction }: FlowTuple,
  entry: NatRecord,
): FlowTuple {
  const isOut = direction === NatDirection.NAT_OUT;
  return {
    saddr: isOut ? daddr : entry.address,
    daddr: isOut ? entry.address : saddr,
    sport: isOut ? dport : entry.port,
    dport: isOut ? entry.port : sport,
    l4Proto,
    direction: isOut ? NatDirection.NAT_IN : NatDirection.NAT_OUT,
  };
}

/** `cilium_device_addresses`, by ifindex: what packets that leave by a network device are masqueraded with. */
export const deviceAddressMap = (map: RawMap): TypedMap<number, string> =>
  new TypedMap(map, deviceAddressShape);

/** Whether an entry can be used no more, although it is there. */
export const isExpired = (entry: { expiresS: number }, nowS: number): boolean => entry.expiresS <= nowS;
