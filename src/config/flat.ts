import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { checkCombinations, type Resolved } from './check.ts';
import { durationMs } from './duration.ts';
import { readPools } from './pools.ts';
import { flatText, type Place, readValue } from './read.ts';
import { type SettingValue, settingByFlat, settingByPath, settings } from './settings.ts';
import type { AgentConfig, IpamMode, TcxMode } from './types.ts';

/** What a tunnel port of 0 stands for. */
const VXLAN_PORT = 8472;

const at = (path: string): Place => ({ source: 'config', key: settingByPath.get(path)?.flat ?? path });

/**
 * Reads the flat keys of a ConfigMap, filling in defaults. Keys nobody knows are kept in `flat` and have no effect:
 * see `unknownFlatKeys`. Throws BAD_VALUES with the key. Pure.
 */
export function parseFlat(flat: Readonly<Record<string, string>>): AgentConfig {
  const resolved = new Map<string, SettingValue>();
  const complete: Record<string, string> = { ...flat };
  for (const row of settings) {
    const text = row.flat === undefined ? undefined : flat[row.flat];
    if (text !== undefined && text !== '') {
      const listed = row.type.kind === 'ipv4Ranges' || row.type.kind === 'texts';
      const raw = listed ? text.split(/[\s,]+/).filter(item => item !== '') : text;
      resolved.set(row.path, readValue(row, raw, at(row.path)));
    } else if (row.default !== undefined) resolved.set(row.path, row.default);
    const value = resolved.get(row.path);
    if (row.flat === undefined || value === undefined) continue;
    const shown = flatText(value);
    if (shown === '') delete complete[row.flat];
    else complete[row.flat] = shown;
  }
  checkCombinations(resolved, at);
  const mode = resolved.get('ipam.mode') as IpamMode;
  for (const key of withoutMeaning(mode)) delete complete[key];
  const get = <T extends SettingValue>(path: string): T => resolved.get(path) as T;
  const nativeRange = resolved.get('ipv4NativeRoutingCIDR') as string | undefined;
  const serveAddress = resolved.get('prometheus.serveAddr') as string | undefined;
  return Object.freeze({
    clusterName: get<string>('cluster.name'),
    ipamMode: mode,
    clusterPoolIpv4Cidrs:
      mode === 'multi-pool' ? [] : get<readonly string[]>('ipam.operator.clusterPoolIPv4PodCIDRList'),
    clusterPoolIpv4MaskSize: get<number>('ipam.operator.clusterPoolIPv4MaskSize'),
    ...ipamOf(resolved),
    routingMode: get<string>('routingMode') as AgentConfig['routingMode'],
    tunnelProtocol: 'vxlan',
    tunnelPort: get<number>('tunnelPort') || VXLAN_PORT,
    autoDirectNodeRoutes: get<boolean>('autoDirectNodeRoutes'),
    endpointRoutes: get<boolean>('endpointRoutes.enabled'),
    ...(nativeRange === undefined ? {} : { ipv4NativeRoutingCidr: nativeRange }),
    ...hostRoutingOf(resolved),
    tcx: get<string>('bpf.tcx') as TcxMode,
    masquerade: masqueradeOf(resolved),
    ipMasqAgent: get<boolean>('ipMasqAgent.enabled'),
    loadBalancerAlgorithm: get<string>('loadBalancer.algorithm') as AgentConfig['loadBalancerAlgorithm'],
    socketLbHostNamespaceOnly: get<boolean>('socketLB.hostNamespaceOnly'),
    loadBalancerMode: get<string>('loadBalancer.mode') as AgentConfig['loadBalancerMode'],
    nodePortRange: get<string>('nodePort.range').split(',').map(Number) as [number, number],
    lbMapMax: get<number>('bpf.lbMapMax'),
    flowMapMax: flowMapMaxOf(resolved),
    kubeProxyReplacement: get<boolean>('kubeProxyReplacement'),
    ...(get<boolean>('l2announcements.enabled')
      ? {
          l2Announcements: {
            leaseMs: durationMs(get<string>('l2announcements.leaseDuration')),
            deadlineMs: durationMs(get<string>('l2announcements.leaseRenewDeadline')),
            renewMs: durationMs(get<string>('l2announcements.leaseRetryPeriod')),
          },
        }
      : {}),
    cniExclusive: get<boolean>('cni.exclusive'),
    mtu: get<number>('MTU'),
    devices: get<readonly string[]>('devices'),
    ...(serveAddress === undefined ? {} : { prometheusServeAddr: serveAddress }),
    flat: Object.freeze(
      Object.fromEntries(Object.entries(complete).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))),
    ),
  });
}

function flowMapMaxOf(resolved: Resolved): AgentConfig['flowMapMax'] {
  const paths = { ctTcp: 'bpf.ctTcpMax', ctAny: 'bpf.ctAnyMax', nat: 'bpf.natMax' };
  return Object.fromEntries(
    Object.entries(paths).flatMap(([name, path]) => {
      const value = resolved.get(path);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function masqueradeOf(resolved: Resolved): AgentConfig['masquerade'] {
  if (resolved.get('enableIPv4Masquerade') !== true) return 'none';
  return resolved.get('bpf.masquerade') === true ? 'bpf' : 'netfilter';
}

/** Past the stack by default where nothing is left for it to do. */
function hostRoutingOf(resolved: Resolved): Pick<AgentConfig, 'hostLegacyRouting' | 'hostRoutingReason'> {
  const wanted = resolved.get('bpf.hostLegacyRouting') as boolean | undefined;
  if (wanted !== undefined)
    return { hostLegacyRouting: wanted, hostRoutingReason: `bpf.hostLegacyRouting is ${wanted}` };
  if (resolved.get('kubeProxyReplacement') !== true)
    return { hostLegacyRouting: true, hostRoutingReason: 'kubeProxyReplacement is not on' };
  if (masqueradeOf(resolved) !== 'bpf')
    return { hostLegacyRouting: true, hostRoutingReason: 'masquerade is not in eBPF' };
  return { hostLegacyRouting: false, hostRoutingReason: 'services and masquerade are in eBPF' };
}

/** Flat keys that Cilium does not write in a mode, since nobody reads them. Pure. */
export function withoutMeaning(mode: IpamMode): string[] {
  const clusterPool = ['cluster-pool-ipv4-cidr', 'cluster-pool-ipv4-mask-size', 'ipam-grow-full-nodes'];
  const multiPool = [
    'auto-create-cilium-pod-ip-pools',
    'ipam-multi-pool-pre-allocation',
    'ipam-default-ip-pool',
  ];
  // The ranges of host-scope mode are those that the lab's stand-in for Kubernetes cuts up.
  return mode === 'multi-pool' ? clusterPool : multiPool;
}

/** Addresses that are ready where nothing is configured. */
const PRE_ALLOCATION = 8;

function ipamOf(
  resolved: Resolved,
): Pick<
  AgentConfig,
  'growFullNodes' | 'autoCreatePools' | 'defaultIpPool' | 'preAllocation' | 'ciliumNodeUpdateRateMs'
> {
  const texts = (resolved.get('ipam.operator.autoCreateCiliumPodIPPools') ?? []) as readonly string[];
  const defaultIpPool = (resolved.get('ipam.defaultIPPool') as string | undefined) ?? 'default';
  const amounts = resolved.get('ipam.multiPoolPreAllocation') as string | undefined;
  return {
    growFullNodes: resolved.get('ipam.operator.clusterPoolGrowFullNodes') === true,
    autoCreatePools: readPools(texts.join(' '), at('ipam.operator.autoCreateCiliumPodIPPools')),
    defaultIpPool,
    preAllocation: amounts
      ? Object.fromEntries(
          amounts.split(',').map(item => {
            const [pool = '', amount] = item.split('=');
            return [pool, Number(amount)];
          }),
        )
      : { [defaultIpPool]: PRE_ALLOCATION },
    ciliumNodeUpdateRateMs: durationMs(resolved.get('ipam.ciliumNodeUpdateRate') as string),
  };
}

/** Keys that have no effect, sorted: for a warning at start. */
export function unknownFlatKeys(flat: Readonly<Record<string, string>>): string[] {
  return Object.keys(flat)
    .filter(key => !settingByFlat.has(key))
    .sort();
}

/**
 * The flat keys of a directory with one file per key, as Kubernetes mounts a ConfigMap. Dot files (its bookkeeping)
 * and directories are passed over; one trailing line end is cut. Throws CONFIG_DIR when it cannot be read.
 */
export function readConfigDir(dir: string): Record<string, string> {
  try {
    const flat: Record<string, string> = {};
    for (const name of readdirSync(dir).sort()) {
      const path = join(dir, name);
      if (!name.startsWith('.') && statSync(path).isFile())
        flat[name] = readFileSync(path, 'utf8').replace(/\n$/, '');
    }
    return flat;
  } catch (error) {
    throw new FimbriaError({
      code: 'CONFIG_DIR',
      op: 'read',
      object: `config directory ${dir}`,
      why: messageOf(error),
      cause: error,
    });
  }
}

/** `parseFlat` of a config directory. */
export function loadConfigDir(dir: string): AgentConfig {
  return parseFlat(readConfigDir(dir));
}
