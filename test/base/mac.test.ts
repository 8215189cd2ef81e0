import test from 'ava';
import fc from 'fast-check';
import { formatMac, parseMac, randomMac } from '../../src/base/mac.ts';

test('text and bytes are each other, whatever the case', t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), bytes => {
      const text = formatMac(bytes);
      return (
        [...parseMac(text)].join() === [...bytes].join() && formatMac(parseMac(text.toUpperCase())) === text
      );
    }),
  );
  t.is(formatMac(Uint8Array.of(9, 9, 1, 2, 3, 4, 5, 6), 2), '01:02:03:04:05:06');
});

test('anything else is refused', t => {
  for (const text of [
    '',
    '01:02:03:04:05',
    '01:02:03:04:05:06:07',
    '1:2:3:4:5:6',
    '01-02-03-04-05-06',
    '01:02:03:04:05:0g',
  ]) {
    t.throws(() => parseMac(text), { code: 'INVALID_ADDRESS' });
  }
});

test('random addresses are unicast and locally administered', t => {
  for (const byte of [0x00, 0x01, 0xff]) {
    const first = parseMac(randomMac(size => new Uint8Array(size).fill(byte)))[0]!;
    t.is(first & 0x03, 0x02);
  }
  t.not(randomMac(), randomMac());
});
