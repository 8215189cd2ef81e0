import test from 'ava';
import fc from 'fast-check';
import { type Json, type JsonObject, jsonEqual, withoutNulls } from '../../src/apiserver/patch/json.ts';
import { applyJsonPatch } from '../../src/apiserver/patch/json-patch.ts';
import { applyMergePatch } from '../../src/apiserver/patch/merge-patch.ts';
import { mergeSchemaOf } from '../../src/apiserver/patch/merge-schema.ts';
import { applyStrategicPatch } from '../../src/apiserver/patch/strategic-patch.ts';
import { FimbriaError } from '../../src/base/errors.ts';
import { messageNamed } from '../../src/model/kubernetes/fields.ts';

const key = fc.oneof(fc.constantFrom('a', 'b', 'c', 'a/b', '~', '__proto__', 'constructor'), fc.string());
const { value: anyJson } = fc.letrec<{ value: Json }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<Json>(null, true, 1, 'x'),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map(entries => Object.fromEntries(entries)),
  ),
}));
const json = anyJson.map(value => JSON.parse(JSON.stringify(value)) as Json);
const object = fc
  .array(fc.tuple(key, json), { maxLength: 5 })
  .map(entries => Object.fromEntries(entries) as JsonObject);

/** The merge patch that makes `to` of `from`: what RFC 7386 lets one express. */
function mergeDiff(from: Json, to: Json): Json {
  if (!isPlain(from) || !isPlain(to)) return to;
  const entries: [string, Json][] = [];
  for (const name of Object.keys(from)) if (!Object.hasOwn(to, name)) entries.push([name, null]);
  for (const [name, value] of Object.entries(to)) {
    if (!Object.hasOwn(from, name)) entries.push([name, value]);
    else if (!jsonEqual(from[name], value)) entries.push([name, mergeDiff(from[name]!, value)]);
  }
  return Object.fromEntries(entries);
}

function isPlain(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

test('the examples of RFC 7386', t => {
  const cases: [string, string, string][] = [
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"a":"b"}', '["c"]', '["c"]'],
    ['{"a":"foo"}', 'null', 'null'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ];
  for (const [target, patch, result] of cases) {
    t.deepEqual(applyMergePatch(JSON.parse(target), JSON.parse(patch)), JSON.parse(result), patch);
  }
});

test('a merge patch leads from any object to any other that has no nulls', t => {
  fc.assert(
    fc.property(json.map(withoutNulls), json.map(withoutNulls), (from, to) =>
      jsonEqual(applyMergePatch(from, mergeDiff(from, to)), to),
    ),
  );
  t.pass();
});

test('a merge patch applied twice is as one, and leaves its arguments alone', t => {
  fc.assert(
    fc.property(json, json, (target, patch) => {
      const before = JSON.stringify([target, patch]);
      const once = applyMergePatch(target, patch);
      return jsonEqual(applyMergePatch(once, patch), once) && JSON.stringify([target, patch]) === before;
    }),
  );
  t.pass();
});

test('nobody reaches the prototype of objects', t => {
  const patch = JSON.parse('{"__proto__":{"polluted":1},"a":{"__proto__":{"polluted":1}}}');
  for (const result of [
    applyMergePatch({ a: {} }, patch),
    applyStrategicPatch({ a: {} }, patch, {}),
    applyJsonPatch({}, [{ op: 'add', path: '/__proto__', value: { polluted: 1 } }]),
    withoutNulls(patch),
  ]) {
    t.is((result as { polluted?: number }).polluted, undefined);
    t.true(Object.hasOwn(result as object, '__proto__'));
  }
  t.throws(() => applyJsonPatch({}, [{ op: 'add', path: '/constructor/prototype/polluted', value: 1 }]));
  t.is(({} as { polluted?: number }).polluted, undefined);
});

test('the examples of RFC 6902', t => {
  const cases: [Json, unknown[], Json][] = [
    [{ foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { baz: 'qux', foo: 'bar' }],
    [{ foo: ['bar', 'baz'] }, [{ op: 'add', path: '/foo/1', value: 'qux' }], { foo: ['bar', 'qux', 'baz'] }],
    [{ baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
    [{ foo: ['bar', 'qux', 'baz'] }, [{ op: 'remove', path: '/foo/1' }], { foo: ['bar', 'baz'] }],
    [{ baz: 'qux' }, [{ op: 'replace', path: '/baz', value: 'boo' }], { baz: 'boo' }],
    [{ a: { b: 1 }, c: {} }, [{ op: 'move', from: '/a/b', path: '/c/d' }], { a: {}, c: { d: 1 } }],
    [{ foo: ['a', 'b', 'c'] }, [{ op: 'move', from: '/foo/1', path: '/foo/2' }], { foo: ['a', 'c', 'b'] }],
    [{ foo: ['bar'] }, [{ op: 'add', path: '/foo/-', value: ['abc'] }], { foo: ['bar', ['abc']] }],
    [{ '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
    [{ a: [1] }, [{ op: 'copy', from: '/a', path: '/b' }], { a: [1], b: [1] }],
    [{ a: 1 }, [{ op: 'replace', path: '', value: [2] }], [2]],
    [{ a: null }, [{ op: 'test', path: '/a', value: null }], { a: null }],
  ];
  for (const [document, patch, result] of cases) t.deepEqual(applyJsonPatch(document, patch), result);
});

test('a JSON patch that cannot apply says why and changes nothing', t => {
  const cases: [unknown, string][] = [
    [[{ op: 'test', path: '/a', value: 2 }], 'TEST_FAILED'],
    [[{ op: 'remove', path: '/b' }], 'TEST_FAILED'],
    [[{ op: 'replace', path: '/b', value: 1 }], 'TEST_FAILED'],
    [[{ op: 'add', path: '/b/c', value: 1 }], 'TEST_FAILED'],
    [[{ op: 'add', path: '/list/3', value: 1 }], 'TEST_FAILED'],
    [[{ op: 'add', path: '/list/01', value: 1 }], 'TEST_FAILED'],
    [[{ op: 'move', from: '/a', path: '/a/b' }], 'TEST_FAILED'],
    [[{ op: 'steal', path: '/a' }], 'INVALID'],
    [[{ op: 'add', path: '/a' }], 'INVALID'],
    [[{ op: 'add', path: 'a', value: 1 }], 'INVALID'],
    [[{ op: 'copy', path: '/a' }], 'INVALID'],
    [['nonsense'], 'INVALID'],
    [{ op: 'add' }, 'INVALID'],
  ];
  const document = { a: 1, list: [1] };
  for (const [patch, code] of cases) {
    const error = t.throws(() => applyJsonPatch(document, patch), { instanceOf: FimbriaError });
    t.is(error?.code, code, JSON.stringify(patch));
  }
  t.deepEqual(document, { a: 1, list: [1] });
});

test('what a JSON patch adds can be tested, read and removed, whatever its name', t => {
  const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');
  fc.assert(
    fc.property(object, key, json, (document, name, value) => {
      const path = `/${escaped(name)}`;
      const added = applyJsonPatch(document, [
        { op: 'add', path, value },
        { op: 'test', path, value },
      ]) as JsonObject;
      const removed = applyJsonPatch(added, [{ op: 'remove', path }]) as JsonObject;
      const rest = Object.fromEntries(Object.entries(document).filter(([other]) => other !== name));
      return jsonEqual(added[name], value) && jsonEqual(removed, rest);
    }),
  );
  t.pass();
});

test('without lists and directives a strategic patch is a merge patch', t => {
  const flat = object
    .filter(value => !/\$|\[/.test(JSON.stringify(value)))
    .map(withoutNulls) as fc.Arbitrary<JsonObject>;
  fc.assert(
    fc.property(flat, flat, (target, patch) =>
      jsonEqual(applyStrategicPatch(target, patch, {}), applyMergePatch(target, patch)),
    ),
  );
  t.pass();
});

const POD = mergeSchemaOf(messageNamed('core.v1.Pod'));
const podWith = (containers: Json): JsonObject => ({ spec: { containers } });

test('strategic patches merge lists of objects by their keys', t => {
  const target = podWith([
    { name: 'a', image: '1', ports: [{ containerPort: 80, name: 'http' }] },
    { name: 'b', image: '1' },
  ]);
  const patch = podWith([
    { name: 'a', image: '2', ports: [{ containerPort: 443 }, { containerPort: 80, protocol: 'TCP' }] },
    { name: 'c', image: '3' },
    { $patch: 'delete', name: 'b' },
  ]);
  t.deepEqual(
    applyStrategicPatch(target, patch, POD),
    podWith([
      {
        name: 'a',
        image: '2',
        ports: [{ containerPort: 80, name: 'http', protocol: 'TCP' }, { containerPort: 443 }],
      },
      { name: 'c', image: '3' },
    ]),
  );
});

test('strategic patches obey their directives', t => {
  const target: JsonObject = {
    metadata: { finalizers: ['x', 'y'], labels: { a: '1' } },
    spec: { containers: [{ name: 'a' }, { name: 'b' }, { name: 'theirs' }], tolerations: [{ key: 'k' }] },
  };
  const apply = (patch: JsonObject): JsonObject => applyStrategicPatch(target, patch, POD);
  t.deepEqual(
    apply({ metadata: { '$deleteFromPrimitiveList/finalizers': ['x'], finalizers: ['z'] } })['metadata'],
    {
      finalizers: ['y', 'z'],
      labels: { a: '1' },
    },
  );
  t.deepEqual(apply({ metadata: { labels: { $patch: 'replace', b: '2' } } })['metadata'], {
    finalizers: ['x', 'y'],
    labels: { b: '2' },
  });
  t.deepEqual(apply({ metadata: { labels: { $patch: 'delete' } } })['metadata'], { finalizers: ['x', 'y'] });
  t.deepEqual(apply({ metadata: { $retainKeys: ['labels'] } })['metadata'], { labels: { a: '1' } });
  const names = (patched: JsonObject): unknown =>
    ((patched['spec'] as JsonObject)['containers'] as JsonObject[]).map(container => container['name']);
  t.deepEqual(
    names(
      apply({
        spec: {
          '$setElementOrder/containers': [{ name: 'b' }, { name: 'c' }, { name: 'a' }],
          containers: [{ name: 'c' }],
        },
      }),
    ),
    ['b', 'c', 'theirs', 'a'],
  );
  t.deepEqual(names(apply({ spec: { containers: [{ $patch: 'replace' }, { name: 'only' }] } })), ['only']);
  // No merge key is declared for tolerations: the list is one value.
  t.deepEqual((apply({ spec: { tolerations: [{ key: 'l' }] } })['spec'] as JsonObject)['tolerations'], [
    { key: 'l' },
  ]);
});

test('strategic patches that make no sense are refused', t => {
  for (const patch of [
    podWith([{ image: 'no key' }]),
    podWith(['no object']),
    { $patch: 'steal' },
    { '$setElementOrder/x': 1 },
    { '$deleteFromPrimitiveList/x': 1 },
  ] as JsonObject[]) {
    const error = t.throws(() => applyStrategicPatch({ x: [1] }, patch, POD), { instanceOf: FimbriaError });
    t.is(error?.code, 'INVALID', JSON.stringify(patch));
  }
});
