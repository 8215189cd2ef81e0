import type { BpfMap } from '../kernel/libbpf/index.ts';
import { countedOps } from './ops.ts';

/** What a view needs of a map: a `BpfMap`, or a test's stand-in. */
export type RawMap = Pick<
  BpfMap,
  'name' | 'maxEntries' | 'lookup' | 'update' | 'delete' | 'entries' | 'updateBatch' | 'deleteBatch'
> & { readonly id?: number };

/** How keys and values of one map are said in TypeScript. Pure. */
export interface Shape<K, V> {
  encodeKey(key: K): Uint8Array;
  decodeKey(bytes: Uint8Array): K;
  /** Some values repeat a part of their key, hence `key`. */
  encodeValue(value: V, key: K): Uint8Array;
  decodeValue(bytes: Uint8Array): V;
}

/**
 * A kernel map with typed keys and values. Holds no state and does not own the map: whoever opened it closes it.
 * Every method is one or a few system calls, synchronous; errors are those of `BpfMap`, plus INVALID_ADDRESS for
 * addresses that are none.
 */
export class TypedMap<K, V> {
  readonly map: RawMap;
  readonly #shape: Shape<K, V>;

  constructor(map: RawMap, shape: Shape<K, V>) {
    this.map = map;
    this.#shape = shape;
  }

  /** Entries that there is room for. */
  get maxEntries(): number {
    return this.map.maxEntries;
  }

  encodeKey(key: K): Uint8Array {
    return this.#shape.encodeKey(key);
  }

  decodeKey(bytes: Uint8Array): K {
    return this.#shape.decodeKey(bytes);
  }

  encodeValue(value: V, key: K): Uint8Array {
    return this.#shape.encodeValue(value, key);
  }

  get(key: K): V | undefined {
    const bytes = this.map.lookup(this.#shape.encodeKey(key));
    return bytes === undefined ? undefined : this.#shape.decodeValue(bytes);
  }

  /** Writes one entry, replacing an existing one at once. */
  set(key: K, value: V): void {
    const [keyBytes, valueBytes] = [this.#shape.encodeKey(key), this.#shape.encodeValue(value, key)];
    countedOps(this.map.id, 'update', 1, () => this.map.update(keyBytes, valueBytes));
  }

  /** Removes one entry; false when it was not there. */
  delete(key: K): boolean {
    const keyBytes = this.#shape.encodeKey(key);
    return countedOps(this.map.id, 'delete', 1, () => this.map.delete(keyBytes));
  }

  /** Every entry, in the kernel's order. Entries that change during the walk may be missed. */
  *entries(): IterableIterator<[K, V]> {
    for (const [key, value] of this.map.entries())
      yield [this.#shape.decodeKey(key), this.#shape.decodeValue(value)];
  }

  /** Writes many entries. Not atomic: when it throws, those before the refused one are written. */
  updateBatch(entries: Iterable<readonly [K, V]>): void {
    const bytes = Array.from(entries, ([key, value]): [Uint8Array, Uint8Array] => [
      this.#shape.encodeKey(key),
      this.#shape.encodeValue(value, key),
    ]);
    countedOps(this.map.id, 'update', bytes.length, () => this.map.updateBatch(bytes));
  }

  /** Removes many keys; returns how many were there. */
  deleteBatch(keys: Iterable<K>): number {
    const bytes = Array.from(keys, key => this.#shape.encodeKey(key));
    return countedOps(this.map.id, 'delete', bytes.length, () => this.map.deleteBatch(bytes));
  }
}
