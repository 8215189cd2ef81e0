import { formatIpv4, parseIpv4 } from '../base/addr.ts';
import { formatMac, parseMac } from '../base/mac.ts';
import { l2ResponderCodec, l2ResponderKeyCodec } from './abi.gen.ts';
import { type RawMap, type Shape, TypedMap } from './typed.ts';

export interface ResponderKey {
  ipv4: string;
  ifindex: number;
}

/** An address that is answered for. */
export interface ResponderRecord {
  /** What the answer names. */
  mac: string;
  /** By the kernel's monotonic clock. */
  validUntilNs: bigint;
  /** Answers so far; programs count on while user space writes, so that a write may lose one. */
  responses: bigint;
}

const shape: Shape<ResponderKey, ResponderRecord> = {
  encodeKey: ({ ipv4, ifindex }) => l2ResponderKeyCodec.write({ ipv4: parseIpv4(ipv4), ifindex }),
  decodeKey: bytes => {
    const { ipv4, ifindex } = l2ResponderKeyCodec.read(bytes);
    return { ipv4: formatIpv4(ipv4), ifindex };
  },
  encodeValue: ({ mac, ...same }) => l2ResponderCodec.write({ ...same, mac: parseMac(mac) }),
  decodeValue: bytes => {
    const { mac, ...same } = l2ResponderCodec.read(bytes);
    return { ...same, mac: formatMac(mac) };
  },
};

/** `cilium_l2_responder_v4`. */
export const l2ResponderMap = (map: RawMap): TypedMap<ResponderKey, ResponderRecord> =>
  new TypedMap(map, shape);
