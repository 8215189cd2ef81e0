import test from 'ava';
import fc from 'fast-check';
import { CniHandler, type NotReady } from '../../src/agent/cni.ts';
import { parseConfig, podOf, prevResultOf, validAttachments } from '../../src/agent/cni-request.ts';
import { CNI_VERSIONS } from '../../src/agent/cni-result.ts';
import type { CniRequest } from '../../src/api/types.ts';
import { silent } from '../../src/base/log.ts';
import type { EndpointDeps } from '../../src/endpoint/deps.ts';
import type { Endpoint } from '../../src/endpoint/types.ts';

const config = (more: object = {}): string =>
  JSON.stringify({ cniVersion: '1.1.0', name: 'fimbria', type: 'fimbria-cni', ...more });

/** A handler over these endpoints that tells which of them it removed, all but `stuck`; its datapath refuses everything else. */
function handlerOver(
  endpoints: Partial<Endpoint>[],
  notReady?: NotReady,
  stuck?: string,
): { cni: CniHandler; removed: string[] } {
  const list = endpoints.map(
    (e, i) => ({ id: i + 1, hostIfname: `lxc${i}`, createdAt: 'x', ...e }) as Endpoint,
  );
  const removed: string[] = [];
  const deps = {
    store: {
      list: () => list,
      get: (id: number) => list.find(e => e.id === id),
      byAttachment: (id: string, ifname: string) =>
        list.find(e => e.containerId === id && e.ifname === ifname),
      delete: (id: number) => {
        removed.push(list.find(e => e.id === id)!.containerId);
        return true;
      },
      left: async () => {},
      leaving: () => {},
    },
    pool: {
      release: () => true,
      allocate: () => {
        throw new Error('no addresses in this test');
      },
    },
    datapath: {
      expel: async ({ containerId }: Endpoint) => {
        if (containerId === stuck) throw new Error('busy');
      },
      detach: async () => {},
      deleteLink: async () => {},
      deleteLinkSoon: async () => {},
    },
    onChange: () => {},
    log: silent,
  } as unknown as EndpointDeps;
  const cni = new CniHandler({
    endpoints: deps,
    addressing: () => ({ routerIpv4: '10.0.0.1', routeMtu: 1450, deviceMtu: 1500 }),
    notReady: () => notReady,
    queuedDeletes: () => undefined,
  });
  return { cni, removed };
}

const codeOf = (work: () => unknown): number | undefined => {
  try {
    work();
    return undefined;
  } catch (error) {
    return Number(/^CNI_(\d+)$/.exec((error as { code: string }).code)?.[1]);
  }
};

test('a configuration is read, or refused with its code', t => {
  for (const cniVersion of CNI_VERSIONS) t.is(parseConfig(config({ cniVersion })).cniVersion, cniVersion);
  const cases: [string, number][] = [
    ['', 6],
    ['{', 6],
    ['null', 6],
    ['[]', 6],
    ['"1.0.0"', 6],
    ['{}', 6],
    ['{"cniVersion":1}', 6],
    ['{"cniVersion":"0.2.0"}', 1],
    ['{"cniVersion":"1.1.1"}', 1],
    ['{"cniVersion":""}', 1],
    ['{"cniVersion":"1.0.0","name":7}', 7],
    ['{"cniVersion":"1.0.0","name":""}', 7],
  ];
  for (const [text, code] of cases)
    t.is(
      codeOf(() => parseConfig(text)),
      code,
      text,
    );
});

test('a previous result is a result, or refused', t => {
  const of = (prevResult: unknown) => prevResultOf({ cniVersion: '1.0.0', name: 'n', prevResult });
  t.is(of(undefined), undefined);
  t.is(of(null), undefined);
  t.deepEqual(of({}), {});
  t.deepEqual(of({ ips: [{ address: 'x' }] }), { ips: [{ address: 'x' }] });
  for (const wrong of [
    1,
    'x',
    [],
    { ips: {} },
    { ips: [1] },
    { interfaces: [null] },
    { routes: 'x' },
    { dns: [] },
  ])
    t.is(
      codeOf(() => of(wrong)),
      7,
      JSON.stringify(wrong),
    );
});

test('the pod is found in CNI_ARGS whatever the order and whatever else is there', t => {
  const pod = { name: 'web', namespace: 'default' };
  const cases: [string, object | undefined][] = [
    ['IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u-1', { ...pod, uid: 'u-1' }],
    ['K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;', pod],
    [';;K8S_POD_NAME=old;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web', pod],
    ['K8S_POD_NAME=web;K8S_POD_NAMESPACE=default;K8S_POD_UID=', pod],
    ['K8S_POD_NAME=web;K8S_POD_NAMESPACE=default;MAC=a=b', pod],
    ['', undefined],
    ['K8S_POD_NAME=web', undefined],
    ['K8S_POD_NAME=web;K8S_POD_NAMESPACE=', undefined],
    // podman has the container's name here, and no namespace.
    ['IgnoreUnknown=1;K8S_POD_NAME=Nosy_Hopper', undefined],
  ];
  for (const [args, expected] of cases) t.deepEqual(podOf(args), expected as ReturnType<typeof podOf>, args);
});

test('CNI_ARGS that are no pairs, or names that no Pod can have, are refused: code 4', t => {
  for (const args of [
    'K8S_POD_NAMEx',
    '=x',
    'a',
    'K8S_POD_NAME=../secrets/x;K8S_POD_NAMESPACE=default',
    'K8S_POD_NAME=web;K8S_POD_NAMESPACE=a/b',
    'K8S_POD_NAME=Web;K8S_POD_NAMESPACE=default',
    `K8S_POD_NAME=${'x'.repeat(254)};K8S_POD_NAMESPACE=default`,
    'K8S_POD_NAME=web?x=1;K8S_POD_NAMESPACE=default',
  ])
    t.is(
      codeOf(() => podOf(args)),
      4,
      args,
    );
});

test('GC removes what is not listed, of its own network only', async t => {
  const endpoints = [
    { containerId: 'kept', ifname: 'eth0', network: 'fimbria' },
    { containerId: 'other-interface', ifname: 'eth1', network: 'fimbria' },
    { containerId: 'lost', ifname: 'eth0', network: 'fimbria' },
    { containerId: 'of-an-earlier-version', ifname: 'eth0' },
    { containerId: 'of-podman', ifname: 'eth0', network: 'podman' },
    { containerId: 'cilium-health', ifname: '' },
  ];
  const list = [
    { containerID: 'kept', ifname: 'eth0' },
    { containerID: 'other-interface', ifname: 'eth0' },
    { containerID: 'unheard-of', ifname: 'eth0' },
  ];
  for (const key of ['cni.dev/valid-attachments', 'cni.dev/attachments']) {
    const { cni, removed } = handlerOver(endpoints);
    t.deepEqual(await cni.handle({ command: 'GC', env: {}, stdin: config({ [key]: list }) }), {
      status: 200,
      body: undefined,
    });
    t.deepEqual(removed, ['other-interface', 'lost', 'of-an-earlier-version']);
  }
  const { cni, removed } = handlerOver(endpoints);
  await cni.handle({
    command: 'GC',
    env: {},
    stdin: config({ name: 'podman', 'cni.dev/valid-attachments': [] }),
  });
  t.deepEqual(removed, ['of-podman']);
});

test('GC with a list that does not name attachments removes nothing: code 7', async t => {
  for (const list of [
    undefined,
    null,
    {},
    'x',
    [{}],
    [null],
    [{ containerID: 'a' }],
    [
      { containerID: 'a', ifname: 'eth0' },
      { containerId: 'b', ifname: 'eth0' },
    ],
    [{ containerID: '', ifname: 'eth0' }],
  ]) {
    const { cni, removed } = handlerOver([{ containerId: 'b', ifname: 'eth0', network: 'fimbria' }]);
    const reply = await cni.handle({
      command: 'GC',
      env: {},
      stdin: config({ 'cni.dev/valid-attachments': list }),
    });
    t.like(reply, { status: 400, body: { cniVersion: '1.1.0', code: 7 } }, JSON.stringify(list));
    t.deepEqual(removed, []);
  }
  t.is(
    codeOf(() => validAttachments({ cniVersion: '1.1.0', name: 'n' })),
    7,
  );
});

test('GC removes as much as it can and says what it could not', async t => {
  const { cni, removed } = handlerOver(
    ['a', 'b', 'c'].map(containerId => ({ containerId, ifname: 'eth0' })),
    undefined,
    'b',
  );
  const stdin = config({ 'cni.dev/valid-attachments': [] });
  t.like(await cni.handle({ command: 'GC', env: {}, stdin }), {
    status: 500,
    body: { cniVersion: '1.1.0', code: 999, msg: 'could not remove 1: busy' },
  });
  t.deepEqual(removed, ['a', 'c']);
});

test('STATUS says 50 while no pod can be added, 51 when packets were seen not to pass', async t => {
  const status = (notReady?: NotReady) =>
    handlerOver([], notReady).cni.handle({ command: 'STATUS', env: {}, stdin: config() });
  t.deepEqual(await status(), { status: 200, body: undefined });
  t.like(await status({ why: 'starting' }), { status: 500, body: { cniVersion: '1.1.0', code: 50 } });
  t.like(await status({ why: 'no echo', limited: true }), { status: 500, body: { code: 51 } });
});

test('CHECK needs the result of ADD, and an endpoint: codes 7 and 3', async t => {
  const { cni } = handlerOver([]);
  const env = { CNI_CONTAINERID: 'c', CNI_IFNAME: 'eth0', CNI_NETNS: '/nowhere' };
  t.like(await cni.handle({ command: 'CHECK', env, stdin: config() }), { body: { code: 7 } });
  t.like(await cni.handle({ command: 'CHECK', env, stdin: config({ prevResult: {} }) }), {
    body: { code: 3 },
  });
});

test('DEL looks at nothing but the attachment, and is repeatable', async t => {
  const { cni, removed } = handlerOver([{ containerId: 'c', ifname: 'eth0' }]);
  for (const [env, stdin] of [
    [{ CNI_CONTAINERID: 'c', CNI_IFNAME: 'eth1' }, config()],
    [{ CNI_CONTAINERID: 'unheard-of', CNI_IFNAME: 'eth0' }, config()],
    [
      { CNI_CONTAINERID: 'c', CNI_IFNAME: 'eth0', CNI_ARGS: '=;=' },
      config({ prevResult: 'x', name: 'gone' }),
    ],
  ] as const)
    t.deepEqual(await cni.handle({ command: 'DEL', env, stdin }), { status: 200, body: undefined });
  t.deepEqual(removed, ['c']);
});

test('whatever is asked, the answer is a result or an error of the specification', async t => {
  const anything = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        cniVersion: fc.oneof(fc.constantFrom(...CNI_VERSIONS, '0.2.0'), fc.jsonValue()),
        name: fc.oneof(fc.constant('fimbria'), fc.jsonValue()),
        prevResult: fc.oneof(
          fc.jsonValue(),
          fc.record(
            { ips: fc.jsonValue(), interfaces: fc.jsonValue(), routes: fc.jsonValue(), dns: fc.jsonValue() },
            { requiredKeys: [] },
          ),
        ),
        'cni.dev/valid-attachments': fc.oneof(
          fc.jsonValue(),
          fc.array(fc.record({ containerID: fc.jsonValue(), ifname: fc.jsonValue() }, { requiredKeys: [] })),
        ),
      },
      { requiredKeys: [] },
    ),
  );
  const request = fc.record({
    command: fc.constantFrom('ADD', 'DEL', 'CHECK', 'STATUS', 'GC'),
    env: fc.dictionary(
      fc.constantFrom('CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_NETNS', 'CNI_ARGS'),
      fc.oneof(
        fc.string(),
        fc.constantFrom('kept', 'eth0', '/proc/self/ns/net', 'K8S_POD_NAME=a;K8S_POD_NAMESPACE=b'),
      ),
    ),
    stdin: fc.oneof(
      fc.string(),
      anything.map(value => JSON.stringify(value)),
    ),
  });
  await fc.assert(
    fc.asyncProperty(request, async made => {
      const { cni, removed } = handlerOver([{ containerId: 'kept', ifname: 'eth0', network: 'fimbria' }]);
      const { status, body } = await cni.handle(made as CniRequest);
      if (status === 200) {
        t.is(body, undefined, 'only ADD has a result, and here it cannot succeed');
      } else {
        const { cniVersion, code, msg } = body as { cniVersion: unknown; code: number; msg: unknown };
        t.is(typeof cniVersion, 'string');
        t.true([1, 3, 4, 6, 7, 11, 50, 51, 999].includes(code));
        t.is(typeof msg, 'string');
        t.true(status >= 400 && status < 600);
        t.deepEqual(removed, [], 'what is refused changes nothing');
      }
    }),
    { numRuns: 3000 },
  );
});
