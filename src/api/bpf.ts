/** Content of the eBPF tables, as `bpf …` prints it and `GET /v1/bpf/{table}` answers. */

/** `bpf endpoint list`: one entry of cilium_lxc. */
export interface BpfEndpointRow {
  ip: string;
  /** True for an address of the node itself: printed `(localhost)`, the rest is zero. */
  host: boolean;
  id: number;
  identity: number;
  /** The entry's flag word. */
  flags: number;
  ifindex: number;
  mac: string;
  nodeMac: string;
}

/** `bpf ipcache list`: one entry of cilium_ipcache. */
export interface BpfIpcacheRow {
  prefix: string;
  identity: number;
  encryptKey: number;
  /** `0.0.0.0` when there is none. */
  tunnelEndpoint: string;
  /** Lower-case words, `hastunnel`; empty is printed `<none>`. */
  flags: string[];
}

/** `bpf policy get`: one entry of an endpoint's policy map. */
export interface BpfPolicyRow {
  endpoint: number;
  action: 'Allow' | 'Deny';
  direction: 'Ingress' | 'Egress';
  /** 0 for any. */
  identity: number;
  /** Labels of the identity; empty for any. */
  labels: string[];
  /** `ANY`, `ANY/TCP` or `80/TCP`. */
  port: string;
  /** 0 for none. */
  proxyPort: number;
  authType: string;
  /** Absent where the map does not count. */
  bytes?: number;
  packets?: number;
  prefixLen: number;
  cookie: number;
}

/** `bpf metrics list`: one counter, summed over CPUs. */
export interface BpfMetricsRow {
  /** Number of the drop reason; 0 forwarded. */
  reason: number;
  text: string;
  /** Upper case as the table prints it. */
  direction: 'INGRESS' | 'EGRESS' | 'SERVICE' | 'UNKNOWN';
  packets: number;
  bytes: number;
  /** Where in the source of the datapath it was counted. */
  line: number;
  file: string;
}

/** `bpf lb list`: one entry of cilium_lb4_services_v2; slot 0 is the frontend itself. */
export interface BpfLbRow {
  /** `10.96.0.1:443/TCP`, with `/i` behind where it is for clients in the cluster only. */
  frontend: string;
  slot: number;
  revNat: number;
  /** Of slot 0: how many backends there are. */
  count: number;
  /** Of slot 0, as Cilium words them. */
  flags: string[];
  /** Of the other slots. */
  backend?: string;
}

/** `bpf ct list`: one entry of connection tracking. */
export interface BpfCtRow {
  proto: string;
  direction: string;
  source: string;
  destination: string;
  /** Seconds that it has left; below 0 it only waits to be taken away. */
  expiresS: number;
  /** The same by the clock of the datapath, seconds since boot. */
  expiresAtS: number;
  packets: number;
  bytes: number;
  flags: number;
  /** The flags in words. */
  flagNames: string[];
  revNat: number;
  sourceIdentity: number;
  backendId: number;
  txTcpFlags: number;
  rxTcpFlags: number;
  /** What the other end is, or is shown as. */
  translated?: string;
}

/** `bpf nat list`: one direction of a translation. */
export interface BpfNatRow {
  proto: string;
  direction: string;
  source: string;
  destination: string;
  translated: string;
  /** Seconds ago. */
  createdS: number;
  /** Seconds that it has left. */
  expiresS: number;
  /** A flow of the node itself, which has a socket here. */
  ofNode: boolean;
}

/** `bpf lb list --backends`: one entry of cilium_lb4_backends_v3. */
export interface BpfBackendRow {
  id: number;
  /** `10.244.1.7:8080/TCP`. */
  address: string;
  state: 'active' | 'terminating';
}

/** `bpf lb list --revnat`: one entry of cilium_lb4_reverse_nat. */
export interface BpfRevNatRow {
  id: number;
  /** `10.96.0.1:80`: where replies come from. */
  frontend: string;
}

/** `bpf lb list --source-ranges`: one entry of cilium_lb4_source_range. */
export interface BpfSourceRangeRow {
  revNat: number;
  /** `10.96.0.1:80`; absent where there is no such service any more. */
  frontend?: string;
  cidr: string;
}

/** `bpf lb list --affinity`: one entry of cilium_lb4_affinity. */
export interface BpfAffinityRow {
  /** An address, or `netns:` and the cookie of a network namespace for clients at their sockets. */
  client: string;
  revNat: number;
  frontend?: string;
  backendId: number;
  /** `10.244.1.7:8080/TCP`; absent where the backend is gone. */
  backend?: string;
  /** Seconds ago. */
  lastUsedS: number;
}

/** `bpf lb maglev list`: one look-up table of cilium_lb4_maglev. */
export interface BpfMaglevRow {
  revNat: number;
  frontend?: string;
  scope: 'external' | 'internal';
  /** Backends with the number of places that each has. */
  shares: { backendId: number; backend?: string; places: number }[];
  /** Backend ids by place. */
  table: number[];
}

/** `bpf l2-responder list`: one entry of cilium_l2_responder_v4. */
export interface BpfResponderRow {
  address: string;
  ifindex: number;
  /** Absent when the device is gone. */
  device?: string;
  mac: string;
  /** ARP requests that were answered. */
  responses: number;
  /** Seconds until the lease may be another node's; below 0 nothing is answered. */
  validS: number;
}

/** `bpf ipmasq list`: one entry of cilium_ipmasq_v4, what pods reach with their own address. */
export interface BpfIpmasqRow {
  prefix: string;
}

/** What a flush took out of one map. */
export interface FlushedMap {
  map: string;
  entries: number;
}

/** Rows by table of `GET /v1/bpf/{table}`. */
export interface BpfTables {
  endpoint: BpfEndpointRow;
  ipcache: BpfIpcacheRow;
  policy: BpfPolicyRow;
  metrics: BpfMetricsRow;
  lb: BpfLbRow;
  'lb-backends': BpfBackendRow;
  'lb-revnat': BpfRevNatRow;
  'lb-source-ranges': BpfSourceRangeRow;
  'lb-affinity': BpfAffinityRow;
  'lb-maglev': BpfMaglevRow;
  ct: BpfCtRow;
  nat: BpfNatRow;
  'l2-responder': BpfResponderRow;
  ipmasq: BpfIpmasqRow;
}
export const BPF_TABLES = [
  'endpoint',
  'ipcache',
  'policy',
  'metrics',
  'lb',
  'lb-backends',
  'lb-revnat',
  'lb-source-ranges',
  'lb-affinity',
  'lb-maglev',
  'ct',
  'nat',
  'l2-responder',
  'ipmasq',
] as const;
export type BpfTable = (typeof BPF_TABLES)[number];

/** Tables whose entries flows leave behind. */
export const FLUSHABLE_TABLES = ['ct', 'nat'] as const;
export type FlushableTable = (typeof FLUSHABLE_TABLES)[number];
