/** Somebody who serves a frontend. */
export interface LbBackend {
  address: string;
  port: number;
}

/** Backends as one kind of client gets them. At most 65,535 have a place. */
export interface LbBackendSet {
  /** Traffic policy Local: only backends of this node are in it, and the client's address stays. */
  local: boolean;
  backends: readonly LbBackend[];
}

/** What a frontend is: decides who may use it. */
export type FrontendType = 'ClusterIP' | 'NodePort' | 'ExternalIPs' | 'LoadBalancer' | 'HostPort';

/** An address and port that stands for backends. */
export interface LbFrontend {
  address: string;
  port: number;
  /** IP protocol number: 6 or 17. */
  l4Proto: number;
  type: FrontendType;
  /** Frontends of one group share their backends' ids: those of one port of a service. */
  group: string;
  /** For clients outside the cluster, and for all where `internal` is absent. */
  external: LbBackendSet;
  /** For pods and nodes, where the policies differ. */
  internal?: LbBackendSet;
  /** Take no new clients; flows that know them go on. */
  terminating: readonly LbBackend[];
  /** Session affinity by client address. */
  affinityTimeoutS?: number;
  /** Who may use it, as `10.0.0.0/8`; everybody when absent. */
  sourceRanges?: readonly string[];
  maglev?: boolean;
  /** A remote backend answers the client by itself. */
  dsr?: boolean;
}

/** `10.96.0.1:443/6`: what no two frontends share. */
export function frontendKey({
  address,
  port,
  l4Proto,
}: Pick<LbFrontend, 'address' | 'port' | 'l4Proto'>): string {
  return `${address}:${port}/${l4Proto}`;
}

/** `10.244.1.7:8080`: what no two backends of a group share. */
export function nameOf({ address, port }: LbBackend): string {
  return `${address}:${port}`;
}

/** The external set and, where there is one, the internal. */
export function scopesOf({ external, internal }: Pick<LbFrontend, 'external' | 'internal'>): LbBackendSet[] {
  return internal ? [external, internal] : [external];
}
