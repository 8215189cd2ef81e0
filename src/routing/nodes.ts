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

/** A pod somewhere in the cluster, as its CiliumEndpoint tells. */
export interface RemoteEndpointView {
  ipv4: string;
  identity: number;
  /** Underlay address of the node it runs on. */
  nodeIpv4: string;
}
