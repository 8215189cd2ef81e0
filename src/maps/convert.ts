import { FimbriaError } from '../base/errors.ts';
import type { TypeField } from '../kernel/libbpf/index.ts';
import { Inexpressible } from './inexpressible.ts';
import { isBigEndian, isReserved, type MapLayout, type Part, sameShape } from './layout.ts';
import { prefixMapper } from './prefix.ts';
import type { Fields, LayoutUpgrade } from './upgrades.ts';

/** Puts the fields of one part of an entry from the old bytes into the new. @throws Inexpressible */
type Copy = (from: Uint8Array, to: Uint8Array) => void;

/** Turns entries of one layout into another. Pure. */
export interface Converter {
  /** @throws Inexpressible */
  key(old: Uint8Array): Buffer;
  /** Of one CPU in per-CPU maps. The key is the old one. @throws Inexpressible */
  value(old: Uint8Array, oldKey: Uint8Array): Buffer;
}

/**
 * A field is copied to the one of the same name: bytes where both are alike, else by value, so that numbers may get
 * wider, or narrower where they fit, and change byte order. What is new is zero unless an upgrade fills it; what is
 * called reserved is zero. A key field that is gone must be zero, or two entries might become one; `mergeKeys` allows
 * that for counters. Prefix lengths of tries follow the fields they cover (`prefix.ts`).
 * @throws FimbriaError MAP_LAYOUT for a field that has become something else altogether
 */
export function converter(
  name: string,
  old: MapLayout,
  now: MapLayout,
  o: { upgrade?: LayoutUpgrade | undefined; mergeKeys?: boolean } = {},
): Converter {
  const isTrie = (l: MapLayout): boolean => l.type === 'lpm_trie';
  const prefix = isTrie(old) || isTrie(now) ? prefixMapper(old, now) : undefined;
  const copyKey = copier(name, 'key', old.types?.key, now.types?.key);
  const copyValue = copier(name, 'value', old.types?.value, now.types?.value);
  const isPrefixLength = (f: TypeField): boolean => isTrie(old) && f.bitOffset === 0;
  const gone = o.mergeKeys ? [] : goneFields(old.types?.key, now.types?.key).filter(f => !isPrefixLength(f));
  const oldKeyFields = (bytes: Uint8Array): Fields => readFields(old.types?.key, bytes);
  const { upgrade } = o;
  return {
    key: bytes => {
      for (const field of gone)
        if (!isZero(bytes.subarray(...span(field))))
          throw new Inexpressible(`its key has ${field.name}, which is gone`);
      const made = Buffer.alloc(now.keySize);
      copyKey(bytes, made);
      prefix?.(bytes, made);
      if (upgrade?.key) writeFields(now.types?.key, made, upgrade.key(oldKeyFields(bytes)));
      return made;
    },
    value: (bytes, oldKey) => {
      const made = Buffer.alloc(now.valueSize);
      copyValue(bytes, made);
      if (upgrade?.value) {
        const entry = { key: oldKeyFields(oldKey), value: readFields(old.types?.value, bytes) };
        writeFields(now.types?.value, made, upgrade.value(entry));
      }
      return made;
    },
  };
}

const isZero = (bytes: Uint8Array): boolean => bytes.every(byte => byte === 0);
const bytesOf = (field: TypeField): number => field.bits / 8;
const span = (f: TypeField): [number, number] => [
  Math.floor(f.bitOffset / 8),
  Math.ceil((f.bitOffset + f.bits * f.count) / 8),
];

function goneFields(old: Part, now: Part): TypeField[] {
  const names = new Set(now?.fields.map(f => f.name));
  return (old?.fields ?? []).filter(f => !isReserved(f) && !names.has(f.name));
}

function copier(map: string, what: string, old: Part, now: Part): Copy {
  const before = new Map(old?.fields.map(f => [f.name, f]));
  const copies = (now?.fields ?? []).flatMap(field => {
    const from = before.get(field.name);
    return from && !isReserved(field) ? [copyField(map, `${what} ${field.name}`.trim(), from, field)] : [];
  });
  return (from, to) => {
    for (const copy of copies) copy(from, to);
  };
}

function copyField(map: string, name: string, old: TypeField, now: TypeField): Copy {
  const whole = [old, now].every(f => f.bitOffset % 8 === 0 && f.bits % 8 === 0);
  if (whole && sameShape(old, now)) {
    const [start, end] = span(old);
    const at = now.bitOffset / 8;
    return (from, to) => to.set(from.subarray(start, end), at);
  }
  if (!whole || !old.number || !now.number)
    throw new FimbriaError({
      code: 'MAP_LAYOUT',
      op: 'upgrade',
      object: `map ${map}`,
      why: `${name} was ${old.typeName} and is ${now.typeName}, and neither can be made of the other`,
      hint: 'give the field another name and register an upgrade',
    });
  return (from, to) => {
    for (let i = 0; i < old.count; i++) {
      const value = readNumber(from, old, i);
      if (i < now.count) writeNumber(to, now, i, value, name);
      else if (value !== 0n) throw new Inexpressible(`${name} has more than ${now.count} elements`);
    }
  };
}

/** Offsets of the bytes of a number, least significant first. */
function* byteOffsets(field: TypeField, index: number): Iterable<number> {
  const bytes = bytesOf(field);
  const start = field.bitOffset / 8 + index * bytes;
  for (let i = 0; i < bytes; i++) yield isBigEndian(field) ? start + bytes - 1 - i : start + i;
}

function readNumber(from: Uint8Array, field: TypeField, index: number): bigint {
  let value = 0n;
  let shift = 0n;
  for (const at of byteOffsets(field, index)) {
    value |= BigInt(from[at]!) << shift;
    shift += 8n;
  }
  return field.signed ? BigInt.asIntN(field.bits, value) : value;
}

function writeNumber(to: Uint8Array, field: TypeField, index: number, value: bigint, name: string): void {
  const fits = field.signed ? BigInt.asIntN(field.bits, value) : BigInt.asUintN(field.bits, value);
  if (fits !== value) throw new Inexpressible(`${name} is ${value}, too much for ${field.typeName}`);
  let rest = BigInt.asUintN(field.bits, value);
  for (const at of byteOffsets(field, index)) {
    to[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
}

const isScalar = (field: TypeField): boolean =>
  field.number && field.count === 1 && field.bitOffset % 8 === 0 && field.bits % 8 === 0;

/** The fields of a key or value, for upgrade functions. */
export function readFields(part: Part, bytes: Uint8Array): Fields {
  const read = (f: TypeField): Fields[string] => {
    if (!isScalar(f)) return new Uint8Array(bytes.subarray(...span(f)));
    const value = readNumber(bytes, f, 0);
    return f.bits <= 32 ? Number(value) : value;
  };
  return Object.fromEntries((part?.fields ?? []).map(f => [f.name, read(f)]));
}

/** Sets some fields. @throws RangeError for a field that is not there or bytes of another length; Inexpressible */
export function writeFields(part: Part, bytes: Uint8Array, fields: Fields): void {
  for (const [name, value] of Object.entries(fields)) {
    const field = part?.fields.find(f => f.name === name);
    if (!field) throw new RangeError(`there is no field ${name}`);
    if (!(value instanceof Uint8Array)) {
      if (!isScalar(field)) throw new RangeError(`field ${name} takes bytes`);
      writeNumber(bytes, field, 0, BigInt(value), name);
      continue;
    }
    const [start, end] = span(field);
    if (value.length !== end - start) throw new RangeError(`field ${name} has ${end - start} bytes`);
    bytes.set(value, start);
  }
}

/** Adds numbers of the same layout, field by field, into `to`; what overflows wraps as the datapath's counters do. */
export function addFields(part: Part, to: Uint8Array, more: Uint8Array): void {
  for (const field of part?.fields ?? []) {
    if (!field.number || isReserved(field)) continue;
    for (let i = 0; i < field.count; i++) {
      const sum = readNumber(to, field, i) + readNumber(more, field, i);
      const wrapped = field.signed ? BigInt.asIntN(field.bits, sum) : BigInt.asUintN(field.bits, sum);
      writeNumber(to, field, i, wrapped, field.name);
    }
  }
}
