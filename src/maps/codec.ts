/**
 * Bytes to object and back, for one C struct of `bpf/lib/abi.h`. Instances are generated, stateless and pure.
 * `__be32` and `__be16` fields are numbers in network order's own value: 10.0.0.1 is 0x0a000001.
 */
export interface Codec<T> {
  /** sizeof the C struct in bytes. */
  readonly size: number;
  /** Reads the struct at `offset`. Byte arrays are copied. @throws RangeError when the bytes end too early */
  read(bytes: Uint8Array, offset?: number): T;
  /** A new buffer of `size` bytes; fields named reserved are zero. @throws RangeError when a byte array has the wrong length */
  write(value: T): Buffer;
}

/** A DataView on the `size` bytes at `offset`, whatever buffer they live in. For generated code. */
export function viewOf(bytes: Uint8Array, offset: number, size: number): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset + offset, size);
}

/** A copy of its own: `slice` of a Buffer would share the memory. For generated code. */
export function copyBytes(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  return new Uint8Array(bytes.subarray(offset, offset + length));
}

/** Copies a fixed-size byte array into a struct. For generated code. */
export function putBytes(
  into: Buffer,
  offset: number,
  value: Uint8Array,
  length: number,
  field: string,
): void {
  if (value.length !== length) throw new RangeError(`${field} has ${length} bytes, not ${value.length}`);
  into.set(value, offset);
}

/** A copy of an array of `__u32`, in the machine's order. For generated code. */
export function copyWords(bytes: Uint8Array, offset: number, length: number): Uint32Array {
  const words = new Uint32Array(length);
  new Uint8Array(words.buffer).set(bytes.subarray(offset, offset + length * 4));
  return words;
}

/** Copies a fixed-size array of `__u32` into a struct. For generated code. */
export function putWords(
  into: Buffer,
  offset: number,
  value: Uint32Array,
  length: number,
  field: string,
): void {
  if (value.length !== length) throw new RangeError(`${field} has ${length} numbers, not ${value.length}`);
  into.set(new Uint8Array(value.buffer, value.byteOffset, length * 4), offset);
}
