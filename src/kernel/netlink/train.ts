import { FimbriaError } from '../../base/errors.ts';

/** Flags of a netlink request (`NLM_F_*`). */
export const NLM = {
  REQUEST: 0x1,
  ACK: 0x4,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
} as const;

export const HEADER_BYTES = 16;
const NESTED = 0x8000;
const ATTRIBUTE_MAX = 0xffff;

/**
 * Builds netlink requests one behind the other, to be sent in one go. Little-endian, as every machine this
 * runs on is. `message` begins a request, `attr…` appends to it, `nest`…`end` bracket attributes; `bytes`
 * closes the last request. Pure apart from its own buffer.
 */
export class Train {
  #buffer = Buffer.alloc(1024);
  #length = 0;
  #start = -1;
  #nests: number[] = [];
  #sequence: number;
  #count = 0;

  /** @param sequence number of the first request; each next one is one higher */
  constructor(sequence = 1) {
    this.#sequence = sequence;
  }

  /** Requests so far. */
  get count(): number {
    return this.#count;
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Begins a request: its type (`RTM_*`), flags, and the fixed header of its family (ifinfomsg, rtmsg…). */
  message(type: number, flags: number, header: Uint8Array): this {
    this.#begin(type, flags, header, this.#sequence++);
    this.#count++;
    return this;
  }

  /** Begins a further message of the same request: it has the number of the one before. */
  further(type: number, flags: number, header: Uint8Array): this {
    this.#begin(type, flags, header, this.#sequence - 1);
    return this;
  }

  #begin(type: number, flags: number, header: Uint8Array, sequence: number): void {
    this.#finish();
    this.#start = this.#length;
    const at = this.#grow(HEADER_BYTES);
    this.#buffer.writeUInt16LE(type, at + 4);
    this.#buffer.writeUInt16LE(flags | NLM.REQUEST, at + 6);
    this.#buffer.writeUInt32LE(sequence >>> 0, at + 8);
    // Growing replaces the buffer: the place first, then the write.
    const headerAt = this.#grow(align(header.length));
    this.#buffer.set(header, headerAt);
  }

  /** An attribute of raw bytes. */
  attr(type: number, payload: Uint8Array): this {
    if (payload.length + 4 > ATTRIBUTE_MAX) {
      throw new FimbriaError({
        code: 'EMSGSIZE',
        op: 'build',
        object: `netlink attribute ${type}`,
        why: `${payload.length} bytes do not fit into an attribute`,
      });
    }
    const at = this.#grow(4 + align(payload.length));
    this.#buffer.writeUInt16LE(payload.length + 4, at);
    this.#buffer.writeUInt16LE(type, at + 2);
    this.#buffer.set(payload, at + 4);
    return this;
  }

  attrU8(type: number, value: number): this {
    return this.attr(type, Uint8Array.of(value));
  }

  attrU16(type: number, value: number): this {
    return this.attr(type, Uint8Array.of(value & 255, value >>> 8));
  }

  /** A 16-bit number in network order, such as a port. */
  attrU16BE(type: number, value: number): this {
    return this.attr(type, Uint8Array.of(value >>> 8, value & 255));
  }

  attrU32(type: number, value: number): this {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(value >>> 0);
    return this.attr(type, payload);
  }

  /** A 32-bit number in network order, as netfilter has them. */
  attrU32BE(type: number, value: number): this {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(value >>> 0);
    return this.attr(type, payload);
  }

  /** A text with its terminating zero. */
  attrString(type: number, value: string): this {
    return this.attr(type, Buffer.from(`${value}\0`));
  }

  /** Opens a nested attribute; `header` is a fixed part before the inner attributes, if the type has one. */
  nest(type: number, header: Uint8Array = new Uint8Array(0)): this {
    const at = this.#grow(4 + align(header.length));
    this.#buffer.writeUInt16LE(type | NESTED, at + 2);
    this.#buffer.set(header, at + 4);
    this.#nests.push(at);
    return this;
  }

  /** Closes the innermost nested attribute. */
  end(): this {
    const at = this.#nests.pop()!;
    const length = this.#length - at;
    if (length > ATTRIBUTE_MAX) {
      throw new FimbriaError({
        code: 'EMSGSIZE',
        op: 'build',
        object: 'nested netlink attribute',
        why: `${length} bytes do not fit into an attribute`,
      });
    }
    this.#buffer.writeUInt16LE(length, at);
    return this;
  }

  /** The finished train. Valid until the next call that appends. */
  bytes(): Buffer {
    this.#finish();
    this.#start = -1;
    return this.#buffer.subarray(0, this.#length);
  }

  #finish(): void {
    while (this.#nests.length > 0) this.end();
    if (this.#start >= 0) this.#buffer.writeUInt32LE(this.#length - this.#start, this.#start);
  }

  #grow(bytes: number): number {
    const at = this.#length;
    if (at + bytes > this.#buffer.length) {
      const larger = Buffer.alloc(2 * (at + bytes));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
    }
    this.#length += bytes;
    return at;
  }
}

/** Rounds up to netlink's alignment of four; exact for every length that 32 bits can say. */
export function align(length: number): number {
  return Math.ceil(length / 4) * 4;
}
