import test from 'ava';
import { BpfMap, BpfObject, type TypeField } from '../../src/kernel/libbpf/index.ts';
import { compileBpf, scratch } from './support.ts';

/** `name:type@bit offset+bits`, elements of an array behind `*`, signed numbers with a minus. */
function textOf(fields: TypeField[] | undefined): string[] | undefined {
  return fields?.map(f => {
    const shape = `${f.number ? (f.signed ? '-' : '') : '?'}${f.typeName}`;
    return `${f.name}:${shape}@${f.bitOffset}+${f.bits}${f.count === 1 ? '' : `*${f.count}`}`;
  });
}

test('types of keys and values, of a file and of the living map the same', async t => {
  const place = await scratch();
  t.teardown(() => place.close());
  const object = BpfObject.open(compileBpf('types', place.directory));
  const declared = object.mapTypes('test_typed')!;
  t.is(declared.key?.name, 'test_key');
  t.deepEqual(textOf(declared.key?.fields), [
    'ipv4:__be32@0+32',
    'inner.port:__u16@32+16',
    'inner.bytes:__u8@48+8*2',
  ]);
  t.is(declared.value?.name, 'test_value');
  t.deepEqual(textOf(declared.value?.fields), [
    'balance:-__s64@0+64',
    'word:__u32@64+32',
    'halves:__u16@64+16*2',
    'colour:colour@96+32',
    'list:?@128+64',
    'low:__u32@192+3',
    'high:__u32@195+29',
  ]);
  t.deepEqual(object.mapTypes('test_untyped'), { key: undefined, value: undefined });
  t.is(
    t.throws(() => object.mapTypes('nothing'))?.message,
    `find map nothing: there is none in ${object.path}`,
  );

  object.load();
  const map = object.map('test_typed');
  t.deepEqual(map.types(), declared);
  t.true(map.btfId > 0 && map.btfKeyTypeId > 0 && map.btfValueTypeId > 0);
  const bare = BpfMap.create({ type: 'hash', name: 'bare', keySize: 4, valueSize: 4, maxEntries: 1 });
  t.is(bare.types(), undefined);
  for (const handle of [map, bare, object]) handle.close();
  t.is((t.throws(() => map.types()) as { code?: string }).code, 'EBADF');
});
