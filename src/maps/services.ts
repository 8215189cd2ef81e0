import { formatIpv4, parseIpv4 } from '../base/addr.ts';
import {
  type Lb4Backend,
  type Lb4Service,
  LbMaglev,
  lb4AffinityCodec,
  lb4AffinityKeyCodec,
  lb4BackendCodec,
  lb4BackendKeyCodec,
  lb4KeyCodec,
  lb4MaglevCodec,
  lb4MaglevKeyCodec,
  lb4ReverseNatCodec,
  lb4ReverseNatKeyCodec,
  lb4ReverseSkCodec,
  lb4ReverseSkKeyCodec,
  lb4ServiceCodec,
  lb4SourceRangeCodec,
  lb4SourceRangeKeyCodec,
} from './abi.gen.ts';
import { type RawMap, type Shape, TypedMap } from './typed.ts';

export { LbBackendState, LbScope, LbServiceFlag } from './abi.gen.ts';

/** `cilium_lb4_services_v2`: slot 0 is the master, slots from 1 on name a backend each. */
export interface ServiceSlotKey {
  address: string;
  port: number;
  /** IP protocol number, e.g. 6. */
  l4Proto: number;
  /** `LbScope` */
  scope: number;
  slot: number;
}

/** Of a master: flags, count and time-out; of a slot: the backend. Both have the reverse NAT index. */
export type ServiceSlot = Lb4Service;

/** `cilium_lb4_backends_v3`. */
export interface BackendRecord {
  address: string;
  port: number;
  l4Proto: number;
  /** `LbBackendState` */
  state: number;
}

/** `cilium_lb4_reverse_nat`: what clients take for the other end. */
export interface FrontendAddress {
  address: string;
  port: number;
}

/** `cilium_lb4_source_range`: who may use the frontend with this index. `cidr` as `10.0.0.0/8`. */
export interface SourceRangeKey {
  revNatIndex: number;
  cidr: string;
}

/** `cilium_lb4_maglev`. */
export interface MaglevKey {
  revNatIndex: number;
  /** `LbScope` */
  scope: number;
}

/** `cilium_lb4_reverse_sk`: a socket and the backend that it was given. */
export interface SocketBackend {
  socketCookie: bigint;
  address: string;
  port: number;
}

/** What the socket had asked for: the address as it was, one of several that a node port has for instance. */
export interface SocketFrontend {
  address: string;
  port: number;
  revNatIndex: number;
}

/** `cilium_lb4_affinity`: a client of a frontend. */
export interface AffinityKey {
  /** An address, or `netns:` and the cookie of a network namespace for clients at their sockets. */
  client: string;
  revNatIndex: number;
}

/** The backend that it was given. */
export interface AffinityRecord {
  backendId: number;
  /** Nanoseconds of CLOCK_MONOTONIC. */
  lastUsedNs: bigint;
}

/** Entries of a Maglev table. */
export const MAGLEV_SIZE: number = LbMaglev.LB_MAGLEV_TABLE;

/** Bits of a source range's key before the range's own. */
const INDEX_BITS = 32;

const slotShape: Shape<ServiceSlotKey, ServiceSlot> = {
  encodeKey: ({ address, port, l4Proto, scope, slot }) =>
    lb4KeyCodec.write({ address: parseIpv4(address), dport: port, backendSlot: slot, l4Proto, scope }),
  decodeKey: bytes => {
    const { address, dport, backendSlot, l4Proto, scope } = lb4KeyCodec.read(bytes);
    return { address: formatIpv4(address), port: dport, l4Proto, scope, slot: backendSlot };
  },
  encodeValue: value => lb4ServiceCodec.write(value),
  decodeValue: bytes => lb4ServiceCodec.read(bytes),
};

const textOf = ({ address, ...same }: Lb4Backend): BackendRecord => ({
  ...same,
  address: formatIpv4(address),
});

const backendShape: Shape<number, BackendRecord> = {
  encodeKey: backendId => lb4BackendKeyCodec.write({ backendId }),
  decodeKey: bytes => lb4BackendKeyCodec.read(bytes).backendId,
  encodeValue: ({ address, ...same }) => lb4BackendCodec.write({ ...same, address: parseIpv4(address) }),
  decodeValue: bytes => textOf(lb4BackendCodec.read(bytes)),
};

const reverseNatShape: Shape<number, FrontendAddress> = {
  encodeKey: revNatIndex => lb4ReverseNatKeyCodec.write({ revNatIndex }),
  decodeKey: bytes => lb4ReverseNatKeyCodec.read(bytes).revNatIndex,
  encodeValue: ({ address, port }) => lb4ReverseNatCodec.write({ address: parseIpv4(address), port }),
  decodeValue: bytes => {
    const { address, port } = lb4ReverseNatCodec.read(bytes);
    return { address: formatIpv4(address), port };
  },
};

const sourceRangeShape: Shape<SourceRangeKey, boolean> = {
  encodeKey: ({ revNatIndex, cidr }) => {
    const [address = '', length = '32'] = cidr.split('/');
    return lb4SourceRangeKeyCodec.write({
      prefixlen: INDEX_BITS + Number(length),
      revNatIndex,
      address: parseIpv4(address),
    });
  },
  decodeKey: bytes => {
    const { prefixlen, revNatIndex, address } = lb4SourceRangeKeyCodec.read(bytes);
    return { revNatIndex, cidr: `${formatIpv4(address)}/${prefixlen - INDEX_BITS}` };
  },
  encodeValue: allowed => lb4SourceRangeCodec.write({ allowed: allowed ? 1 : 0 }),
  decodeValue: bytes => lb4SourceRangeCodec.read(bytes).allowed !== 0,
};

const maglevShape: Shape<MaglevKey, Uint32Array> = {
  encodeKey: key => lb4MaglevKeyCodec.write(key),
  decodeKey: bytes => lb4MaglevKeyCodec.read(bytes),
  encodeValue: backendId => lb4MaglevCodec.write({ backendId }),
  decodeValue: bytes => lb4MaglevCodec.read(bytes).backendId,
};

const socketShape: Shape<SocketBackend, SocketFrontend> = {
  encodeKey: ({ address, ...same }) => lb4ReverseSkKeyCodec.write({ ...same, address: parseIpv4(address) }),
  decodeKey: bytes => {
    const { address, ...same } = lb4ReverseSkKeyCodec.read(bytes);
    return { ...same, address: formatIpv4(address) };
  },
  encodeValue: ({ address, ...same }) => lb4ReverseSkCodec.write({ ...same, address: parseIpv4(address) }),
  decodeValue: bytes => {
    const { address, ...same } = lb4ReverseSkCodec.read(bytes);
    return { ...same, address: formatIpv4(address) };
  },
};

const NETNS = 'netns:';

const affinityShape: Shape<AffinityKey, AffinityRecord> = {
  encodeKey: ({ client, revNatIndex }) => {
    const isNetnsCookie = client.startsWith(NETNS);
    const bytes = lb4AffinityKeyCodec.write({
      client: isNetnsCookie ? BigInt(client.slice(NETNS.length)) : 0n,
      revNatIndex,
      isNetnsCookie: isNetnsCookie ? 1 : 0,
    });
    // An address is in its own order in the first four bytes.
    if (!isNetnsCookie) new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, parseIpv4(client));
    return bytes;
  },
  decodeKey: bytes => {
    const { client, revNatIndex, isNetnsCookie } = lb4AffinityKeyCodec.read(bytes);
    const address = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    return { client: isNetnsCookie ? `${NETNS}${client}` : formatIpv4(address), revNatIndex };
  },
  encodeValue: value => lb4AffinityCodec.write(value),
  decodeValue: bytes => lb4AffinityCodec.read(bytes),
};

/** `cilium_lb4_affinity`. */
export const affinityMap = (map: RawMap): TypedMap<AffinityKey, AffinityRecord> =>
  new TypedMap(map, affinityShape);
export const serviceMap = (map: RawMap): TypedMap<ServiceSlotKey, ServiceSlot> =>
  new TypedMap(map, slotShape);
/** By backend id. */
export const backendMap = (map: RawMap): TypedMap<number, BackendRecord> => new TypedMap(map, backendShape);
/** By reverse NAT index. */
export const reverseNatMap = (map: RawMap): TypedMap<number, FrontendAddress> =>
  new TypedMap(map, reverseNatShape);
export const sourceRangeMap = (map: RawMap): TypedMap<SourceRangeKey, boolean> =>
  new TypedMap(map, sourceRangeShape);
/** Values are backend ids, `MAGLEV_SIZE` of them. */
export const maglevMap = (map: RawMap): TypedMap<MaglevKey, Uint32Array> => new TypedMap(map, maglevShape);
export const socketMap = (map: RawMap): TypedMap<SocketBackend, SocketFrontend> =>
  new TypedMap(map, socketShape);
