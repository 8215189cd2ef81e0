import type { Service } from '../../model/types.ts';
import type { Family } from '../prefix.ts';
import { parseAddress } from './ranges.ts';

/** What a Service is told by, in its `status.conditions`. */
export const REQUEST_CONDITION = 'cilium.io/IPAMRequestSatisfied';

const CLASSES: readonly (string | undefined)[] = [
  undefined,
  'io.cilium/l2-announcer',
  'io.cilium/bgp-control-plane',
];
const REQUESTED = ['lbipam.cilium.io/ips', 'io.cilium/lb-ipam-ips'];
const SHARING_KEY = ['lbipam.cilium.io/sharing-key', 'io.cilium/lb-ipam-sharing-key'];
const CROSS_NAMESPACE = [
  'lbipam.cilium.io/sharing-cross-namespace',
  'io.cilium/lb-ipam-sharing-cross-namespace',
];

/** An address by which a Service is reached, as a number of its family. */
export interface LbAddress {
  readonly family: Family;
  readonly value: bigint;
}

/** A Service that wants addresses, as far as giving them is concerned. Immutable. */
export interface LbService {
  /** `namespace/name` */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: string;
  /** Its labels, and its name and namespace as the labels that selectors of pools may ask for. */
  readonly labels: Readonly<Record<string, string>>;
  readonly families: readonly Family[];
  /** What it asks for by name; empty: any. */
  readonly requested: readonly LbAddress[];
  /** What it asks for and is no address. */
  readonly unreadable: readonly string[];
  readonly present: readonly LbAddress[];
  /** Whether LB-IPAM has told it something before: what it has is then LB-IPAM's to take away. */
  readonly known: boolean;
  readonly sharingKey: string | undefined;
  /** Namespaces it shares addresses with besides its own; `*` all. */
  readonly shareWith: readonly string[];
  /** `TCP/80`; Services that share an address have none in common. */
  readonly ports: readonly string[];
  readonly localTraffic: boolean;
  readonly selectorText: string;
}

/** Whether the Service is one that LB-IPAM gives addresses to. */
export function wantsAddress({ metadata, spec }: Service): boolean {
  return (
    metadata.deletionTimestamp === undefined &&
    spec.type === 'LoadBalancer' &&
    CLASSES.includes(spec.loadBalancerClass || undefined)
  );
}

/** Whether LB-IPAM has told the Service something. */
export function wasTold({ status }: Service): boolean {
  return status?.conditions?.some(({ type }) => type === REQUEST_CONDITION) === true;
}

export function readLbService(service: Service): LbService {
  const { metadata, spec, status } = service;
  const { name, namespace = 'default' } = metadata;
  const asked = annotation(service, REQUESTED) ?? spec.loadBalancerIP ?? '';
  const requested = asked
    .split(',')
    .map(text => text.trim())
    .filter(text => text !== '');
  const families = (spec['ipFamilies'] as string[] | undefined) ?? ['IPv4'];
  const ports = (spec.ports ?? []).map(({ protocol = 'TCP', port }) => `${protocol}/${port}`);
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    createdAt: metadata.creationTimestamp ?? '',
    labels: {
      ...metadata.labels,
      'io.kubernetes.service.namespace': namespace,
      'io.kubernetes.service.name': name,
    },
    families: families.map(family => (family === 'IPv6' ? 'ipv6' : 'ipv4')),
    requested: requested.flatMap(tryAddress),
    unreadable: requested.filter(text => tryAddress(text).length === 0),
    present: (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip ? tryAddress(ip) : [])),
    known: wasTold(service),
    sharingKey: annotation(service, SHARING_KEY) || undefined,
    shareWith: (annotation(service, CROSS_NAMESPACE) ?? '').split(',').map(text => text.trim()),
    ports,
    localTraffic: spec.externalTrafficPolicy === 'Local',
    selectorText: JSON.stringify(Object.entries(spec.selector ?? {}).sort()),
  };
}

/**
 * Whether two Services may have one address: both name the same key, no port twice, each allows the other's namespace,
 * and they send what comes to the same nodes: with the policy Local only those of the same pods do.
 */
export function mayShare(a: LbService, b: LbService): boolean {
  const allows = (one: LbService, other: LbService): boolean =>
    one.namespace === other.namespace ||
    one.shareWith.includes('*') ||
    one.shareWith.includes(other.namespace);
  return (
    a.sharingKey !== undefined &&
    a.sharingKey === b.sharingKey &&
    !a.ports.some(port => b.ports.includes(port)) &&
    allows(a, b) &&
    allows(b, a) &&
    a.localTraffic === b.localTraffic &&
    (!a.localTraffic || a.selectorText === b.selectorText)
  );
}

function annotation({ metadata }: Service, names: readonly string[]): string | undefined {
  return names.map(name => metadata.annotations?.[name]).find(value => value !== undefined);
}

function tryAddress(text: string): LbAddress[] {
  try {
    return [parseAddress(text)];
  } catch {
    return [];
  }
}
