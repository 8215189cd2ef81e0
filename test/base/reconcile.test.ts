import test from 'ava';
import fc from 'fast-check';
import { silent } from '../../src/base/log.ts';
import { Reconciler, type Target } from '../../src/base/reconcile.ts';

/** A kernel table that can be made to fail, and that others may change behind our back. */
class FakeKernel implements Target<number> {
  readonly name = 'things';
  readonly table = new Map<string, number>();
  failures = 0;
  writes = 0;

  async read(): Promise<Map<string, number>> {
    return new Map(this.table);
  }
  same = (desired: number, actual: number): boolean => desired === actual;
  async update(key: string, desired: number): Promise<void> {
    this.#maybeFail();
    this.writes++;
    this.table.set(key, desired);
  }
  async delete(key: string): Promise<void> {
    this.#maybeFail();
    this.writes++;
    this.table.delete(key);
  }
  #maybeFail(): void {
    if (this.failures === 0) return;
    this.failures--;
    throw new Error('kernel said no');
  }
}

test('commit realises what was set and removed, and nothing else', async t => {
  const kernel = new FakeKernel();
  kernel.table.set('foreign', 9);
  const table = new Reconciler(kernel, silent);
  table.set('a', 1);
  table.set('b', 2);
  await table.commit();
  table.remove('a');
  await table.commit();
  t.deepEqual(Object.fromEntries(kernel.table), { foreign: 9, b: 2 });
});

test('a failed key stays dirty: the caller hears of it, the next commit repairs it', async t => {
  const kernel = new FakeKernel();
  kernel.failures = 1;
  const table = new Reconciler(kernel, silent);
  table.set('a', 1);
  table.set('b', 2);
  await t.throwsAsync(table.commit(), { message: 'kernel said no' });
  t.deepEqual(Object.fromEntries(kernel.table), { b: 2 });
  await table.commit();
  t.deepEqual(Object.fromEntries(kernel.table), { a: 1, b: 2 });
});

test('nothing is pruned before it is allowed', async t => {
  const kernel = new FakeKernel();
  kernel.table.set('old', 1);
  const table = new Reconciler(kernel, silent);
  await table.resync();
  t.true(kernel.table.has('old'));
  table.allowPrune();
  await table.resync();
  t.false(kernel.table.has('old'));
});

test('drift is repaired and reported once', async t => {
  const kernel = new FakeKernel();
  const table = new Reconciler(kernel, silent);
  table.allowPrune();
  table.set('a', 1);
  table.set('b', 2);
  t.deepEqual(await table.resync(), [], 'our own first writes are no drift');
  kernel.table.delete('a');
  kernel.table.set('b', 7);
  kernel.table.set('c', 3);
  const found = await table.resync();
  t.deepEqual(found.map(d => `${d.key} ${d.what}`).sort(), ['a missing', 'b changed', 'c foreign']);
  t.deepEqual(Object.fromEntries(kernel.table), { a: 1, b: 2 });
  const writes = kernel.writes;
  t.deepEqual(await table.resync(), []);
  t.is(kernel.writes, writes, 'a pass without drift writes nothing');
  t.is(table.drift.repaired, 3);
});

test('replace touches only what differs and only what it was told is its own', async t => {
  const kernel = new FakeKernel();
  const table = new Reconciler(kernel, silent);
  for (const [key, value] of [
    ['x/1', 1],
    ['x/2', 2],
    ['y/1', 3],
  ] as const)
    table.set(key, value);
  await table.commit();
  const before = kernel.writes;
  table.replace(
    new Map([
      ['x/2', 2],
      ['x/3', 3],
    ]),
    key => key.startsWith('x/'),
    (a, b) => a === b,
  );
  await table.commit();
  t.is(kernel.writes - before, 2);
  t.deepEqual(Object.fromEntries(kernel.table), { 'x/2': 2, 'x/3': 3, 'y/1': 3 });
});

test('whatever happens in whatever order, a last pass makes the kernel match', async t => {
  const key = fc.constantFrom('a', 'b', 'c', 'd');
  const step = fc.oneof(
    fc.record({ do: fc.constant('set' as const), key, value: fc.integer() }),
    fc.record({ do: fc.constant('remove' as const), key }),
    fc.record({ do: fc.constant('commit' as const) }),
    fc.record({ do: fc.constant('resync' as const) }),
    fc.record({ do: fc.constant('fail' as const), count: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ do: fc.constant('meddle' as const), key, value: fc.integer() }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
      const kernel = new FakeKernel();
      const table = new Reconciler(kernel, silent);
      table.allowPrune();
      const model = new Map<string, number>();
      for (const s of steps) {
        if (s.do === 'set') {
          table.set(s.key, s.value);
          model.set(s.key, s.value);
        } else if (s.do === 'remove') {
          table.remove(s.key);
          model.delete(s.key);
        } else if (s.do === 'commit') await table.commit().catch(() => {});
        else if (s.do === 'resync') await table.resync().catch(() => {});
        else if (s.do === 'fail') kernel.failures = s.count;
        else kernel.table.set(s.key, s.value);
      }
      kernel.failures = 0;
      await table.resync();
      t.deepEqual(new Map([...kernel.table].sort()), new Map([...model].sort()));
    }),
    { numRuns: 150 },
  );
});

test('what is set while a pass works is not lost: the next commit writes it', async t => {
  const kernel = new FakeKernel();
  const table = new Reconciler(kernel, silent);
  table.set('a', 1);
  const { update } = kernel;
  kernel.update = async (key, value) => {
    kernel.update = update;
    table.set('b', 2);
    await update.call(kernel, key, value);
  };
  await table.resync();
  await table.commit();
  t.deepEqual(Object.fromEntries(kernel.table), { a: 1, b: 2 });
});

test('what was noted is watched over but not written; what cannot be there is passed over', async t => {
  const kernel = new FakeKernel();
  const table = new Reconciler<number>(
    Object.assign(kernel, { blocked: (_: number, key: string) => key === 'gone' }),
    silent,
  );
  table.allowPrune();
  await table.resync();
  kernel.table.set('a', 1);
  table.note('a', 1);
  table.note('gone', 2);
  t.deepEqual(await table.resync(), []);
  t.is(kernel.writes, 0);
  kernel.table.delete('a');
  t.deepEqual(
    (await table.resync()).map(d => d.key),
    ['a'],
  );
});

test("a commit of some keys neither does nor fails for another's", async t => {
  const kernel = new FakeKernel();
  const table = new Reconciler(kernel, silent);
  table.set('dead', 1);
  kernel.failures = 1;
  await t.throwsAsync(table.commit(['dead']), { message: 'kernel said no' });
  table.set('mine', 2);
  kernel.failures = 1;
  await t.throwsAsync(table.commit(['mine']));
  await table.commit(['mine', 'unknown']);
  t.deepEqual(Object.fromEntries(kernel.table), { mine: 2 });
  await table.commit();
  t.deepEqual(Object.fromEntries(kernel.table), { mine: 2, dead: 1 });
});
