import type { BpfTable, BpfTables, FlushableTable, FlushedMap } from './bpf.ts';

/**
 * The shapes that cross the agent's socket. Names and spelling follow Cilium's REST models where Cilium has
 * the thing (`kube-proxy-replacement`, `interface-index`), so that scripts written for it keep working.
 * Addresses are text (`10.0.0.1`), MACs lower-case colon text, times RFC 3339 text, identities numbers.
 * Plain data: nothing here has behaviour, every value survives JSON.
 */

/** How well one component does; `msg` is for people and may be empty. */
export interface ComponentStatus {
  state: 'Ok' | 'Warning' | 'Failure' | 'Disabled';
  msg?: string;
}

/** Durations of one background job of the agent. A timestamp that never was is ZERO_TIME. */
export interface ControllerStatus {
  name: string;
  configuration?: { 'error-retry'?: boolean; 'error-retry-base'?: string; interval?: string };
  status: {
    'last-success-timestamp': string;
    'last-failure-timestamp': string;
    'last-failure-msg'?: string;
    'success-count'?: number;
    'failure-count'?: number;
    'consecutive-failure-count'?: number;
  };
  uuid?: string;
}

/** Go's zero time, which Cilium's models use for "never". */
export const ZERO_TIME = '0001-01-01T00:00:00.000Z';

/** Outcome of one probe. `latency` in nanoseconds; `status` is empty when it succeeded, else why not. */
export interface ConnectivityStatus {
  latency?: number;
  status?: string;
}

/** Outcome of the probes of one address of a node. Absent probes are still pending. */
export interface PathStatus {
  ip: string;
  icmp?: ConnectivityStatus;
  http?: ConnectivityStatus;
}

/** One node as the cluster health sees it. */
export interface NodeHealth {
  name: string;
  /** True for the node that answers. */
  local?: boolean;
  /** The node's InternalIP. */
  'primary-address': string;
  /** The address of the node's health endpoint, absent when it is not known yet. */
  'health-endpoint'?: string;
  host: PathStatus;
  endpoint?: PathStatus;
}

/** Health of every node of the cluster, as probed from this one. */
export interface ClusterHealth {
  nodes: NodeHealth[];
  /** Nodes whose every probe succeeded, this one included. */
  reachable: number;
  total: number;
  /** When the last round of probes ended. */
  timestamp?: string;
}

/** A network device with the addresses that masquerading or node ports use. */
export interface DeviceStatus {
  name: string;
  ip: string[];
}

/** `GET /v1/healthz`. */
export interface StatusResponse {
  kvstore?: ComponentStatus;
  kubernetes: ComponentStatus & { 'k8s-api-versions'?: string[] };
  'kube-proxy-replacement': {
    mode: 'True' | 'False';
    deviceList?: DeviceStatus[];
    'direct-routing-device'?: string;
    /** What it does and how; absent when off. */
    features?: {
      mode: 'SNAT' | 'DSR';
      'backend-selection': 'Random' | 'Maglev';
      /** Whose sockets are translated: all, or those of the node's own network namespace. */
      'socket-lb-coverage': 'Full' | 'Hostns-only';
      'node-port-range': string;
    };
  };
  'host-firewall'?: { mode: 'Disabled' | 'Enabled' };
  srv6?: { enabled: boolean };
  'cni-chaining': { mode: string };
  'cni-file': ComponentStatus;
  cilium: ComponentStatus;
  'cilium-version': string;
  nodeMonitor: { state: 'Ok' | 'Disabled'; msg?: string };
  'cilium-health': ComponentStatus;
  ipam: {
    /** As printed: `IPv4: 3/6 allocated from 172.20.42.0/29, `, with the trailing comma and blank. */
    status: string;
    ipv4: string[];
    /** Address to owner: `router`, `health`, `kube-system/coredns-…`. */
    allocations: Record<string, string>;
  };
  'ipv4-big-tcp'?: { enabled: boolean };
  'ipv6-big-tcp'?: { enabled: boolean };
  'bandwidth-manager'?: { enabled: boolean; devices?: string[] | null };
  routing: {
    /** `Native` or `Tunnel [vxlan]`. */
    network: string;
    host: 'BPF' | 'Legacy';
    /** Why so, for people. */
    'host-reason'?: string;
  };
  'attach-mode': 'tcx' | 'tc';
  'datapath-mode': 'veth';
  masquerading: {
    mode: 'BPF' | 'IPTables' | 'Disabled';
    devices?: string[];
    /** The range that is not masqueraded. */
    'snat-exclusion-cidr-v4'?: string;
    ipv4: boolean;
    ipv6: boolean;
  };
  'clock-source'?: string;
  controllers: ControllerStatus[];
  proxy: { ip?: string; redirects: number; 'port-range': string } | null;
  'identity-range': { 'min-identity': number; 'max-identity': number };
  hubble: { state: 'Ok' | 'Disabled'; metrics?: string };
  'bpf-maps': { 'dynamic-size-ratio'?: number; maps: MapUsage[] };
  encryption?: { mode: string };
  cluster: ClusterHealth;
  /** Probes that did not report in time: name to time of the last report. */
  stale?: Record<string, string>;
}

/** How full an eBPF map is. */
export interface MapUsage {
  /** As people know it: `IP cache`. */
  name: string;
  /** The map itself: `cilium_ipcache`. */
  map?: string;
  /** Entries that fit; bytes for the ring buffer of events. */
  size: number;
  /** Entries in use, where that means something. */
  entries?: number;
}

/** `GET /v1/config`. */
export interface ConfigResponse {
  /** Cilium's flat ConfigMap keys and their values as text: what `config view` prints. */
  flat: Record<string, string>;
  status: {
    addressing: {
      ipv4: { enabled: boolean; ip: string; 'alloc-range': string };
      ipv6?: { enabled: boolean };
    };
    /** Bytes; of the node's devices. */
    deviceMTU: number;
    /** Bytes; of routes inside pods. */
    routeMTU: number;
    datapathMode: 'veth';
    'ipam-mode': string;
    nodeName: string;
    /** Runtime options, `Enabled`/`Disabled` or a level: what the in-pod `config` prints. */
    realized: { options: Record<string, string>; 'policy-enforcement': string };
    daemonConfigurationMap?: Record<string, unknown>;
  };
}

/** The states of an endpoint, in the order of its life. */
export const ENDPOINT_STATES = [
  'waiting-for-identity',
  'not-ready',
  'waiting-to-regenerate',
  'regenerating',
  'restoring',
  'ready',
  'disconnecting',
  'disconnected',
  'invalid',
] as const;
export type EndpointState = (typeof ENDPOINT_STATES)[number];

/** Which directions have policy enforced; the `audit-` forms only report. */
export type PolicyEnabled =
  | 'none'
  | 'ingress'
  | 'egress'
  | 'both'
  | 'audit-ingress'
  | 'audit-egress'
  | 'audit-both';

export interface EndpointPolicy {
  'allowed-egress-identities': number[];
  'allowed-ingress-identities': number[];
  build: number;
  'denied-egress-identities': number[] | null;
  'denied-ingress-identities': number[] | null;
  /** The identity that the policy was computed for. */
  id: number;
  l4: { egress: unknown[]; ingress: unknown[] };
  'policy-enabled': PolicyEnabled;
  'policy-revision': number;
}

export interface EndpointConfigurationSpec {
  'label-configuration': { user?: string[] };
  options: Record<string, string>;
}

export type HealthWord = 'OK' | 'Bootstrap' | 'Pending' | 'Warning' | 'Failure' | 'Disabled';

export interface EndpointNetworking {
  addressing: { ipv4: string; 'ipv4-pool-name'?: string }[];
  'container-interface-name'?: string;
  /** MAC of the host side device. */
  'host-mac': string;
  'interface-index': number;
  'interface-name': string;
  /** MAC of the pod side device. */
  mac: string;
}

/** One endpoint as `GET /v1/endpoint/{id}` and `endpoint get` show it. */
export interface EndpointModel {
  id: number;
  spec: EndpointConfigurationSpec;
  status: {
    controllers: ControllerStatus[];
    'external-identifiers': {
      'cni-attachment-id'?: string;
      'container-id'?: string;
      'k8s-namespace'?: string;
      'k8s-pod-name'?: string;
      /** `namespace/name`. */
      'pod-name'?: string;
    };
    health: { bpf: HealthWord; connected: boolean; overallHealth: HealthWord; policy: HealthWord };
    identity: { id: number; labels: string[]; labelsSHA256?: string };
    labels: { realized: { user?: string[] }; 'security-relevant': string[] };
    log: { code: string; message: string; state: string; timestamp: string }[];
    networking: EndpointNetworking;
    policy: {
      'proxy-policy-revision': number;
      'proxy-statistics': unknown[];
      realized: EndpointPolicy;
      spec: EndpointPolicy;
    };
    realized: EndpointConfigurationSpec;
    state: EndpointState;
  };
}

/** Reply of `POST /v1/ipam` and `POST /v1/ipam/{ip}`. */
export interface IpamResponse {
  address: { ipv4: string; 'ipv4-pool-name': string; 'ipv4-expiration-uuid'?: string };
  ipv4: { ip: string; gateway?: string; cidrs: string[] | null; 'expiration-uuid'?: string };
  'host-addressing': { ipv4: { 'alloc-range': string; enabled: boolean; ip: string } };
}

/** Reply of `POST /v1/cni`; the body goes to the container runtime unchanged. */
export interface CniReply {
  /** HTTP status: 200 with a result, 4xx or 5xx with a CNI error object. */
  status: number;
  /** JSON value; undefined for an empty body. */
  body: unknown;
}

/** A CNI call as the plugin passes it on. */
export interface CniRequest {
  command: 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC';
  /** `CNI_CONTAINERID`, `CNI_NETNS`, `CNI_IFNAME`, `CNI_ARGS`, `CNI_PATH`; only those that were set. */
  env: Record<string, string>;
  /** The network configuration as given, not parsed. */
  stdin: string;
}

export interface NodeModel {
  name: string;
  'primary-address': { ipv4: { ip: string; 'alloc-range': string; enabled: boolean } };
  /** Every block of the node. */
  'pod-cidrs': string[];
  'health-endpoint-address'?: { ipv4: { ip: string } };
  /** Who told: `local` for this node, else `custom-resource`. */
  source: string;
}

export interface IdentityModel {
  id: number;
  labels: string[];
}

export interface IpModel {
  /** Prefix with length: `172.20.0.1/32`. */
  cidr: string;
  identity: number;
  /** Labels of the identity, as `ip list` prints them. */
  labels: string[];
  /** Address of the node where it lives; absent on this one. */
  hostIP?: string;
  /** `source: custom-resource, k8s, kvstore, local, …`; pods also carry their name. */
  metadata?: { source?: string; namespace?: string; name?: string };
}

/** `map list`: one map of ours. */
export interface MapModel {
  name: string;
  /** Absent when it is not counted. */
  entries?: number;
  errors: number;
  /** True when the agent holds the desired content and repairs the map. */
  cached: boolean;
}

/** `service list`: one frontend with its backends. */
export interface ServiceModel {
  id: number;
  /** Whose it is: `NAMESPACE/NAME` of a Service, `pod:NAMESPACE/NAME` of a host port. */
  name?: string;
  /** `10.96.0.1:443/TCP`; with `/i` behind for clients in the cluster, where those outside get others. */
  frontend: string;
  type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIPs' | 'HostPort' | 'LocalRedirect';
  /** In slot order. */
  backends: { address: string; state: 'active' | 'terminating' | 'quarantined' | 'maintenance' }[];
}

/** Kinds of events that `monitor --type` selects. */
export const MONITOR_TYPES = [
  'drop',
  'trace',
  'trace-sock',
  'policy-verdict',
  'debug',
  'capture',
  'agent',
  'l7',
] as const;
export type MonitorType = (typeof MONITOR_TYPES)[number];

/** What a monitor client asked for. Everything absent means all. */
export interface MonitorFilter {
  types?: MonitorType[];
  /** Endpoint ids; an event passes when its source or destination is among `related`. */
  from?: number[];
  to?: number[];
  related?: number[];
  /** How `text` shows a packet: in one line when absent, else with its layers or its bytes below. */
  packets?: MonitorPackets;
}

/** Forms of a packet in the text of an event. */
export const MONITOR_PACKETS = ['layers', 'hex'] as const;
export type MonitorPackets = (typeof MONITOR_PACKETS)[number];

/** One event of the datapath. `text` is the line for people; the rest are fields for programs. */
export interface MonitorEvent {
  type: MonitorType;
  text: string;
  [field: string]: unknown;
}

/**
 * What the agent answers with. The server validates what goes in and turns failures into codes:
 * a FimbriaError with code NOT_FOUND is 404, INVALID 400, FORBIDDEN 403, ALREADY_EXISTS, CONFLICT or IN_USE 409,
 * TOO_MANY_REQUESTS 429, NOT_IMPLEMENTED 501, UNAVAILABLE 503, anything else 500
 * (in `ipamAllocate` anything else, RANGE_FULL first of all, is 502 as in Cilium).
 * Handlers may be called concurrently.
 */
export interface AgentHandlers {
  /** `brief` asks for the component states only; the rest may then be cheap or stale. */
  healthz(brief: boolean): Promise<StatusResponse>;
  config(): Promise<ConfigResponse>;
  endpoints(): EndpointModel[] | Promise<EndpointModel[]>;
  /** `id` is a number as text or has one of ENDPOINT_ID_PREFIXES. Throws INVALID for a bad form. */
  endpoint(id: string): EndpointModel | undefined | Promise<EndpointModel | undefined>;
  /** Returns false when it was not there. */
  endpointDelete(id: string): Promise<boolean>;
  ipamAllocate(request: { owner: string; family?: 'ipv4' | 'ipv6'; pool?: string }): Promise<IpamResponse>;
  /** Claims one given address. */
  ipamClaim(ip: string, owner: string): Promise<IpamResponse>;
  /** Returns false when it was not allocated. */
  ipamRelease(ip: string): Promise<boolean>;
  cni(request: CniRequest): Promise<CniReply>;
  nodes(): Promise<NodeModel[]>;
  identities(): Promise<IdentityModel[]>;
  ips(): Promise<IpModel[]>;
  /** Text in the exposition format of Prometheus. */
  metrics(): string | Promise<string>;
  maps(): Promise<MapModel[]>;
  services(): Promise<ServiceModel[]>;
  /** `argument` is the endpoint id of `policy`. */
  bpf<T extends BpfTable>(table: T, argument?: string): Promise<BpfTables[T][]>;
  /** Takes every entry away that flows have left there. */
  bpfFlush(table: FlushableTable): Promise<FlushedMap[]>;
  /** Events from now on, until `signal` aborts. May drop events when the consumer is slow. */
  monitor(filter: MonitorFilter, signal: AbortSignal): AsyncIterable<MonitorEvent>;
}

/** Forms of an endpoint's id beside the plain number. */
export const ENDPOINT_ID_PREFIXES = [
  'cilium-local',
  'cni-attachment-id',
  'container-id',
  'pod-name',
  'cep-name',
  'ipv4',
] as const;
export type EndpointIdPrefix = (typeof ENDPOINT_ID_PREFIXES)[number];

/** Splits `pod-name:ns/name` or `1234` into form and value. Undefined for an unknown form. Pure. */
export function parseEndpointId(text: string): { prefix: EndpointIdPrefix; value: string } | undefined {
  if (/^\d{1,5}$/.test(text)) return { prefix: 'cilium-local', value: text };
  const colon = text.indexOf(':');
  const prefix = ENDPOINT_ID_PREFIXES.find(known => known === text.slice(0, colon));
  const value = text.slice(colon + 1);
  if (prefix === undefined || value === '') return undefined;
  if (prefix === 'cilium-local' && !/^\d{1,5}$/.test(value)) return undefined;
  return { prefix, value };
}
