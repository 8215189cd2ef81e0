import { cidrContains } from '../base/addr.ts';
import type { IpcacheSpec } from '../datapath/tables.ts';
import { Identity } from '../maps/abi.gen.ts';
import type { NodeView, RemoteEndpointView } from './nodes.ts';

/** Everything that decides the ipcache of one node. */
export interface IpcacheInput {
  self: NodeView;
  peers: readonly NodeView[];
  /** Pods of this node (health included): address to identity. */
  localEndpoints: ReadonlyMap<string, number>;
  remoteEndpoints: readonly RemoteEndpointView[];
  /** All ranges that pods may have addresses from. */
  clusterCidrs: readonly string[];
  /**
   * Networks that the node's device is connected to, when this node routes to its peers directly: packets to peers in
   * them need no route look-up.
   */
  directNetworks?: readonly string[];
}

/**
 * Who lives where: prefix to entry, most specific wins in the datapath. Pure.
 * What this node knows itself (own addresses, own pods) wins over what the cluster says of the same address.
 */
export function ipcacheEntries(input: IpcacheInput): Map<string, IpcacheSpec> {
  const entries = new Map<string, IpcacheSpec>();
  const host = (address: string): string => `${address}/32`;
  const networks = input.directNetworks ?? [];
  const ways = new Map<string, Omit<IpcacheSpec, 'identity'>>();
  /** How the pods of a peer are reached; looked at once for each peer, however many pods it has. */
  const through = (nodeIpv4: string): Omit<IpcacheSpec, 'identity'> => {
    let way = ways.get(nodeIpv4);
    if (way === undefined) {
      const neighbour = networks.some(network => cidrContains(network, nodeIpv4));
      way = { cluster: true, tunnelEndpoint: nodeIpv4, ...(neighbour && { neighbour }) };
      ways.set(nodeIpv4, way);
    }
    return way;
  };
  entries.set('0.0.0.0/0', { identity: Identity.IDENTITY_WORLD });
  for (const cidr of input.clusterCidrs)
    entries.set(cidr, { identity: Identity.IDENTITY_WORLD, cluster: true });
  for (const peer of input.peers) {
    for (const cidr of peer.podCidrs) {
      entries.set(cidr, { identity: Identity.IDENTITY_WORLD, ...through(peer.ipv4) });
    }
  }
  for (const endpoint of input.remoteEndpoints) {
    entries.set(host(endpoint.ipv4), { identity: endpoint.identity, ...through(endpoint.nodeIpv4) });
  }
  for (const peer of input.peers) {
    entries.set(host(peer.ipv4), { identity: Identity.IDENTITY_REMOTE_NODE });
    const inside = (address: string | undefined, identity: number): void => {
      if (address) entries.set(host(address), { identity, ...through(peer.ipv4) });
    };
    inside(peer.routerIpv4, Identity.IDENTITY_REMOTE_NODE);
    inside(peer.healthIpv4, Identity.IDENTITY_HEALTH);
  }
  for (const cidr of input.self.podCidrs)
    entries.set(cidr, { identity: Identity.IDENTITY_WORLD, cluster: true, ownPodCidr: true });
  for (const [ipv4, identity] of input.localEndpoints) entries.set(host(ipv4), { identity });
  entries.set(host(input.self.ipv4), { identity: Identity.IDENTITY_HOST });
  if (input.self.routerIpv4) entries.set(host(input.self.routerIpv4), { identity: Identity.IDENTITY_HOST });
  return entries;
}

/** Whether two entries say the same. */
export function sameIpcacheEntry(a: IpcacheSpec, b: IpcacheSpec): boolean {
  return (
    a.identity === b.identity &&
    (a.tunnelEndpoint ?? '') === (b.tunnelEndpoint ?? '') &&
    !a.ownPodCidr === !b.ownPodCidr &&
    !a.cluster === !b.cluster &&
    !a.neighbour === !b.neighbour
  );
}
