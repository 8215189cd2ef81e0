import { randomBytes } from 'node:crypto';
import { FimbriaError } from './errors.ts';

/*
 * Ethernet addresses. Text is always six lower-case hex pairs joined by colons. Pure, apart from `randomMac`.
 */

export const ZERO_MAC = '00:00:00:00:00:00';
export const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';

/** The six bytes of `aa:bb:cc:dd:ee:ff`, either case. Throws INVALID_ADDRESS. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new FimbriaError({
      code: 'INVALID_ADDRESS',
      op: 'parse',
      object: `MAC address "${text}"`,
      why: 'not six hexadecimal pairs joined by colons',
    });
  }
  return Uint8Array.from(text.split(':'), pair => Number.parseInt(pair, 16));
}

/** Text of the six bytes at `offset`. */
export function formatMac(bytes: Uint8Array, offset = 0): string {
  let text = '';
  for (let index = 0; index < 6; index++) {
    text += (index === 0 ? '' : ':') + (bytes[offset + index] ?? 0).toString(16).padStart(2, '0');
  }
  return text;
}

/** A random unicast address from the locally administered range, as the kernel makes for its own devices. */
export function randomMac(random: (size: number) => Uint8Array = randomBytes): string {
  const bytes = Uint8Array.from(random(6));
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return formatMac(bytes);
}
