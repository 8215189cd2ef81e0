import { isIpv4 } from '../base/addr.ts';
import { SERVICE_NAME_LABEL } from '../model/labels.ts';
import { matchesLabels } from '../model/selectors.ts';
import type { CiliumL2AnnouncementPolicy, EndpointSlice, Service } from '../model/types.ts';

/** A network device that an address may be announced on. */
export interface AnnouncingDevice {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: string;
}

/** What this node would announce of one Service if it had the Service's lease. */
export interface Announcement {
  readonly namespace: string;
  readonly name: string;
  /** IPv4. */
  readonly addresses: readonly string[];
  readonly devices: readonly AnnouncingDevice[];
}

export interface AnnouncementInput {
  readonly policies: readonly CiliumL2AnnouncementPolicy[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  readonly node: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  /** Those that work: up, with a carrier. */
  readonly devices: readonly AnnouncingDevice[];
}

const OUR_CLASS = 'io.cilium/l2-announcer';

/** The name of a Service's lease, as Cilium's agents call it. */
export function leaseName({ namespace, name }: { namespace: string; name: string }): string {
  return `cilium-l2announce-${namespace}-${name}`;
}

/**
 * What this node is a candidate for, by lease. A Service counts when a policy selects it and this node and it has an
 * address of a kind that the policy announces; with `externalTrafficPolicy: Local` only where a ready endpoint is: any
 * other node would attract what it then drops. Several policies add up. Pure.
 */
export function announcements(input: AnnouncementInput): Map<string, Announcement> {
  const policies = input.policies.filter(
    policy => policyFault(policy) === undefined && selects(policy.spec.nodeSelector, input.node.labels),
  );
  const local = localServices(input);
  const found = new Map<string, Announcement>();
  if (policies.length === 0 || input.devices.length === 0) return found;
  for (const service of input.services) {
    const { name, namespace = 'default', labels } = service.metadata;
    if (service.metadata.deletionTimestamp !== undefined) continue;
    if (service.spec.externalTrafficPolicy === 'Local' && !local.has(`${namespace}/${name}`)) continue;
    const seen = {
      ...labels,
      'io.kubernetes.service.namespace': namespace,
      'io.kubernetes.service.name': name,
    };
    const addresses = new Set<string>();
    const devices = new Map<number, AnnouncingDevice>();
    for (const policy of policies) {
      if (!selects(policy.spec.serviceSelector, seen)) continue;
      const its = addressesFor(policy, service);
      if (its.length === 0) continue;
      for (const address of its) addresses.add(address);
      for (const device of devicesOf(policy, input.devices)) devices.set(device.ifindex, device);
    }
    if (addresses.size > 0 && devices.size > 0)
      found.set(leaseName({ namespace, name }), {
        namespace,
        name,
        addresses: [...addresses].sort(),
        devices: [...devices.values()].sort((a, b) => a.ifindex - b.ifindex),
      });
  }
  return found;
}

/** Cilium's reasons for which a policy announces nothing. */
export interface PolicyFault {
  readonly type:
    | 'io.cilium/bad-service-selector'
    | 'io.cilium/bad-node-selector'
    | 'io.cilium/bad-interface-regex';
  readonly message: string;
}

/** What is wrong with a policy; undefined when nothing is. Pure. */
export function policyFault({ spec }: CiliumL2AnnouncementPolicy): PolicyFault | undefined {
  const service = selectorFault(spec.serviceSelector);
  if (service) return { type: 'io.cilium/bad-service-selector', message: service };
  const node = selectorFault(spec.nodeSelector);
  if (node) return { type: 'io.cilium/bad-node-selector', message: node };
  for (const pattern of spec.interfaces ?? [])
    if (regexOf(pattern) === undefined)
      return {
        type: 'io.cilium/bad-interface-regex',
        message: `'${pattern}' is no regular expression; write one such as ^eth[0-9]+`,
      };
  return undefined;
}

type Selector = CiliumL2AnnouncementPolicy['spec']['serviceSelector'];

function selectorFault(selector: Selector): string | undefined {
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    const needs = operator === 'In' || operator === 'NotIn';
    if (needs && values.length === 0) return `${operator} of ${key} needs values`;
    if (!needs && values.length > 0) return `${operator} of ${key} takes no values`;
  }
  return undefined;
}

/** An absent selector selects everything here. */
function selects(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  return selector === undefined || matchesLabels(selector, labels);
}

function regexOf(pattern: string): RegExp | undefined {
  try {
    return new RegExp(pattern);
  } catch {
    return undefined;
  }
}

function devicesOf(
  { spec }: CiliumL2AnnouncementPolicy,
  devices: readonly AnnouncingDevice[],
): readonly AnnouncingDevice[] {
  const patterns = (spec.interfaces ?? []).flatMap(pattern => regexOf(pattern) ?? []);
  return patterns.length === 0
    ? devices
    : devices.filter(({ name }) => patterns.some(pattern => pattern.test(name)));
}

function addressesFor({ spec }: CiliumL2AnnouncementPolicy, service: Service): string[] {
  const { type, loadBalancerClass, externalIPs = [] } = service.spec;
  const ours = type === 'LoadBalancer' && (!loadBalancerClass || loadBalancerClass === OUR_CLASS);
  const ingress = (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
  return [...(spec.loadBalancerIPs && ours ? ingress : []), ...(spec.externalIPs ? externalIPs : [])].filter(
    isIpv4,
  );
}

/** `namespace/name` of Services with a ready endpoint on this node. */
function localServices({ slices, node }: AnnouncementInput): Set<string> {
  const found = new Set<string>();
  for (const { metadata, endpoints } of slices) {
    const service = metadata.labels?.[SERVICE_NAME_LABEL];
    const isHere = endpoints.some(one => one.nodeName === node.name && one.conditions?.ready !== false);
    if (service !== undefined && isHere) found.add(`${metadata.namespace ?? 'default'}/${service}`);
  }
  return found;
}
