import type { ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { createLogger } from '../../src/base/log.ts';
import type { ConfigMap } from '../../src/model/types.ts';
import { choices } from '../e2e/random.ts';
import { configMap, fakeServer, follow, sendEvent, sendList, sendStatus } from './fake.ts';

const bookmark = (version: number) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { resourceVersion: String(version) },
});

test('after a lost connection the watch goes on from the last thing heard, bookmarks too', async t => {
  const watchedFrom: string[] = [];
  let lists = 0;
  const client = await fakeServer(t, (query, response) => {
    if (!query.has('watch')) {
      lists++;
      return sendList(response, 5, [configMap('a', 3)]);
    }
    watchedFrom.push(query.get('resourceVersion') ?? '');
    if (watchedFrom.length === 1) {
      sendEvent(response, 'ADDED', configMap('b', 6));
      return void setImmediate(() => response.destroy());
    }
    if (watchedFrom.length === 2) {
      sendEvent(response, 'BOOKMARK', bookmark(9));
      return void response.end();
    }
    sendEvent(response, 'DELETED', configMap('a', 10));
  });
  const informer = client.informer<ConfigMap>('cm');
  const { events, until } = follow(informer);
  await until('- a@10');
  t.deepEqual(events, ['+ a@3', '+ b@6', '- a@10']);
  t.deepEqual(watchedFrom, ['5', '6', '9']);
  t.is(lists, 1);
  t.is(informer.list()[0]?.kind, 'ConfigMap');
});

for (const how of ['in the stream', 'as a status']) {
  test(`when the history is forgotten (${how}) a new list tells what changed, also what went`, async t => {
    let lists = 0;
    let watches = 0;
    const client = await fakeServer(t, (query, response) => {
      if (!query.has('watch')) {
        return ++lists === 1
          ? sendList(response, 5, [configMap('gone', 1), configMap('same', 2), configMap('changed', 3)])
          : sendList(response, 50, [configMap('same', 2), configMap('changed', 40), configMap('new', 41)]);
      }
      if (++watches > 1) return sendEvent(response, 'ADDED', configMap('end', 51));
      if (how === 'as a status')
        return sendStatus(response, 410, 'Expired', 'too old resource version: 5 (40)');
      sendEvent(response, 'ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' });
      response.end();
    });
    const { events, until } = follow(client.informer<ConfigMap>('cm'));
    await until('+ end@51');
    t.deepEqual(events, [
      '+ gone@1',
      '+ same@2',
      '+ changed@3',
      '~ changed@40',
      '+ new@41',
      '- gone@1',
      '+ end@51',
    ]);
  });
}

test('a server that counts from the start again is listed anew', async t => {
  let lists = 0;
  const client = await fakeServer(t, (query, response) => {
    if (!query.has('watch')) {
      return ++lists === 1 ? sendList(response, 500, [configMap('a', 3)]) : sendList(response, 2, []);
    }
    if (query.get('resourceVersion') === '500') {
      const details = { causes: [{ reason: 'ResourceVersionTooLarge' }] };
      sendEvent(response, 'ERROR', { kind: 'Status', code: 504, reason: 'Timeout', details });
      response.end();
    }
  });
  const { events, until } = follow(client.informer<ConfigMap>('cm'));
  await until('- a@3');
  t.deepEqual(events, ['+ a@3', '- a@3']);
});

test('a connection that has gone silent is given up', async t => {
  let watches = 0;
  const client = await fakeServer(
    t,
    (query, response) => {
      if (!query.has('watch')) return sendList(response, 5, []);
      response.writeHead(200);
      response.flushHeaders();
      if (++watches >= 2) sendEvent(response, 'ADDED', configMap('a', 6));
    },
    { tuning: { readDeadlineMs: 150, backoffBaseMs: 1, backoffMaxMs: 5 } },
  );
  const informer = client.informer<ConfigMap>('cm');
  const { until } = follow(informer);
  await until('+ a@6');
  // On a busy machine the second may seem dead as well.
  t.true(watches >= 2);
});

test('a server that does not even begin to answer a watch is given up too', async t => {
  let watches = 0;
  const client = await fakeServer(
    t,
    (query, response) => {
      if (!query.has('watch')) return sendList(response, 5, []);
      if (++watches >= 2) sendEvent(response, 'ADDED', configMap('a', 6));
    },
    { tuning: { readDeadlineMs: 150, backoffBaseMs: 1, backoffMaxMs: 5 } },
  );
  const { until } = follow(client.informer<ConfigMap>('cm'));
  await until('+ a@6');
  // On a busy machine the second may seem dead as well.
  t.true(watches >= 2);
});

test('a torn event is not taken for one', async t => {
  let watches = 0;
  const client = await fakeServer(t, (query, response) => {
    if (!query.has('watch')) return sendList(response, 5, []);
    if (++watches > 1) return sendEvent(response, 'ADDED', configMap('b', 7));
    sendEvent(response, 'ADDED', configMap('a', 6));
    response.end(JSON.stringify({ type: 'DELETED', object: configMap('a', 7) }).slice(0, -3));
  });
  const { events, until } = follow(client.informer<ConfigMap>('cm'));
  await until('+ b@7');
  t.deepEqual(events, ['+ a@6', '+ b@7']);
});

test('an object that was made anew is another one', async t => {
  const client = await fakeServer(t, (query, response) => {
    if (!query.has('watch')) return sendList(response, 5, [configMap('a', 3, 'first life')]);
    sendEvent(response, 'MODIFIED', configMap('a', 8, 'second life'));
  });
  const { events, until } = follow(client.informer<ConfigMap>('cm'));
  await until('+ a@8');
  t.deepEqual(events, ['+ a@3', '- a@3', '+ a@8']);
});

test('a server that is not there yet is waited for', async t => {
  let requests = 0;
  const client = await fakeServer(t, (query, response) => {
    if (++requests < 4) return sendStatus(response, 503, 'ServiceUnavailable');
    if (!query.has('watch')) sendList(response, 5, [configMap('a', 3)]);
  });
  const informer = client.informer<ConfigMap>('cm');
  await informer.synced;
  t.is(informer.get('a', 'default')?.data?.['v'], '3');
});

test('lists come in pages; when the pages expire, whole', async t => {
  const asked: string[] = [];
  const client = await fakeServer(t, (query, response) => {
    asked.push(`${query.get('limit')} ${query.get('continue')}`);
    if (query.get('continue') === 'two') return sendStatus(response, 410, 'Expired');
    if (query.has('continue')) return sendList(response, 5, [configMap('b', 2)], 'two');
    if (query.has('limit')) return sendList(response, 5, [configMap('a', 1)], 'one');
    sendList(response, 6, [configMap('a', 1), configMap('b', 2), configMap('c', 3)]);
  });
  const { items, resourceVersion } = await client.list('cm', { limit: 1 });
  t.is(items.length, 3);
  t.is(resourceVersion, '6');
  t.deepEqual(asked, ['1 null', '1 one', '1 two', 'null null']);
});

test('a handler that throws costs nobody an event, and late ones hear what there is', async t => {
  const client = await fakeServer(t, (query, response) => {
    if (!query.has('watch')) return sendList(response, 5, [configMap('a', 3)]);
    sendEvent(response, 'ADDED', configMap('b', 6));
  });
  const informer = client.informer<ConfigMap>('cm');
  informer.on({
    added() {
      throw new Error('broken');
    },
  });
  const { until } = follow(informer);
  await until('+ b@6');
  const late = follow(informer);
  t.deepEqual(late.events, ['+ a@3', '+ b@6']);
});

test('only what is picked is kept, and it is still known what changed', async t => {
  let watches = 0;
  const client = await fakeServer(t, (query, response) => {
    if (!query.has('watch')) return sendList(response, 5, [configMap('a', 3)]);
    if (++watches > 1) return sendEvent(response, 'ADDED', configMap('end', 9));
    sendEvent(response, 'ERROR', { kind: 'Status', code: 410 });
    response.end();
  });
  const informer = client.informer<ConfigMap>('cm', {
    pick: ({ apiVersion, kind, metadata: { name, namespace }, data }) => ({
      apiVersion,
      kind,
      metadata: { name, ...(namespace !== undefined && { namespace }) },
      ...(data && { data }),
    }),
  });
  const { events, until } = follow(informer);
  await until('+ end@9');
  t.deepEqual(events, ['+ a@3', '+ end@9']);
  t.is(informer.get('a', 'default')?.metadata.uid, undefined);
});

test('a closed informer is silent and lets go of its connection', async t => {
  const closed = new Promise<void>(resolve => {
    void fakeServer(t, (query, response) => {
      if (!query.has('watch')) return sendList(response, 5, [configMap('a', 3)]);
      response.on('close', resolve);
      response.writeHead(200);
      response.flushHeaders();
    }).then(async client => {
      const informer = client.informer<ConfigMap>('cm');
      const { events } = follow(informer);
      await informer.synced;
      while (!informer.connected) await new Promise(setImmediate);
      informer.close();
      t.false(informer.connected);
      t.deepEqual(events, ['+ a@3']);
    });
  });
  await closed;
});

/** Lets an informer be served by `watch` for a while; the times at which it asked. */
async function pace(
  t: ExecutionContext,
  watch: (response: ServerResponse, nth: number) => void,
  enough: number,
): Promise<{ gapsMs: number[]; lists: number }> {
  const askedAtMs: number[] = [];
  let lists = 0;
  await new Promise<void>(resolve => {
    void fakeServer(
      t,
      (query, response) => {
        if (!query.has('watch')) {
          lists++;
          return sendList(response, 5, [configMap('a', 3)]);
        }
        askedAtMs.push(performance.now());
        if (askedAtMs.length === enough) resolve();
        watch(response, askedAtMs.length);
      },
      { tuning: { backoffBaseMs: 20, backoffMaxMs: 10_000 } },
    ).then(client => client.informer<ConfigMap>('cm'));
  });
  return { gapsMs: askedAtMs.slice(1).map((atMs, i) => atMs - askedAtMs[i]!), lists };
}

for (const [how, watch] of Object.entries<(response: ServerResponse, nth: number) => void>({
  'ends every watch after one event': (response, nth) => {
    sendEvent(response, 'ADDED', configMap('b', 5 + nth));
    response.end();
  },
  'ends every watch after a bookmark': (response, nth) => {
    sendEvent(response, 'BOOKMARK', bookmark(5 + nth));
    response.end();
  },
  'forgets every version at once': response => {
    sendEvent(response, 'BOOKMARK', bookmark(6));
    sendEvent(response, 'ERROR', { kind: 'Status', code: 410, reason: 'Expired' });
    response.end();
  },
  'hangs up after one event': (response, nth) => {
    sendEvent(response, 'MODIFIED', configMap('a', 5 + nth));
    setImmediate(() => response.destroy());
  },
  'answers nothing at all': response => void response.end(),
})) {
  test(`a server that ${how} is asked ever less often`, async t => {
    const { gapsMs } = await pace(t, watch, 7);
    // The pauses double, and half of each is not left to chance.
    gapsMs.forEach((gapMs, i) => {
      t.true(gapMs >= 10 * 2 ** i - 1, `pause ${i} was ${gapMs} ms`);
    });
  });
}

test('a watch that is too many waits for as long as the server says', async t => {
  const { gapsMs } = await pace(
    t,
    (response, nth) => {
      if (nth > 1) return;
      response.setHeader('retry-after', '1');
      sendStatus(response, 429, 'TooManyRequests');
    },
    2,
  );
  t.true(gapsMs[0]! >= 999);
});

test('a version that the server cannot read is not asked for again', async t => {
  const { lists } = await pace(
    t,
    (response, nth) => {
      if (nth === 1) sendStatus(response, 400, 'BadRequest', 'invalid resource version');
    },
    2,
  );
  t.is(lists, 2);
});

for (const [what, line] of [
  ['an error without a reason', JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 500 } })],
  ['what is no event', '{"type":"ADDED","object":{"metadata":{}}}'],
  ['what is no JSON', 'ADDED a'],
] as const) {
  test(`${what}, again and again from the same version, is got over by a new list`, async t => {
    const { lists } = await pace(
      t,
      (response, nth) => {
        if (nth <= 3) response.end(`${line}\n`);
      },
      4,
    );
    t.is(lists, 2);
  });
}

test('what is wrong is said once, and that it is over', async t => {
  const said: string[] = [];
  const log = createLogger('info', line => said.push(/level=(.*)$/m.exec(line)![1]!));
  let requests = 0;
  const client = await fakeServer(
    t,
    (query, response) => {
      if (++requests < 6) return sendStatus(response, 503, 'ServiceUnavailable', 'not yet');
      if (!query.has('watch')) return sendList(response, 5, []);
      sendEvent(response, 'ADDED', configMap('a', 6));
    },
    { log },
  );
  await follow(client.informer<ConfigMap>('cm')).until('+ a@6');
  t.deepEqual(said, [
    'warn msg="watch interrupted, it is tried again" of=configmaps error="list configmaps: not yet"',
    'info msg="watch goes on" of=configmaps',
  ]);
});

test('where metadata is enough, no more is asked for, and kinds are as they are', async t => {
  const accepted: (string | undefined)[] = [];
  const partial = ({ metadata }: ConfigMap) => ({
    kind: 'PartialObjectMetadata',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
  });
  const client = await fakeServer(t, (query, response, request) => {
    accepted.push(request.headers.accept);
    if (query.has('watch')) return sendEvent(response, 'ADDED', partial(configMap('b', 6)));
    const items = [partial(configMap('a', 3))];
    response.end(JSON.stringify({ metadata: { resourceVersion: '5' }, items }));
  });
  const informer = client.informer<ConfigMap>('cm', { metadataOnly: true });
  await follow(informer).until('+ b@undefined');
  t.deepEqual(accepted, [
    'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json',
    'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json',
  ]);
  t.deepEqual(
    informer.list().map(({ apiVersion, kind }) => `${apiVersion} ${kind}`),
    ['v1 ConfigMap', 'v1 ConfigMap'],
  );
});

test('of a large list no more is kept than what is picked of each page', async t => {
  const pages = 5;
  let asked = 0;
  let picked = 0;
  const pickedBefore: number[] = [];
  const client = await fakeServer(t, (query, response) => {
    if (query.has('watch')) return;
    pickedBefore.push(picked);
    const items = Array.from({ length: 10 }, (_, i) => configMap(`${asked}-${i}`, 1));
    sendList(response, 5, items, ++asked < pages ? `page ${asked}` : undefined);
  });
  const informer = client.informer<ConfigMap>('cm', {
    pick: ({ apiVersion, kind, metadata: { name } }) => {
      picked++;
      return { apiVersion, kind, metadata: { name } };
    },
  });
  await informer.synced;
  t.deepEqual(pickedBefore, [0, 10, 20, 30, 40]);
  t.is(informer.list().length, 50);
});

test('whatever a server sends, a store has only objects with names, and the informer goes on', async t => {
  const json = fc.json({ maxDepth: 3 });
  const event = fc.record(
    {
      type: fc.constantFrom('ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR', 'OTHER', 1, null),
      object: fc.oneof(
        fc.record(
          {
            metadata: fc.oneof(
              fc.record(
                {
                  name: fc.oneof(fc.string(), fc.anything()),
                  resourceVersion: fc.oneof(fc.string(), fc.anything()),
                },
                { requiredKeys: [] },
              ),
              fc.anything(),
            ),
            code: fc.anything(),
            details: fc.oneof(fc.anything(), fc.record({ causes: fc.anything() })),
          },
          { requiredKeys: [] },
        ),
        fc.anything(),
      ),
    },
    { requiredKeys: [] },
  );
  const line = fc.oneof(
    json,
    event.map(e => JSON.stringify(e, (_, v) => (typeof v === 'bigint' ? String(v) : v)) ?? ''),
    fc.string(),
    fc.uint8Array({ maxLength: 50 }).map(bytes => Buffer.from(bytes).toString('latin1')),
  );
  const { seed } = choices();
  t.log(`FIMBRIA_TEST_SEED=${seed}`);
  let served = 0;
  const lines = fc.sample(line, { numRuns: 400, seed });
  const client = await fakeServer(
    t,
    (query, response) => {
      if (!query.has('watch')) return sendList(response, 5, [configMap('a', 3)]);
      const next = lines[served++];
      if (next === undefined) return sendEvent(response, 'ADDED', configMap('end', 9));
      response.end(`${next}\n`);
    },
    { tuning: { backoffBaseMs: 0, backoffMaxMs: 0 } },
  );
  const informer = client.informer<ConfigMap>('cm');
  await follow(informer).until('+ end@9');
  t.true(informer.list().every(({ metadata: { name } }) => typeof name === 'string' && name !== ''));
});
