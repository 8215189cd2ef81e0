import { findKind, type Kind, kindOfResource } from '../model/kinds.ts';
import { badRequest, noSuchResource } from './failure.ts';

/** What a path of the API leads to. */
export type Route =
  | { to: 'core-versions' }
  | { to: 'group-list' }
  | { to: 'group'; group: string }
  | { to: 'resource-list'; group: string; version: string }
  | { to: 'collection'; kind: Kind; version: string; namespace: string }
  | {
      to: 'object';
      kind: Kind;
      version: string;
      namespace: string;
      name: string;
      subresource: string | undefined;
    };

const NAMESPACE = findKind('Namespace')!;

/**
 * Reads a path below `/api` or `/apis`.
 * @throws ApiFailure 404 when it leads nowhere
 */
export function parseRoute(path: string): Route {
  const parts = path
    .split('/')
    .filter(part => part !== '')
    .map(decode);
  const root = parts.shift();
  if (root === 'api') {
    if (parts.length === 0) return { to: 'core-versions' };
    return parseVersioned('', parts.shift()!, parts);
  }
  if (root !== 'apis') throw noSuchResource();
  const group = parts.shift();
  if (group === undefined) return { to: 'group-list' };
  const version = parts.shift();
  if (version === undefined) return { to: 'group', group };
  return parseVersioned(group, version, parts);
}

function parseVersioned(group: string, version: string, parts: string[]): Route {
  if (parts.length === 0) return { to: 'resource-list', group, version };
  // `namespaces/NAME/RESOURCE`, but `namespaces/NAME/status` is about the namespace itself.
  const inNamespace =
    parts[0] === 'namespaces' && parts.length > 2 && kindOfResource(group, version, parts[2]!);
  if (inNamespace) return below(inNamespace, version, parts[1]!, parts.slice(3));
  const kind = kindOfResource(group, version, parts[0]!);
  if (!kind || (kind.namespaced && parts.length > 1)) throw noSuchResource();
  return below(kind, version, '', parts.slice(1));
}

function below(kind: Kind, version: string, namespace: string, rest: string[]): Route {
  if (rest.length > 2 || (namespace !== '' && !kind.namespaced && kind !== NAMESPACE)) throw noSuchResource();
  const [name, subresource] = rest;
  if (name === undefined) return { to: 'collection', kind, version, namespace };
  return { to: 'object', kind, version, namespace, name, subresource };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw badRequest(`the path has a malformed escape in ${part}`);
  }
}
