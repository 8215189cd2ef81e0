import { FimbriaError } from '../../base/errors.ts';
import { isObject, type Json, type JsonObject, jsonEqual, own, setOwn } from './json.ts';
import type { MergeSchema } from './merge-schema.ts';

const PATCH = '$patch';
const RETAIN = '$retainKeys';
const ORDER = '$setElementOrder/';
const DELETE_FROM_LIST = '$deleteFromPrimitiveList/';

/**
 * Applies one of Kubernetes' strategic merge patches: as a JSON merge patch, but lists merge by the keys of their
 * elements, and directives (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) ask for more.
 * Pure.
 * @throws FimbriaError INVALID
 */
export function applyStrategicPatch(target: JsonObject, patch: JsonObject, schema: MergeSchema): JsonObject {
  switch (own(patch, PATCH)) {
    case undefined:
    case 'merge':
      return mergeObjects(target, patch, schema);
    case 'replace':
      return withoutDirectives(patch);
    case 'delete':
      return {};
    default:
      throw invalid(`unknown directive $patch: ${JSON.stringify(patch[PATCH])}`);
  }
}

function mergeObjects(target: JsonObject, patch: JsonObject, schema: MergeSchema): JsonObject {
  const result: JsonObject = {};
  const retained = own(patch, RETAIN);
  for (const [key, value] of Object.entries(target)) {
    if (!Array.isArray(retained) || retained.includes(key)) setOwn(result, key, value);
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key === PATCH || key === RETAIN || key.startsWith(ORDER)) continue;
    if (key.startsWith(DELETE_FROM_LIST)) {
      deleteFromList(result, key.slice(DELETE_FROM_LIST.length), value);
      continue;
    }
    const merged = mergeField(own(result, key), value, schema.fields?.[key] ?? {}, key);
    if (merged === undefined) delete result[key];
    else setOwn(result, key, merged);
  }
  for (const [key, order] of Object.entries(patch)) {
    if (key.startsWith(ORDER)) orderList(result, patch, key.slice(ORDER.length), order, schema);
  }
  return result;
}

function mergeField(
  present: Json | undefined,
  value: Json,
  schema: MergeSchema,
  name: string,
): Json | undefined {
  if (value === null) return undefined;
  if (isObject(value)) {
    if (own(value, PATCH) === 'delete') return undefined;
    return applyStrategicPatch(isObject(present) ? present : {}, value, schema);
  }
  if (!Array.isArray(value)) return value;
  const list = Array.isArray(present) ? present : [];
  if (schema.set) return [...list, ...value.filter(item => !list.includes(item))];
  if (schema.mergeKey !== undefined) return mergeLists(list, value, schema.mergeKey, schema.item ?? {}, name);
  return value;
}

function mergeLists(list: Json[], patch: Json[], key: string, item: MergeSchema, name: string): Json[] {
  const elements = patch.map(element => {
    if (isObject(element)) return element;
    throw invalid(`${name} is a list of objects`);
  });
  // An element that is nothing but `$patch: replace` asks for the others instead of what is there.
  if (elements.some(element => own(element, PATCH) === 'replace')) {
    return elements.filter(element => own(element, PATCH) !== 'replace').map(withoutDirectives);
  }
  const result = [...list];
  for (const element of elements) {
    const identity = own(element, key);
    if (identity === undefined) {
      throw invalid(`map: ${JSON.stringify(element)} does not contain declared merge key: ${key}`);
    }
    const at = result.findIndex(other => isObject(other) && jsonEqual(own(other, key), identity));
    if (own(element, PATCH) === 'delete') {
      if (at >= 0) result.splice(at, 1);
    } else if (at >= 0) {
      result[at] = applyStrategicPatch(result[at] as JsonObject, element, item);
    } else {
      result.push(applyStrategicPatch({}, element, item));
    }
  }
  return result;
}

function deleteFromList(target: JsonObject, key: string, values: Json): void {
  const list = own(target, key);
  if (!Array.isArray(values)) throw invalid(`${DELETE_FROM_LIST}${key} is a list`);
  if (Array.isArray(list))
    setOwn(
      target,
      key,
      list.filter(item => !values.includes(item)),
    );
}

/**
 * Brings a merged list into the order that the patch asks for. Elements that the order does not name were put there by
 * somebody else and keep their places.
 */
function orderList(
  target: JsonObject,
  patch: JsonObject,
  key: string,
  order: Json,
  schema: MergeSchema,
): void {
  const list = own(target, key);
  if (!Array.isArray(order)) throw invalid(`${ORDER}${key} is a list`);
  if (!Array.isArray(list) || own(patch, key) === null) return;
  const mergeKey = schema.fields?.[key]?.mergeKey;
  const identity = (item: Json): Json | undefined =>
    mergeKey !== undefined && isObject(item) ? own(item, mergeKey) : item;
  const ranks = order.map(identity);
  const rankOf = (item: Json): number => ranks.findIndex(rank => jsonEqual(rank, identity(item)));
  const named = list.filter(item => rankOf(item) >= 0).sort((a, b) => rankOf(a) - rankOf(b));
  let next = 0;
  setOwn(
    target,
    key,
    list.map(item => (rankOf(item) >= 0 ? named[next++]! : item)),
  );
}

function withoutDirectives(patch: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith('$') && value !== null) setOwn(result, key, value);
  }
  return result;
}

function invalid(why: string): FimbriaError {
  return new FimbriaError({ code: 'INVALID', op: 'apply', object: 'strategic merge patch', why });
}
