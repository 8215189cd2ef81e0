import type { Kind } from '../model/kinds.ts';

/**
 * The path of a collection, an object or a subresource.
 * @param apiVersion one of the kind's served versions; the preferred one when absent
 */
export function resourcePath(
  kind: Kind,
  namespace?: string,
  name?: string,
  subresource?: string,
  apiVersion = kind.apiVersion,
): string {
  const parts = [kind.group === '' ? '/api' : '/apis', apiVersion];
  if (kind.namespaced && namespace !== undefined) parts.push('namespaces', encodeURIComponent(namespace));
  parts.push(kind.plural);
  if (name !== undefined) parts.push(encodeURIComponent(name));
  if (subresource !== undefined) parts.push(subresource);
  return parts.join('/');
}

/** `?a=b&c=d`, or nothing; undefined values are left out. */
export function query(parameters: Record<string, string | number | boolean | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== undefined) search.set(key, String(value));
  }
  return search.size === 0 ? '' : `?${search}`;
}

/** `pod default/a`, for messages. */
export function describe(kind: Kind, namespace: string | undefined, name: string): string {
  return `${kind.singular} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}
