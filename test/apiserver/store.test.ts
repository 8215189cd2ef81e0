import { statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { removedForm, Store } from '../../src/apiserver/store.ts';
import { FimbriaError } from '../../src/base/errors.ts';
import { findKind } from '../../src/model/kinds.ts';
import type { AnyObject } from '../../src/model/types.ts';
import { scratch } from './helpers.ts';

const CONFIG_MAP = findKind('ConfigMap')!;
const NODE = findKind('Node')!;

function open(path: string, historyLimit = 100): Store {
  return new Store({
    path,
    durable: false,
    historyLimit,
    onCompactFailure: error => {
      throw error;
    },
  });
}

function configMap(name: string, data: Record<string, string> = {}): AnyObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' }, data };
}

const names = (objects: AnyObject[]): string[] => objects.map(object => object.metadata.name);

test('objects, version and history outlive the process', t => {
  const path = join(scratch(t), 'state');
  const first = open(path);
  first.put(CONFIG_MAP, configMap('a', { x: '1' }));
  first.put(CONFIG_MAP, configMap('b'));
  first.put(CONFIG_MAP, configMap('a', { x: '2' }));
  first.remove(CONFIG_MAP, 'default', 'b');
  first.close();
  const second = open(path);
  t.is(second.id, first.id);
  t.is(second.version, 4);
  t.deepEqual(second.list(CONFIG_MAP), first.list(CONFIG_MAP));
  t.deepEqual(second.since(1), first.since(1));
  t.is(removedForm(second.since(3)[0]!).metadata.resourceVersion, '4');
  second.close();
});

test('the past can be listed as far as the history goes', t => {
  const store = open(join(scratch(t), 'state'), 2);
  for (const name of ['a', 'b', 'c']) store.put(CONFIG_MAP, configMap(name));
  store.remove(CONFIG_MAP, 'default', 'a');
  t.deepEqual(names(store.list(CONFIG_MAP)), ['b', 'c']);
  t.deepEqual(names(store.listAt(CONFIG_MAP, 3)), ['a', 'b', 'c']);
  t.deepEqual(names(store.listAt(CONFIG_MAP, 1)), ['a']);
  t.deepEqual(store.listAt(NODE, 3), []);
  // Twice the limit is kept at most.
  store.put(CONFIG_MAP, configMap('d'));
  t.is(store.oldestVersion, 3);
  for (const attempt of [() => store.listAt(CONFIG_MAP, 2), () => store.since(2)]) {
    t.is(t.throws(attempt, { instanceOf: FimbriaError })?.code, 'Expired');
  }
  t.is(t.throws(() => store.since(99), { instanceOf: FimbriaError })?.code, 'Timeout');
  store.close();
});

test('the file stays small, whatever is written, and keeps the younger history', t => {
  const path = join(scratch(t), 'state');
  const store = open(path, 20);
  const big = 'x'.repeat(20_000);
  let largest = 0;
  for (let n = 0; n < 400; n++) {
    store.put(CONFIG_MAP, configMap(`n${n % 5}`, { n: String(n), big }));
    largest = Math.max(largest, statSync(path).size);
  }
  t.true(largest < 2 << 20, `${largest} bytes`);
  const recent = store.since(store.version - 5);
  const list = store.list(CONFIG_MAP);
  store.close();
  const again = open(path, 20);
  t.is(again.version, 400);
  t.deepEqual(again.list(CONFIG_MAP), list);
  t.deepEqual(again.since(395), recent);
  again.close();
});

test('listeners hear each change once, in order, until they stop', t => {
  const store = open(join(scratch(t), 'state'));
  const heard: number[] = [];
  const stop = store.listen(event => heard.push(event.version));
  store.put(CONFIG_MAP, configMap('a'));
  store.remove(CONFIG_MAP, 'default', 'a');
  stop();
  store.put(CONFIG_MAP, configMap('b'));
  t.deepEqual(heard, [1, 2]);
  store.close();
});

test('a file of something else is refused', t => {
  const path = join(scratch(t), 'state');
  const store = open(path);
  store.close();
  const error = t.throws(
    () => {
      const fresh = open(join(scratch(t), 'other'));
      fresh.put({ ...CONFIG_MAP, plural: 'unknowns' }, configMap('a'));
    },
    { instanceOf: FimbriaError },
  );
  t.is(error?.code, 'DAMAGED');
});

test('changes of one turn wait for the disk together, and nobody hears of them before', async t => {
  const path = join(scratch(t), 'state');
  const store = new Store({ path, durable: true, historyLimit: 100, onCompactFailure: () => {} });
  const heard: number[] = [];
  store.listen(event => heard.push(event.version));
  store.put(CONFIG_MAP, configMap('a'));
  const late: number[] = [];
  store.listen(event => late.push(event.version));
  store.put(CONFIG_MAP, configMap('b'));
  t.deepEqual(heard, []);
  await store.durable();
  t.deepEqual(heard, [1, 2]);
  // Who listens from version 1 on has seen it.
  t.deepEqual(late, [2]);
  store.put(CONFIG_MAP, configMap('c'));
  store.close();
  t.deepEqual(heard, [1, 2, 3]);
});
