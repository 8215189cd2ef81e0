import { execFileSync } from 'node:child_process';
import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { BpfMap, BpfObject, MAP_FLAGS, type MapType, possibleCpus } from '../../src/kernel/libbpf/index.ts';
import { compileBpf, type Scratch, scratch, u32, u64 } from './support.ts';

let place: Scratch;
let object: BpfObject;

test.before(async () => {
  place = await scratch();
  object = BpfObject.open(compileBpf('smoke', place.directory));
  object.configureMap('test_counts', { pinPath: null });
  object.setRodata({ cfg_key: Uint8Array.of(32, 0, 0, 0, 10, 0, 0, 7) });
  object.load();
});
test.after.always(() => place.close());

function create(type: MapType, maxEntries = 5000): BpfMap {
  const flags = type === 'lpm_trie' ? MAP_FLAGS.NO_PREALLOC : 0;
  return BpfMap.create({ type, name: 'test_map', keySize: 8, valueSize: 8, maxEntries, flags });
}

/** Works as an LPM key as well: prefix length 32, then four bytes. */
function key(n: number): Buffer {
  return Buffer.concat([u32(32), u32(n)]);
}

function snapshot(map: BpfMap): Record<string, string> {
  return Object.fromEntries(
    [...map.entries()].map(([k, v]) => [k.toString('hex'), v.toString('hex')]).sort(),
  );
}

for (const type of ['hash', 'lru_hash', 'lpm_trie'] as const) {
  test(`${type}: one at a time`, t => {
    const map = create(type);
    t.is(map.lookup(key(1)), undefined);
    map.update(key(1), u64(10));
    t.deepEqual(map.lookup(key(1)), u64(10));
    t.is(t.throws(() => map.update(key(1), u64(11), 'create'), { instanceOf: FimbriaError })?.code, 'EEXIST');
    t.is(t.throws(() => map.update(key(2), u64(11), 'exist'), { instanceOf: FimbriaError })?.code, 'ENOENT');
    map.update(key(1), u64(12), 'exist');
    t.deepEqual([...map.keys()], [key(1)]);
    t.true(map.delete(key(1)));
    t.false(map.delete(key(1)));
    t.deepEqual([...map.entries()], []);
    map.close();
  });

  test(`${type}: batches, of more than one step`, t => {
    const map = create(type);
    const entries = Array.from({ length: 3000 }, (_, n): [Buffer, Buffer] => [key(n), u64(n * 3)]);
    map.updateBatch(entries);
    const expected = Object.fromEntries(
      entries.map(([k, v]) => [k.toString('hex'), v.toString('hex')]).sort(),
    );
    t.deepEqual(snapshot(map), expected);
    const absent = Array.from({ length: 50 }, (_, n) => key(n + 100_000));
    const keys = entries.slice(0, 2900).map(entry => entry[0]);
    t.is(
      map.deleteBatch([...absent, ...keys.slice(0, 1000), ...absent, ...keys.slice(1000), ...absent]),
      2900,
    );
    t.is([...map.keys()].length, 100);
    t.is(map.deleteBatch([]), 0);
    map.close();
  });
}

test('per-CPU values are one of eight bytes for each possible CPU', t => {
  const map = object.map('test_percpu');
  const value = Buffer.alloc(8 * possibleCpus(), 1);
  map.update(u32(1), value);
  t.is(map.lookup(u32(1))!.length, value.length);
  t.is([...map.entries()][0]![1].length, value.length);
  t.is(t.throws(() => map.update(u32(1), u32(1)), { instanceOf: FimbriaError })?.code, 'ERANGE');
});

test('wrong sizes never reach the kernel', t => {
  const map = create('hash');
  for (const action of [
    () => map.lookup(new Uint8Array(7)),
    () => map.update(key(1), new Uint8Array(9)),
    () => map.delete(new Uint8Array(0)),
    () =>
      map.updateBatch([
        [key(1), u64(1)],
        [key(2), u32(1)],
      ]),
    () => map.updateBatch([[key(1), u32(1)]]),
    () => map.deleteBatch([u32(1)]),
  ]) {
    t.is(t.throws(action, { instanceOf: FimbriaError })?.code, 'ERANGE');
  }
  t.is(t.throws(() => map.lookup('text' as never), { instanceOf: FimbriaError })?.code, 'EINVAL');
  map.close();
});

test('a full map says so', t => {
  const map = create('hash', 2);
  map.update(key(1), u64(1));
  map.update(key(2), u64(2));
  const error = t.throws(() => map.update(key(3), u64(3)), { instanceOf: FimbriaError });
  t.is(error?.code, 'E2BIG');
  t.is(error?.message, 'write map test_map: it is full (E2BIG)');
  map.close();
});

test('impossible maps are refused with the kernel’s code', t => {
  const error = t.throws(
    () => BpfMap.create({ type: 'hash', name: 'x', keySize: 0, valueSize: 4, maxEntries: 1 }),
    {
      instanceOf: FimbriaError,
    },
  );
  t.is(error?.code, 'EINVAL');
  t.is(t.throws(() => BpfMap.fromId(0xfffffff0), { instanceOf: FimbriaError })?.code, 'ENOENT');
});

test('maps of maps: an inner map with types, seen by programs and by bpftool', t => {
  const outer = object.map('test_outer');
  const inner = BpfMap.create({
    type: 'lpm_trie',
    name: 'test_policy_00042',
    keySize: 8,
    valueSize: 8,
    maxEntries: 64,
    flags: MAP_FLAGS.NO_PREALLOC,
    btfFrom: { object, map: 'test_outer' },
  });
  t.is(inner.name, 'test_policy_000');
  t.true(inner.btfId > 0);
  const lookUp = (): number => object.program('test_inner').testRun({ data: Buffer.alloc(64) }).retval;
  t.is(lookUp(), 0);
  inner.update(Uint8Array.of(24, 0, 0, 0, 10, 0, 0, 0), Buffer.concat([u32(4711), u32(0)]));
  outer.updateBatch([
    [u32(3), u32(inner.fd)],
    [u32(4), u32(inner.fd)],
  ]);
  t.is(lookUp(), 4711);
  t.is(outer.lookup(u32(3))!.readUInt32LE(0), inner.id);
  const dump = JSON.parse(
    execFileSync('bpftool', ['-j', 'map', 'dump', 'id', String(inner.id)], { encoding: 'utf8' }),
  );
  t.is(dump[0].formatted.value.identity, 4711);
  t.is(dump[0].formatted.key.prefixlen, 24);
  t.is([...outer.keys()].length >= 2, true);
  inner.close();
  t.is(lookUp(), 4711);
  t.true(outer.delete(u32(3)));
  t.is(lookUp(), 0);
});

test('types come only from a loaded object that has them', t => {
  const spec = { type: 'hash', name: 'x', keySize: 4, valueSize: 4, maxEntries: 1 } as const;
  const unknown = t.throws(() => BpfMap.create({ ...spec, btfFrom: { object, map: 'nothing' } }), {
    instanceOf: FimbriaError,
  });
  t.is(unknown?.code, 'ENOENT');
});

test('a map outlives its descriptor by its pin', t => {
  const map = create('hash');
  map.update(key(1), u64(1));
  map.pin(`${place.bpffs}/pinned`);
  map.close();
  t.is(t.throws(() => map.lookup(key(1)), { instanceOf: FimbriaError })?.code, 'EBADF');
  t.is(t.throws(() => map.fd, { instanceOf: FimbriaError })?.code, 'EBADF');
  t.deepEqual(BpfMap.fromPin(`${place.bpffs}/pinned`).lookup(key(1)), u64(1));
});
