import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths, OUTSIDE } from '../../src/lab/names.ts';
import type { EndpointSlice, Pod, Service } from '../../src/model/types.ts';
import { askAll, PortServer } from './churn.ts';
import { TestLab } from './lab.ts';
import { probe } from './probe.ts';
import { untilObjects } from './until.ts';

/**
 * Backends come and go all the time while pods, nodes and a host outside ask: nobody is ever refused. Services share
 * eight pods, each of their backends being a port of one of these that is open from before it is ready until some time
 * after the service has let it go. 500 services with FIMBRIA_TEST_FULL=1.
 */
const FULL = process.env['FIMBRIA_TEST_FULL'] !== undefined;
const SERVICES = FULL ? 500 : 50;
const BACKENDS = 4;
const CHURN_MS = FULL ? 60_000 : 15_000;
const REPLACE_EVERY_MS = 100;
const REQUESTS_PER_SECOND = 200;
/** How long a backend is shown as going, and how long it still answers when it is shown no more: as kubelet's 30 s. */
const LEAVING_MS = 1_000;
const DRAIN_MS = 12_000;
const PLACES = ['client', 'left', 'right', OUTSIDE];

const lab = new TestLab('churn');
const files = mkdtempSync(join(tmpdir(), 'fimbria-test-e2e-'));
let client: ClusterClient;
const pods: { name: string; ip: string; node: string; server: PortServer; nextPort: number }[] = [];

interface Backend {
  slice: string;
  pod: (typeof pods)[number];
  port: number;
}

let serial = 0;

test.before(async () => {
  await lab.up('left,right', 'kubeProxyReplacement=true', 'routingMode=native', 'autoDirectNodeRoutes=true');
  client = createClient(labPaths(lab.name).localKubeconfig);
  await lab.pod('client', 'left');
  for (let i = 0; i < 8; i++) {
    const node = i % 2 ? 'left' : 'right';
    const name = `server-${i}`;
    const ip = await lab.pod(name, node);
    pods.push({ name, ip, node, server: new PortServer(lab, name), nextPort: 20_000 });
  }
});

test.after.always(async () => {
  client?.close();
  for (const { server } of pods) server.end();
  await lab.down();
  rmSync(files, { recursive: true, force: true });
});

function sliceOf(service: string, { slice, pod, port }: Backend, leaving: boolean): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: slice, namespace: 'default', labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: [pod.ip],
        nodeName: pod.node,
        conditions: { ready: !leaving, serving: true, terminating: leaving },
      },
    ],
    ports: [{ name: '', port, protocol: 'TCP' }],
  } as EndpointSlice;
}

async function addBackend(service: string): Promise<Backend> {
  const pod = pods[Math.floor(Math.random() * pods.length)]!;
  const backend = { slice: `${service}-${serial++}`, pod, port: pod.nextPort++ };
  await pod.server.open(backend.port);
  await client.create<EndpointSlice>(sliceOf(service, backend, false));
  return backend;
}

/** Shown as going, then gone, then closed. */
async function dropBackend(service: string, backend: Backend): Promise<void> {
  await client.patch<EndpointSlice>(
    'EndpointSlice',
    backend.slice,
    { endpoints: sliceOf(service, backend, true).endpoints },
    { namespace: 'default' },
  );
  await delay(LEAVING_MS);
  await client.delete('EndpointSlice', backend.slice, { namespace: 'default' });
  await delay(DRAIN_MS);
  backend.pod.server.close(backend.port);
}

async function createServices(): Promise<Service[]> {
  const names = Array.from({ length: SERVICES }, (_, i) => `service-${i}`);
  for (const name of names)
    await client.create<Service>({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: { type: 'NodePort', ports: [{ port: 80 }] },
    });
  const isThere = ({ metadata, spec }: Service) =>
    metadata.name.startsWith('service-') && spec.clusterIP && spec.ports![0]!.nodePort;
  const all = await untilObjects<Service>(
    client,
    'Service',
    services => services.filter(isThere).length === SERVICES,
  );
  return all.filter(isThere);
}

/** From `outside` by the node ports of both nodes, else by ClusterIP. */
function urlsFor(place: string, services: readonly Service[]): string[] {
  return services.flatMap(({ spec }) =>
    place === OUTSIDE
      ? ['192.168.10.100', '192.168.10.101'].map(node => `http://${node}:${spec.ports![0]!.nodePort}/`)
      : [`http://${spec.clusterIP}/`],
  );
}

/** Waits until each of the URLs is answered in each place. */
async function untilAllAnswer(services: readonly Service[]): Promise<void> {
  for (const place of PLACES)
    await waitUntil(`all services in ${place}`, 120_000, async because => {
      const urls = urlsFor(place, services).map(url => new URL(url));
      const probes = urls.map(url => ({
        proto: 'tcp' as const,
        address: url.hostname,
        port: Number(url.port) || 80,
      }));
      const bad = (await probe(lab, place, probes)).filter(answer => answer !== 'ok');
      because(`${bad.length} of ${probes.length}: ${[...new Set(bad)]}`);
      return bad.length === 0 || undefined;
    });
}

/** Asks everywhere while `work` is under way; fails for every question that was not answered. */
async function whileAsking(
  t: ExecutionContext,
  services: readonly Service[],
  work: () => Promise<void>,
): Promise<void> {
  const ends = PLACES.map(place => {
    const file = join(files, place);
    writeFileSync(file, JSON.stringify([urlsFor(place, services), REQUESTS_PER_SECOND / PLACES.length]));
    return askAll(lab, place, file);
  });
  await work();
  const results = await Promise.all(ends.map(end => end()));
  for (const [i, { asked, answered, failed }] of results.entries()) {
    t.log(`${PLACES[i]}: ${answered} of ${asked} answered`);
    t.deepEqual(failed, {}, PLACES[i]);
    t.true(answered > 0);
  }
}

test.serial(
  `${SERVICES} services of ${BACKENDS} backends, one replaced every ${REPLACE_EVERY_MS} ms`,
  async t => {
    t.timeout(600_000);
    const services = await createServices();
    const backends = new Map<string, Backend[]>();
    for (const { metadata } of services) {
      const own = Array.from({ length: BACKENDS }, () => addBackend(metadata.name));
      backends.set(metadata.name, await Promise.all(own));
    }
    await untilAllAnswer(services);
    const going: Promise<void>[] = [];
    let replaced = 0;
    await whileAsking(t, services, async () => {
      const until = performance.now() + CHURN_MS;
      for (let next = performance.now(); performance.now() < until; next += REPLACE_EVERY_MS) {
        await delay(Math.max(0, next - performance.now()));
        const { name } = services[Math.floor(Math.random() * services.length)]!.metadata;
        const own = backends.get(name)!;
        own.push(await addBackend(name));
        going.push(dropBackend(name, own.shift()!));
        replaced++;
      }
      // What is asked last meets backends that are closed by then, had anybody kept them.
      await Promise.all(going);
    });
    t.log(`${replaced} backends were replaced in ${CHURN_MS / 1000} s`);
  },
);

/** Goes on answering for some seconds after it was told to end, as a well-behaved server does. */
const POLITE = `const server = require('http').createServer((q, a) => a.end('ok')).listen(8080, '0.0.0.0');
process.on('SIGTERM', () => setTimeout(() => server.close(() => process.exit()), 10000));`;

test.serial(
  'pods that are replaced by the lab: readiness and termination as the controllers have it',
  async t => {
    t.timeout(600_000);
    const create = (name: string, node: string) =>
      client.create<Pod>({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'default', labels: { app: 'polite' } },
        spec: {
          nodeName: node,
          containers: [{ name: 'main', image: 'none', command: [process.execPath, '-e', POLITE] }],
        },
      });
    // The pause until a process listens is a readiness probe's to bridge, which the lab's kubelet has not: the test has.
    const ready = async (name: string): Promise<void> => {
      const isUp = (pod: Pod) => pod.metadata.name === name && pod.status?.phase === 'Running';
      const all = await untilObjects<Pod>(client, 'Pod', some => some.some(isUp));
      const address = all.find(isUp)!.status!.podIP!;
      await waitUntil(`${name} to listen`, 60_000, async () =>
        (await probe(lab, 'client', [{ proto: 'tcp', address, port: 8080 }]))[0] === 'ok' ? true : undefined,
      );
      await client.patch<Pod>(
        'Pod',
        name,
        { metadata: { labels: { listens: 'yes' } } },
        { namespace: 'default' },
      );
    };
    const running: string[] = [];
    for (let i = 0; i < 4; i++) {
      running.push(`polite-${i}`);
      await create(`polite-${i}`, i % 2 ? 'left' : 'right');
    }
    await Promise.all(running.map(ready));
    await client.create<Service>({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'polite', namespace: 'default' },
      spec: { type: 'NodePort', selector: { listens: 'yes' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    const isThere = ({ metadata, spec }: Service) =>
      metadata.name === 'polite' && spec.clusterIP && spec.ports![0]!.nodePort;
    const service = (await untilObjects<Service>(client, 'Service', all => all.some(isThere))).find(isThere)!;
    await untilAllAnswer([service]);
    const gone: string[] = [];
    await whileAsking(t, [service], async () => {
      for (let i = 4; i < (FULL ? 40 : 10); i++) {
        await create(`polite-${i}`, i % 2 ? 'left' : 'right');
        await ready(`polite-${i}`);
        running.push(`polite-${i}`);
        const leaving = running.shift()!;
        await client.delete('Pod', leaving, { namespace: 'default' });
        gone.push(leaving);
      }
      await untilObjects<Pod>(client, 'Pod', all => !all.some(pod => gone.includes(pod.metadata.name)));
    });
    t.log(`${gone.length} pods were replaced`);
  },
);
