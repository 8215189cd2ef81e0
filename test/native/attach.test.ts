import { release } from 'node:os';
import test, { type ExecutionContext } from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { BpfObject, TcFilter, TcxLink, tcxQuery, tcxSupported } from '../../src/kernel/libbpf/index.ts';
import { compileBpf, type Scratch, scratch, vethPair } from './support.ts';

let place: Scratch;
let object: BpfObject;

test.before(async () => {
  place = await scratch();
  object = BpfObject.open(compileBpf('smoke', place.directory));
  object.configureMap('test_counts', { pinPath: null });
  object.load();
});
test.after.always(() => place.close());

test('clsact: attach, query, replace, detach', async t => {
  const pair = await vethPair();
  const pass = object.program('test_pass');
  const drop = object.program('test_drop');
  const hook = { ifindex: pair.ifindex, netns: pair.netns.fd } as const;
  for (const direction of ['ingress', 'egress'] as const) {
    t.is(TcFilter.query({ ...hook, direction }), undefined);
    t.false(TcFilter.detach({ ...hook, direction }));
    TcFilter.attach({ ...hook, direction, program: pass });
    t.is(TcFilter.query({ ...hook, direction })?.programId, pass.id);
    TcFilter.attach({ ...hook, direction, program: drop });
    t.is(TcFilter.query({ ...hook, direction })?.programId, drop.id);
  }
  TcFilter.attach({ ...hook, direction: 'ingress', program: pass, priority: 2, handle: 7 });
  t.deepEqual(TcFilter.query({ ...hook, direction: 'ingress', priority: 2, handle: 7 }), {
    programId: pass.id,
    handle: 7,
    priority: 2,
  });
  t.true(TcFilter.detach({ ...hook, direction: 'ingress' }));
  t.false(TcFilter.detach({ ...hook, direction: 'ingress' }));
  t.is(TcFilter.query({ ...hook, direction: 'ingress' }), undefined);
  t.is(TcFilter.query({ ...hook, direction: 'egress' })?.programId, drop.id);
  pair.close();
});

test('clsact: a device that is not there', async t => {
  const pair = await vethPair();
  const hook = { ifindex: 4711, direction: 'ingress', netns: pair.netns.fd } as const;
  const error = t.throws(() => TcFilter.attach({ ...hook, program: object.program('test_pass') }), {
    instanceOf: FimbriaError,
  });
  t.is(error?.code, 'ENODEV');
  t.is(TcFilter.query(hook), undefined);
  t.false(TcFilter.detach(hook));
  pair.close();
});

/** Linux 6.6 brought TCX; an older kernel says that it has none, and there is nothing more to see. */
function kernelHasTcx(t: ExecutionContext): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  t.is(tcxSupported(), major > 6 || (major === 6 && minor >= 6));
  return tcxSupported();
}

test('tcx: attach, order, swap, detach', async t => {
  if (!kernelHasTcx(t)) return;
  const pair = await vethPair();
  const pass = object.program('test_pass');
  const drop = object.program('test_drop');
  const where = { ifindex: pair.ifindex, direction: 'ingress', netns: pair.netns.fd } as const;
  const query = (): number[] =>
    tcxQuery(where.ifindex, where.direction, where.netns).programs.map(entry => entry.programId);
  t.deepEqual(query(), []);
  const first = TcxLink.create({ ...where, program: pass });
  const second = TcxLink.create({ ...where, program: drop });
  t.deepEqual(query(), [pass.id, drop.id]);
  t.is(t.throws(() => first.update(drop), { instanceOf: FimbriaError })?.code, 'EEXIST');
  const inner = object.program('test_inner');
  first.update(inner);
  t.deepEqual(query(), [inner.id, drop.id]);
  const info = first.info();
  t.deepEqual([info.programId, info.ifindex, info.attachType], [inner.id, pair.ifindex, 'ingress']);
  t.is(tcxQuery(where.ifindex, 'ingress', where.netns).programs[0]?.linkId, info.id);
  second.close();
  second.close();
  t.is(query().length, 1);
  first.detach();
  first.detach();
  t.deepEqual(query(), []);
  t.is(first.info().ifindex, 0);
  first.close();
  t.is(t.throws(() => first.info(), { instanceOf: FimbriaError })?.code, 'EBADF');
  pair.close();
});

test('tcx: a pinned link outlives its descriptor, and its device ends it', async t => {
  if (!kernelHasTcx(t)) return;
  const pair = await vethPair();
  const pass = object.program('test_pass');
  const pin = `${place.bpffs}/link`;
  const link = TcxLink.create({
    ifindex: pair.ifindex,
    direction: 'egress',
    program: pass,
    netns: pair.netns.path,
  });
  link.pin(pin);
  link.close();
  t.is(tcxQuery(pair.ifindex, 'egress', pair.netns.fd).programs.length, 1);
  const again = TcxLink.fromPin(pin);
  again.update(object.program('test_drop'));
  t.is(again.info().attachType, 'egress');
  t.true(await pair.rtnetlink.deleteLink(pair.ifindex));
  t.is(again.info().ifindex, 0);
  again.detach();
  t.throws(() => TcxLink.fromPin(`${place.bpffs}/none`), { instanceOf: FimbriaError });
  pair.close();
});

test('many test runs in one call, each with its own context', async t => {
  const pair = await vethPair();
  const program = object.program('test_pass');
  const [slot, context] = [80, 192];
  const sizes = Uint32Array.of(64, 80, 70);
  const frames = Buffer.alloc(3 * slot, 5);
  const contexts = Buffer.alloc(3 * context);
  for (const [i, mark] of [7, 0, 0xffffffff].entries()) {
    contexts.writeUInt32LE(mark, i * context + 8);
    contexts.writeUInt32LE(pair.ifindex, i * context + 40);
  }
  const result = program.testRunBatch({ frames, sizes, contexts }, pair.netns.fd);
  t.deepEqual([...result.verdicts], [0, 0, 0]);
  t.deepEqual([...result.sizes], [64, 80, 70]);
  t.deepEqual([...sizes], [64, 80, 70]);
  for (const [i, mark] of [7, 0, 0xffffffff].entries()) {
    const frame = Buffer.from(result.frames).subarray(i * slot, i * slot + result.sizes[i]!);
    t.deepEqual(frame, Buffer.alloc(sizes[i]!, 5));
    t.is(Buffer.from(result.contexts).readUInt32LE(i * context + 8), mark);
  }
  const refused = (
    batch: Parameters<typeof program.testRunBatch>[0],
    code: string,
    message: RegExp,
  ): void => {
    const error = t.throws(() => program.testRunBatch(batch, pair.netns.fd), { instanceOf: FimbriaError });
    t.is(error?.code, code);
    t.regex(error?.message ?? '', message);
  };
  refused({ frames, contexts, sizes: Uint32Array.of(64, 81, 70) }, 'ERANGE', /packet 1/);
  refused({ frames, contexts, sizes: Uint32Array.of(64, 64, 3) }, 'EINVAL', /packet 2/);
  refused({ frames, contexts, sizes: new Uint32Array(0) }, 'ERANGE', /same number/);
  refused({ frames: frames.subarray(1), contexts, sizes }, 'ERANGE', /same number/);
  refused({ frames, contexts: contexts.subarray(1), sizes }, 'ERANGE', /same number/);
  pair.close();
});

test('test runs see the devices of the namespace they are given', async t => {
  const pair = await vethPair();
  const program = object.program('test_pass');
  const data = Buffer.alloc(64, 3);
  const result = program.testRun({ data, ifindex: pair.ifindex, netns: pair.netns.fd, mark: 9 });
  t.deepEqual(result.data, data);
  t.is(result.mark, 9);
  t.is(result.ctx.readUInt32LE(40), pair.ifindex);
  t.is(
    t.throws(() => program.testRun({ data, ifindex: 4711, netns: pair.netns.fd }), {
      instanceOf: FimbriaError,
    })?.code,
    'ENODEV',
  );
  t.is(
    t.throws(() => program.testRun({ data: Buffer.alloc(3) }), { instanceOf: FimbriaError })?.code,
    'EINVAL',
  );
  pair.close();
});
