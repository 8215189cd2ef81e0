import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { BpfObject, RingBuffer } from '../../src/kernel/libbpf/index.ts';
import { compileBpf, type Scratch, scratch } from './support.ts';

let place: Scratch;
let path: string;

test.before(async () => {
  place = await scratch();
  path = compileBpf('smoke', place.directory);
});
test.after.always(() => place.close());

function load(): BpfObject {
  const object = BpfObject.open(path);
  object.configureMap('test_counts', { pinPath: null });
  object.setRodata({ cfg_emit: true });
  object.load();
  return object;
}

/** Sends events with marks `from`…`from + count - 1`. */
function emit(object: BpfObject, from: number, count: number): void {
  const program = object.program('test_pass');
  for (let mark = from; mark < from + count; mark++) program.testRun({ data: Buffer.alloc(64), mark });
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test('samples come in order, none lost, in batches', async t => {
  const object = load();
  const marks: number[] = [];
  await new Promise<void>(resolve => {
    const ring = new RingBuffer({
      map: object.map('test_events'),
      batch: 7,
      onSample(data) {
        marks.push(data.readUInt32LE(0));
        if (marks.length < 1000) return;
        ring.close();
        resolve();
      },
    });
    emit(object, 0, 500);
    setImmediate(() => emit(object, 500, 500));
  });
  t.deepEqual(marks, upTo(1000));
  object.close();
});

test('poll delivers at once; after close nothing comes', t => {
  const object = load();
  const marks: number[] = [];
  const ring = new RingBuffer({
    map: object.map('test_events'),
    onSample: data => marks.push(data.readUInt32LE(0)),
  });
  emit(object, 0, 300);
  t.is(ring.poll(), 300);
  t.is(ring.poll(), 0);
  t.deepEqual(marks, upTo(300));
  ring.close();
  ring.close();
  t.is(t.throws(() => ring.poll(), { instanceOf: FimbriaError })?.code, 'EBADF');
  object.close();
});

test('closing inside a sample stops there', t => {
  const object = load();
  let seen = 0;
  const ring = new RingBuffer({
    map: object.map('test_events'),
    onSample() {
      if (++seen === 2) ring.close();
    },
  });
  emit(object, 0, 5);
  t.is(ring.poll(), 2);
  t.is(seen, 2);
  object.close();
});

test('what the consumer throws comes out, and the samples behind it stay', t => {
  const object = load();
  const seen: number[] = [];
  const ring = new RingBuffer({
    map: object.map('test_events'),
    onSample(data) {
      seen.push(data.readUInt32LE(0));
      if (seen.length === 1) throw new RangeError('mine');
      if (seen.length === 2) t.is(t.throws(() => ring.poll(), { instanceOf: FimbriaError })?.code, 'EBUSY');
    },
  });
  emit(object, 0, 3);
  t.throws(() => ring.poll(), { instanceOf: RangeError, message: 'mine' });
  t.is(ring.poll(), 2);
  t.deepEqual(seen, [0, 1, 2]);
  ring.close();
  object.close();
});

test('only ring buffers can be consumed', t => {
  const object = load();
  t.is(
    t.throws(() => new RingBuffer({ map: object.map('test_percpu'), onSample() {} }), {
      instanceOf: FimbriaError,
    })?.code,
    'EINVAL',
  );
  object.close();
});

test('an unreferenced consumer lets the process end; a throwing one ends it', async t => {
  const script = (body: string): Promise<{ stdout: string }> =>
    promisify(execFile)(process.execPath, [
      '--import=tsx',
      '--input-type=module',
      '-e',
      `import { BpfObject, RingBuffer } from '${new URL('../../src/kernel/libbpf/index.ts', import.meta.url)}';
       const object = BpfObject.open('${path}');
       object.configureMap('test_counts', { pinPath: null });
       object.setRodata({ cfg_emit: true });
       object.load();
       const map = object.map('test_events');
       ${body}`,
    ]);
  const quiet = await script(`new RingBuffer({ map, onSample() {} }).unref(); console.log('end');`);
  t.is(quiet.stdout, 'end\n');
  const loud = await t.throwsAsync(
    script(`new RingBuffer({ map, onSample() { throw new Error('from the consumer'); } });
            object.program('test_pass').testRun({ data: new Uint8Array(64) });`),
  );
  t.regex(loud?.message ?? '', /from the consumer/);
});
