import type { RouteSpec } from '../datapath/route-table.ts';
import type { NodeView } from './nodes.ts';

/** What of the configuration decides the node's routes. */
export interface RoutingOptions {
  routingMode: 'native' | 'tunnel';
  endpointRoutes: boolean;
  autoDirectNodeRoutes: boolean;
  /** Bytes a packet may have inside the tunnel. */
  tunnelMtu: number;
}

/** Devices by what they are for. */
export interface RoutingDevices {
  /** `cilium_host`. */
  hostIfindex: number;
  /** The device that carries the node's address. */
  directIfindex: number;
}

/**
 * The routes of a node besides those of its pods (`endpointRoute`). Pure.
 *
 * Native: `<peer PodCIDR> via <peer>` when direct node routes are on. Tunnel: every peer's PodCIDR through
 * `cilium_host`, with the tunnel's MTU, so that the stack answers "frag needed". Without endpoint routes the own
 * PodCIDR goes through `cilium_host` too (Cilium 1.17 `pkg/datapath/linux/node.go`).
 */
export function nodeRoutes(
  self: NodeView,
  peers: readonly NodeView[],
  devices: RoutingDevices,
  options: RoutingOptions,
): Map<string, RouteSpec> {
  const routes = new Map<string, RouteSpec>();
  const router = self.routerIpv4;
  const throughHost = (cidr: string, mtu?: number): void => {
    if (router === undefined) return;
    const routerDst = `${router}/32`;
    routes.set(routerDst, { dst: routerDst, ifindex: devices.hostIfindex, scope: 'link' });
    routes.set(cidr, {
      dst: cidr,
      ifindex: devices.hostIfindex,
      scope: 'global',
      gateway: router,
      src: router,
      ...(mtu === undefined ? {} : { mtu }),
    });
  };
  if (!options.endpointRoutes) for (const cidr of self.podCidrs) throughHost(cidr);
  for (const peer of peers) {
    for (const cidr of peer.podCidrs) {
      if (options.routingMode === 'tunnel') throughHost(cidr, options.tunnelMtu);
      else if (options.autoDirectNodeRoutes) {
        routes.set(cidr, { dst: cidr, ifindex: devices.directIfindex, scope: 'global', gateway: peer.ipv4 });
      }
    }
  }
  return routes;
}
