import type { IncomingMessage, ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { ClusterClient } from '../../src/cluster/types.ts';
import type { EndpointSlice } from '../../src/model/types.ts';
import { fakeServer, sendEvent, sendStatus } from './fake.ts';

const BETA = {
  metadata: { name: 'web-1', namespace: 'default', uid: 'u', resourceVersion: '7' },
  addressType: 'IPv4',
  endpoints: [
    {
      addresses: ['10.0.0.1'],
      conditions: { ready: true },
      topology: { 'kubernetes.io/hostname': 'w1', 'topology.kubernetes.io/zone': 'a', rack: '3' },
    },
    { addresses: ['10.0.0.2'] },
  ],
  ports: [{ name: '', protocol: 'TCP', port: 8080 }],
};
const OURS = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  ...BETA,
  endpoints: [
    {
      addresses: ['10.0.0.1'],
      conditions: { ready: true },
      nodeName: 'w1',
      zone: 'a',
      deprecatedTopology: { rack: '3' },
    },
    { addresses: ['10.0.0.2'] },
  ],
} as unknown as EndpointSlice;

interface Served {
  client: ClusterClient;
  /** `METHOD path` of what was asked, bodies behind. */
  asked: string[];
}

/** A server that has EndpointSlices in these versions; `versions` is looked at at every request. */
async function server(t: ExecutionContext, versions: () => string[]): Promise<Served> {
  const asked: string[] = [];
  const answer = async (
    query: URLSearchParams,
    response: ServerResponse,
    request: IncomingMessage,
  ): Promise<void> => {
    const [path] = request.url!.split('?');
    let body = '';
    for await (const chunk of request) body += chunk;
    asked.push(`${request.method} ${path} ${body}`.trim());
    if (path === '/apis/discovery.k8s.io') {
      const served = versions().map(version => ({ version, groupVersion: `discovery.k8s.io/${version}` }));
      return void response.end(JSON.stringify({ kind: 'APIGroup', versions: served }));
    }
    const version = path!.split('/')[3]!;
    if (!versions().includes(version)) return sendStatus(response, 404, 'NotFound');
    const slice =
      version === 'v1' ? OURS : { ...BETA, apiVersion: 'discovery.k8s.io/v1beta1', kind: 'EndpointSlice' };
    if (query.has('watch'))
      return sendEvent(response, 'ADDED', { ...slice, metadata: { ...slice.metadata, name: 'w' } });
    if (request.method !== 'GET' || path!.endsWith('/web-1')) return void response.end(JSON.stringify(slice));
    const { kind: _, apiVersion: __, ...item } = slice;
    response.end(JSON.stringify({ metadata: { resourceVersion: '7' }, items: [item] }));
  };
  const client = await fakeServer(t, (...request) => void answer(...request));
  return { client, asked };
}

test('a server that has slices of v1beta1 only is spoken to in it; nobody above sees another version', async t => {
  const { client, asked } = await server(t, () => ['v1beta1']);
  t.deepEqual(await client.get<EndpointSlice>('EndpointSlice', 'web-1', 'default'), OURS);
  t.deepEqual((await client.list<EndpointSlice>('EndpointSlice')).items, [OURS]);
  t.deepEqual(await client.create<EndpointSlice>(OURS), OURS);
  t.deepEqual(await client.update<EndpointSlice>(OURS), OURS);
  t.deepEqual(await client.patch('EndpointSlice', 'web-1', {}, { namespace: 'default' }), OURS);
  t.true(await client.delete('EndpointSlice', 'web-1', { namespace: 'default' }));
  t.is(asked.filter(line => line === 'GET /apis/discovery.k8s.io').length, 1);
  const sent = asked
    .filter(line => line.includes(' {"'))
    .map(line => JSON.parse(line.slice(line.indexOf('{'))));
  t.deepEqual(sent[0], { ...BETA, apiVersion: 'discovery.k8s.io/v1beta1', kind: 'EndpointSlice' });
  t.true(asked.slice(1).every(line => line.includes('/apis/discovery.k8s.io/v1beta1/')));
});

test('watches too', async t => {
  const { client } = await server(t, () => ['v1beta1']);
  const informer = client.informer<EndpointSlice>('EndpointSlice');
  await new Promise<void>(resolve =>
    informer.on({ added: ({ metadata }) => void (metadata.name === 'w' && resolve()) }),
  );
  t.deepEqual(informer.get('web-1', 'default'), OURS);
  t.deepEqual(informer.get('w', 'default')?.endpoints, OURS.endpoints);
});

test('where the server has our version it is taken, and of other kinds nothing is asked', async t => {
  const { client, asked } = await server(t, () => ['v1', 'v1beta1']);
  t.deepEqual((await client.list<EndpointSlice>('EndpointSlice')).items, [OURS]);
  await t.throwsAsync(client.get('Pod', 'a'), { code: 'NOT_FOUND' });
  t.deepEqual(
    asked.map(line => line.split(' ')[1]),
    [
      '/apis/discovery.k8s.io',
      '/apis/discovery.k8s.io/v1/endpointslices',
      '/api/v1/namespaces/default/pods/a',
    ],
  );
});

test('a server that is upgraded to one without the old version is asked again', async t => {
  let versions = ['v1beta1'];
  const { client } = await server(t, () => versions);
  t.is((await client.list('EndpointSlice')).items.length, 1);
  versions = ['v1'];
  await t.throwsAsync(client.list('EndpointSlice'), { code: 'NOT_FOUND' });
  t.deepEqual((await client.list<EndpointSlice>('EndpointSlice')).items, [OURS]);
});

test('what is written to an old server is read from it as it was', async t => {
  const text = fc.string({ minLength: 1 });
  const endpoint = fc.record(
    {
      addresses: fc.array(fc.ipV4(), { minLength: 1 }),
      conditions: fc.record({ ready: fc.boolean() }, { requiredKeys: [] }),
      nodeName: text,
      zone: text,
      deprecatedTopology: fc.dictionary(
        text.filter(key => key !== '__proto__'),
        text,
        { minKeys: 1 },
      ),
    },
    { requiredKeys: ['addresses'] },
  );
  let kept: unknown;
  const client = await fakeServer(t, (_query, response, request) => {
    if (request.url === '/apis/discovery.k8s.io')
      return void response.end(JSON.stringify({ versions: [{ version: 'v1beta1' }] }));
    let body = '';
    request.on('data', chunk => (body += chunk));
    request.on('end', () => {
      kept = JSON.parse(body);
      response.end(body);
    });
  });
  await fc.assert(
    fc.asyncProperty(fc.array(endpoint), async endpoints => {
      const slice = { ...OURS, endpoints } as unknown as EndpointSlice;
      t.deepEqual(await client.create<EndpointSlice>(slice), JSON.parse(JSON.stringify(slice)));
      t.false(JSON.stringify(kept).includes('"nodeName"'));
    }),
    { numRuns: 50 },
  );
});
