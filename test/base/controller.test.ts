import test from 'ava';
import { Controller, ControllerSet } from '../../src/base/controller.ts';
import { silent } from '../../src/base/log.ts';

test('triggers during a run coalesce into one more run', async t => {
  let runs = 0;
  let release = (): void => {};
  const gate = (): Promise<void> => new Promise(resolve => (release = resolve));
  let waiting = gate();
  const controller = new Controller({
    name: 'x',
    log: silent,
    run: async () => {
      runs++;
      await waiting;
    },
  });
  const first = controller.trigger();
  const second = controller.trigger();
  const third = controller.trigger();
  t.is(second, third);
  release();
  waiting = Promise.resolve();
  await Promise.all([first, second]);
  t.is(runs, 2);
  await controller.stop();
});

test('a failure rejects the trigger, is retried by itself and clears when it succeeds', async t => {
  let attempts = 0;
  let succeeded = (): void => {};
  const success = new Promise<void>(resolve => (succeeded = resolve));
  const controller = new Controller({
    name: 'x',
    log: silent,
    retry: { baseMs: 1, maxMs: 2 },
    run: async () => {
      if (++attempts < 3) throw new Error(`attempt ${attempts}`);
      succeeded();
    },
  });
  // The retry timer does not keep a process alive; the test does.
  const alive = setInterval(() => {}, 1_000);
  await t.throwsAsync(controller.trigger(), { message: 'attempt 1' });
  t.is(controller.status().consecutiveErrors, 1);
  await success;
  await controller.trigger();
  clearInterval(alive);
  const status = controller.status();
  t.is(status.consecutiveErrors, 0);
  t.is(status.failureCount, 2);
  t.is(status.message, 'no error');
  await controller.stop();
});

test('a stopped controller runs no more', async t => {
  let runs = 0;
  const set = new ControllerSet(silent);
  const controller = set.add({ name: 'x', run: async () => void runs++ });
  await controller.trigger();
  await set.stop();
  await controller.trigger();
  t.is(runs, 1);
  t.deepEqual(
    set.status().map(s => s.name),
    ['x'],
  );
});

test('kicks of a burst share a run, the first has its own at once; triggers do not wait', async t => {
  // The controller's timers do not keep a process alive.
  const alive = setInterval(() => {}, 60_000);
  t.teardown(() => clearInterval(alive));
  let runs = 0;
  const waiters: (() => void)[] = [];
  const c = new Controller({
    name: 'spaced',
    spacingMs: 500,
    log: silent,
    run: async () => {
      runs++;
      waiters.shift()?.();
    },
  });
  const nextRun = (): Promise<void> => new Promise(resolve => waiters.push(resolve));
  c.kick();
  t.is(runs, 1);
  const second = nextRun();
  for (let i = 0; i < 10; i++) c.kick();
  t.is(runs, 1);
  await second;
  t.is(runs, 2);
  await c.trigger();
  t.is(runs, 3);
  c.kick();
  await c.stop();
  t.is(runs, 3);
});
