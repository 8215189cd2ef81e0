import { execFile } from 'node:child_process';
import { closeSync } from 'node:fs';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { packageRoot } from '../../src/base/paths.ts';
import { native } from '../../src/kernel/addon.ts';
import { BpfMap, BpfObject } from '../../src/kernel/libbpf/index.ts';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import { NetlinkMonitor, Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { collectGarbage, compileBpf, openFds, type Scratch, scratch, vethPair } from './support.ts';

let place: Scratch;
let path: string;

test.before(async () => {
  place = await scratch();
  path = compileBpf('smoke', place.directory);
});
test.after.always(() => place.close());

function createMap(): BpfMap {
  return BpfMap.create({ type: 'hash', name: 'test', keySize: 4, valueSize: 4, maxEntries: 1 });
}

/** Everything that holds descriptors, made once and closed if asked to. */
async function useEverything(close: boolean): Promise<void> {
  const object = BpfObject.open(path);
  object.configureMap('test_counts', { pinPath: null });
  await object.loadAsync();
  const map = object.map('test_counts');
  const program = object.program('test_pass');
  const netns = await createHeldNetns();
  const rtnetlink = Rtnetlink.open({ netns: netns.fd });
  await rtnetlink.links();
  if (!close) return;
  for (const thing of [object, map, program, netns, rtnetlink]) thing.close();
}

test.serial('what is closed leaves no descriptor', async t => {
  await useEverything(true);
  const before = openFds();
  for (let i = 0; i < 20; i++) await useEverything(true);
  const monitor = new NetlinkMonitor({ groups: ['link'], onEvent() {}, onOverrun() {} });
  monitor.close();
  // The event loop lets go of a closed handle at the end of its turn.
  for (let turn = 0; turn < 2; turn++) await new Promise(resolve => setImmediate(resolve));
  t.is(openFds(), before);
});

test.serial('what is forgotten is closed by garbage collection', async t => {
  await useEverything(true);
  await collectGarbage();
  const before = openFds();
  for (let i = 0; i < 20; i++) await useEverything(false);
  t.true(openFds() > before);
  await collectGarbage();
  t.is(openFds(), before);
});

test.serial('descriptors are not inherited', async t => {
  const map = createMap();
  const { stdout } = await promisify(execFile)('ls', ['-l', '/proc/self/fd']);
  t.notRegex(stdout, /bpf-map/);
  map.close();
});

test('a handle of another kind, or none, is refused', t => {
  const addon = native();
  const map = createMap();
  const code = (action: () => unknown): string | undefined =>
    t.throws(action, { instanceOf: FimbriaError })?.code;
  t.is(
    code(() => addon.programInfo(map.handle)),
    'EINVAL',
  );
  t.is(
    code(() => addon.mapInfo({} as never)),
    'EINVAL',
  );
  t.is(
    code(() => addon.mapInfo(undefined as never)),
    'EINVAL',
  );
  t.is(
    code(() => addon.netlinkReceive(map.handle)),
    'EINVAL',
  );
  t.is(
    code(() => addon.mapCreate({ btfObject: map.handle } as never)),
    'EINVAL',
  );
  t.is(
    code(() => Reflect.construct(map.handle.constructor, [])),
    'EPERM',
  );
  // V8 itself checks the receiver of a method.
  t.throws(() => map.handle.close.call({} as never), { message: /Illegal invocation/ });
  map.close();
});

test('a released descriptor belongs to the caller', t => {
  const map = createMap();
  const fd = map.handle.release();
  t.true(map.handle.closed);
  t.is(t.throws(() => map.handle.release(), { instanceOf: FimbriaError })?.code, 'EBADF');
  // Closing it here would fail with EBADF had the handle closed it.
  t.notThrows(() => closeSync(fd));
});

test('closing a socket under a request lets the request finish', async t => {
  const netns = await createHeldNetns();
  const rtnetlink = Rtnetlink.open({ netns: netns.fd });
  const links = rtnetlink.links();
  rtnetlink.close();
  const result = await links.catch(error => error);
  t.true(Array.isArray(result) || result.code === 'EBADF');
  await t.throwsAsync(rtnetlink.links(), { instanceOf: FimbriaError });
  netns.close();
});

const WORKER = `
const { parentPort, workerData } = require('node:worker_threads');
const addon = require(workerData.addon);
addon.setErrorFactory(detail => Object.assign(new Error(detail.why), detail));
const object = addon.objectOpen(workerData.object);
object.setPinPath('test_counts', null);
object.setRodata('cfg_emit', 1n);
object.loadAsync().then(() => {
  const ring = addon.ringBufferOpen(object.map('test_events'), 16, data => {
    parentPort.postMessage({ event: data.readUInt32LE(0) });
    if (workerData.leaveOpen) return;
    ring.close();
  });
  const ctx = Buffer.alloc(192);
  ctx.writeUInt32LE(workerData.mark, 8);
  addon.programTestRun(object.program('test_pass'), Buffer.alloc(64), ctx, 1, workerData.netns);
  addon.watch(addon.netlinkOpen([1]), () => {}).unref();
  let code;
  try { addon.mapFromId(0xfffffff0); } catch (error) { code = error.code; }
  parentPort.postMessage({ code });
});
`;

/** Runs a worker with the addon until it has told its two messages; then it ends by itself or is ended. */
async function work(mark: number, leaveOpen: boolean, netns: number): Promise<unknown[]> {
  const addon = process.env['FIMBRIA_NATIVE'] ?? `${packageRoot()}/build/native/Release/fimbria.node`;
  const worker = new Worker(WORKER, {
    eval: true,
    execArgv: [],
    workerData: { addon, object: path, mark, leaveOpen, netns },
  });
  const messages: unknown[] = [];
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', message => {
      messages.push(message);
      if (leaveOpen && messages.length === 2) worker.terminate();
    });
    worker.on('exit', () => resolve());
  });
  return messages;
}

test.serial('workers and the main thread use the addon side by side', async t => {
  const netns = await createHeldNetns();
  const map = createMap();
  const before = openFds();
  for (const leaveOpen of [false, true]) {
    const all = await Promise.all([1, 2, 3].map(mark => work(mark, leaveOpen, netns.fd)));
    all.forEach((messages, i) => {
      t.deepEqual(new Set(messages), new Set([{ code: 'ENOENT' }, { event: i + 1 }]));
    });
  }
  map.update(new Uint8Array(4), new Uint8Array(4));
  t.is(openFds(), before);
  map.close();
  netns.close();
});

test.serial('the example counts packets', async t => {
  const pair = await vethPair();
  const { stdout } = await promisify(execFile)('nsenter', [
    `--net=${pair.netns.path}`,
    process.execPath,
    '--import=tsx',
    new URL('example.ts', import.meta.url).pathname,
    path,
    'test0',
    '0',
  ]);
  t.regex(stdout, /^test0 received \d+ packets\n$/);
  pair.close();
});
