import {
  type ControllerStatus as ApiController,
  type MapUsage,
  type StatusResponse,
  ZERO_TIME,
} from '../api/types.ts';
import type { ControllerStatus } from '../base/controller.ts';
import type { DriftSummary } from '../base/drift.ts';
import type { AgentConfig } from '../config/types.ts';
import type { AddressOwner, PoolAllocation, PoolUsage } from '../ipam/types.ts';

/** What the status is made from; the agent gathers it, this file puts it into words. */
export interface StatusInput {
  config: AgentConfig;
  version: string;
  kubernetes: { ok: boolean; message: string };
  cniFile: { ok: boolean; message: string };
  /** Empty when everything is well. */
  problems: string[];
  allocations: readonly PoolAllocation[];
  /** Addresses of other pools are shown with the pool's name. */
  defaultPool: string;
  /** Pools that have blocks here. */
  pools: number;
  usage: PoolUsage;
  podCidrs: readonly string[];
  /** Owner texts by container and interface, such as `default/web`. */
  ownerText(owner: AddressOwner): string;
  /** Devices on which services are served, the one of the node's address first; none where they are not. */
  serviceDevices: readonly { name: string; addresses: readonly string[] }[];
  attachMode: 'tcx' | 'tc';
  controllers: readonly ControllerStatus[];
  routerIpv4: string;
  monitorClients: number;
  eventsLost: number;
  cluster: StatusResponse['cluster'];
  maps: MapUsage[];
  drift: readonly DriftSummary[];
}

/** `GET /healthz`. Pure. */
export function statusResponse(input: StatusInput): StatusResponse {
  const { config } = input;
  const time = (ms: number | undefined): string =>
    ms === undefined ? ZERO_TIME : new Date(ms).toISOString();
  const controllers: ApiController[] = input.controllers.map(c => ({
    name: c.name,
    configuration: { 'error-retry': true },
    status: {
      'last-success-timestamp': time(c.lastSuccessMs),
      'last-failure-timestamp': time(c.lastErrorMs),
      ...(c.consecutiveErrors > 0 ? { 'last-failure-msg': c.message } : {}),
      'success-count': c.successCount,
      'failure-count': c.failureCount,
      'consecutive-failure-count': c.consecutiveErrors,
    },
  }));
  const repaired = input.drift.reduce((sum, d) => sum + d.repaired, 0);
  const last = input.drift
    .flatMap(({ table, recent }) =>
      recent.map(({ key, what, atMs }) => ({ atMs, text: `${table} ${key} ${what}` })),
    )
    .sort((a, b) => a.atMs - b.atMs)
    .at(-1)?.text;
  return {
    kubernetes: { state: input.kubernetes.ok ? 'Ok' : 'Failure', msg: input.kubernetes.message },
    'kube-proxy-replacement': replacement(input),
    'host-firewall': { mode: 'Disabled' },
    srv6: { enabled: false },
    'cni-chaining': { mode: 'none' },
    'cni-file': { state: input.cniFile.ok ? 'Ok' : 'Warning', msg: input.cniFile.message },
    cilium: {
      state: input.problems.length === 0 ? 'Ok' : 'Warning',
      msg: [
        `${input.version} (v${input.version})`,
        ...input.problems,
        ...(repaired > 0 ? [`${repaired} repaired, last: ${last}`] : []),
      ].join('; '),
    },
    'cilium-version': input.version,
    nodeMonitor: {
      state: 'Ok',
      msg: `Listening for events, ${input.monitorClients} clients, ${input.eventsLost} lost`,
    },
    'cilium-health': { state: 'Ok' },
    ipam: {
      status:
        config.ipamMode === 'multi-pool'
          ? `IPv4: ${input.pools} IPAM pool(s) available, `
          : `IPv4: ${input.usage.used}/${input.usage.capacity} allocated from ${input.podCidrs.join(', ')}, `,
      ipv4: input.allocations.map(a => a.address),
      allocations: Object.fromEntries(
        input.allocations.map(({ address, owner, pool }) => [
          pool === input.defaultPool || config.ipamMode !== 'multi-pool' ? address : `${pool}/${address}`,
          input.ownerText(owner),
        ]),
      ),
    },
    'ipv4-big-tcp': { enabled: false },
    'ipv6-big-tcp': { enabled: false },
    'bandwidth-manager': { enabled: false },
    routing: {
      network: config.routingMode === 'native' ? 'Native' : `Tunnel [${config.tunnelProtocol}]`,
      host: config.hostLegacyRouting ? 'Legacy' : 'BPF',
      'host-reason': config.hostRoutingReason,
    },
    'attach-mode': input.attachMode,
    'datapath-mode': 'veth',
    masquerading: masquerading(input),
    'clock-source': 'ktime',
    controllers,
    proxy: null,
    'identity-range': { 'min-identity': 256, 'max-identity': 65535 },
    hubble: { state: 'Disabled', metrics: 'Disabled' },
    'bpf-maps': { maps: input.maps },
    encryption: { mode: 'Disabled' },
    cluster: input.cluster,
  };
}

function replacement({ config, serviceDevices }: StatusInput): StatusResponse['kube-proxy-replacement'] {
  if (!config.kubeProxyReplacement) return { mode: 'False' };
  const direct = serviceDevices[0]?.name;
  const [low, high] = config.nodePortRange;
  return {
    mode: 'True',
    deviceList: serviceDevices.map(({ name, addresses }) => ({ name, ip: [...addresses] })),
    ...(direct ? { 'direct-routing-device': direct } : {}),
    features: {
      mode: config.loadBalancerMode === 'dsr' ? 'DSR' : 'SNAT',
      'backend-selection': config.loadBalancerAlgorithm === 'maglev' ? 'Maglev' : 'Random',
      'socket-lb-coverage': config.socketLbHostNamespaceOnly ? 'Hostns-only' : 'Full',
      'node-port-range': `${low}-${high}`,
    },
  };
}

function masquerading({ config, serviceDevices }: StatusInput): StatusResponse['masquerading'] {
  if (config.masquerade === 'none') return { mode: 'Disabled', ipv4: false, ipv6: false };
  // Cilium's word for what netfilter does; here it is nftables.
  if (config.masquerade === 'netfilter') return { mode: 'IPTables', ipv4: true, ipv6: false };
  return {
    mode: 'BPF',
    devices: serviceDevices.map(({ name }) => name),
    ...(config.ipv4NativeRoutingCidr ? { 'snat-exclusion-cidr-v4': config.ipv4NativeRoutingCidr } : {}),
    ipv4: true,
    ipv6: false,
  };
}
