import { formatIpv4, ipv4Size, parseIpv4Cidr } from '../../base/addr.ts';
import { SERVICE_CLUSTER_IPS } from '../../model/service-range.ts';
import type { Service, ServicePort } from '../../model/types.ts';
import { hash32, uidOf } from '../objects.ts';

/** What Services get addresses and ports from. */
export interface ServiceRanges {
  /** IPv4 CIDR. Its first address is never given away, as it is the API server's own in every cluster. */
  readonly clusterIps: string;
  /** Both ends included. */
  readonly nodePorts: readonly [number, number];
}

export const SERVICE_RANGES: ServiceRanges = { clusterIps: SERVICE_CLUSTER_IPS, nodePorts: [30000, 32767] };

/** What is to be written into a Service's spec. */
export interface Allocation {
  service: Service;
  spec: Partial<Service['spec']>;
}

/** A Service whose address or port is another's, which had it first. */
export interface ServiceConflict {
  service: Service;
  /** `Cluster IP 10.96.0.5`, `Node port 30080/TCP` */
  what: string;
  /** `namespace/name` */
  holder: string;
}

export interface AllocationPlan {
  allocations: Allocation[];
  conflicts: ServiceConflict[];
  /** `namespace/name` of Services that got nothing since the ranges are full, and what is full. */
  full: { service: Service; what: string }[];
}

/** Values that are taken, by whom. */
class Taken<T> {
  readonly #holders = new Map<T, string>();

  /** Who had it first; undefined when it is `holder`'s now. */
  claim(value: T, holder: string): string | undefined {
    const first = this.#holders.get(value);
    if (first === undefined) this.#holders.set(value, holder);
    return first === holder ? undefined : first;
  }

  has(value: T): boolean {
    return this.#holders.has(value);
  }
}

const nameOf = ({ metadata }: Service): string => `${metadata.namespace}/${metadata.name}`;
const hasAddress = ({ spec }: Service): boolean => spec.type !== 'ExternalName';
const hasNodePorts = ({ spec }: Service): boolean =>
  spec.type === 'NodePort' ||
  (spec.type === 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] !== false);
const isLocal = ({ spec }: Service): boolean =>
  spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';

/**
 * Gives Services the cluster IP and the node ports that they lack, and takes from those that changed their type what
 * does not go with it. Who was created first keeps what two have. A free value is looked for from a place that the
 * Service's uid says, so that a repeated look chooses the same. Pure.
 * @param services all there are
 */
export function planAllocations(services: readonly Service[], ranges = SERVICE_RANGES): AllocationPlan {
  const plan: AllocationPlan = { allocations: [], conflicts: [], full: [] };
  const ordered = [...services].sort((a, b) => {
    const [x, y] = [a, b].map(s => `${s.metadata.creationTimestamp} ${uidOf(s)}`);
    return x! < y! ? -1 : 1;
  });
  const ips = new Taken<string>();
  const ports = new Taken<string>();
  for (const service of ordered) claimPresent(service, ips, ports, plan);
  for (const service of ordered) claimLeft(service, ips, ports);
  for (const service of ordered) {
    const spec = { ...addressOf(service, ips, ranges, plan), ...portsOf(service, ports, ranges, plan) };
    if (Object.keys(spec).length > 0) plan.allocations.push({ service, spec });
  }
  return plan;
}

function portKeys({ spec }: Service): string[] {
  const { ports = [], healthCheckNodePort: health } = spec;
  const own = ports
    .filter(({ nodePort }) => nodePort)
    .map(({ nodePort, protocol = 'TCP' }) => `${nodePort}/${protocol}`);
  return typeof health === 'number' && health > 0 ? [...own, `${health}/TCP`] : own;
}

const mayHaveNodePorts = ({ spec }: Service): boolean =>
  spec.type === 'NodePort' || spec.type === 'LoadBalancer';

function claimPresent(
  service: Service,
  ips: Taken<string>,
  ports: Taken<string>,
  plan: AllocationPlan,
): void {
  const { clusterIP } = service.spec;
  if (hasAddress(service) && clusterIP && clusterIP !== 'None') {
    const holder = ips.claim(clusterIP, nameOf(service));
    if (holder !== undefined) plan.conflicts.push({ service, what: `Cluster IP ${clusterIP}`, holder });
  }
  if (!mayHaveNodePorts(service)) return;
  for (const key of portKeys(service)) {
    const holder = ports.claim(key, nameOf(service));
    if (holder !== undefined) plan.conflicts.push({ service, what: `Node port ${key}`, holder });
  }
}

/** What a Service still has of a former type is nobody else's before it is taken off. */
function claimLeft(service: Service, ips: Taken<string>, ports: Taken<string>): void {
  const { clusterIP } = service.spec;
  if (!hasAddress(service) && clusterIP) ips.claim(clusterIP, nameOf(service));
  if (!mayHaveNodePorts(service)) for (const key of portKeys(service)) ports.claim(key, nameOf(service));
}

/** The first of `size` values that is free, beginning where the Service's uid says. */
function search(service: Service, salt: string, size: number, isFree: (index: number) => boolean) {
  const start = hash32(`${uidOf(service)} ${salt}`) % size;
  for (let i = 0; i < size; i++) {
    const index = (start + i) % size;
    if (isFree(index)) return index;
  }
  return undefined;
}

function addressOf(
  service: Service,
  ips: Taken<string>,
  { clusterIps }: ServiceRanges,
  plan: AllocationPlan,
): Partial<Service['spec']> {
  const { spec } = service;
  if (!hasAddress(service)) {
    return spec.clusterIP ? { clusterIP: undefined, clusterIPs: undefined } : {};
  }
  const family = { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' };
  if (spec.clusterIP) {
    return spec.clusterIPs?.[0] === spec.clusterIP ? {} : { clusterIPs: [spec.clusterIP], ...family };
  }
  const { network, prefixLength } = parseIpv4Cidr(clusterIps);
  const addressAt = (index: number): string => formatIpv4(network + index);
  // Neither the first two (the network's own and the API server's) nor the last.
  const size = ipv4Size(prefixLength) - 3;
  const index = search(service, 'ip', size, i => !ips.has(addressAt(2 + i)));
  if (index === undefined) {
    plan.full.push({ service, what: `cluster IPs of ${clusterIps}` });
    return {};
  }
  const clusterIP = addressAt(2 + index);
  ips.claim(clusterIP, nameOf(service));
  return { clusterIP, clusterIPs: [clusterIP], ...family };
}

function portsOf(
  service: Service,
  taken: Taken<string>,
  { nodePorts: [first, last] }: ServiceRanges,
  plan: AllocationPlan,
): Partial<Service['spec']> {
  const { spec } = service;
  const result: Partial<Service['spec']> = {};
  const find = (salt: string, protocol: string): number | undefined => {
    const size = last - first + 1;
    const index = search(service, salt, size, i => !taken.has(`${first + i}/${protocol}`));
    if (index === undefined) plan.full.push({ service, what: `node ports ${first}-${last}/${protocol}` });
    else taken.claim(`${first + index}/${protocol}`, nameOf(service));
    return index === undefined ? undefined : first + index;
  };
  const ports = (spec.ports ?? []).map((port): ServicePort => {
    if (!hasNodePorts(service)) {
      const { nodePort: _nodePort, ...rest } = port;
      // A LoadBalancer that wants none keeps those that somebody wrote.
      return spec.type === 'LoadBalancer' ? port : rest;
    }
    if (port.nodePort) return port;
    const nodePort = find(`${port.port}`, port.protocol ?? 'TCP');
    return nodePort === undefined ? port : { ...port, nodePort };
  });
  if (ports.some((port, i) => port.nodePort !== spec.ports?.[i]?.nodePort)) result.ports = ports;
  const health = spec['healthCheckNodePort'];
  if (isLocal(service) && !health) {
    const nodePort = find('health', 'TCP');
    if (nodePort !== undefined) result['healthCheckNodePort'] = nodePort;
  } else if (!isLocal(service) && health) result['healthCheckNodePort'] = undefined;
  return result;
}
