import { isIpv4, parseIpv4Cidr } from '../base/addr.ts';
import type { LbBackend, LbBackendSet, LbFrontend } from '../datapath/services/types.ts';
import { SERVICE_NAME_LABEL } from '../model/labels.ts';
import type { EndpointSlice, Service, ServicePort } from '../model/types.ts';

/** This node, as services depend on it, and how they are balanced. */
export interface ServiceNode {
  name: string;
  /** Where node ports are served. */
  addresses: readonly string[];
  maglev: boolean;
  dsr: boolean;
}

/** What a Service is on this node. */
export interface ServiceTranslation {
  frontends: LbFrontend[];
  /** What of it cannot be done, for people; empty when all is well. */
  problems: string[];
  /** Endpoints of this node that take clients: what the health check of policy Local answers by. */
  localReady: number;
}

/** Stands for the addresses of all nodes, for clients in the cluster. */
export const ANY_ADDRESS = '0.0.0.0';

const L4_PROTOS: Record<string, number> = { TCP: 6, UDP: 17 };
/** Kubernetes' own default, three hours. */
const AFFINITY_TIMEOUT_S = 10_800;

interface Candidate extends LbBackend {
  isLocal: boolean;
  ready: boolean;
  /** Going, and still able to serve. */
  leaving: boolean;
}

/** Name and namespace of the Service that a slice belongs to, as `NAMESPACE/NAME`. */
export function serviceOfSlice(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  return name === undefined ? undefined : `${slice.metadata.namespace ?? 'default'}/${name}`;
}

/** Whether nobody is to balance it: it has no address of its own. */
export function isHeadless({ spec }: Service): boolean {
  return spec.clusterIP === 'None' || spec.type === 'ExternalName';
}

const isPort = (number: number): boolean => Number.isInteger(number) && number >= 1 && number <= 65_535;

/** Backends of one port of a Service, each address once; complaints about what is none go to `problems`. */
function candidates(
  port: ServicePort,
  slices: readonly EndpointSlice[],
  node: ServiceNode,
  publishNotReady: boolean,
  problems: string[],
): Candidate[] {
  const { name = '', protocol = 'TCP' } = port;
  const found = new Map<string, Candidate>();
  for (const { metadata, addressType, endpoints, ports } of slices) {
    // Of a Service with both families there is a slice of each; IPv6 is told of the Service itself.
    if (addressType === 'FQDN')
      problems.push(`EndpointSlice ${metadata.name}: names are no backends; write addresses`);
    if (addressType !== 'IPv4') continue;
    const number = ports?.find(p => (p.name ?? '') === name && (p.protocol ?? 'TCP') === protocol)?.port;
    if (number === undefined || number === null) continue;
    if (!isPort(number)) {
      problems.push(`EndpointSlice ${metadata.name}: ${number} is no port; write one of 1 to 65535`);
      continue;
    }
    for (const { addresses, conditions, nodeName } of endpoints) {
      const address = addresses[0];
      if (address === undefined || !isIpv4(address)) {
        problems.push(`EndpointSlice ${metadata.name}: "${address ?? ''}" is no IPv4 address`);
        continue;
      }
      // What a slice does not say is yes, but for `terminating`.
      const terminating = conditions?.terminating ?? false;
      const ready = (conditions?.ready ?? true) || (publishNotReady && !terminating);
      const leaving = !ready && terminating && (conditions?.serving ?? false);
      const key = `${address}:${number}`;
      // A Pod that moves between slices is in both for a moment.
      if (found.get(key)?.ready) continue;
      found.set(key, { address, port: number, isLocal: nodeName === node.name, ready, leaving });
    }
  }
  return [...found.values()];
}

const plain = ({ address, port }: Candidate): LbBackend => ({ address, port });

/** Who gets new clients: those that are ready; where there are none, those that go and still serve. */
function chosen(all: readonly Candidate[], local: boolean): LbBackendSet {
  const eligible = local ? all.filter(c => c.isLocal) : all;
  const ready = eligible.filter(c => c.ready);
  return { local, backends: (ready.length > 0 ? ready : eligible.filter(c => c.leaving)).map(plain) };
}

/** Ranges that make sense, and complaints about the others. */
function sourceRangesOf({ spec }: Service, problems: string[]): string[] | undefined {
  const ranges = spec.loadBalancerSourceRanges ?? [];
  if (ranges.length === 0) return undefined;
  return ranges.flatMap(text => {
    const range = text.trim();
    try {
      if (range.includes(':')) return [];
      parseIpv4Cidr(range, { hostBits: 'clear' });
      return [range];
    } catch {
      problems.push(`loadBalancerSourceRanges: "${text}" is no range such as 10.0.0.0/8, and lets nobody in`);
      return [];
    }
  });
}

function affinityOf({ spec }: Service): number | undefined {
  if (spec.sessionAffinity !== 'ClientIP') return undefined;
  const config = spec['sessionAffinityConfig'] as { clientIP?: { timeoutSeconds?: number } } | undefined;
  return config?.clientIP?.timeoutSeconds ?? AFFINITY_TIMEOUT_S;
}

/** Addresses that a load balancer of the Service's has given it, those that it does not terminate itself. */
function ingressAddresses({ spec, status }: Service): string[] {
  if (spec.type !== 'LoadBalancer') return [];
  const ingress = (status?.loadBalancer?.ingress ?? []) as { ip?: string; ipMode?: string }[];
  return ingress.flatMap(({ ip, ipMode }) => (ip && isIpv4(ip) && ipMode !== 'Proxy' ? [ip] : []));
}

const MOST_PROBLEMS = 10;

/** Each once, and no more than an Event can say. */
function shortened(problems: readonly string[]): string[] {
  const all = [...new Set(problems)];
  const more = all.length - MOST_PROBLEMS;
  return more <= 0 ? all : [...all.slice(0, MOST_PROBLEMS), `and ${more} more`];
}

/**
 * What a Service and its slices are on this node: an entry for each address and port that it is reached by. Pure; the
 * order of what it returns follows the order of what it is given.
 */
export function translateService(
  service: Service,
  slices: readonly EndpointSlice[],
  node: ServiceNode,
): ServiceTranslation {
  const { spec, metadata } = service;
  const problems: string[] = [];
  const none = { frontends: [], problems, localReady: 0 };
  if (isHeadless(service)) return none;
  const ports = spec.ports ?? [];
  if (ports.length === 0) {
    problems.push('it has no ports, so nothing can be balanced');
    return none;
  }
  if (spec.clusterIP?.includes(':'))
    problems.push(`cluster IP ${spec.clusterIP}: IPv6 is not balanced; make it a Service of family IPv4`);
  const clusterIps = (spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])).filter(isIpv4);
  const externalLocal = spec.externalTrafficPolicy === 'Local';
  const internalLocal = spec.internalTrafficPolicy === 'Local';
  const affinityTimeoutS = affinityOf(service);
  const sourceRanges = sourceRangesOf(service, problems);
  const ingress = ingressAddresses(service);
  const frontends: LbFrontend[] = [];
  let localReady = 0;
  for (const port of ports) {
    if (!isPort(port.port)) {
      problems.push(`port ${port.port} is no port; write one of 1 to 65535`);
      continue;
    }
    const l4Proto = L4_PROTOS[port.protocol ?? 'TCP'];
    if (l4Proto === undefined) {
      problems.push(`port ${port.port}: protocol ${port.protocol} is not balanced; TCP and UDP are`);
      continue;
    }
    const all = candidates(port, slices, node, spec['publishNotReadyAddresses'] === true, problems);
    localReady = Math.max(localReady, all.filter(c => c.isLocal && c.ready).length);
    const internal = chosen(all, internalLocal);
    const external = externalLocal === internalLocal ? internal : chosen(all, externalLocal);
    const inUse = new Set([...internal.backends, ...external.backends].map(b => `${b.address}:${b.port}`));
    const common = {
      l4Proto,
      group: `${metadata.namespace ?? 'default'}/${metadata.name}:${port.name ?? ''}/${l4Proto}/${port.port}`,
      terminating: all.filter(c => c.leaving && !inUse.has(`${c.address}:${c.port}`)).map(plain),
      ...(affinityTimeoutS === undefined ? {} : { affinityTimeoutS }),
      ...(node.maglev ? { maglev: true } : {}),
    };
    for (const address of clusterIps)
      frontends.push({ ...common, address, port: port.port, type: 'ClusterIP', external: internal });
    const outside = {
      ...common,
      external,
      ...(external === internal ? {} : { internal }),
      // With policy Local the backend is here and answers the client anyhow.
      ...(node.dsr && !externalLocal ? { dsr: true } : {}),
    };
    if (port.nodePort !== undefined && (spec.type === 'NodePort' || spec.type === 'LoadBalancer'))
      for (const address of [...node.addresses, ANY_ADDRESS])
        frontends.push({ ...outside, address, port: port.nodePort, type: 'NodePort' });
    for (const address of ingress)
      frontends.push({
        ...outside,
        address,
        port: port.port,
        type: 'LoadBalancer',
        ...(sourceRanges ? { sourceRanges } : {}),
      });
    for (const address of spec.externalIPs ?? []) {
      if (!isIpv4(address)) {
        problems.push(`external IP "${address}" is no IPv4 address`);
        continue;
      }
      frontends.push({ ...outside, address, port: port.port, type: 'ExternalIPs' });
    }
  }
  return { frontends, problems: shortened(problems), localReady };
}
