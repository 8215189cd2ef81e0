import type { Route } from '../kernel/rtnetlink.ts';
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

/** A route that we want: main table, `proto kernel` because runbooks know them so. */
export type DesiredRoute = Pick<Route, 'dst' | 'ifindex' | 'scope'> &
  Partial<Pick<Route, 'gateway' | 'src' | 'mtu'>>;

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
): Map<string, DesiredRoute> {
  const routes = new Map<string, DesiredRoute>();
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

/** The route of one local pod with endpoint routes on: `<pod ip> dev lxc… scope link`. */
export function endpointRoute(ipv4: string, ifindex: number): DesiredRoute {
  return { dst: `${ipv4}/32`, ifindex, scope: 'link' };
}
