import type { ChildProcess } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import type { Pod, Service } from '../../src/model/types.ts';
import { printed, TestLab } from './lab.ts';
import { probe } from './probe.ts';
import { serve } from './serve.ts';
import { untilObjects } from './until.ts';

/** Datagrams to services from sockets that stay connected, as resolvers keep them, when their backend goes. */
const lab = new TestLab('udp');
let client: ClusterClient;
let clusterIp: string;
let nodePort: number;

/**
 * Sends a datagram every 50 ms on a connected socket, and prints a line whenever another one answers or an error comes.
 * Only a socket that is ended is opened anew: others say that their server is away and try on.
 */
const RESOLVER = `const [address, port] = process.argv.slice(1); let last;
const say = text => { if (text !== last) console.log(last = text); };
const open = () => {
  const socket = require('dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4'); let timer;
  socket.on('error', e => { say(e.code); if (e.code === 'ECONNABORTED') { clearInterval(timer); socket.close(); open(); } });
  socket.on('message', m => say(String(m).split(' ')[0]));
  socket.connect(Number(port), address, e => { if (e) return setTimeout(open, 100); timer = setInterval(() => socket.send('x', () => {}), 50); });
};
open();`;

/** A resolver that is served, and by whom. */
async function resolver(
  t: ExecutionContext,
  place: string,
  address: string,
  port = 53,
): Promise<{ child: ChildProcess; by: string }> {
  const child = lab.spawn(['lab', 'exec', place, '--', process.execPath, '-e', RESOLVER, address, `${port}`]);
  t.teardown(() => child.kill());
  const by = (await printed(child, /^dns-\d\n/m)).match(/dns-\d/)![0];
  return { child, by };
}

async function createBackend(name: string, node: string): Promise<void> {
  await client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: 'dns' } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'main', image: 'none', command: serve(name, 5300) }],
    },
  });
}

/** Until new sockets everywhere get these and nobody else. */
async function untilServedBy(names: string[]): Promise<void> {
  for (const place of ['client', 'left', 'right'])
    await waitUntil(`answers in ${place}`, 60_000, async because => {
      const ask = { proto: 'udp', address: clusterIp, port: 53, connected: true } as const;
      const answers = await probe(
        lab,
        place,
        Array.from({ length: 20 }, () => ask),
      );
      const found = [...new Set(answers.map(answer => answer.split(' ')[0]!))].sort();
      because(`${found}`);
      return found.join() === names.join() || undefined;
    });
}

test.before(async () => {
  await lab.up('left,right', 'kubeProxyReplacement=true');
  client = createClient(labPaths(lab.name).localKubeconfig);
  await createBackend('dns-1', 'left');
  await lab.pod('client', 'left');
  await client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'dns', namespace: 'default' },
    spec: {
      type: 'NodePort',
      selector: { app: 'dns' },
      ports: [{ protocol: 'UDP', port: 53, targetPort: 5300 }],
    },
  });
  const isThere = ({ metadata, spec }: Service) =>
    metadata.name === 'dns' && spec.clusterIP && spec.ports![0]!.nodePort;
  const { spec } = (await untilObjects<Service>(client, 'Service', all => all.some(isThere))).find(isThere)!;
  clusterIp = spec.clusterIP!;
  nodePort = spec.ports![0]!.nodePort!;
  await untilServedBy(['dns-1']);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

test.serial(
  'a backend goes: sockets that were connected to it are ended, in pods and on nodes, others stay',
  async t => {
    const went = await Promise.all([
      resolver(t, 'client', clusterIp),
      resolver(t, 'client', `::ffff:${clusterIp}`),
      resolver(t, 'left', clusterIp),
      resolver(t, 'right', clusterIp),
      resolver(t, 'client', '192.168.10.101', nodePort),
      resolver(t, 'left', '127.0.0.1', nodePort),
    ]);
    t.true(went.every(({ by }) => by === 'dns-1'));
    await createBackend('dns-2', 'right');
    await untilServedBy(['dns-1', 'dns-2']);
    const stays: ChildProcess[] = [];
    for (let tries = 0; stays.length < 2 && tries < 50; tries++) {
      const { child, by } = await resolver(t, tries % 2 ? 'client' : 'left', clusterIp);
      if (by === 'dns-2') stays.push(child);
      else child.kill();
    }
    const disturbed: string[] = [];
    for (const child of stays) child.stdout!.on('data', chunk => disturbed.push(`${chunk}`));
    const moved = went.map(({ child }) => printed(child, /ECONNABORTED\ndns-2\n/));
    await lab.must('lab', 'pod', 'delete', 'dns-1');
    await Promise.all(moved);
    t.deepEqual(disturbed, [], 'whose backend stays hears nothing');
  },
);

test.serial('a backend goes while no agent runs: its sockets are ended when the agent is back', async t => {
  const { child, by } = await resolver(t, 'client', clusterIp);
  t.is(by, 'dns-2');
  await lab.must('lab', 'node', 'kill', 'left');
  await createBackend('dns-3', 'right');
  await untilObjects<Pod>(client, 'Pod', all =>
    all.some(pod => pod.metadata.name === 'dns-3' && pod.status?.phase === 'Running'),
  );
  await lab.must('lab', 'pod', 'delete', 'dns-2');
  const moved = printed(child, /ECONNABORTED\ndns-3\n/);
  await lab.must('lab', 'node', 'start', 'left');
  await moved;
  t.pass();
});

test.serial('the service goes: who is connected through it learns so', async t => {
  const { child } = await resolver(t, 'client', clusterIp);
  const ended = printed(child, /ECONNABORTED\n/);
  await lab.must('delete', 'svc', 'dns');
  await ended;
  t.pass();
});
