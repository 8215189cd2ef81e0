import type { AutoCreatePool } from './pools.ts';

export type { AutoCreatePool, PoolFamily } from './pools.ts';

/** How an agent's addresses are handed out. */
export type IpamMode = 'cluster-pool' | 'multi-pool' | 'kubernetes';

/** When network devices are attached to by TCX rather than clsact. */
export type TcxMode = 'always' | 'devices' | 'never';

/**
 * What agent and operator run with: parsed from the flat keys of the config directory (a ConfigMap's entries).
 * Immutable.
 */
export interface AgentConfig {
  readonly clusterName: string;
  readonly ipamMode: IpamMode;
  /** Pod ranges of the cluster, canonical, in the order given, without overlaps; empty in multi-pool mode. */
  readonly clusterPoolIpv4Cidrs: readonly string[];
  /** Prefix length of a node's block. */
  readonly clusterPoolIpv4MaskSize: number;
  /** cluster-pool: a full node gets a second block. */
  readonly growFullNodes: boolean;
  /** multi-pool: created by the operator when they are missing; by name. */
  readonly autoCreatePools: readonly AutoCreatePool[];
  /** multi-pool: the pool of Pods that name none, and of router and health endpoint. */
  readonly defaultIpPool: string;
  /** multi-pool: addresses to have ready, by pool; none of pools that are not in it. */
  readonly preAllocation: Readonly<Record<string, number>>;
  /** multi-pool: an agent writes what it needs this often at most, unless a Pod waits. */
  readonly ciliumNodeUpdateRateMs: number;
  readonly routingMode: 'native' | 'tunnel';
  readonly tunnelProtocol: 'vxlan';
  /** UDP port of the tunnel. */
  readonly tunnelPort: number;
  /** Native mode: one route per peer's block by its node address. */
  readonly autoDirectNodeRoutes: boolean;
  /** One route per pod instead of the block through `cilium_host`. */
  readonly endpointRoutes: boolean;
  /** The range that the network behind the nodes routes by itself. */
  readonly ipv4NativeRoutingCidr?: string;
  /** Packets go through the node's own stack (netfilter sees them) instead of straight to the device. */
  readonly hostLegacyRouting: boolean;
  /** Why so, for people. */
  readonly hostRoutingReason: string;
  readonly tcx: TcxMode;
  /** Services are balanced here. */
  readonly kubeProxyReplacement: boolean;
  /** Who gives what leaves the cluster the node's address: programs, the node's netfilter, nobody. */
  readonly masquerade: 'bpf' | 'netfilter' | 'none';
  /** A list of destinations is left out of it. */
  readonly ipMasqAgent: boolean;
  readonly loadBalancerAlgorithm: 'random' | 'maglev';
  /** Pods' packets to services are translated at their devices, not their sockets. */
  readonly socketLbHostNamespaceOnly: boolean;
  readonly loadBalancerMode: 'snat' | 'dsr';
  /** First and last. */
  readonly nodePortRange: readonly [number, number];
  /** Frontends that the service maps have room for. */
  readonly lbMapMax: number;
  /** Entries of conntrack (TCP, others) and of translations, where they are configured. */
  readonly flowMapMax: { readonly ctTcp?: number; readonly ctAny?: number; readonly nat?: number };
  /** Addresses of Services are announced on the node's network; absent when they are not. Milliseconds. */
  readonly l2Announcements?: {
    readonly leaseMs: number;
    readonly deadlineMs: number;
    readonly renewMs: number;
  };
  /** Put the CNI configurations of others aside. */
  readonly cniExclusive: boolean;
  /** Bytes; 0 means taken from the node's device. */
  readonly mtu: number;
  /** Network devices to attach to; empty means found by themselves. */
  readonly devices: readonly string[];
  /** `[ADDRESS]:PORT` where metrics are served; nowhere when absent. */
  readonly prometheusServeAddr?: string;
  /** Every flat key, defaults filled in: what `config view` prints. */
  readonly flat: Readonly<Record<string, string>>;
}
