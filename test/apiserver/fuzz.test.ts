import http from 'node:http';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { PATCH_TYPES } from '../../src/apiserver/patch/apply.ts';
import { PROTOBUF_TYPE } from '../../src/apiserver/protobuf/decode.ts';
import { validate } from '../../src/apiserver/validate.ts';
import { findKind, KINDS, type Kind } from '../../src/model/kinds.ts';
import type { AnyObject } from '../../src/model/types.ts';
import { scratch, serve, type TestServer } from './helpers.ts';

/** Whatever is sent, at any verb: an answer that blames the sender or says yes, and nothing invalid is stored. */

interface Request {
  method: string;
  path: string;
  type: string;
  body: Buffer;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

/** Status and body; 0 where the server hung up before it had read all, as it may with what is too large. */
function send(
  socketPath: string,
  { method, path, type, body }: Request,
): Promise<{ status: number; text: string }> {
  return new Promise(resolve => {
    const headers = { 'content-type': type, 'content-length': body.length };
    const request = http.request({ socketPath, method, path, headers, agent }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', chunk => {
        text += chunk;
      });
      response.on('close', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on('error', () => resolve({ status: 0, text: '' }));
    request.end(body);
  });
}

const SAMPLES: Record<string, object> = {
  ConfigMap: { data: { a: 'b' } },
  Endpoints: { subsets: [{ addresses: [{ ip: '10.0.0.1' }], ports: [{ port: 80 }] }] },
  Event: { involvedObject: { kind: 'Pod', name: 'x', namespace: 'default' }, reason: 'R', count: 1 },
  Namespace: {},
  Node: {
    spec: { podCIDR: '10.0.0.0/24', taints: [{ key: 'a', effect: 'NoSchedule' }] },
    status: { addresses: [] },
  },
  Pod: {
    spec: {
      containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80 }] }],
      tolerations: [{ key: 'a' }],
    },
  },
  Service: { spec: { ports: [{ port: 80, targetPort: 'http' }], selector: { a: 'b' } } },
  ServiceAccount: {},
  Deployment: {
    spec: {
      replicas: 1,
      selector: { matchLabels: { a: 'b' } },
      template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
    },
  },
  Lease: {
    spec: { holderIdentity: 'a', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:00.000000Z' },
  },
  EndpointSlice: { addressType: 'IPv4', endpoints: [{ addresses: ['10.0.0.1'] }], ports: [{ port: 80 }] },
  NetworkPolicy: { spec: { podSelector: {}, ingress: [{}] } },
  CiliumNode: {
    spec: { addresses: [{ type: 'InternalIP', ip: '10.0.0.1' }], ipam: { podCIDRs: ['10.0.0.0/24'] } },
  },
  CiliumEndpoint: { status: { id: 1, state: 'ready', networking: { addressing: [{ ipv4: '10.0.0.1' }] } } },
  CiliumIdentity: { 'security-labels': { 'k8s:app': 'a' } },
  CiliumNodeConfig: { spec: { defaults: { a: 'b' }, nodeSelector: {} } },
  CiliumPodIPPool: { spec: { ipv4: { cidrs: ['10.0.0.0/16'], maskSize: 24 } } },
  CiliumLoadBalancerIPPool: { spec: { blocks: [{ cidr: '10.0.0.0/24' }] } },
  CiliumL2AnnouncementPolicy: { spec: { externalIPs: true, interfaces: ['eth.*'] } },
};
SAMPLES['ReplicaSet'] = SAMPLES['Deployment']!;

const sampleOf = (kind: Kind, name: string): AnyObject =>
  ({
    apiVersion: kind.apiVersion,
    kind: kind.kind,
    metadata: { name, ...(kind.namespaced && { namespace: 'default' }), labels: { a: 'b' } },
    ...SAMPLES[kind.kind],
  }) as AnyObject;

function pathOf({ group, versions, namespaced, plural }: Kind): string {
  const root = group === '' ? `/api/${versions[0]}` : `/apis/${group}/${versions[0]}`;
  return `${root}${namespaced ? '/namespaces/default' : ''}/${plural}`;
}

const nested = (depth: number, open: string, close: string): string =>
  open.repeat(depth) + close.repeat(depth);

/** Values that somebody forgot to think of. */
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(
    null,
    '',
    0,
    -1,
    1e300,
    2 ** 53,
    -0.5,
    [],
    {},
    [null],
    true,
    '\u0000',
    '\ud800',
    '__proto__',
  ),
  fc.constantFrom<unknown>(
    { constructor: { a: 1 } },
    JSON.parse('{"__proto__": {"a": "b"}}'),
    { toString: 1 },
    [[[[]]]],
  ),
  fc.constantFrom<unknown>(
    '10.0.0.0/33',
    '10.0.0.1/8',
    '::/0',
    '999.1.1.1',
    'a'.repeat(300),
    '2026-13-45T00:00:00Z',
  ),
);

/** Sets, adds or removes something somewhere in an object. */
function mutate(object: unknown, steps: readonly { at: number; value: unknown; how: number }[]): unknown {
  const copy = structuredClone(object) as Record<string, unknown>;
  for (const { at, value: shared, how } of steps) {
    const value = structuredClone(shared);
    const places: [Record<string, unknown>, string][] = [];
    const walk = (node: unknown): void => {
      if (typeof node !== 'object' || node === null || places.length > 200) return;
      for (const key of Object.keys(node)) {
        places.push([node as Record<string, unknown>, key]);
        walk((node as Record<string, unknown>)[key]);
      }
    };
    walk(copy);
    const [holder, key] = places[at % places.length] ?? [copy, 'spec'];
    if (how === 0) delete holder[key];
    else if (how === 1) holder[`${key}x`] = value;
    else holder[key] = value;
  }
  return copy;
}

const mutation = fc.record({ at: fc.nat(400), value: odd, how: fc.nat(4) });
const kinds = fc.constantFrom(...KINDS.filter(kind => kind.kind !== 'CustomResourceDefinition'));

/** Bodies that are no JSON, or JSON of a kind that writers do not write. */
const raw = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
  fc.string().map(text => Buffer.from(text)),
  fc.constantFrom(
    Buffer.from(nested(100_000, '[', ']')),
    Buffer.from(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`),
    Buffer.from(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"spec":${nested(150, '[', ']')}}`),
    Buffer.from(
      '{"apiVersion":"v1","apiVersion":"v2","kind":"Pod","kind":"Node","metadata":{"name":"a","name":"b"}}',
    ),
    Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff, 0xfe, 0x80]), Buffer.from('"}')]),
    Buffer.from('{"metadata":{"generation":1e999,"name":1e-999}}'),
    Buffer.from(
      'a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n',
    ),
  ),
);

const TYPES = [
  'application/json',
  'application/yaml',
  PROTOBUF_TYPE,
  ...PATCH_TYPES,
  'application/apply-patch+yaml',
  'text/html',
  '',
];

const request: fc.Arbitrary<Request & { kind: Kind }> = fc
  .record({
    kind: kinds,
    method: fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'OPTIONS'),
    sub: fc.constantFrom('', '', '', '', '', '/status', '/scale', '/binding', '/eviction', '/nonsense'),
    query: fc.constantFrom(
      '',
      '',
      '?dryRun=All',
      '?dryRun=x',
      '?fieldValidation=Strict',
      '?limit=-1',
      '?labelSelector=%ff',
      '?watch=1&resourceVersion=x',
      '?gracePeriodSeconds=1e9',
      '?propagationPolicy=No',
    ),
    steps: fc.array(mutation, { maxLength: 4 }),
    type: fc.constantFrom(...TYPES),
    proper: fc.boolean(),
    instead: fc.option(raw, { freq: 3 }),
    patch: fc.array(
      fc.record({
        op: fc.constantFrom('add', 'remove', 'replace', 'copy', 'move', 'test', 'x'),
        path: fc.constantFrom('', '/', '/spec', '/metadata/name', '/status/x', '/spec/-', '/__proto__/a'),
        from: fc.constantFrom('', '/spec', '/metadata'),
        value: odd,
      }),
      { maxLength: 30 },
    ),
  })
  .map(({ kind, method, sub, query, steps, type, proper, instead, patch }) => {
    const properType = method === 'PATCH' ? PATCH_TYPES[steps.length % 3]! : 'application/json';
    const chosen = proper ? properType : type;
    const whole = JSON.stringify(
      chosen.includes('json-patch')
        ? patch
        : mutate(sampleOf(kind, method === 'POST' ? 'other' : 'fuzz'), steps),
    );
    const path =
      pathOf(kind) +
      (method === 'POST' && !sub.startsWith('/b') && !sub.startsWith('/e') ? '' : `/fuzz${sub}`);
    return { kind, method, path: path + query, type: chosen, body: instead ?? Buffer.from(whole) };
  });

async function checkStored(t: ExecutionContext, { socketPath }: TestServer): Promise<void> {
  for (const kind of KINDS) {
    const path = pathOf(kind).replace('/namespaces/default', '');
    const { text } = await send(socketPath, {
      method: 'GET',
      path,
      type: 'application/json',
      body: Buffer.alloc(0),
    });
    for (const item of (JSON.parse(text) as { items: AnyObject[] }).items) {
      const { faults, unknown } = validate(kind, item);
      t.deepEqual({ faults, unknown }, { faults: [], unknown: [] }, JSON.stringify(item).slice(0, 2000));
    }
  }
}

test('malformed objects at every verb', async t => {
  const cluster = await serve(t, scratch(t));
  const { socketPath } = cluster;
  const seen = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(request, async ({ kind, ...one }) => {
      // Something to change and to delete.
      const body = Buffer.from(JSON.stringify(sampleOf(kind, 'fuzz')));
      await send(socketPath, { method: 'POST', path: pathOf(kind), type: 'application/json', body });
      await send(socketPath, {
        method: 'DELETE',
        path: `${pathOf(kind)}/other`,
        type: 'application/json',
        body: Buffer.alloc(0),
      });
      const { status, text } = await send(socketPath, one);
      seen.set(status, (seen.get(status) ?? 0) + 1);
      const told = `${one.method} ${one.path} ${one.type}: ${status} ${text.slice(0, 500)}`;
      t.true(status >= 200 && status < 500, told);
      if (status >= 400) {
        const failure = JSON.parse(text) as { kind?: string; message?: string };
        t.is(failure.kind, 'Status', told);
        t.truthy(failure.message, told);
      }
    }),
    { numRuns: 2000 },
  );
  // The mixture is of use only where some get through.
  for (const status of [200, 201, 400, 404, 405, 415, 422])
    t.true(seen.has(status), `no ${status}: ${JSON.stringify([...seen])}`);
  await checkStored(t, cluster);
  t.deepEqual(Object.keys(Object.prototype), []);
});

test('bodies of ten megabytes', async t => {
  const cluster = await serve(t, scratch(t));
  const { socketPath } = cluster;
  const large = Buffer.alloc(10 << 20, '{"a":[');
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    const path = pathOf(findKind('cm')!) + (method === 'POST' ? '' : '/fuzz');
    const type = method === 'PATCH' ? PATCH_TYPES[0]! : 'application/json';
    const { status } = await send(socketPath, { method, path, type, body: large });
    t.true(status === 413 || status === 0, `${method}: ${status}`);
  }
  await checkStored(t, cluster);
});

test('a patch that doubles an object again and again is refused', async t => {
  const { socketPath } = await serve(t, scratch(t));
  const kind = findKind('cm')!;
  const body = Buffer.from(JSON.stringify(sampleOf(kind, 'fuzz')));
  await send(socketPath, { method: 'POST', path: pathOf(kind), type: 'application/json', body });
  const copies = Array.from({ length: 60 }, (_, i) => ({ op: 'copy', from: '', path: `/x${i}` }));
  const path = `${pathOf(kind)}/fuzz`;
  const { status, text } = await send(socketPath, {
    method: 'PATCH',
    path,
    type: PATCH_TYPES[0]!,
    body: Buffer.from(JSON.stringify(copies)),
  });
  t.is(status, 400);
  t.regex(text, /copies more than/);
});

test('YAML that is nested without end, or stands for more than it says, is refused before it is composed', async t => {
  const { socketPath } = await serve(t, scratch(t));
  const post = (body: string) =>
    send(socketPath, {
      method: 'POST',
      path: pathOf(findKind('cm')!),
      type: 'application/yaml',
      body: Buffer.from(body),
    });
  const blocks = Array.from({ length: 1000 }, (_, i) => `${' '.repeat(i)}a:\n`).join('');
  for (const body of [
    nested(100_000, '[', ']'),
    '['.repeat(50_000),
    '- '.repeat(20_000),
    '? '.repeat(5000),
    blocks,
  ]) {
    const { status, text } = await post(body);
    t.is(status, 400, body.slice(0, 20));
    t.regex(text, /nested deeper than 200 levels/, body.slice(0, 20));
  }
  for (const body of ['a: &a [*a, *a]', 'a: &a [x]\nb: *a']) t.regex((await post(body)).text, /has aliases/);
  const deep = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx: ${nested(100, '[', ']')}`;
  t.is((await post(deep)).status, 201);
});
