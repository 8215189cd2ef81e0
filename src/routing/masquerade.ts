import type { MasqueradeSpec } from '../datapath/masquerade-table.ts';
import type { NodeView } from './nodes.ts';

/** What no host has, or many: nobody answers to it. */
const NO_UNICAST = ['0.0.0.0/8', '224.0.0.0/3'];

/** Everything that decides whose packets leave a node with its address. */
export interface MasqueradeInput {
  self: NodeView;
  peers: readonly NodeView[];
  /** All ranges that pods may have addresses from. */
  clusterCidrs: readonly string[];
  routingMode: 'native' | 'tunnel';
  /** Native mode: the network behind the nodes knows ways into it. */
  nativeRoutingCidr?: string;
  /** Destinations that see pods' own addresses because somebody said so. */
  listed: readonly string[];
  /** Names of the devices that carry the node's traffic. */
  devices: readonly string[];
}

/**
 * Which packets leave with the node's address: those of its pods, to whoever would not find the way back. Nodes know
 * it in native mode; in tunnel mode their answers would come by another way than the question. The same as
 * `sees_own_address` in `bpf/lib/own_address.h`. Pure.
 */
export function masqueradeSpec(input: MasqueradeInput): MasqueradeSpec {
  const { self, peers, routingMode } = input;
  const native = routingMode === 'native';
  return {
    devices: input.devices.toSorted(),
    sources: [...self.podCidrs],
    direct: [
      ...NO_UNICAST,
      ...input.clusterCidrs,
      ...[self, ...peers].flatMap(node => node.podCidrs),
      `${self.ipv4}/32`,
      ...(native ? peers.map(peer => `${peer.ipv4}/32`) : []),
      ...(native && input.nativeRoutingCidr ? [input.nativeRoutingCidr] : []),
      ...input.listed,
    ],
  };
}
