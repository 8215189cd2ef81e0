import { ipv4Contains, parseIpv4, parseIpv4Cidr } from '../base/addr.ts';

/** A node as routing sees it, whatever the cluster calls it. Addresses are canonical IPv4 text. */
export interface NodeView {
  name: string;
  /** The node's own address on the underlay. */
  ipv4: string;
  /** Address of its `cilium_host`. */
  routerIpv4?: string;
  healthIpv4?: string;
  /** Blocks whose addresses live on this node. */
  podCidrs: readonly string[];
}

/** Whether an address can be reached from this node without a router in between. Pure. */
export function isOnLink(ipv4: string, connected: readonly string[]): boolean {
  const value = parseIpv4(ipv4);
  return connected.some(prefix => ipv4Contains(parseIpv4Cidr(prefix), value));
}

/** A pod somewhere in the cluster, as its CiliumEndpoint tells. */
export interface RemoteEndpointView {
  ipv4: string;
  identity: number;
  /** Underlay address of the node it runs on. */
  nodeIpv4: string;
}
