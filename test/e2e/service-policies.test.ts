import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths, OUTSIDE, OUTSIDE_IP } from '../../src/lab/names.ts';
import type { Pod, Service } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { type Probe, probe } from './probe.ts';
import { serve } from './serve.ts';
import { untilObjects } from './until.ts';

/** Who of a service's backends gets whom, and who nobody: policies, affinity, ranges, Maglev, and nobody there. */
const lab = new TestLab('policies');
let client: ClusterClient;
const [LEFT, RIGHT] = ['192.168.10.100', '192.168.10.101'];
const common = { kubeProxyReplacement: true, routingMode: 'native', autoDirectNodeRoutes: true };
/** More than enough to meet all of three backends. */
const MANY = 40;

async function createPod(name: string, node: string, app: string): Promise<void> {
  await client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app } },
    spec: {
      nodeName: node,
      containers: [{ name: 'main', image: 'none', command: serve(name, 8080) }],
    },
  });
}

async function createService(name: string, app: string, more: Partial<Service['spec']>): Promise<Service> {
  await client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      selector: { app },
      externalIPs: [],
      ports: (['TCP', 'UDP'] as const).map(protocol => ({
        name: protocol.toLowerCase(),
        protocol,
        port: 80,
        targetPort: 8080,
      })),
      ...more,
    },
  });
  const isThere = ({ metadata, spec }: Service): boolean =>
    metadata.name === name && spec.clusterIP !== undefined && spec.ports!.every(port => port.nodePort);
  const all = await untilObjects<Service>(client, 'Service', services => services.some(isThere));
  return all.find(isThere)!;
}

const nodePort = ({ spec }: Service, proto: 'tcp' | 'udp'): number =>
  spec.ports!.find(port => port.name === proto)!.nodePort!;

/** Both protocols at an address. */
const both = (address: string, service: Service, at: 'port' | 'nodePort'): Probe[] =>
  (['tcp', 'udp'] as const).map(proto => ({
    proto,
    address,
    port: at === 'port' ? 80 : nodePort(service, proto),
    // Only a connected socket hears of an error.
    connected: true,
  }));

/** Names of who answers so many questions each, or what was heard instead. */
async function answerers(
  place: string,
  probes: readonly Probe[],
  times = MANY,
  timeoutMs?: number,
): Promise<string[]> {
  const all = probes.flatMap(one => Array.from({ length: times }, () => one));
  return [...new Set((await probe(lab, place, all, timeoutMs)).map(answer => answer.split(' ')[0]!))].sort();
}

/** Waits until it is these, of both protocols together. */
async function untilAnswerers(place: string, probes: readonly Probe[], wanted: string[]): Promise<void> {
  await waitUntil(`answers in ${place}`, 60_000, async because => {
    const found = await answerers(place, probes);
    because(`${found}, not ${wanted}`);
    return found.join() === wanted.join() || undefined;
  });
}

test.before(async () => {
  await lab.up('left,right', ...Object.entries(common).map(pair => pair.join('=')));
  client = createClient(labPaths(lab.name).localKubeconfig);
  await createPod('one', 'left', 'web');
  await createPod('two', 'right', 'web');
  await createPod('three', 'right', 'web');
  await createPod('lone', 'right', 'lone');
  await lab.pod('client', 'left');
  await lab.pod('other', 'right');
  await untilObjects<Pod>(
    client,
    'Pod',
    all => all.filter(pod => pod.status?.phase === 'Running').length === 6,
  );
  await lab.execMust(OUTSIDE, 'ip', 'route', 'add', '10.0.250.0/24', 'via', LEFT!);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

test.serial(
  'externalTrafficPolicy Local: a node serves clients outside by its own pods or not at all, and says so',
  async t => {
    const service = await createService('local', 'lone', { externalTrafficPolicy: 'Local' });
    const [left, right] = [both(LEFT!, service, 'nodePort'), both(RIGHT!, service, 'nodePort')];
    await untilAnswerers(OUTSIDE, right, ['lone']);
    for (const answer of await probe(lab, OUTSIDE, right)) t.is(answer.split(' ')[1], OUTSIDE_IP);
    await untilAnswerers(OUTSIDE, left, ['ECONNREFUSED']);
    // Clients in the cluster are served everywhere.
    for (const place of ['client', 'other', 'left', 'right'])
      t.deepEqual(await answerers(place, [...left, ...right], 4), ['lone'], place);

    const health = async (node: string): Promise<string> =>
      (
        await lab.execMust(
          OUTSIDE,
          'curl',
          '-s',
          '-m',
          '20',
          '-w',
          ' %{http_code}',
          `http://${node}:${service.spec['healthCheckNodePort']}/healthz`,
        )
      ).replace(/\s+/g, ' ');
    const said = (count: number, status: number): string =>
      `{"service":{"namespace":"default","name":"local"},"localEndpoints":${count},"serviceProxyHealthy":true} ${status}`;
    t.is(await health(LEFT!), said(0, 503));
    t.is(await health(RIGHT!), said(1, 200));
    await createPod('lone-2', 'left', 'lone');
    await untilAnswerers(OUTSIDE, left, ['lone-2']);
    t.is(await health(LEFT!), said(1, 200));
    await lab.must('lab', 'pod', 'delete', 'lone-2');
    await untilAnswerers(OUTSIDE, left, ['ECONNREFUSED']);
    t.is(await health(LEFT!), said(0, 503));
  },
);

test.serial(
  'internalTrafficPolicy Local: pods and nodes get pods of their node or nobody; outside has all',
  async t => {
    const service = await createService('inner', 'web', { internalTrafficPolicy: 'Local' });
    const inside = both(service.spec.clusterIP!, service, 'port');
    for (const place of ['client', 'left']) await untilAnswerers(place, inside, ['one']);
    for (const place of ['other', 'right']) await untilAnswerers(place, inside, ['three', 'two']);
    await untilAnswerers(OUTSIDE, both(LEFT!, service, 'nodePort'), ['one', 'three', 'two']);
    const lone = await createService('inner-lone', 'lone', { internalTrafficPolicy: 'Local' });
    await untilAnswerers('client', both(lone.spec.clusterIP!, lone, 'port'), ['EHOSTUNREACH']);
    t.pass();
  },
);

test.serial(
  'session affinity: each client has one backend, until it has been silent for so long',
  async t => {
    const affinity = (timeoutSeconds: number) => ({
      sessionAffinity: 'ClientIP' as const,
      sessionAffinityConfig: { clientIP: { timeoutSeconds } },
    });
    const service = await createService('sticky', 'web', affinity(3600));
    await waitUntil(
      'the service',
      60_000,
      async () =>
        (await probe(lab, 'client', both(service.spec.clusterIP!, service, 'port'))).every(
          answer => !answer.startsWith('E'),
        ) || undefined,
    );
    const chosen = new Set<string>();
    for (const [place, address, at] of [
      ['client', service.spec.clusterIP!, 'port'],
      ['other', service.spec.clusterIP!, 'port'],
      ['left', service.spec.clusterIP!, 'port'],
      [OUTSIDE, LEFT!, 'nodePort'],
      [OUTSIDE, RIGHT!, 'nodePort'],
    ] as const)
      for (const one of both(address, service, at)) {
        const [first, ...others] = await probe(lab, place, [one]);
        t.is(others.length, 0);
        const name = first!.split(' ')[0]!;
        t.true(['one', 'two', 'three'].includes(name), first);
        t.deepEqual(await answerers(place, [one]), [name], `${place}, ${one.proto}`);
        chosen.add(name);
      }
    t.log(`ten clients were given ${[...chosen]}`);
    const brief = await createService('brief', 'web', affinity(1));
    for (const [place, address, at] of [
      ['client', brief.spec.clusterIP!, 'port'],
      [OUTSIDE, LEFT!, 'nodePort'],
    ] as const) {
      const seen = new Set<string>();
      await waitUntil(`a second backend for ${place}`, 120_000, async because => {
        // As long as the service remembers a silent client, and the clock's granularity.
        await delay(1100);
        const [answer] = await probe(lab, place, [both(address, brief, at)[0]!]);
        if (answer!.split(' ').length > 1) seen.add(answer!.split(' ')[0]!);
        because([...seen].join());
        return seen.size > 1 || undefined;
      });
    }
  },
);

test.serial('loadBalancerSourceRanges: who is not in them is not answered', async t => {
  const address = '10.0.250.77';
  await createService('ranged', 'lone', { loadBalancerSourceRanges: ['203.0.113.0/24', `${OUTSIDE_IP}/32`] });
  await client.patch<Service>(
    'Service',
    'ranged',
    { status: { loadBalancer: { ingress: [{ ip: address }] } } },
    { namespace: 'default', subresource: 'status' },
  );
  const ask: Probe[] = [
    { proto: 'tcp', address, port: 80 },
    { proto: 'udp', address, port: 80 },
  ];
  await untilAnswerers(OUTSIDE, ask, ['lone']);
  await client.patch<Service>(
    'Service',
    'ranged',
    { spec: { loadBalancerSourceRanges: ['203.0.113.0/24'] } },
    { namespace: 'default' },
  );
  await waitUntil('strangers to be kept out', 60_000, async because => {
    const found = await answerers(OUTSIDE, ask, 2, 3_000);
    because(`${found}`);
    return found.every(answer => ['nothing', 'ETIMEDOUT'].includes(answer)) || undefined;
  });
  t.deepEqual(await answerers('client', ask, 4), ['lone'], 'pods are no strangers');
});

test.serial('nobody there: everybody learns so at once, and is served when somebody comes', async t => {
  const service = await createService('empty', 'nobody', {});
  const inside = both(service.spec.clusterIP!, service, 'port');
  const ports = [...both(LEFT!, service, 'nodePort'), ...both(RIGHT!, service, 'nodePort')];
  for (const place of ['client', 'other', 'left', 'right'])
    await untilAnswerers(place, [...inside, ...ports], ['EHOSTUNREACH']);
  await untilAnswerers(OUTSIDE, ports, ['ECONNREFUSED']);
  await createPod('somebody', 'left', 'nobody');
  for (const place of ['client', 'other', 'left', 'right'])
    await untilAnswerers(place, [...inside, ...ports], ['somebody']);
  await untilAnswerers(OUTSIDE, ports, ['somebody']);
  t.pass();
});

/** Asks from one port after the other; a line with the answerer's name for each. */
const fromPorts = (address: string, port: number, first: number, count: number): string[] => [
  process.execPath,
  '-e',
  `const ask = local => new Promise(done => { const u = require('dgram').createSocket('udp4'); let tries = 0;
     const again = () => { if (tries++ < 10) { u.send('x', ${port}, '${address}'); timer = setTimeout(again, 2000); } else done('nothing'); };
     let timer; u.on('message', m => { clearTimeout(timer); u.close(); done(String(m).split(' ')[0]); }); u.bind(local, again); });
   Promise.all(Array.from({ length: ${count} }, (_, i) => ask(${first} + i))).then(all => console.log(JSON.stringify(all)));`,
];

test.serial('Maglev: every node chooses alike, and few flows move when a backend goes', async t => {
  await lab.upgrade({ ...common, 'loadBalancer.algorithm': 'maglev' });
  for (const name of ['four', 'five', 'six']) await createPod(name, 'left', 'web');
  const address = '10.0.250.78';
  await createService('spread', 'web', {});
  await client.patch<Service>(
    'Service',
    'spread',
    { status: { loadBalancer: { ingress: [{ ip: address }] } } },
    { namespace: 'default', subresource: 'status' },
  );
  const via = (node: string) => lab.execMust(OUTSIDE, 'ip', 'route', 'replace', '10.0.250.0/24', 'via', node);
  const asked = async (first: number, count: number): Promise<string[]> =>
    JSON.parse(await lab.execMust(OUTSIDE, ...fromPorts(address, 80, first, count)));
  const all = ['five', 'four', 'one', 'six', 'three', 'two'];
  const tcp: Probe[] = [{ proto: 'tcp', address, port: 80 }];
  for (const node of [LEFT!, RIGHT!]) {
    await via(node);
    await untilAnswerers(OUTSIDE, tcp, all);
  }
  await via(LEFT!);
  const byLeft = await asked(20_000, 400);
  t.deepEqual([...new Set(byLeft)].sort(), all);
  await via(RIGHT!);
  // The other half is a node's first sight of them, after a backend has gone.
  t.deepEqual(await asked(20_000, 200), byLeft.slice(0, 200), 'both nodes choose alike');
  await lab.must('lab', 'pod', 'delete', 'six');
  await untilAnswerers(
    OUTSIDE,
    tcp,
    all.filter(name => name !== 'six'),
  );
  const later = await asked(20_200, 200);
  const stayed = byLeft
    .slice(200)
    .map((name, i) => [name, later[i]!] as const)
    .filter(([name]) => name !== 'six');
  const moved = stayed.filter(([before, after]) => before !== after).length;
  t.log(`${moved} of ${stayed.length} flows of backends that stayed have moved`);
  t.true(moved < stayed.length / 10, `${moved} of ${stayed.length} moved`);
});
