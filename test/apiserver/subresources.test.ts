import { once } from 'node:events';
import http from 'node:http';
import test, { type ExecutionContext } from 'ava';
import type { ClusterClient } from '../../src/cluster/types.ts';
import type { Deployment, NewObject, Pod, Status } from '../../src/model/types.ts';
import { scratch, serve } from './helpers.ts';

const POD = '/api/v1/namespaces/default/pods/p';
const SCALE = '/apis/apps/v1/namespaces/default/deployments/d/scale';

interface World {
  client: ClusterClient;
  send(method: string, path: string, body: unknown): Promise<{ code: number; answer: Status }>;
}

/** A server with the Deployment `d` and the Pod `p`, which is on a node. */
async function start(t: ExecutionContext): Promise<World> {
  const { local, socketPath } = await serve(t, scratch(t));
  const client = local();
  const template = { metadata: { labels: { app: 'd' } }, spec: { containers: [{ name: 'c', image: 'x' }] } };
  const selector = {
    matchLabels: { app: 'd' },
    matchExpressions: [
      { key: 'app', operator: 'In' as const, values: ['d', 'e'] },
      { key: 'gone', operator: 'DoesNotExist' as const },
    ],
  };
  await client.create<Deployment>({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd', namespace: 'default' },
    spec: { selector, template },
  });
  const pod: NewObject<Pod> = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default' },
    spec: { ...template.spec, nodeName: 'n' },
  };
  await client.create<Pod>(pod);
  return {
    client,
    async send(method, path, body) {
      const headers = { 'content-type': 'application/json' };
      const request = http.request({ socketPath, method, path, headers, agent: false });
      request.end(JSON.stringify(body));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      return { code: response.statusCode!, answer: JSON.parse(text) };
    },
  };
}

const eviction = (more: object = {}) => ({
  apiVersion: 'policy/v1',
  kind: 'Eviction',
  metadata: { name: 'p', namespace: 'default' },
  ...more,
});
const scale = (replicas: unknown, metadata: object = {}) => ({
  apiVersion: 'autoscaling/v1',
  kind: 'Scale',
  metadata: { name: 'd', namespace: 'default', ...metadata },
  spec: { replicas },
});

test('an eviction deletes with the grace that it asks for, and the Pod says why', async t => {
  for (const apiVersion of ['policy/v1', 'policy/v1beta1']) {
    const { client, send } = await start(t);
    const body = eviction({ apiVersion, deleteOptions: { gracePeriodSeconds: 7 } });
    t.is((await send('POST', `${POD}/eviction`, body)).code, 201);
    const { metadata, status } = await client.get<Pod>('Pod', 'p');
    t.is(metadata.deletionGracePeriodSeconds, 7);
    t.like(
      status?.conditions?.find(({ type }) => type === 'DisruptionTarget'),
      { status: 'True', reason: 'EvictionByEvictionAPI', message: 'Eviction API: evicting' },
    );
    // Again, as a drain does that was interrupted: nothing more happens.
    const before = await client.get<Pod>('Pod', 'p');
    t.is((await send('POST', `${POD}/eviction`, body)).code, 201);
    t.deepEqual(await client.get<Pod>('Pod', 'p'), before);
  }
});

test('an eviction that is refused, or only tried, changes nothing', async t => {
  const { client, send } = await start(t);
  const before = await client.get<Pod>('Pod', 'p');
  const refusals: [body: unknown, code: number, message: RegExp][] = [
    [null, 400, /must be a Eviction/],
    [eviction({ kind: 'Binding' }), 400, /does not match the expected API version \(policy\/v1/],
    [eviction({ apiVersion: 'policy/v2' }), 400, /does not match the expected API version/],
    [eviction({ metadata: { name: 'q' } }), 400, /does not match the name on the URL/],
    [eviction({ deleteOptions: 'now' }), 400, /must be DeleteOptions/],
    [eviction({ deleteOptions: { gracePeriodSeconds: '1' } }), 400, /gracePeriodSeconds: Invalid value: "1"/],
    [eviction({ deleteOptions: { dryRun: ['Some'] } }), 400, /dryRun: Invalid value/],
    [eviction({ deleteOptions: { propagationPolicy: 'Up' } }), 400, /propagationPolicy: Invalid value/],
    [eviction({ deleteOptions: { preconditions: { uid: 'x' } } }), 409, /UID in precondition: x/],
    [eviction({ deleteOptions: { preconditions: { resourceVersion: '1' } } }), 409, /ResourceVersion/],
  ];
  for (const [body, code, message] of refusals) {
    const refused = await send('POST', `${POD}/eviction`, body);
    t.is(refused.code, code, JSON.stringify(body));
    t.regex(refused.answer.message ?? '', message);
  }
  t.is((await send('POST', `${POD}/eviction?dryRun=All`, eviction())).code, 201);
  t.is((await send('POST', `${POD}/eviction`, eviction({ deleteOptions: { dryRun: ['All'] } }))).code, 201);
  t.deepEqual(await client.get<Pod>('Pod', 'p'), before);
  t.is(
    (await send('POST', POD.replace(/p$/, 'q/eviction'), eviction({ metadata: { name: 'q' } }))).code,
    404,
  );
  const { uid, resourceVersion } = before.metadata;
  const exact = eviction({ deleteOptions: { preconditions: { uid, resourceVersion } } });
  t.is((await send('POST', `${POD}/eviction`, exact)).code, 201);
});

test('scale shows the whole selector, and what is no scale is refused', async t => {
  const { client, send } = await start(t);
  const { answer } = await send('GET', SCALE, undefined);
  t.like(answer, { kind: 'Scale', status: { replicas: 0, selector: 'app=d,app in (d,e),!gone' } });
  const before = await client.get<Deployment>('Deployment', 'd');
  const refusals: [body: unknown, code: number, message: RegExp][] = [
    [[], 400, /must be a Scale/],
    [scale('2'), 400, /spec.replicas: Invalid value: "2"/],
    [scale(1.5), 400, /must be an integer/],
    [scale(2 ** 31), 400, /must be an integer/],
    [
      scale(-1),
      422,
      /^Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be greater than/,
    ],
    [{ ...scale(2), kind: 'Deployment' }, 400, /Kind=Scale/],
    [scale(2, { name: 'e' }), 400, /does not match the name on the URL/],
    [scale(2, { uid: 'x' }), 409, /UID in precondition: x/],
    [scale(2, { resourceVersion: '1' }), 409, /has been modified/],
  ];
  for (const [body, code, message] of refusals) {
    const refused = await send('PUT', SCALE, body);
    t.is(refused.code, code, JSON.stringify(body));
    t.regex(refused.answer.message ?? '', message);
  }
  t.is((await send('PUT', `${SCALE}?dryRun=All`, scale(5))).code, 200);
  t.deepEqual(await client.get<Deployment>('Deployment', 'd'), before);
  t.is((await send('PUT', SCALE, scale(5))).code, 200);
  const after = await client.get<Deployment>('Deployment', 'd');
  t.is(after.spec.replicas, 5);
  t.is(after.metadata.generation, 2);
});
