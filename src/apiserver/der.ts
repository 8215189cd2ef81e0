/** The few forms of ASN.1's distinguished encoding that certificates are made of. Each function returns one whole value. */

export function sequence(...items: Uint8Array[]): Buffer {
  return value(0x30, ...items);
}

export function set(...items: Uint8Array[]): Buffer {
  return value(0x31, ...items);
}

/** A non-negative integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const trimmed = bytes.subarray(start);
  return trimmed[0]! >= 0x80 ? value(0x02, Uint8Array.of(0), trimmed) : value(0x02, trimmed);
}

export function boolean(flag: boolean): Buffer {
  return value(0x01, Uint8Array.of(flag ? 0xff : 0));
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return value(0x03, Uint8Array.of(unusedBits), bytes);
}

export function octetString(...items: Uint8Array[]): Buffer {
  return value(0x04, ...items);
}

export function utf8(text: string): Buffer {
  return value(0x0c, Buffer.from(text));
}

/** A time between 2000 and 2049, in UTC, whole seconds. */
export function utcTime(date: Date): Buffer {
  return value(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`));
}

/** An object identifier such as `2.5.4.3`. */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return value(0x06, Uint8Array.from(bytes));
}

/** A value with a tag of its context, such as [0]; `constructed` when it holds whole values. */
export function tagged(number: number, constructed: boolean, ...items: Uint8Array[]): Buffer {
  return value(0x80 | (constructed ? 0x20 : 0) | number, ...items);
}

function value(tag: number, ...items: Uint8Array[]): Buffer {
  const content = Buffer.concat(items);
  if (content.length < 0x80) return Buffer.concat([Uint8Array.of(tag, content.length), content]);
  const length: number[] = [];
  for (let left = content.length; left > 0; left >>>= 8) length.unshift(left & 0xff);
  return Buffer.concat([Uint8Array.of(tag, 0x80 | length.length, ...length), content]);
}
