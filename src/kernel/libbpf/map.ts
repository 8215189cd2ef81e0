import { FimbriaError } from '../../base/errors.ts';
import { type Handle, native } from '../addon.ts';
import { nativeOf } from './native-object.ts';
import type { BpfObject } from './object.ts';
import { type MapType, type MapTypes, mapTypeName, mapTypeNumber } from './types.ts';

const UPDATE_FLAGS = { any: 0, create: 1, exist: 2 } as const;
const BATCH = 1024;

/** What `BpfMap.create` makes. Sizes in bytes. */
export interface MapCreateOptions {
  type: MapType;
  /** At most 15 characters reach the kernel. */
  name: string;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  /** `MAP_FLAGS`, or-ed. */
  flags?: number;
  /** For maps of maps: what the inner maps look like. */
  inner?: BpfMap;
  /**
   * Gives the map the key and value types of a declared one, so that `bpftool map dump` prints fields by
   * name. For a declared map of maps these are its inner map's types. The object must be loaded.
   */
  btfFrom?: { object: BpfObject; map: string };
}

/**
 * A kernel map. Keys and values are raw bytes of exactly `keySize` and `valueSize`; values of per-CPU maps
 * are `round_up(valueSize, 8)` bytes for each possible CPU, see `possibleCpus()`. The object owns one
 * descriptor; the map lives on while a program, a pin or another descriptor holds it.
 */
export class BpfMap {
  readonly id: number;
  /** As the kernel has it: at most 15 characters. */
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** BTF object of its key and value types, 0 when it has none. */
  readonly btfId: number;
  /** Types within that BTF object, 0 when it has none. */
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  /** The owned descriptor. */
  readonly handle: Handle;

  private constructor(handle: Handle) {
    const info = native().mapInfo(handle);
    this.handle = handle;
    this.id = info.id;
    this.name = info.name;
    this.type = mapTypeName(info.type);
    this.keySize = info.keySize;
    this.valueSize = info.valueSize;
    this.maxEntries = info.maxEntries;
    this.flags = info.flags;
    this.btfId = info.btfId;
    this.btfKeyTypeId = info.btfKeyTypeId;
    this.btfValueTypeId = info.btfValueTypeId;
  }

  /** Takes over a descriptor that the addon made. */
  static fromHandle(handle: Handle): BpfMap {
    return new BpfMap(handle);
  }

  /** Creates a map that no object declares. @throws FimbriaError with the errno's name as code */
  static create(options: MapCreateOptions): BpfMap {
    const { inner, btfFrom, type, flags = 0, ...rest } = options;
    return new BpfMap(
      native().mapCreate({
        ...rest,
        type: mapTypeNumber(type),
        flags,
        ...(inner === undefined ? {} : { inner: inner.handle }),
        ...(btfFrom === undefined ? {} : { btfObject: nativeOf(btfFrom.object), btfMap: btfFrom.map }),
      }),
    );
  }

  /** Opens a pinned map. @throws FimbriaError ENOENT, or EINVAL when the pin is no map */
  static fromPin(path: string): BpfMap {
    return new BpfMap(native().mapFromPin(path));
  }

  /** Opens a living map by its id. @throws FimbriaError ENOENT */
  static fromId(id: number): BpfMap {
    return new BpfMap(native().mapFromId(id));
  }

  /** The descriptor's number, still owned by this object. @throws FimbriaError EBADF after `close()` */
  get fd(): number {
    return this.handle.fd;
  }

  /** Types of key and value out of the kernel's BTF; undefined when the map has none. @throws FimbriaError EPERM */
  types(): MapTypes | undefined {
    return native().mapTypes(this.handle);
  }

  /** The value of a key, or undefined. For maps of maps it is the inner map's id. */
  lookup(key: Uint8Array): Buffer | undefined {
    return native().mapLookup(this.handle, key);
  }

  /**
   * Writes one entry. For maps of maps the value is the inner map's `fd` as a native-endian u32.
   * @param mode `create` refuses an existing key (EEXIST), `exist` a new one (ENOENT)
   * @throws FimbriaError E2BIG when the map is full
   */
  update(key: Uint8Array, value: Uint8Array, mode: 'any' | 'create' | 'exist' = 'any'): void {
    native().mapUpdate(this.handle, key, value, UPDATE_FLAGS[mode]);
  }

  /** Removes one entry; false when it was not there. */
  delete(key: Uint8Array): boolean {
    return native().mapDelete(this.handle, key);
  }

  /** Every key. Entries that change during the walk may be seen twice or not at all. */
  *keys(): Iterable<Buffer> {
    for (const [key] of this.entries()) yield key;
  }

  /**
   * Every entry, in batches where the kernel has them for this type, else key by key.
   * Entries that change during the walk may be seen twice or not at all.
   */
  *entries(): Iterable<[Buffer, Buffer]> {
    const addon = native();
    let cursor: Buffer | undefined;
    for (;;) {
      const step = addon.mapLookupBatch(this.handle, cursor, Math.min(BATCH, this.maxEntries));
      if (step === undefined) {
        yield* this.#entriesByKey();
        return;
      }
      const stride = step.count === 0 ? 0 : step.values.length / step.count;
      for (let i = 0; i < step.count; i++) {
        yield [
          step.keys.subarray(i * this.keySize, (i + 1) * this.keySize),
          step.values.subarray(i * stride, (i + 1) * stride),
        ];
      }
      if (step.next === undefined) return;
      cursor = step.next;
    }
  }

  *#entriesByKey(): Iterable<[Buffer, Buffer]> {
    const addon = native();
    for (
      let key = addon.mapNextKey(this.handle, undefined);
      key !== undefined;
      key = addon.mapNextKey(this.handle, key)
    ) {
      const value = addon.mapLookup(this.handle, key);
      if (value !== undefined) yield [key, value];
    }
  }

  /**
   * Writes many entries, in one system call where the kernel can. Not atomic: when it throws, the entries
   * before the refused one are written.
   */
  updateBatch(entries: [Uint8Array, Uint8Array][]): void {
    if (entries.length === 0) return;
    const valueBytes = entries[0]![1].length;
    for (const [key, value] of entries) {
      this.#checkKey(key);
      if (value.length !== valueBytes) {
        throw this.#wrongSize('value', value.length, valueBytes);
      }
    }
    native().mapUpdateBatch(
      this.handle,
      Buffer.concat(entries.map(entry => entry[0])),
      Buffer.concat(entries.map(entry => entry[1])),
      entries.length,
    );
  }

  /** Removes many keys; those that are not there are passed over. Returns how many were there. */
  deleteBatch(keys: Uint8Array[]): number {
    if (keys.length === 0) return 0;
    for (const key of keys) this.#checkKey(key);
    return native().mapDeleteBatch(this.handle, Buffer.concat(keys), keys.length);
  }

  /** Pins the map on a bpffs; the directory must exist. @throws FimbriaError EEXIST */
  pin(path: string): void {
    native().pin(this.handle, path);
  }

  /** Closes the descriptor; every later use throws EBADF, a second close does nothing. */
  close(): void {
    this.handle.close();
  }

  #checkKey(key: Uint8Array): void {
    if (key.length !== this.keySize) throw this.#wrongSize('key', key.length, this.keySize);
  }

  #wrongSize(what: string, got: number, want: number): FimbriaError {
    return new FimbriaError({
      code: 'ERANGE',
      op: 'access',
      object: `map ${this.name}`,
      why: `a ${what} of ${got} bytes was given where ${want} belong`,
    });
  }
}
