import { DURATION } from './duration.ts';

/** What a setting's value may be. Every kind also has a text form: its flat key's value. */
export type SettingType =
  | { readonly kind: 'boolean' }
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  | { readonly kind: 'text'; readonly pattern?: RegExp; readonly meaning?: string }
  /** `later` are values that Cilium has and Fimbria has not built yet. */
  | { readonly kind: 'choice'; readonly values: readonly string[]; readonly later?: readonly string[] }
  | { readonly kind: 'ipv4Range' }
  | { readonly kind: 'ipv4Ranges' }
  | { readonly kind: 'texts'; readonly pattern: RegExp; readonly meaning: string }
  /** Pools by name, each with ranges and mask of either family. The value is their flat texts. */
  | { readonly kind: 'pools' }
  /** Numbers by name; the value is `a=8,b=16`. */
  | { readonly kind: 'amounts' }
  /** Only its "off" value can be written so far. */
  | { readonly kind: 'any' };

/** A parsed value. Lists are lists of canonical texts. */
export type SettingValue = boolean | number | string | readonly string[];

/** One row: everything that is known about one Helm value. */
export interface Setting {
  /** Dotted Helm path. For `any` and `not-yet` rows it covers what lies below it. */
  readonly path: string;
  readonly type: SettingType;
  /** Left out where absence means something of its own. */
  readonly default?: SettingValue;
  /** Its key in the ConfigMap, which `config view` prints. */
  readonly flat?: string;
  /**
   * `built`: does what it says. `not-yet`: only `off` values are taken, anything else is refused.
   * Keys that Cilium knows and that mean nothing here are in `meaningless.ts`.
   */
  readonly status: 'built' | 'not-yet';
  readonly off?: readonly unknown[];
  readonly doc: string;
}

const boolean: SettingType = { kind: 'boolean' };

function built(
  path: string,
  flat: string | undefined,
  type: SettingType,
  initial: SettingValue | undefined,
  doc: string,
): Setting {
  return {
    path,
    type,
    status: 'built',
    doc,
    ...(flat === undefined ? {} : { flat }),
    ...(initial === undefined ? {} : { default: initial }),
  };
}

/** A switch whose feature does not exist yet; its flat key says `false`. */
function later(path: string, flat: string | undefined, doc: string): Setting {
  const row = { path, type: boolean, status: 'not-yet', off: [false, 'false'], doc } as const;
  return flat === undefined ? row : { ...row, flat, default: false };
}

/** A whole table of a feature that does not exist yet; only its absence is taken. */
function laterTable(path: string, doc: string): Setting {
  return { path, type: { kind: 'any' }, status: 'not-yet', off: [], doc };
}

/**
 * Every value that Fimbria understands: the one source for validation, defaults, flat keys and documentation.
 * Errors are looked for in this order.
 */
export const settings: readonly Setting[] = [
  built(
    'cluster.name',
    'cluster-name',
    {
      kind: 'text',
      pattern: /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/,
      meaning: 'a name of up to 32 lower-case letters, digits and dashes',
    },
    'default',
    'Name of the cluster, part of every identity.',
  ),
  built(
    'ipam.mode',
    'ipam',
    {
      kind: 'choice',
      values: ['cluster-pool', 'multi-pool', 'kubernetes'],
      later: ['crd', 'delegated-plugin'],
    },
    'cluster-pool',
    'Who hands out pod addresses. `cluster-pool`: the operator gives each node one block of the pod ranges. `multi-pool`: blocks of several CiliumPodIPPools, as many as each node needs. `kubernetes`: the Node object says which block. Cannot be changed on a running cluster.',
  ),
  built(
    'ipam.operator.clusterPoolIPv4PodCIDRList',
    'cluster-pool-ipv4-cidr',
    { kind: 'ipv4Ranges' },
    ['10.244.0.0/16'],
    'Pod ranges of the cluster, used in this order. Append to grow; never change or remove one that is in use.',
  ),
  built(
    'ipam.operator.clusterPoolIPv4MaskSize',
    'cluster-pool-ipv4-mask-size',
    { kind: 'integer', min: 0, max: 128 },
    24,
    "Prefix length of a node's block. A block's first and last address are not used, the router and the health endpoint take two more.",
  ),
  built(
    'ipam.operator.clusterPoolGrowFullNodes',
    'ipam-grow-full-nodes',
    boolean,
    undefined,
    'cluster-pool: a node that is full gets a second block of the pod ranges. Off unless set; a node keeps what it got.',
  ),
  built(
    'ipam.operator.autoCreateCiliumPodIPPools',
    'auto-create-cilium-pod-ip-pools',
    { kind: 'pools' },
    undefined,
    'multi-pool: CiliumPodIPPools that the operator creates when they are missing. Those that exist are never changed.',
  ),
  built(
    'ipam.multiPoolPreAllocation',
    'ipam-multi-pool-pre-allocation',
    { kind: 'amounts' },
    undefined,
    "multi-pool: addresses that every node has ready, by pool; 8 of the node's default pool unless set.",
  ),
  built(
    'ipam.defaultIPPool',
    'ipam-default-ip-pool',
    { kind: 'text', pattern: /^[a-z0-9][-a-z0-9.]*$/, meaning: 'the name of a pool' },
    undefined,
    'multi-pool: the pool of Pods that name none, and of the router; `default` unless set. Per node by CiliumNodeConfig.',
  ),
  built(
    'ipam.ciliumNodeUpdateRate',
    'ipam-cilium-node-update-rate',
    { kind: 'text', pattern: DURATION, meaning: 'a duration such as 15s' },
    '15s',
    'multi-pool: how often at most an agent writes what it needs when no Pod waits for it.',
  ),
  built(
    'routingMode',
    'routing-mode',
    { kind: 'choice', values: ['tunnel', 'native'] },
    'tunnel',
    'How packets cross from node to node: encapsulated, or as they are.',
  ),
  built(
    'tunnelProtocol',
    'tunnel-protocol',
    { kind: 'choice', values: ['vxlan'], later: ['geneve'] },
    'vxlan',
    'The encapsulation of tunnel mode.',
  ),
  built(
    'tunnelPort',
    'tunnel-port',
    { kind: 'integer', min: 0, max: 65535 },
    8472,
    'UDP port of the tunnel; 0 is 8472.',
  ),
  built(
    'autoDirectNodeRoutes',
    'auto-direct-node-routes',
    boolean,
    false,
    "Native mode: install a route to every peer's block by its node address. The nodes must share a network segment.",
  ),
  built(
    'endpointRoutes.enabled',
    'enable-endpoint-routes',
    boolean,
    false,
    'One route per pod, instead of the whole block through `cilium_host`.',
  ),
  built(
    'ipv4NativeRoutingCIDR',
    'ipv4-native-routing-cidr',
    { kind: 'ipv4Range' },
    undefined,
    'Native mode: the range that is reachable without masquerading.',
  ),
  built(
    'bpf.hostLegacyRouting',
    'enable-host-legacy-routing',
    boolean,
    undefined,
    "Let pod packets pass the node's own stack, where netfilter sees them. `false` takes the short way past it, which is also taken, unless set, where both `kubeProxyReplacement` and masquerade are in eBPF.",
  ),
  built(
    'bpf.tcx',
    'bpf-tcx',
    { kind: 'choice', values: ['devices', 'always', 'never'] },
    'devices',
    'Attach by TCX links: to long-lived devices only, to pod devices too, or nowhere.',
  ),
  built(
    'MTU',
    'mtu',
    { kind: 'integer', min: 0, max: 65535 },
    0,
    "Device MTU of pods in bytes; 0 takes that of the node's device.",
  ),
  built(
    'devices',
    'devices',
    { kind: 'texts', pattern: /^[^\s/]{1,15}$/, meaning: 'a device name' },
    [],
    "The node's network devices; none means that they are found by themselves.",
  ),
  built(
    'cni.exclusive',
    'cni-exclusive',
    boolean,
    true,
    'Put the CNI configurations of others aside (`.cilium_bak`) once the datapath is ready; they come back with `fimbria cleanup`.',
  ),
  built(
    'kubeProxyReplacement',
    'kube-proxy-replacement',
    boolean,
    false,
    'Services are balanced in eBPF, so that kube-proxy is not needed.',
  ),
  built(
    'enableIPv4Masquerade',
    'enable-ipv4-masquerade',
    boolean,
    true,
    'What pods send out of the cluster leaves with the address of the node: by nftables, or in eBPF with `bpf.masquerade`. In native mode `ipv4NativeRoutingCIDR` is left alone.',
  ),
  built(
    'bpf.masquerade',
    'enable-bpf-masquerade',
    boolean,
    false,
    'Masquerade in eBPF instead of netfilter. Needs `kubeProxyReplacement`.',
  ),
  built(
    'ipMasqAgent.enabled',
    'enable-ip-masq-agent',
    boolean,
    false,
    'Destinations of a list are not masqueraded: of the ConfigMap `ip-masq-agent` (`nonMasqueradeCIDRs`, `masqLinkLocal`), else private and special ranges. Changes are followed.',
  ),
  built(
    'socketLB.hostNamespaceOnly',
    'bpf-lb-sock-hostns-only',
    boolean,
    false,
    'Services are translated at sockets of the node only; what pods send is translated packet by packet, as sidecars that watch addresses need it. Needs `kubeProxyReplacement`, Linux 5.14.',
  ),
  built(
    'loadBalancer.algorithm',
    'bpf-lb-algorithm',
    { kind: 'choice', values: ['random', 'maglev'] },
    'random',
    'How a backend is chosen for what comes from outside: at random, or by the client so that every node chooses alike.',
  ),
  built(
    'loadBalancer.mode',
    'bpf-lb-mode',
    { kind: 'choice', values: ['snat', 'dsr'], later: ['hybrid'] },
    'snat',
    'What comes from outside to a node without the backend: `snat` sends it on with the address of the node, `dsr` lets the backend answer the client by itself (native mode).',
  ),
  built(
    'nodePort.range',
    'node-port-range',
    {
      kind: 'text',
      pattern: /^\d{1,5},\d{1,5}$/,
      meaning: 'two ports such as 30000,32767',
    },
    '30000,32767',
    'Ports that Kubernetes gives to Services of type NodePort.',
  ),
  built(
    'bpf.lbMapMax',
    'bpf-lb-map-max',
    { kind: 'integer', min: 1024, max: 1 << 20 },
    65536,
    'Frontends of services that a node has room for; twice as many backends, four times as many places of backends.',
  ),
  built(
    'bpf.ctTcpMax',
    'bpf-ct-global-tcp-max',
    { kind: 'integer', min: 1024, max: 1 << 24 },
    undefined,
    'TCP flows that conntrack has room for; 131072 unless set. Full, those longest unused go. A change at a restart keeps what fits.',
  ),
  built(
    'bpf.ctAnyMax',
    'bpf-ct-global-any-max',
    { kind: 'integer', min: 1024, max: 1 << 24 },
    undefined,
    'The same of all other flows; 65536 unless set.',
  ),
  built(
    'bpf.natMax',
    'bpf-nat-global-max',
    { kind: 'integer', min: 1024, max: 1 << 24 },
    undefined,
    'The same of translations, two to a flow; 131072 unless set.',
  ),
  built('prometheus.enabled', undefined, boolean, false, 'Every agent serves metrics for Prometheus.'),
  built('prometheus.port', undefined, { kind: 'integer', min: 1, max: 65535 }, 9962, 'Where it does so.'),
  built(
    'prometheus.serveAddr',
    'prometheus-serve-addr',
    {
      kind: 'text',
      pattern: /^(\[[0-9a-fA-F:]+\]|[\w.-]*):\d{1,5}$/,
      meaning: 'an address and port such as 127.0.0.1:9962, or :9962',
    },
    undefined,
    'The same as address and port; without it, all addresses when `prometheus.enabled`.',
  ),
  built(
    'l2announcements.enabled',
    'enable-l2-announcements',
    boolean,
    false,
    'Nodes answer ARP for addresses of Services that a CiliumL2AnnouncementPolicy selects; needs `kubeProxyReplacement`.',
  ),
  built(
    'l2announcements.leaseDuration',
    'l2-announcements-lease-duration',
    { kind: 'text', pattern: DURATION, meaning: 'a duration such as 15s' },
    '15s',
    'How long others respect a node that does not renew its lease of a Service: after that another announces it.',
  ),
  built(
    'l2announcements.leaseRenewDeadline',
    'l2-announcements-renew-deadline',
    { kind: 'text', pattern: DURATION, meaning: 'a duration such as 15s' },
    '5s',
    'How long a node tries to renew a lease before it asks for it anew.',
  ),
  built(
    'l2announcements.leaseRetryPeriod',
    'l2-announcements-retry-period',
    { kind: 'text', pattern: DURATION, meaning: 'a duration such as 15s' },
    '2s',
    'Between renewals of a lease, and between looks at one that another node has.',
  ),
  built(
    'externalIPs.enabled',
    'enable-external-ips',
    boolean,
    false,
    'Services are served at their externalIPs; with `kubeProxyReplacement` they always are.',
  ),
  later('directRoutingSkipUnreachable', 'direct-routing-skip-unreachable', 'Skip peers off the segment.'),
  laterTable('ipam.operator.clusterPoolIPv6PodCIDRList', 'IPv6 pod ranges.'),
  laterTable('extraConfig', 'Flat keys given as they are.'),
  {
    path: 'l2NeighDiscovery.enabled',
    flat: 'enable-l2-neigh-discovery',
    type: boolean,
    default: true,
    status: 'not-yet',
    off: [true, 'true'],
    doc: 'Keeping the kernel from finding neighbours; it looks for them when a packet goes there.',
  },
  {
    path: 'ipv4.enabled',
    flat: 'enable-ipv4',
    type: boolean,
    default: true,
    status: 'not-yet',
    off: [true, 'true'],
    doc: 'Clusters without IPv4.',
  },
  {
    path: 'enableLBIPAM',
    flat: 'enable-lb-ipam',
    type: boolean,
    default: true,
    status: 'not-yet',
    off: [true, 'true'],
    doc: 'Addresses of Services of type LoadBalancer from pools; there are no such pools in use yet.',
  },
  {
    path: 'defaultLBServiceIPAM',
    flat: 'default-lb-service-ipam',
    type: { kind: 'choice', values: ['lbipam'], later: ['nodeipam', 'none'] },
    default: 'lbipam',
    status: 'not-yet',
    off: ['lbipam'],
    doc: 'Who gives them where a Service does not say.',
  },
  {
    path: 'cluster.id',
    type: { kind: 'integer', min: 0, max: 255 },
    status: 'not-yet',
    off: [0, '0'],
    doc: 'Cluster mesh.',
  },
  {
    path: 'policyEnforcementMode',
    flat: 'enable-policy',
    type: { kind: 'choice', values: ['default', 'never', 'always'] },
    default: 'default',
    status: 'not-yet',
    off: ['default', 'never'],
    doc: 'When policy is enforced.',
  },
  later('ipv6.enabled', 'enable-ipv6', 'IPv6 for pods.'),
  later('enableIPv6Masquerade', undefined, 'IPv6 masquerading.'),
  later('hostFirewall.enabled', undefined, "Policy for the node's own traffic."),
  later('encryption.enabled', undefined, 'Encryption between nodes.'),
  later('egressGateway.enabled', undefined, 'Egress gateways.'),
  later('bgpControlPlane.enabled', undefined, 'Announcing ranges by BGP.'),
  later('bandwidthManager.enabled', undefined, 'Pod bandwidth limits.'),
  later('localRedirectPolicy', undefined, 'Redirecting services to local pods.'),
  later('ingressController.enabled', undefined, 'Ingress.'),
  later('gatewayAPI.enabled', undefined, 'Gateway API.'),
  later('hubble.enabled', undefined, 'Flow records over gRPC; `monitor` shows packets.'),
  later('hubble.relay.enabled', undefined, 'Hubble relay.'),
  later('hubble.ui.enabled', undefined, 'Hubble UI.'),
  later('clustermesh.useAPIServer', undefined, 'Cluster mesh.'),
  later('authentication.enabled', undefined, 'Mutual authentication.'),
  later('nodePort.enabled', undefined, 'NodePort services without kube-proxy replacement.'),
  later('socketLB.enabled', undefined, 'Service translation at the socket.'),
  later('hostPort.enabled', undefined, 'Host ports.'),
  later('l7Proxy', undefined, 'Policy for application protocols.'),
  later('vtep.enabled', undefined, 'VXLAN endpoints outside the cluster.'),
  later('nat46x64Gateway.enabled', undefined, 'NAT46 and NAT64.'),
  later('enableIPv4BIGTCP', undefined, 'BIG TCP.'),
  later('enableIPv6BIGTCP', undefined, 'BIG TCP.'),
  later('sctp.enabled', undefined, 'SCTP.'),
  later('ciliumEndpointSlice.enabled', undefined, 'Endpoints published in slices.'),
];

/** Rows by path. */
export const settingByPath: ReadonlyMap<string, Setting> = new Map(settings.map(row => [row.path, row]));

/** Rows that have a flat key, by it. */
export const settingByFlat: ReadonlyMap<string, Setting> = new Map(
  settings.flatMap(row => (row.flat === undefined ? [] : [[row.flat, row] as const])),
);
