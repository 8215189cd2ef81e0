import test from 'ava';
import fc from 'fast-check';
import type { TypeField } from '../../src/kernel/libbpf/index.ts';
import { addFields, converter, readFields, writeFields } from '../../src/maps/convert.ts';
import { Inexpressible } from '../../src/maps/inexpressible.ts';
import { layoutChanges, type MapLayout, type Part, whyForeign } from '../../src/maps/layout.ts';
import type { Fields } from '../../src/maps/upgrades.ts';

/** A field without its place. */
type Spec = Pick<TypeField, 'name' | 'typeName' | 'bits' | 'count' | 'signed'>;

function part(name: string, specs: readonly Spec[]): NonNullable<Part> {
  let bitOffset = 0;
  const fields = specs.map(spec => {
    const field = { ...spec, bitOffset, number: true };
    bitOffset += spec.bits * spec.count;
    return field;
  });
  return { name, fields };
}

const bytesIn = (specs: readonly Spec[]): number => specs.reduce((sum, f) => sum + (f.bits * f.count) / 8, 0);

function layout(key: readonly Spec[], value: readonly Spec[], type: MapLayout['type'] = 'hash'): MapLayout {
  return {
    type,
    keySize: bytesIn(key),
    valueSize: bytesIn(value),
    maxEntries: 16,
    flags: type === 'lpm_trie' ? 1 : 0,
    types: { key: part('test_key', key), value: part('test_value', value) },
  };
}

function number(name: string, typeName: string, count = 1): Spec {
  const bits = Number(/\d+/.exec(typeName)![0]);
  return { name, typeName, bits, count, signed: typeName.startsWith('__s') };
}

const KEY = [number('id', '__u32')];
const convertValue = (old: Spec[], now: Spec[], bytes: Uint8Array): Buffer =>
  converter('m', layout(KEY, old), layout(KEY, now)).value(bytes, Buffer.alloc(4));

const TYPES = ['8', '16', '32', '64'].flatMap(bits => [
  `__u${bits}`,
  `__s${bits}`,
  ...(bits === '8' ? [] : [`__be${bits}`]),
]);
const spec = (name: string): fc.Arbitrary<Spec> =>
  fc.record({ typeName: fc.constantFrom(...TYPES), count: fc.integer({ min: 1, max: 4 }) }).map(f => ({
    ...number(name, f.typeName),
    count: f.count,
  }));
/** Two layouts of the same fields, differently ordered, wide, long and signed, and bytes of the first. */
const twoLayouts = fc
  .uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1 })
  .chain(names =>
    fc.tuple(
      fc.tuple(...names.map(spec)),
      fc.tuple(...names.map(spec)).chain(specs => fc.shuffledSubarray(specs, { minLength: specs.length })),
    ),
  )
  .chain(([old, now]) =>
    fc.tuple(
      fc.constant(old),
      fc.constant(now),
      // Small numbers of either sign, as most are.
      fc
        .array(fc.constantFrom(0, 0, 0, 0, 1, 255), { minLength: bytesIn(old), maxLength: bytesIn(old) })
        .map(bytes => Uint8Array.from(bytes)),
    ),
  );

test('an entry that can be said in another layout comes back as it was; no other does', t => {
  let [said, refused] = [0, 0];
  fc.assert(
    fc.property(twoLayouts, ([old, now, bytes]) => {
      let there: Buffer;
      try {
        there = convertValue(old, now, bytes);
      } catch (error) {
        if (!(error instanceof Inexpressible)) throw error;
        refused++;
        return;
      }
      said++;
      t.deepEqual(Buffer.from(convertValue(now, old, there)), Buffer.from(bytes));
    }),
    { numRuns: 2000 },
  );
  t.true(said > 0 && refused > 0, `${said} said, ${refused} refused`);
  t.log(`${said} said, ${refused} refused`);
});

test('numbers keep their value in any width and byte order', t => {
  const old = [number('a', '__u16'), number('b', '__be32'), number('c', '__s8')];
  const now = [number('c', '__s64'), number('b', '__u64'), number('a', '__be32'), number('new', '__u32')];
  const bytes = Buffer.alloc(7);
  writeFields(part('', old), bytes, { a: 0x1234, b: 0x0a000001, c: -5 });
  t.is(bytes.toString('hex'), '34120a000001fb');
  t.deepEqual(readFields(part('', now), convertValue(old, now, bytes)), {
    c: -5n,
    b: 0x0a000001n,
    a: 0x1234,
    new: 0,
  });
});

test('what does not fit is not cut: the entry is refused, with the field', t => {
  const old = [number('a', '__u32'), number('list', '__u8', 4)];
  const now = [number('a', '__u16'), number('list', '__u8', 2)];
  const fits = Buffer.from('ffff000001020000', 'hex');
  t.is(convertValue(old, now, fits).toString('hex'), 'ffff0102');
  const refuses = (hex: string, message: string): void => {
    t.throws(() => convertValue(old, now, Buffer.from(hex, 'hex')), { instanceOf: Inexpressible, message });
  };
  refuses('0000010000000000', 'value a is 65536, too much for __u16');
  refuses('0000000000000001', 'value list has more than 2 elements');
  t.throws(() => convertValue([number('a', '__s8')], [number('a', '__u64')], Buffer.of(0xff)), {
    message: 'value a is -1, too much for __u64',
  });
});

test('a key field that is gone must be empty, unless keys may be one', t => {
  const [old, now] = [layout([...KEY, number('zone', '__u32')], KEY), layout(KEY, KEY)];
  const inZone = Buffer.from('0100000007000000', 'hex');
  t.is(converter('m', old, now).key(Buffer.from('0100000000000000', 'hex')).toString('hex'), '01000000');
  t.throws(() => converter('m', old, now).key(inZone), { message: 'its key has zone, which is gone' });
  t.is(converter('m', old, now, { mergeKeys: true }).key(inZone).toString('hex'), '01000000');
});

test('a field that became something else is refused before anything is copied', t => {
  const opaque = layout(KEY, [number('a', '__u32')]);
  opaque.types!.value!.fields[0]!.number = false;
  opaque.types!.value!.fields[0]!.typeName = 'list';
  t.throws(() => converter('cilium_x', opaque, layout(KEY, [number('a', '__u32')])), {
    code: 'MAP_LAYOUT',
    message: /^upgrade map cilium_x: value a was list and is __u32, .*; give the field another name/,
  });
});

test('an upgrade says what copying cannot know', t => {
  const [old, now] = [
    layout(KEY, KEY),
    layout([...KEY, number('zone', '__u8')], [...KEY, number('twice', '__u64')]),
  ];
  const by = converter('m', old, now, {
    upgrade: {
      map: 'm',
      appliesTo: layout => !layout.types!.value!.fields.some(f => f.name === 'twice'),
      key: ({ id }: Fields) => ({ zone: Number(id) % 256 }),
      value: ({ key, value }) => ({
        twice: BigInt(value['id'] as number) * 2n + BigInt(key['id'] as number),
      }),
    },
  });
  const [key, value] = [Buffer.from('05000000', 'hex'), Buffer.from('ffffffff', 'hex')];
  t.is(by.key(key).toString('hex'), '0500000005');
  t.deepEqual(readFields(now.types!.value, by.value(value, key)), {
    id: 0xffffffff,
    twice: 0x1fffffffen + 5n,
  });
});

const PREFIX = number('prefixlen', '__u32');
const TRIE_DATA = ['ipv4', 'port', 'mac'] as const;
const trieField = (name: (typeof TRIE_DATA)[number]): Spec =>
  ({ ipv4: number('ipv4', '__be32'), port: number('port', '__be16'), mac: number('mac', '__u8', 2) })[name];

/** The fields of one trie, in any order, and the same in the same order with new ones between them. */
const tries = fc.shuffledSubarray([...TRIE_DATA], { minLength: 1 }).chain(names =>
  fc.tuple(
    fc.constant(names.map(trieField)),
    fc
      .array(fc.boolean(), { minLength: names.length, maxLength: names.length })
      .map(gaps => names.flatMap((n, i) => [...(gaps[i] ? [number(`new_${i}`, '__u8')] : []), trieField(n)])),
  ),
);

const bitsOf = (bytes: Uint8Array): string => [...bytes].map(b => b.toString(2).padStart(8, '0')).join('');
const matches = (prefix: Buffer, key: Buffer): boolean => {
  const bits = prefix.readUInt32LE();
  return bitsOf(prefix.subarray(4)).slice(0, bits) === bitsOf(key.subarray(4)).slice(0, bits);
};

test('a prefix of a trie matches the same keys in the new layout', t => {
  fc.assert(
    fc.property(
      tries.chain(([old, now]) => {
        const data = fc.uint8Array({ minLength: bytesIn(old), maxLength: bytesIn(old) });
        return fc.tuple(
          fc.constant([old, now] as const),
          data,
          fc.integer({ min: 0, max: bytesIn(old) * 8 }),
          fc.integer({ min: 0, max: bytesIn(old) * 8 }),
        );
      }),
      ([[old, now], data, length, flip]) => {
        const before = layout([PREFIX, ...old], KEY, 'lpm_trie');
        const by = converter('m', before, layout([PREFIX, ...now], KEY, 'lpm_trie'));
        const make = (bytes: Uint8Array, bits: number): Buffer => {
          const key = Buffer.concat([Buffer.alloc(4), bytes]);
          key.writeUInt32LE(bits);
          return key;
        };
        // A key that differs from the prefix in one bit, or in none.
        const other = Uint8Array.from(data, (byte, i) =>
          flip >> 3 === i ? byte ^ (0x80 >> (flip & 7)) : byte,
        );
        const [prefix, key] = [make(data, length), make(other, bytesIn(old) * 8)];
        t.is(matches(by.key(prefix), by.key(key)), matches(prefix, key));
      },
    ),
    { numRuns: 2000 },
  );
});

test('prefixes that a new order of fields cannot say are refused', t => {
  const [ipv4, port] = [trieField('ipv4'), trieField('port')];
  const old = layout([PREFIX, ipv4, port], KEY, 'lpm_trie');
  const swapped = converter('m', old, layout([PREFIX, port, ipv4], KEY, 'lpm_trie'));
  const key = (bits: number): Buffer => Buffer.from(`${bits.toString(16)}0000000a0000010050`, 'hex');
  t.is(swapped.key(key(48)).toString('hex'), '3000000000500a000001');
  t.throws(() => swapped.key(key(32)), { message: 'its prefix has no like in the new order of fields' });
  const wider = converter('m', old, layout([PREFIX, number('ipv4', '__be64'), port], KEY, 'lpm_trie'));
  t.is(wider.key(key(32)).readUInt32LE(), 64);
  t.throws(() => wider.key(key(24)), { message: 'its prefix ends within a field that changed' });
  const hash = converter('m', old, layout([ipv4, port], KEY));
  t.is(hash.key(key(48)).toString('hex'), '0a0000010050');
  t.throws(() => hash.key(key(24)), { message: 'it is a prefix, and only whole keys can be said' });
  const back = converter('m', layout([ipv4, port], KEY), old);
  t.deepEqual(back.key(Buffer.from('0a0000010050', 'hex')), key(48));
});

test('counters add up field by field', t => {
  const value = part('', [number('packets', '__u64'), number('reserved', '__u32'), number('cpu', '__u8', 2)]);
  const sum = Buffer.from('ffffffff00000000000000000102', 'hex');
  addFields(value, sum, Buffer.from('0200000000000000090000000301', 'hex'));
  t.is(sum.toString('hex'), '0100000001000000000000000403');
});

test('changes are told by field, and nothing is one that means the same', t => {
  const old = layout(KEY, [number('a', '__u16'), number('gone', '__u16')]);
  t.deepEqual(layoutChanges(old, layout(KEY, [number('a', '__u16'), number('gone', '__u16')])), []);
  const now = { ...layout(KEY, [number('new', '__u16'), number('a', '__be16')]), maxEntries: 17 };
  t.deepEqual(layoutChanges(old, now), [
    'maxEntries was 16, is 17',
    'value.new is new',
    'value.a was __u16 at 0, is __be16 at 2',
    'value.gone is gone',
  ]);
});

test('a map is ours by name, kind, structs and fields', t => {
  const ours = { ...layout(KEY, KEY), name: 'cilium_events_lost' };
  const have = { ...ours, name: 'cilium_events_l' };
  t.is(whyForeign(have, ours), undefined);
  t.is(whyForeign({ ...have, type: 'percpu_hash' }, ours), undefined);
  t.is(whyForeign({ ...have, name: 'other' }, ours), 'the kernel calls it other, not cilium_events_l');
  t.is(whyForeign({ ...have, type: 'ringbuf' }, ours), 'its type is ringbuf, not hash');
  t.is(whyForeign({ ...have, types: undefined }, ours), 'the kernel knows no types of it');
  const other = layout([number('address', '__u32')], KEY).types!;
  t.is(whyForeign({ ...have, types: other }, ours), 'its key has no field in common with ours');
  const named = { ...ours.types!, value: { ...ours.types!.value!, name: 'theirs' } };
  t.is(whyForeign({ ...have, types: named }, ours), 'its value is a theirs, not a test_value');
});
