import test from 'ava';
import { codeOf, FimbriaError, ignoring, messageOf } from '../../src/base/errors.ts';

test('the message is one line: what failed, why, what to do', t => {
  const error = new FimbriaError({
    code: 'EEXIST',
    op: 'create',
    object: 'link cilium_host',
    why: 'file exists',
    hint: 'run fimbria cleanup',
    errno: 17,
    extack: 'name taken',
    cause: new Error('below'),
  });
  t.is(error.message, 'create link cilium_host: file exists; run fimbria cleanup');
  t.like(error, { name: 'FimbriaError', code: 'EEXIST', errno: 17, extack: 'name taken' });
  t.is(messageOf(error.cause), 'below');
  t.is(new FimbriaError({ code: 'X', op: 'start', why: 'no' }).message, 'start: no');
});

test('codes and messages of any thrown value', t => {
  t.is(codeOf(Object.assign(new Error(), { code: 'ENOENT' })), 'ENOENT');
  for (const value of [undefined, null, 'text', {}, { code: 7 }]) t.is(codeOf(value), undefined);
  t.is(messageOf('text'), 'text');
  t.is(messageOf(new Error('why')), 'why');
});

test('ignoring swallows the named codes only', async t => {
  const fail = (code: string) => (): never => {
    throw new FimbriaError({ code, op: 'delete', why: 'gone' });
  };
  t.is(await ignoring(['ENOENT'], fail('ENOENT')), undefined);
  t.is(await ignoring(['ENOENT'], () => 5), 5);
  await t.throwsAsync(ignoring(['ENOENT'], fail('EPERM')), { code: 'EPERM' });
});
