import { columns, type TableColumn } from './columns.ts';

/** One kind of object: how it is addressed, and the few ways in which kinds differ. */
export interface Kind {
  /** Empty for the core group. */
  group: string;
  /** Served versions, the stored and preferred one first. All have the same shape. */
  versions: readonly string[];
  /** Group and preferred version, as in an object's `apiVersion`. */
  apiVersion: string;
  kind: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  namespaced: boolean;
  /** True where status is written through its own subresource and ignored elsewhere. */
  hasStatus: boolean;
  /** True where `metadata.generation` counts changes of the specification. */
  hasGeneration: boolean;
  /** True where the `scale` subresource exists. */
  hasScale: boolean;
  /** Defined by a CustomResourceDefinition: no strategic merge patch, unknown fields are dropped, updates name their resourceVersion. */
  custom: boolean;
  categories: readonly string[];
  /** What `get` prints beside name and namespace. */
  columns: readonly TableColumn[];
}

interface KindOptions {
  versions?: string[];
  plural?: string;
  shortNames?: string[];
  cluster?: boolean;
  status?: boolean;
  generation?: boolean;
  scale?: boolean;
  categories?: string[];
}

function define(group: string, version: string, kind: string, options: KindOptions = {}): Kind {
  const singular = kind.toLowerCase();
  const custom = group === 'cilium.io';
  const versions = options.versions ?? [version];
  return {
    group,
    versions,
    apiVersion: group === '' ? versions[0]! : `${group}/${versions[0]}`,
    kind,
    plural: options.plural ?? `${singular}s`,
    singular,
    shortNames: options.shortNames ?? [],
    namespaced: options.cluster !== true,
    hasStatus: options.status === true,
    hasGeneration: custom || options.generation === true,
    hasScale: options.scale === true,
    custom,
    categories: options.categories ?? (custom ? ['cilium'] : []),
    columns: columns(kind),
  };
}

/** Every kind that Fimbria knows, core group first. */
export const KINDS: readonly Kind[] = [
  define('', 'v1', 'ConfigMap', { shortNames: ['cm'] }),
  define('', 'v1', 'Endpoints', { plural: 'endpoints', shortNames: ['ep'] }),
  define('', 'v1', 'Event', { shortNames: ['ev'] }),
  define('', 'v1', 'Namespace', { shortNames: ['ns'], cluster: true, status: true }),
  define('', 'v1', 'Node', { shortNames: ['no'], cluster: true, status: true }),
  define('', 'v1', 'Pod', { shortNames: ['po'], status: true, categories: ['all'] }),
  define('', 'v1', 'Service', { shortNames: ['svc'], status: true, categories: ['all'] }),
  define('', 'v1', 'ServiceAccount', { shortNames: ['sa'] }),
  define('apiextensions.k8s.io', 'v1', 'CustomResourceDefinition', {
    shortNames: ['crd', 'crds'],
    cluster: true,
    generation: true,
    categories: ['api-extensions'],
  }),
  define('apps', 'v1', 'Deployment', {
    shortNames: ['deploy'],
    status: true,
    generation: true,
    scale: true,
    categories: ['all'],
  }),
  define('apps', 'v1', 'ReplicaSet', {
    shortNames: ['rs'],
    status: true,
    generation: true,
    scale: true,
    categories: ['all'],
  }),
  define('coordination.k8s.io', 'v1', 'Lease'),
  define('discovery.k8s.io', 'v1', 'EndpointSlice', { generation: true }),
  define('networking.k8s.io', 'v1', 'NetworkPolicy', {
    plural: 'networkpolicies',
    shortNames: ['netpol'],
    generation: true,
  }),
  define('cilium.io', 'v2', 'CiliumNode', { shortNames: ['cn', 'ciliumn'], cluster: true, status: true }),
  define('cilium.io', 'v2', 'CiliumEndpoint', { shortNames: ['cep', 'ciliumep'] }),
  define('cilium.io', 'v2', 'CiliumIdentity', {
    plural: 'ciliumidentities',
    shortNames: ['ciliumid'],
    cluster: true,
  }),
  define('cilium.io', 'v2', 'CiliumNodeConfig', { versions: ['v2', 'v2alpha1'] }),
  define('cilium.io', 'v2alpha1', 'CiliumPodIPPool', { shortNames: ['cpip'], cluster: true, status: true }),
  define('cilium.io', 'v2alpha1', 'CiliumLoadBalancerIPPool', {
    versions: ['v2alpha1', 'v2'],
    shortNames: ['ippools', 'ippool', 'lbippool', 'lbippools'],
    cluster: true,
    status: true,
  }),
  define('cilium.io', 'v2alpha1', 'CiliumL2AnnouncementPolicy', {
    plural: 'ciliuml2announcementpolicies',
    shortNames: ['l2announcement'],
    cluster: true,
    status: true,
  }),
];

const byName = new Map<string, Kind>();
for (const kind of KINDS) {
  for (const name of [kind.plural, kind.singular, ...kind.shortNames]) {
    if (!byName.has(name)) byName.set(name, kind);
    byName.set(`${name}.${kind.group}`, kind);
    for (const version of kind.versions) byName.set(`${name}.${version}.${kind.group}`, kind);
  }
}

/**
 * The kind that a person means by `name`: Kind, plural, singular or short name in any case, also with its group
 * (`ciliumnodes.cilium.io`).
 */
export function findKind(name: string): Kind | undefined {
  return byName.get(name.toLowerCase());
}

/** The kind of an object, by its `apiVersion` and `kind`. */
export function kindOf(object: { apiVersion?: unknown; kind?: unknown }): Kind | undefined {
  return KINDS.find(kind => kind.kind === object.kind && servedAs(kind, object.apiVersion));
}

/** The kind behind a path of the API. */
export function kindOfResource(group: string, version: string, plural: string): Kind | undefined {
  return KINDS.find(
    kind => kind.group === group && kind.plural === plural && kind.versions.includes(version),
  );
}

/** `pods`, or `ciliumnodes.cilium.io`: the name that the server's messages use. */
export function qualifiedResource(kind: Kind): string {
  return kind.group === '' ? kind.plural : `${kind.plural}.${kind.group}`;
}

/** `v1`, or `cilium.io/v2`. */
export function apiVersionOf(kind: Kind, version: string): string {
  return kind.group === '' ? version : `${kind.group}/${version}`;
}

function servedAs(kind: Kind, apiVersion: unknown): boolean {
  return kind.versions.some(version => apiVersion === apiVersionOf(kind, version));
}
