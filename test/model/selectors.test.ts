import test from 'ava';
import fc from 'fast-check';
import { FimbriaError } from '../../src/base/errors.ts';
import { matchesLabels, parseFieldSelector, parseLabelSelector } from '../../src/model/selectors.ts';

test('selector texts', t => {
  const labels = { app: 'web', tier: 'front', 'example.com/x': '' };
  const matching = [
    '',
    'app=web',
    'app==web',
    'app = web , tier',
    'app!=db',
    'other!=db',
    'app in (web,db)',
    'app notin (db)',
    'other notin (db)',
    '!other',
    'example.com/x=',
    'example.com/x in ()',
  ];
  const other = ['app=db', 'other', '!app', 'app in (db)', 'app notin (web,db)', 'app=web,tier=back', 'app='];
  for (const text of matching) t.true(matchesLabels(parseLabelSelector(text), labels), text);
  for (const text of other) t.false(matchesLabels(parseLabelSelector(text), labels), text);
  for (const text of ['a=b=c', 'a in b', '=b', 'a b', 'a,,b', '!', 'a in (b', 'a==!b']) {
    t.is(t.throws(() => parseLabelSelector(text), { instanceOf: FimbriaError })?.code, 'INVALID', text);
  }
});

test('selector objects', t => {
  t.false(matchesLabels(undefined, { a: 'b' }));
  t.true(matchesLabels({}, undefined));
  t.true(matchesLabels({ matchLabels: { a: 'b' } }, { a: 'b', c: 'd' }));
  t.false(matchesLabels({ matchLabels: { constructor: 'x' } }, {}));
  t.false(matchesLabels({ matchExpressions: [{ key: 'toString', operator: 'Exists' }] }, {}));
});

test('a selector and its contrary share no object and leave none out', t => {
  const word = fc.constantFrom('a', 'b', 'c');
  const labels = fc.dictionary(word, word);
  fc.assert(
    fc.property(labels, word, fc.array(word, { minLength: 1 }), (object, key, values) => {
      const list = values.join(',');
      const match = (text: string): boolean => matchesLabels(parseLabelSelector(text), object);
      return (
        match(`${key} in (${list})`) !== match(`${key} notin (${list})`) && match(key) !== match(`!${key}`)
      );
    }),
  );
  t.pass();
});

test('field selectors', t => {
  t.deepEqual(parseFieldSelector(''), []);
  t.deepEqual(parseFieldSelector('metadata.name=a,spec.nodeName!=b,status.phase=='), [
    { field: 'metadata.name', equal: true, value: 'a' },
    { field: 'spec.nodeName', equal: false, value: 'b' },
    { field: 'status.phase', equal: true, value: '' },
  ]);
  t.deepEqual(parseFieldSelector(String.raw`a=b\,c\=d\\`), [
    { field: 'a', equal: true, value: String.raw`b,c=d\ `.trim() },
  ]);
  for (const text of ['a', 'a=b=c', '=b']) {
    t.is(t.throws(() => parseFieldSelector(text), { instanceOf: FimbriaError })?.code, 'INVALID', text);
  }
});
