import type { BpfMap, BpfObject, MapType, MapTypes, TypeField } from '../kernel/libbpf/index.ts';

/** Everything that decides whether a program understands a map. Sizes in bytes. */
export interface MapLayout {
  type: MapType;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  types: MapTypes | undefined;
  /** Of a map of maps: what its inner maps look like; undefined when it does not say. */
  inner?: MapLayout | undefined;
}

/** A key or a value. */
export type Part = MapTypes['key'];

/** Map types that are entries under keys, so that what is in one can be put into another. */
const TABLES: ReadonlySet<MapType> = new Set([
  'hash',
  'array',
  'percpu_hash',
  'percpu_array',
  'lru_hash',
  'lru_percpu_hash',
  'lpm_trie',
]);

/** `bpf/lib/abi.h` fills up with fields of this name; nothing is in them. */
export const isReserved = (field: TypeField): boolean => /(^|\.)reserved\d*$/.test(field.name);

const facts = ({ type, keySize, valueSize, maxEntries, flags }: MapLayout): MapLayout => ({
  type,
  keySize,
  valueSize,
  maxEntries,
  flags,
  types: undefined,
});

/** The layout that an object declares. @throws RangeError for a map that it does not have */
export function declaredLayout(object: BpfObject, name: string): MapLayout {
  const spec = object.maps.find(map => map.name === name);
  if (!spec) throw new RangeError(`${object.path} has no map ${name}`);
  return { ...facts({ ...spec, types: undefined }), types: object.mapTypes(name) };
}

/** Reads layouts of living maps; many have the same types, which are read once. */
export class LayoutReader {
  readonly #types = new Map<string, MapTypes | undefined>();

  read(map: BpfMap): MapLayout {
    const id = `${map.btfId} ${map.btfKeyTypeId} ${map.btfValueTypeId}`;
    if (!this.#types.has(id)) this.#types.set(id, map.types());
    return { ...facts({ ...map, types: undefined }), types: this.#types.get(id) };
  }
}

/** Order of bytes of a number: the kernel's network order types say so by name. */
export const isBigEndian = (field: TypeField): boolean => /^__be\d+$/.test(field.typeName);

/** Whether the bytes of one mean the same in the other. */
export function sameShape(a: TypeField, b: TypeField): boolean {
  return (
    a.bits === b.bits &&
    a.count === b.count &&
    a.number === b.number &&
    a.signed === b.signed &&
    isBigEndian(a) === isBigEndian(b) &&
    (a.number || a.typeName === b.typeName)
  );
}

function shapeText(field: TypeField): string {
  return `${field.typeName}${field.count === 1 ? '' : `[${field.count}]`} at ${field.bitOffset / 8}`;
}

function partChanges(what: string, have: Part, want: Part): string[] {
  const before = new Map(have?.fields.map(f => [f.name, f]));
  const changes: string[] = [];
  for (const field of want?.fields ?? []) {
    const name = [what, field.name].filter(Boolean).join('.');
    const old = before.get(field.name);
    before.delete(field.name);
    if (!old) changes.push(`${name} is new`);
    else if (!sameShape(old, field) || old.bitOffset !== field.bitOffset)
      changes.push(`${name} was ${shapeText(old)}, is ${shapeText(field)}`);
  }
  for (const name of before.keys()) changes.push(`${[what, name].filter(Boolean).join('.')} is gone`);
  return changes;
}

/** What is different, for people; empty when programs made for `want` can use a map that is as `have`. Pure. */
export function layoutChanges(have: MapLayout, want: MapLayout): string[] {
  const numbers = (['type', 'maxEntries', 'flags', 'keySize', 'valueSize'] as const)
    .filter(fact => have[fact] !== want[fact])
    .map(fact => `${fact} was ${have[fact]}, is ${want[fact]}`);
  const inner = want.inner && (have.inner ? layoutChanges(have.inner, want.inner) : ['not known']);
  return [
    ...numbers,
    ...partChanges('key', have.types?.key, want.types?.key),
    ...partChanges('value', have.types?.value, want.types?.value),
    ...(inner ?? []).map(change => `inner maps: ${change}`),
  ];
}

function shareFields(have: Part, want: Part): boolean {
  const names = new Set(have?.fields.map(f => f.name));
  return !want || want.fields.some(f => !isReserved(f) && names.has(f.name));
}

/**
 * Why a map cannot be an older or newer layout of the one wanted, by what the kernel says of it; undefined when it
 * can: same name, a type that holds entries where entries are wanted, same structs, fields in common. Pure.
 */
export function whyForeign(
  have: MapLayout & { name: string },
  want: MapLayout & { name: string },
): string | undefined {
  const expected = want.name.slice(0, 15);
  if (have.name !== expected) return `the kernel calls it ${have.name || 'nothing'}, not ${expected}`;
  if (have.type !== want.type && !(TABLES.has(have.type) && TABLES.has(want.type)))
    return `its type is ${have.type}, not ${want.type}`;
  if (want.types?.value && !have.types?.value) return 'the kernel knows no types of it';
  for (const what of ['key', 'value'] as const) {
    const [old, declared] = [have.types?.[what], want.types?.[what]];
    const isStruct = (part: Part): boolean => part !== undefined && part.fields[0]?.name !== '';
    if (isStruct(old) && isStruct(declared) && old!.name !== declared!.name)
      return `its ${what} is a ${old!.name}, not a ${declared!.name}`;
    if (isStruct(old) && isStruct(declared) && !shareFields(old, declared))
      return `its ${what} has no field in common with ours`;
  }
  if (!shareFields(have.types?.key, want.types?.key)) return 'its key has no field in common with ours';
  return undefined;
}
