import type { NetnsRef } from '../addon.ts';

/** A device by name or by ifindex. */
export type LinkRef = string | number;

/** A network device. */
export interface Link {
  ifindex: number;
  name: string;
  /** `veth`, `vxlan`, `bridge`…; absent for hardware and loopback. */
  kind?: string;
  /** `aa:bb:cc:dd:ee:ff`; empty where the device has none. */
  mac: string;
  /** Bytes. */
  mtu: number;
  /** Administratively up (IFF_UP). */
  up: boolean;
  /** It has a carrier (IFF_LOWER_UP). */
  running: boolean;
  /** IFF_NOARP. */
  noarp: boolean;
  loopback: boolean;
  /** All `IFF_*` flags. */
  flags: number;
  /** Of a veth: its peer's ifindex, in `peerNetnsId`'s namespace when that is given, else in this one. */
  peerIfindex?: number;
  /** This namespace's id for the peer's namespace; negative when it has none. */
  peerNetnsId?: number;
  /** ifindex of the bridge or bond it belongs to. */
  master?: number;
  alias?: string;
  gsoMaxSize?: number;
  /** Of a vxlan device. */
  vxlan?: { external: boolean; port: number; vni: number; learning: boolean };
}

export interface VethOptions {
  name: string;
  /** The number it shall have; the kernel's choice when absent. */
  ifindex?: number;
  mac?: string;
  mtu?: number;
  up?: boolean;
  noarp?: boolean;
  alias?: string;
  gsoMaxSize?: number;
  peer: {
    name: string;
    ifindex?: number;
    mac?: string;
    mtu?: number;
    noarp?: boolean;
    gsoMaxSize?: number;
    /** Where the peer is born: a path or an open descriptor (not a pid); the socket's own namespace when absent. */
    netns?: NetnsRef;
  };
}

export interface VxlanOptions {
  name: string;
  /** The number it shall have; the kernel's choice when absent. */
  ifindex?: number;
  /** Collect-metadata mode: programs choose VNI and remote for each packet. */
  external: true;
  /** UDP destination port. */
  port: number;
  mtu?: number;
  mac?: string;
  up?: boolean;
}

export interface LinkChange {
  up?: boolean;
  mtu?: number;
  mac?: string;
  /** New name; older kernels want the device down. */
  name?: string;
  alias?: string;
  noarp?: boolean;
  /** ifindex of the bridge it joins, 0 = leave. */
  master?: number;
  /** Moves the device: a path or an open descriptor of the namespace. */
  netns?: NetnsRef;
  gsoMaxSize?: number;
}

export type Scope = 'global' | 'site' | 'link' | 'host' | 'nowhere';

export interface Address {
  ifindex: number;
  /** `10.0.0.1` or `fd00::1`. */
  address: string;
  prefixLength: number;
  scope: Scope;
  broadcast?: string;
  label?: string;
}

/** An address to add. `scope` is `global` when absent. */
export type NewAddress = Omit<Address, 'scope' | 'label'> & { scope?: Scope };

/** Who made a route: the names of iproute2's rt_protos that matter here, else the number as text. */
export type RouteProtocol =
  | 'unspec'
  | 'redirect'
  | 'kernel'
  | 'boot'
  | 'static'
  | 'ra'
  | 'dhcp'
  | (string & {});

export type RouteType =
  | 'unspec'
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'nat';

export interface Route {
  /** `10.0.0.0/24`, or `default`. */
  dst: string;
  gateway?: string;
  ifindex?: number;
  protocol: RouteProtocol;
  scope: Scope;
  /** Preferred source address. */
  src?: string;
  /** MTU metric in bytes. */
  mtu?: number;
  /** 254 = main, 255 = local. */
  table: number;
  /** Metric; absent = 0. */
  priority?: number;
  type: RouteType;
  /** The gateway is taken to be on the link although no route says so. */
  onlink?: boolean;
  /** Nexthops of a multipath route; such a route has no `gateway` and `ifindex` of its own. */
  nexthops?: { gateway?: string; ifindex: number; weight: number }[];
}

/**
 * A route to set: main table, `unicast`, protocol `kernel` unless said otherwise; the scope is `link`
 * without a gateway, else `global`.
 */
export type NewRoute = Pick<Route, 'dst'> & Partial<Omit<Route, 'dst' | 'nexthops'>>;

export interface Neighbour {
  ifindex: number;
  address: string;
  mac?: string;
  state: 'none' | 'incomplete' | 'reachable' | 'stale' | 'delay' | 'probe' | 'failed' | 'noarp' | 'permanent';
}

/** A neighbour to set, `permanent` unless said otherwise. */
export type NewNeighbour = Pick<Neighbour, 'ifindex' | 'address'> & {
  mac: string;
  state?: Neighbour['state'];
};

/** A policy routing rule. */
export interface Rule {
  family: 4 | 6;
  /** Lower is asked first. */
  priority: number;
  /** Lookup table, 0 for other actions. */
  table: number;
  src?: string;
  dst?: string;
  iifName?: string;
  oifName?: string;
  fwmark?: number;
  fwmask?: number;
  protocol: RouteProtocol;
}
