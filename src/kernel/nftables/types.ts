import type { Ipv4Range } from '../../base/ranges.ts';

/** A named set. Ranges neither overlap nor touch and are in order. */
export type NftSet =
  | { name: string; kind: 'ipv4Ranges'; elements: readonly Ipv4Range[] }
  | { name: string; kind: 'interfaces'; elements: readonly string[] };

/** What a packet must match, in order; all of it. */
export type NftMatch =
  | { field: 'sourceIpv4' | 'destinationIpv4'; set: string; not?: boolean }
  | { field: 'outputInterface'; set: string; not?: boolean };

/** One rule: what matches gets the address of the interface it leaves by, and a random port. */
export interface NftRule {
  matches: readonly NftMatch[];
  action: 'masquerade';
}

/** A table of family `ip` with one chain at the end of a packet's way out, where sources are translated. */
export interface NftTable {
  name: string;
  sets: readonly NftSet[];
  chain: { name: string; rules: readonly NftRule[] };
}
