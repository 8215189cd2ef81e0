/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** Whether a value is a JSON object, not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A field of its own, never one that every object inherits. */
export function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/**
 * Sets a field, in place. Also `__proto__` becomes a plain field: names come from whoever sends a patch.
 */
export function setOwn(object: JsonObject, key: string, value: Json): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Equality of JSON values; the order of an object's fields does not matter. */
export function jsonEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((value, index) => jsonEqual(value, b[index]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const present = (object: JsonObject): string[] => Object.keys(object).filter(k => object[k] !== undefined);
  const keys = present(a);
  return (
    keys.length === present(b).length && keys.every(key => Object.hasOwn(b, key) && jsonEqual(a[key], b[key]))
  );
}

/** A copy in which fields that are null are absent, as Kubernetes takes them. Nulls in lists stay. */
export function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  const result: JsonObject = {};
  for (const [key, field] of Object.entries(value)) {
    if (field !== null && field !== undefined) setOwn(result, key, withoutNulls(field));
  }
  return result;
}

/** No object of any kind comes near. */
export const MAX_DEPTH = 200;

/** Whether a value is nested deeper than {@link MAX_DEPTH}. Without recursion: nobody else chooses how deep our stack goes. */
export function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return true;
    level = level.flatMap(item => (typeof item === 'object' && item !== null ? Object.values(item) : []));
  }
  return false;
}
