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
  const groups = [...new Set(KINDS.map(kind => kind.group))].filter(group => group !== '');
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(describeGroup) };
}

/** `GET /apis/GROUP`; undefined for an unknown one. */
export function group(name: string): unknown {
  if (name === '' || versionsOf(name).length === 0) return undefined;
  return { kind: 'APIGroup', apiVersion: 'v1', ...describeGroup(name) };
}

/** `GET /api/v1`, `GET /apis/GROUP/VERSION`; undefined for an unknown one. */
export function resourceList(groupName: string, version: string): unknown {
  const kinds = KINDS.filter(kind => kind.group === groupName && kind.versions.includes(version));
  if (kinds.length === 0) return undefined;
  const groupVersion = groupName === '' ? version : `${groupName}/${version}`;
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: kinds.flatMap(resources) };
}

/** Whether clients may only read objects of this kind. */
export function isReadOnly(kind: Kind): boolean {
  return kind.kind === 'CustomResourceDefinition';
}

function describeGroup(name: string): object {
  const versions = versionsOf(name).map(version => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions, preferredVersion: versions[0] };
}

// Stable versions before alpha ones, as clients take the first for the preferred.
function versionsOf(name: string): string[] {
  const versions = new Set(KINDS.filter(kind => kind.group === name).flatMap(kind => kind.versions));
  return [...versions].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
}

function resources(kind: Kind): object[] {
  const { plural, singular, namespaced, shortNames, categories } = kind;
  const base = { namespaced, kind: kind.kind };
  const list: object[] = [
    {
      name: plural,
      singularName: singular,
      ...base,
      verbs: isReadOnly(kind) ? READ_VERBS : VERBS,
      ...(shortNames.length > 0 && { shortNames }),
      ...(categories.length > 0 && { categories }),
    },
  ];
  const sub = (name: string, fields: object): void => {
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
