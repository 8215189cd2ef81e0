import test from 'ava';
import { Undo, withUndo } from '../../src/base/undo.ts';

test('takes back in reverse order, goes on past failures and names them', async t => {
  const calls: string[] = [];
  const undo = new Undo();
  undo.push('first', () => calls.push('first'));
  undo.push('second', async () => {
    calls.push('second');
    throw new Error('stuck');
  });
  undo.push('third', () => calls.push('third'));
  const failures = await undo.rollback();
  t.deepEqual(calls, ['third', 'second', 'first']);
  t.deepEqual(
    failures.map(failure => failure.what),
    ['second'],
  );
  t.deepEqual(await undo.rollback(), []);
});

test('after a commit nothing is taken back', async t => {
  const undo = new Undo();
  undo.push('step', () => t.fail());
  undo.commit();
  t.deepEqual(await undo.rollback(), []);
});

test('withUndo keeps what succeeded and reverts what did not, letting the error through', async t => {
  const reverted: string[] = [];
  const keep = await withUndo(
    async undo => {
      undo.push('kept', () => reverted.push('kept'));
      return 42;
    },
    () => t.fail(),
  );
  t.is(keep, 42);
  const complaints: string[] = [];
  await t.throwsAsync(
    withUndo(
      async undo => {
        undo.push('a', () => reverted.push('a'));
        undo.push('b', () => {
          throw new Error('no');
        });
        throw new Error('the cause');
      },
      what => complaints.push(what),
    ),
    { message: 'the cause' },
  );
  t.deepEqual(reverted, ['a']);
  t.deepEqual(complaints, ['b']);
});
