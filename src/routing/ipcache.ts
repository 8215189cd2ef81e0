import type { NodeView, RemoteEndpointView } from './nodes.ts';

/** What the datapath knows of a prefix. `tunnelEndpoint` is an underlay address; absent means none. */
export interface IpcacheEntry {
  identity: number;
  tunnelEndpoint?: string;
  /** A block of this node: an address in it without endpoint is nobody's (drop 151). */
  ownPodCidr?: boolean;
  /** In the cluster's pod ranges: in tunnel mode nothing leaves without a tunnel endpoint (drop 160). */
  cluster?: boolean;
}

/** Reserved identities this function hands out (numbers are Cilium's). */
const HOST = 1;
const WORLD = 2;
const HEALTH = 4;
const REMOTE_NODE = 6;

/** Everything that decides the ipcache of one node. */
export interface IpcacheInput {
  self: NodeView;
  peers: readonly NodeView[];
  /** Pods of this node (health included): address to identity. */
  localEndpoints: ReadonlyMap<string, number>;
  remoteEndpoints: readonly RemoteEndpointView[];
  /** All ranges that pods may have addresses from. */
  clusterCidrs: readonly string[];
}

/**
 * Who lives where: prefix to entry, most specific wins in the datapath. Pure.
 * What this node knows itself (own addresses, own pods) wins over what the cluster says of the same address.
 */
export function ipcacheEntries(input: IpcacheInput): Map<string, IpcacheEntry> {
  const entries = new Map<string, IpcacheEntry>();
  const host = (address: string): string => `${address}/32`;
  entries.set('0.0.0.0/0', { identity: WORLD });
  for (const cidr of input.clusterCidrs) entries.set(cidr, { identity: WORLD, cluster: true });
  for (const peer of input.peers) {
    for (const cidr of peer.podCidrs) {
      entries.set(cidr, { identity: WORLD, cluster: true, tunnelEndpoint: peer.ipv4 });
    }
  }
  for (const endpoint of input.remoteEndpoints) {
    entries.set(host(endpoint.ipv4), {
      identity: endpoint.identity,
      cluster: true,
      tunnelEndpoint: endpoint.nodeIpv4,
    });
  }
  for (const peer of input.peers) {
    entries.set(host(peer.ipv4), { identity: REMOTE_NODE });
    const inside = (address: string | undefined, identity: number): void => {
      if (address) entries.set(host(address), { identity, cluster: true, tunnelEndpoint: peer.ipv4 });
    };
    inside(peer.routerIpv4, REMOTE_NODE);
    inside(peer.healthIpv4, HEALTH);
  }
  for (const cidr of input.self.podCidrs)
    entries.set(cidr, { identity: WORLD, cluster: true, ownPodCidr: true });
  for (const [ipv4, identity] of input.localEndpoints) entries.set(host(ipv4), { identity });
  entries.set(host(input.self.ipv4), { identity: HOST });
  if (input.self.routerIpv4) entries.set(host(input.self.routerIpv4), { identity: HOST });
  return entries;
}

/** Whether two entries say the same. */
export function sameIpcacheEntry(a: IpcacheEntry, b: IpcacheEntry): boolean {
  return (
    a.identity === b.identity &&
    (a.tunnelEndpoint ?? '') === (b.tunnelEndpoint ?? '') &&
    !a.ownPodCidr === !b.ownPodCidr &&
    !a.cluster === !b.cluster
  );
}
