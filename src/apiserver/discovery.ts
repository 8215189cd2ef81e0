import { KINDS, type Kind } from '../model/kinds.ts';

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
const READ_VERBS = ['get', 'list', 'watch'];
const STATUS_VERBS = ['get', 'patch', 'update'];

/** `GET /api` */
export function coreVersions(): unknown {
  return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
}

/** `GET /apis` */
export function groupList(): unknown {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groupNames().map(describeGroup) };
}

/** `GET /apis/GROUP`; undefined for an unknown one. */
export function group(name: string): unknown {
  if (name === '' || versionsOf(name).length === 0) return undefined;
  return { kind: 'APIGroup', apiVersion: 'v1', ...describeGroup(name) };
}

/** `GET /api/v1`, `GET /apis/GROUP/VERSION`; undefined for an unknown one. */
export function resourceList(groupName: string, version: string): unknown {
  if (!versionsOf(groupName).includes(version)) return undefined;
  const kinds = kindsOf(groupName, version);
  const groupVersion = groupName === '' ? version : `${groupName}/${version}`;
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: kinds.flatMap(resources) };
}

/** What `Accept` asks for the whole of discovery in one answer, by version of the format. */
export function aggregatedVersion(accept: string): string | undefined {
  for (const part of accept.split(',')) {
    const parameters = part.split(';').map(one => one.trim());
    if (!parameters.includes('as=APIGroupDiscoveryList') || !parameters.includes('g=apidiscovery.k8s.io'))
      continue;
    const version = parameters.find(one => one.startsWith('v='))?.slice(2);
    if (version === 'v2' || version === 'v2beta1') return version;
  }
  return undefined;
}

/** The media type of {@link aggregated}. */
export function aggregatedType(version: string): string {
  return `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
}

/** `GET /api` or `GET /apis` with all that is below. */
export function aggregated(version: string, root: 'api' | 'apis'): unknown {
  const groups = root === 'api' ? [''] : groupNames();
  const items = groups.map(name => ({
    metadata: { name, creationTimestamp: null },
    versions: versionsOf(name).map(served => ({
      version: served,
      resources: kindsOf(name, served).map(kind => discoveryOf(kind, served)),
      freshness: 'Current',
    })),
  }));
  return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
}

function discoveryOf(kind: Kind, version: string): object {
  const [own, ...others] = resources(kind);
  const responseKind = { group: kind.group, version, kind: kind.kind };
  const { name, singularName, verbs, shortNames, categories } = own!;
  return {
    resource: name,
    responseKind,
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singularName,
    verbs,
    ...(shortNames && { shortNames }),
    ...(categories && { categories }),
    ...(others.length > 0 && {
      subresources: others.map(sub => ({
        subresource: sub.name.slice(kind.plural.length + 1),
        responseKind: sub.version
          ? { group: sub.group, version: sub.version, kind: sub.kind }
          : { ...responseKind, kind: sub.kind },
        verbs: sub.verbs,
      })),
    }),
  };
}

/** Whether clients may only read objects of this kind. */
export function isReadOnly(kind: Kind): boolean {
  return kind.kind === 'CustomResourceDefinition';
}

function describeGroup(name: string): object {
  const versions = versionsOf(name).map(version => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions, preferredVersion: versions[0] };
}

/** Groups that have no kinds of their own: `policy` says that Pods can be evicted. */
const EMPTY_GROUPS: Record<string, string[]> = { policy: ['v1'] };

function groupNames(): string[] {
  const names = new Set([...KINDS.map(kind => kind.group), ...Object.keys(EMPTY_GROUPS)]);
  return [...names].filter(name => name !== '').sort();
}

function kindsOf(name: string, version: string): Kind[] {
  return KINDS.filter(kind => kind.group === name && kind.versions.includes(version));
}

// Stable versions before alpha ones, as clients take the first for the preferred.
function versionsOf(name: string): string[] {
  const versions = new Set(KINDS.filter(kind => kind.group === name).flatMap(kind => kind.versions));
  for (const version of EMPTY_GROUPS[name] ?? []) versions.add(version);
  return [...versions].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
}

interface Resource {
  name: string;
  singularName: string;
  namespaced: boolean;
  kind: string;
  verbs: string[];
  group?: string;
  version?: string;
  shortNames?: readonly string[];
  categories?: readonly string[];
}

function resources(kind: Kind): Resource[] {
  const { plural, singular, namespaced, shortNames, categories } = kind;
  const base = { namespaced, kind: kind.kind };
  const list: Resource[] = [
    {
      name: plural,
      singularName: singular,
      ...base,
      verbs: isReadOnly(kind) ? READ_VERBS : VERBS,
      ...(shortNames.length > 0 && { shortNames }),
      ...(categories.length > 0 && { categories }),
    },
  ];
  const sub = (name: string, fields: Pick<Resource, 'verbs'> & Partial<Resource>): void => {
    list.push({ name: `${plural}/${name}`, singularName: '', ...base, ...fields });
  };
  if (kind.hasStatus) sub('status', { verbs: STATUS_VERBS });
  if (kind.hasScale) {
    sub('scale', { group: 'autoscaling', version: 'v1', kind: 'Scale', verbs: STATUS_VERBS });
  }
  if (kind.kind === 'Pod') {
    sub('binding', { kind: 'Binding', verbs: ['create'] });
    sub('eviction', { group: 'policy', version: 'v1', kind: 'Eviction', verbs: ['create'] });
  }
  return list;
}
