import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { BpfMap, BpfObject, BpfProgram, bpfStatsHold } from '../../src/kernel/libbpf/index.ts';
import { compileBpf, type Scratch, scratch, u32, u64 } from './support.ts';

let place: Scratch;
let smoke: string;
const packet = Buffer.alloc(64);

test.before(async () => {
  place = await scratch();
  smoke = compileBpf('smoke', place.directory);
});
test.after.always(() => place.close());

function open(): BpfObject {
  const object = BpfObject.open(smoke);
  object.configureMap('test_counts', { pinPath: null });
  return object;
}

test('an object tells what it declares', t => {
  const object = BpfObject.open(smoke, { pinRoot: place.bpffs });
  const counts = object.maps.find(map => map.name === 'test_counts');
  t.deepEqual(counts, {
    name: 'test_counts',
    type: 'array',
    keySize: 4,
    valueSize: 8,
    maxEntries: 4,
    flags: 0,
    pinned: true,
  });
  t.false(object.maps.some(map => map.name.includes('rodata')));
  t.deepEqual(object.programs.map(program => program.name).sort(), ['test_drop', 'test_inner', 'test_pass']);
  object.close();
});

test('what is no object is refused with the reason', t => {
  const missing = t.throws(() => BpfObject.open('/nowhere/x.o'), { instanceOf: FimbriaError });
  t.is(missing?.code, 'ENOENT');
  const path = join(place.directory, 'text.o');
  writeFileSync(path, 'hello');
  const text = t.throws(() => BpfObject.open(path), { instanceOf: FimbriaError });
  t.is(text?.code, 'BPF_OPEN');
});

test('constants of every shape reach the program', t => {
  const object = open();
  object.setRodata({
    cfg_mark: 100,
    cfg_signed: -3,
    cfg_bytes: Uint8Array.of(7, 0, 0, 0, 0, 0),
    cfg_emit: true,
  });
  object.load();
  const result = object.program('test_pass').testRun({ data: packet, mark: 1 });
  t.is(result.retval, 0);
  t.is(result.mark, 104);
  object.close();
});

test('constants that do not fit, or do not exist, are refused', t => {
  const object = open();
  const refused = (values: Parameters<BpfObject['setRodata']>[0], code: string): void => {
    t.is(t.throws(() => object.setRodata(values), { instanceOf: FimbriaError })?.code, code);
  };
  refused({ cfg_nothing: 1 }, 'ENOENT');
  refused({ cfg_mark: -1 }, 'ERANGE');
  refused({ cfg_mark: 2 ** 32 }, 'ERANGE');
  refused({ cfg_mark: 1.5 }, 'ERANGE');
  refused({ cfg_signed: 32768 }, 'ERANGE');
  refused({ cfg_emit: 2 }, 'ERANGE');
  refused({ cfg_bytes: 1 }, 'ERANGE');
  refused({ cfg_bytes: new Uint8Array(5) }, 'ERANGE');
  object.setRodata({ cfg_mark: 2 ** 32 - 1, cfg_signed: -32768 });
  object.close();
});

test('a refused program comes with the verifier log, and its object is spent', t => {
  const path = compileBpf('broken', place.directory);
  const object = BpfObject.open(path);
  const error = t.throws(() => object.load(), { instanceOf: FimbriaError });
  t.is(error?.code, 'BPF_LOAD');
  t.is(error?.errno, 13);
  t.regex(error?.log ?? '', /R\d invalid mem access 'map_value_or_null'/);
  t.regex(error?.message ?? '', /test_broken/);
  t.is(t.throws(() => object.load(), { instanceOf: FimbriaError })?.code, 'EBADF');
  object.close();
});

test('a program that is not wanted is not loaded', t => {
  const object = BpfObject.open(compileBpf('broken', place.directory));
  object.configureProgram('test_broken', { autoload: false });
  object.load();
  t.is(object.program('test_fine').testRun({ data: packet, mark: 1 }).retval, 1);
  t.is(t.throws(() => object.program('test_broken'), { instanceOf: FimbriaError })?.code, 'ENOENT');
  object.close();
});

test('loading on another thread; the object is busy meanwhile', async t => {
  const object = open();
  const loading = object.loadAsync();
  t.is(t.throws(() => object.close(), { instanceOf: FimbriaError })?.code, 'EBUSY');
  t.is(t.throws(() => object.program('test_pass'), { instanceOf: FimbriaError })?.code, 'EBUSY');
  await loading;
  t.is(object.program('test_drop').testRun({ data: packet }).retval, 2);
  object.close();
});

test('a refusal on another thread rejects with the log', async t => {
  const object = BpfObject.open(compileBpf('broken', place.directory));
  const error = await t.throwsAsync(object.loadAsync(), { instanceOf: FimbriaError });
  t.is(error?.code, 'BPF_LOAD');
  t.regex(error?.log ?? '', /invalid mem access/);
});

test('maps are pinned by name and taken up by the next object', t => {
  const pinRoot = join(place.bpffs, 'by-name', 'globals');
  const first = BpfObject.open(smoke, { pinRoot });
  first.load();
  first.map('test_counts').update(u32(2), u64(77));
  t.true(existsSync(join(pinRoot, 'test_counts')));
  const second = BpfObject.open(smoke, { pinRoot });
  second.load();
  t.is(second.map('test_counts').id, first.map('test_counts').id);
  t.deepEqual(second.map('test_counts').lookup(u32(2)), u64(77));
  t.is(BpfMap.fromPin(join(pinRoot, 'test_counts')).name, 'test_counts');
  first.close();
  second.close();
});

test('a map is resized or replaced before loading', t => {
  const object = open();
  object.configureMap('test_percpu', { maxEntries: 3 });
  const counts = BpfMap.create({ type: 'array', name: 'other', keySize: 4, valueSize: 8, maxEntries: 4 });
  object.configureMap('test_counts', { reuse: counts });
  object.load();
  t.is(object.map('test_percpu').maxEntries, 3);
  object.program('test_pass').testRun({ data: packet, repeat: 5 });
  t.deepEqual(counts.lookup(u32(0)), u64(5));
  t.is(
    t.throws(() => object.configureMap('test_percpu', { maxEntries: 9 }), { instanceOf: FimbriaError })?.code,
    'EBUSY',
  );
  object.close();
});

test('maps and programs outlive their object; pins outlive both', t => {
  const object = open();
  object.load();
  const program = object.program('test_drop');
  const pin = join(place.bpffs, 'drop');
  program.pin(pin);
  t.is(t.throws(() => program.pin(pin), { instanceOf: FimbriaError })?.code, 'EEXIST');
  object.close();
  t.is(program.testRun({ data: packet }).retval, 2);
  const { id, tag } = program;
  program.close();
  const again = BpfProgram.fromPin(pin);
  t.deepEqual([again.id, again.tag, again.name, again.type], [id, tag, 'test_drop', 'sched_cls']);
  t.is(BpfProgram.fromId(id).id, id);
  t.is(t.throws(() => BpfMap.fromPin(pin), { instanceOf: FimbriaError })?.code, 'EINVAL');
});

test('run counters move while statistics are held', t => {
  const object = open();
  object.load();
  const program = object.program('test_pass');
  const hold = bpfStatsHold();
  program.testRun({ data: packet, repeat: 10 });
  hold.close();
  hold.close();
  t.true(program.info().runCount >= 10n);
  t.true(program.info().runTimeNs > 0n);
  t.true(program.info().mapIds.includes(object.map('test_counts').id));
  object.close();
});

test('closed things say so', t => {
  const object = open();
  object.load();
  const program = object.program('test_pass');
  program.close();
  program.close();
  const error = t.throws(() => program.testRun({ data: packet }), { instanceOf: FimbriaError });
  t.is(error?.code, 'EBADF');
  t.is(error?.message, 'run program: it was closed');
  object.close();
  object.close();
  t.is(t.throws(() => object.map('test_counts'), { instanceOf: FimbriaError })?.code, 'EBADF');
});
