/**
 * What `apply` changes: fields that the manifest has get its value, fields that the last applied manifest had and
 * this one has not are removed, everything else (defaults, status, what controllers wrote) stays. All pure.
 */

type Json = Record<string, unknown>;

/** What names an element of a list of objects, the first that all of them have. */
const LIST_KEYS = ['name', 'port', 'containerPort', 'key', 'mountPath', 'ip', 'type', 'cidr'];

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** True when two JSON values are equal, whatever the order of their keys. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((element, index) => sameJson(element, b[index]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every(key => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  );
}

function listKey(...lists: unknown[][]): string | undefined {
  return LIST_KEYS.find(key =>
    lists.every(
      list =>
        list.every(element => isObject(element) && element[key] !== undefined) &&
        new Set(list.map(element => (element as Json)[key])).size === list.length,
    ),
  );
}

function applyList(last: unknown, wanted: unknown[], current: unknown): unknown[] {
  const now = Array.isArray(current) ? current : [];
  const before = Array.isArray(last) ? last : [];
  const key = listKey(wanted, now);
  if (key === undefined) return wanted;
  const find = (list: unknown[], element: unknown): unknown =>
    list.find(other => isObject(other) && other[key] === (element as Json)[key]);
  return wanted.map(element => applied(find(before, element), element, find(now, element)));
}

/** A field of a value, undefined where there is none; never one of Object's own methods. */
function field(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** What stays of `current` when what was applied as `last` is taken back; undefined when nothing does. */
function withdrawn(last: unknown, current: unknown): unknown {
  if (!isObject(last) || !isObject(current)) return undefined;
  const rest = applied(last, {}, current) as Json;
  return Object.keys(rest).length === 0 ? undefined : rest;
}

/** The value after applying `wanted` to `current`, when `last` was applied before. */
export function applied(last: unknown, wanted: unknown, current: unknown): unknown {
  if (Array.isArray(wanted)) return applyList(last, wanted, current);
  if (!isObject(wanted)) return wanted;
  // Collected in a map: a key such as __proto__ is data here.
  const result = new Map(Object.entries(isObject(current) ? current : {}));
  for (const [key, value] of Object.entries(isObject(last) ? last : {})) {
    if (Object.hasOwn(wanted, key)) continue;
    const rest = withdrawn(value, result.get(key));
    if (rest === undefined) result.delete(key);
    else result.set(key, rest);
  }
  for (const [key, value] of Object.entries(wanted)) {
    if (value === null) result.delete(key);
    else result.set(key, applied(field(last, key), value, result.get(key)));
  }
  return Object.fromEntries(result);
}

/** The JSON merge patch (RFC 7386) that makes `to` of `from`; undefined when they are the same. */
export function mergePatch(from: unknown, to: unknown): unknown {
  if (sameJson(from, to)) return undefined;
  if (!isObject(from) || !isObject(to)) return to;
  const patch = new Map<string, unknown>();
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) patch.set(key, null);
  for (const [key, value] of Object.entries(to)) {
    const change = Object.hasOwn(from, key) ? mergePatch(from[key], value) : value;
    if (change !== undefined) patch.set(key, change);
  }
  return Object.fromEntries(patch);
}
