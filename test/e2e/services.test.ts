import test from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import type { EndpointSlice, Event, Service } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { ask, askUdp, serve } from './serve.ts';
import { untilObjects } from './until.ts';

/** Services as pods and nodes reach them: at their sockets. */
const lab = new TestLab('services');
let client: ClusterClient;
let clusterIp: string;
let nodePort: number;
const PLACES = ['client', 'left', 'right'];

test.before(async () => {
  await lab.up('left,right', 'kubeProxyReplacement=true', 'bpf.masquerade=true');
  client = createClient(labPaths(lab.name).localKubeconfig);
  for (const [name, node] of [
    ['one', 'left'],
    ['two', 'right'],
  ] as const)
    await lab.must(
      ...['lab', 'pod', 'add', name, '--node', node, '--label', 'app=web', '--', ...serve(name, 8080)],
    );
  await lab.pod('client', 'left');
  await client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      type: 'NodePort',
      selector: { app: 'web' },
      ports: [
        { name: 'http', port: 80, targetPort: 8080 },
        { name: 'udp', protocol: 'UDP', port: 80, targetPort: 8080 },
      ],
    },
  });
  const [service] = await untilObjects<Service>(
    client,
    'Service',
    all => all.filter(s => s.metadata.name === 'web' && s.spec.clusterIP).length === 1,
  ).then(all => all.filter(s => s.metadata.name === 'web'));
  clusterIp = service!.spec.clusterIP!;
  nodePort = service!.spec.ports![0]!.nodePort!;
  await untilObjects<EndpointSlice>(client, 'EndpointSlice', all => ready(all) === 2);
  for (const place of PLACES) await untilAnswered(place, ask(`http://${clusterIp}/`, 8), ['one', 'two']);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

const ready = (slices: EndpointSlice[]): number =>
  slices
    .filter(s => s.metadata.labels?.['kubernetes.io/service-name'] === 'web')
    .flatMap(s => s.endpoints)
    .filter(e => e.conditions?.ready).length;

const names = (text: string): string[] =>
  [
    ...new Set(
      text
        .trim()
        .split('\n')
        .map(line => line.split(' ')[0]!),
    ),
  ].sort();

/** Waits until all of these answer, and nobody else. */
async function untilAnswered(place: string, command: string[], wanted: string[]): Promise<void> {
  await waitUntil(`answers in ${place}`, 60_000, async because => {
    const { stdout, stderr } = await lab.exec(place, ...command);
    because(`${stdout}${stderr}`);
    return names(stdout).join() === wanted.join() ? true : undefined;
  });
}

for (const place of PLACES) {
  test.serial(`from ${place}: both backends answer, TCP and UDP, by every address`, async t => {
    for (const host of [clusterIp, `[::ffff:${clusterIp}]`])
      t.deepEqual(names(await lab.execMust(place, ...ask(`http://${host}/`, 20))), ['one', 'two'], host);
    const said = await lab.execMust(place, ...askUdp(clusterIp, 80, 20));
    t.deepEqual(names(said), ['one', 'two']);
    t.true(
      said
        .trim()
        .split('\n')
        .every(line => line.endsWith(` ${clusterIp}:80`)),
      'the answer comes from whom was asked',
    );
    for (const address of ['192.168.10.100', '192.168.10.101'])
      t.deepEqual(names(await lab.execMust(place, ...ask(`http://${address}:${nodePort}/`, 20))), [
        'one',
        'two',
      ]);
  });
}

test.serial('from outside: every node serves the node port, also without a backend of its own', async t => {
  for (const address of ['192.168.10.100', '192.168.10.101'])
    t.deepEqual(names(await lab.execMust('outside', ...ask(`http://${address}:${nodePort}/`, 20))), [
      'one',
      'two',
    ]);
});

test.serial(
  'what a pod sends out of the cluster has the address of its node, what it sends to a pod its own',
  async t => {
    const server = lab.spawn(['lab', 'exec', 'outside', '--', ...serve('out', 9000)]);
    t.teardown(() => server.kill());
    await untilAnswered('client', ask('http://192.168.10.1:9000/'), ['out']);
    t.is(await lab.execMust('client', ...ask('http://192.168.10.1:9000/')), 'out ::ffff:192.168.10.100\n');
    const pods = await lab.pods();
    const ip = (name: string): string => pods.find(pod => pod.name === name)!.ip;
    t.is(await lab.execMust('client', ...ask(`http://${ip('two')}:8080/`)), `two ::ffff:${ip('client')}\n`);
  },
);

test.serial('what cannot be balanced is told as an Event, once for all nodes', async t => {
  await client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'sctp', namespace: 'default' },
    spec: { selector: { app: 'web' }, ports: [{ protocol: 'SCTP', port: 9 }] },
  });
  const told = await untilObjects<Event>(client, 'Event', all =>
    all.some(e => e.reason === 'ServiceNotBalanced'),
  );
  t.deepEqual(
    told.filter(e => e.reason === 'ServiceNotBalanced').map(e => [e.involvedObject.name, e.message]),
    [['sctp', 'port 9: protocol SCTP is not balanced; TCP and UDP are']],
  );
});

test.serial('an agent that restarts or is away changes nothing; numbers stay', async t => {
  const list = () => lab.execMust('left', 'sh', '-c', 'ls /sys/fs/bpf/cilium/socketlb/links/cgroup | wc -l');
  t.is((await list()).trim(), '9');
  await lab.must('lab', 'node', 'kill', 'left');
  t.deepEqual(names(await lab.execMust('client', ...ask(`http://${clusterIp}/`, 20))), ['one', 'two']);
  await lab.must('lab', 'node', 'start', 'left');
  t.deepEqual(names(await lab.execMust('client', ...ask(`http://${clusterIp}/`, 20))), ['one', 'two']);
});

test.serial('a backend that goes is asked no more; without any the client learns at once', async t => {
  await lab.must('lab', 'pod', 'delete', 'two');
  await untilAnswered('client', ask(`http://${clusterIp}/`, 10), ['one']);
  await lab.must('lab', 'pod', 'delete', 'one');
  await untilAnswered('client', ask(`http://${clusterIp}/`, 2), ['EHOSTUNREACH']);
  t.pass();
});

test.serial('switched off: the programs are gone from the sockets', async t => {
  await lab.upgrade({ kubeProxyReplacement: false });
  const { stdout } = await lab.exec(
    'left',
    'sh',
    '-c',
    'ls /sys/fs/bpf/cilium/socketlb/links/cgroup | wc -l',
  );
  t.is(stdout.trim(), '0');
});
