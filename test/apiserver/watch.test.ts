import { once } from 'node:events';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test from 'ava';
import { Store } from '../../src/apiserver/store.ts';
import { type Representation, streamWatch } from '../../src/apiserver/watch.ts';
import { findKind } from '../../src/model/kinds.ts';
import type { AnyObject } from '../../src/model/types.ts';
import { scratch } from './helpers.ts';

const CONFIG_MAP = findKind('ConfigMap')!;

test('a change is encoded once for all watches of one representation', async t => {
  const path = join(scratch(t), 'state');
  const store = new Store({ path, durable: true, historyLimit: 100, onCompactFailure: () => {} });
  t.teardown(() => store.close());
  let encoded = 0;
  const form = (name: string): Representation => ({
    name,
    encode: object => {
      encoded++;
      return { name: object.metadata.name, form: name };
    },
  });
  const query = {
    kind: CONFIG_MAP,
    filter: () => true,
    resourceVersion: '',
    bookmarks: false,
    sendInitialEvents: false,
    timeoutMs: 600_000,
    bookmarkIntervalMs: 600_000,
  };
  const streams = ['object', 'object', 'object', 'table', 'table'].map(name => {
    const out = new PassThrough();
    const stop = streamWatch(store, query, out, form(name));
    t.teardown(stop);
    return { name, out };
  });
  const heard = streams.map(({ out }) => once(out, 'data'));
  store.put(CONFIG_MAP, { metadata: { name: 'a', namespace: 'default' } } as AnyObject);
  const lines = await Promise.all(heard);
  t.is(encoded, 2);
  for (const [index, [line]] of lines.entries()) {
    t.deepEqual(JSON.parse(String(line)), {
      type: 'ADDED',
      object: { name: 'a', form: streams[index]!.name },
    });
  }
  store.put(CONFIG_MAP, { metadata: { name: 'b', namespace: 'default' } } as AnyObject);
  await Promise.all(streams.map(({ out }) => once(out, 'data')));
  t.is(encoded, 4);
});
