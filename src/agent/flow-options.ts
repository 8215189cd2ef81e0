import type { AgentConfig } from '../config/types.ts';
import type { FlowOptions } from '../datapath/programs.ts';

/** Entries of conntrack and translations unless configured: as many as Cilium has at least. */
const USUAL = { ctTcp: 131_072, ctAny: 65_536, nat: 131_072, fragments: 8_192 };

/** What is done packet by packet: services for clients outside, and for pods unless they have them at their sockets. Pure. */
export function flowOptions(
  config: AgentConfig,
  deviceAddresses: ReadonlyMap<number, string> | undefined,
): FlowOptions {
  return {
    nodePort: true,
    podLb: config.socketLbHostNamespaceOnly,
    dsr: config.loadBalancerMode === 'dsr',
    masquerade: config.masquerade === 'bpf',
    ...(deviceAddresses ? { deviceAddresses } : {}),
    ...nativeRange(config),
    nodePortRange: config.nodePortRange,
    sizes: { ...USUAL, ...config.flowMapMax },
  };
}

/** What the network behind the nodes routes by itself; nothing through tunnels. Pure. */
export function nativeRange(config: AgentConfig): { nativeRoutingCidr?: string } {
  const { routingMode, ipv4NativeRoutingCidr: range } = config;
  return routingMode === 'native' && range ? { nativeRoutingCidr: range } : {};
}
