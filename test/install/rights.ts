import type { Rights } from '../../src/install/manifests/rbac.ts';

/** What RBAC decides about. */
export interface Access {
  verb: string;
  group: string;
  /** With its subresource: `ciliumnodes/status`. */
  resource: string;
  namespace?: string;
  name?: string;
}

/** A request as an API server sees it; undefined for paths that are no resources. Pure. */
export function accessOf(method: string, url: string): Access | undefined {
  const { pathname, searchParams } = new URL(url, 'http://server');
  const match =
    /^\/(?:api\/v1|apis\/([^/]+)\/[^/]+)(?:\/namespaces\/([^/]+)(?=\/))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(
      pathname,
    );
  if (!match) return undefined;
  const [, group = '', namespace, plural = '', name, subresource] = match;
  const reading = name !== undefined ? 'get' : searchParams.has('watch') ? 'watch' : 'list';
  const writing: Record<string, string> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };
  return {
    verb: writing[method] ?? reading,
    group,
    resource: subresource === undefined ? plural : `${plural}/${subresource}`,
    ...(namespace !== undefined && { namespace: decodeURIComponent(namespace) }),
    ...(name !== undefined && { name: decodeURIComponent(name) }),
  };
}

/** The right that allows an access, as {@link rightsOf} writes it; undefined when none does. Pure. */
export function rightFor(rights: Rights, access: Access, home: string): string | undefined {
  for (const [where, rules] of [
    ['cluster', rights.cluster],
    ['home', rights.home],
  ] as const) {
    if (where === 'home' && access.namespace !== home) continue;
    const allows = rules.some(
      ({ apiGroups, resources, verbs, resourceNames }) =>
        apiGroups.includes(access.group) &&
        resources.includes(access.resource) &&
        verbs.includes(access.verb) &&
        (resourceNames === undefined || resourceNames.includes(access.name ?? '')),
    );
    if (allows) return rightText(where, access.verb, access.resource, access.group);
  }
  return undefined;
}

/** Every right, one verb on one resource each, sorted. Pure. */
export function rightsOf(rights: Rights): string[] {
  return (['cluster', 'home'] as const)
    .flatMap(where =>
      rights[where].flatMap(({ apiGroups: [group = ''], resources, verbs }) =>
        resources.flatMap(resource => verbs.map(verb => rightText(where, verb, resource, group))),
      ),
    )
    .sort();
}

/** A right in words: `cluster: patch ciliumnodes/status.cilium.io`. */
export function rightText(where: 'cluster' | 'home', verb: string, resource: string, group: string): string {
  return `${where}: ${verb} ${resource}${group === '' ? '' : `.${group}`}`;
}
