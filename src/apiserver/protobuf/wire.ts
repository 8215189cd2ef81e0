import { FimbriaError } from '../../base/errors.ts';

/** One field as it stands on the wire: a varint (also of 64 bits, as two's complement), 8 or 4 bytes, or a run of bytes. */
export type WireField =
  | { number: number; wire: 'varint'; value: bigint }
  | { number: number; wire: 'fixed'; bytes: Buffer }
  | { number: number; wire: 'bytes'; bytes: Buffer };

const LONGEST_VARINT = 10;

/**
 * The fields of a protobuf message in their order. Reads any bytes.
 * @throws FimbriaError INVALID when they are no message
 */
export function* wireFields(bytes: Buffer): Generator<WireField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let length = 0; length < LONGEST_VARINT; length++) {
      const byte = bytes[at++];
      if (byte === undefined) throw malformed('it ends within a number');
      value |= BigInt(byte & 0x7f) << BigInt(7 * length);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed('a number is longer than 10 bytes');
  };
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw malformed('it ends within a field');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0:
        yield { number, wire: 'varint', value: varint() };
        break;
      case 1:
        yield { number, wire: 'fixed', bytes: take(8) };
        break;
      case 2:
        yield { number, wire: 'bytes', bytes: take(Number(varint())) };
        break;
      case 5:
        yield { number, wire: 'fixed', bytes: take(4) };
        break;
      default:
        throw malformed(`field ${number} is of an unknown wire type`);
    }
  }
}

/** Builds messages. Fields may be added in any order; a Writer is used once. */
export class WireWriter {
  readonly #parts: Buffer[] = [];

  varint(number: number, value: number): this {
    this.#parts.push(encodeVarint(number * 8), encodeVarint(value));
    return this;
  }

  bytes(number: number, value: Buffer | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    this.#parts.push(encodeVarint(number * 8 + 2), encodeVarint(bytes.length), bytes);
    return this;
  }

  /** A message within this one. */
  message(number: number, fill: (writer: WireWriter) => void): this {
    const inner = new WireWriter();
    fill(inner);
    return this.bytes(number, inner.finish());
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function encodeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  return Buffer.from([...bytes, rest]);
}

/** The bytes are not what they should be. */
export function malformed(why: string): FimbriaError {
  return new FimbriaError({ code: 'INVALID', op: 'read', object: 'protobuf message', why });
}
