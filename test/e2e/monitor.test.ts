import test from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import type { Service } from '../../src/model/types.ts';
import { readExposition } from '../agent/exposition.ts';
import { collect, printed, TestLab } from './lab.ts';
import { ask, askUdp, serve } from './serve.ts';
import { untilObjects } from './until.ts';

/** What `monitor` tells of packets that were translated, while they really go. */
const lab = new TestLab('monitor');
const NODE = '192.168.10.100';
const OUTSIDE = '192.168.10.1';
let client: ClusterClient;
const ip: Record<string, string> = {};
/** Cluster IP and node port of the Service before each pod. */
const served: Record<string, { clusterIp: string; nodePort: number }> = {};

test.before(async () => {
  await lab.up('left,right', 'kubeProxyReplacement=true', 'bpf.masquerade=true');
  client = createClient(labPaths(lab.name).localKubeconfig);
  for (const [name, node] of [
    ['near', 'left'],
    ['far', 'right'],
  ] as const) {
    await lab.must(
      ...['lab', 'pod', 'add', name, '--node', node, '--label', `app=${name}`, '--', ...serve(name, 8080)],
    );
    await client.create<Service>({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: {
        type: 'NodePort',
        selector: { app: name },
        ports: [
          { name: 'http', port: 80, targetPort: 8080 },
          { name: 'udp', port: 80, targetPort: 8080, protocol: 'UDP' },
        ],
      },
    });
  }
  await lab.pod('client', 'left');
  for (const pod of await lab.pods()) ip[pod.name] = pod.ip;
  const services = await untilObjects<Service>(
    client,
    'Service',
    all => all.filter(s => s.spec.ports?.[0]?.nodePort).length === 2,
  );
  for (const { metadata, spec } of services)
    served[metadata.name] = { clusterIp: spec.clusterIP!, nodePort: spec.ports?.[0]?.nodePort ?? 0 };
  for (const name of ['near', 'far'])
    await untilAnswered('outside', ask(`http://${NODE}:${served[name]!.nodePort}/`), name);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

async function untilAnswered(place: string, command: string[], name: string): Promise<void> {
  await waitUntil(`an answer of ${name}`, 60_000, async because => {
    const { stdout, stderr } = await lab.exec(place, ...command);
    because(`${stdout}${stderr}`);
    return stdout.startsWith(`${name} `) ? true : undefined;
  });
}

/** What the monitor on the left node printed from before `work` until all patterns were seen. */
async function watched(options: string[], work: () => Promise<unknown>, patterns: RegExp[]): Promise<string> {
  const monitor = lab.spawn(['lab', 'exec', 'left', '--', 'cilium', 'monitor', ...options]);
  const ended = collect(monitor);
  try {
    await printed(monitor, /Press Ctrl-C to quit/);
    const seen = patterns.map(pattern => printed(monitor, pattern));
    await work();
    await Promise.all(seen);
  } finally {
    monitor.kill('SIGINT');
  }
  return (await ended).stdout;
}

const escaped = (text: string): string => text.replaceAll('.', '\\.').replaceAll('[', '\\[');

/** A line of the monitor; `*` stands for anything. */
const line = (text: string): RegExp =>
  new RegExp(`^${escaped(text).replaceAll('*', '.*').replaceAll('(', '\\(').replaceAll(')', '\\)')}$`, 'm');

test.serial('a node port, backend here: client, service, and where in the flow; both ways', async t => {
  const { nodePort } = served.near!;
  const service = `(service ${NODE}:${nodePort})`;
  await watched(['--type', 'trace'], () => lab.execMust('outside', ...ask(`http://${NODE}:${nodePort}/`)), [
    line(
      `-> endpoint * state new ifindex eth0 orig-ip ${OUTSIDE}: ${OUTSIDE}:* -> ${ip.near}:8080 tcp SYN ${service}`,
    ),
    line(
      `-> * state reply * orig-ip ${ip.near}: ${NODE}:${nodePort} -> ${OUTSIDE}:* tcp SYN, ACK ${service}`,
    ),
    line(`-> endpoint * state established * -> ${ip.near}:8080 tcp ACK ${service}`),
  ]);
  t.pass();
});

test.serial('a node port, backend elsewhere: whose the packet was before the node sent it on', async t => {
  const { nodePort } = served.far!;
  const service = `(service ${NODE}:${nodePort})`;
  await watched(['--type', 'trace'], () => lab.execMust('outside', ...ask(`http://${NODE}:${nodePort}/`)), [
    line(`-> overlay * state new * orig-ip ${OUTSIDE}: 10.244.* -> ${ip.far}:8080 tcp SYN ${service}`),
    line(
      `-> network * state reply * orig-ip ${ip.far}: ${NODE}:${nodePort} -> ${OUTSIDE}:* tcp SYN, ACK ${service}`,
    ),
  ]);
  t.pass();
});

test.serial('masquerade: the pod behind the address of the node, and its answer', async t => {
  const ping = () => lab.execMust('client', 'ping', '-c', '1', '-W', '20', OUTSIDE);
  await watched(['--type', 'trace'], ping, [
    line(`-> network * state new ifindex eth0 orig-ip ${ip.client}: ${NODE} -> ${OUTSIDE} icmp EchoRequest`),
    line(`-> endpoint * state reply ifindex * orig-ip ${OUTSIDE}: ${OUTSIDE} -> ${ip.client} icmp EchoReply`),
  ]);
  t.pass();
});

test.serial('a socket: the service that it asks for, and the backend that it gets', async t => {
  const { clusterIp } = served.far!;
  await watched(['--type', 'trace-sock'], () => lab.execMust('client', ...askUdp(clusterIp, 80)), [
    line(`[pre-xlate-fwd] cgroup_id: * sock_cookie: *, dst [${clusterIp}]:80 udp`),
    line(`[post-xlate-fwd] cgroup_id: * sock_cookie: *, dst [${ip.far}]:8080 udp`),
    line(`[pre-xlate-rev] cgroup_id: * sock_cookie: *, dst [${ip.far}]:8080 udp`),
    line(`[post-xlate-rev] cgroup_id: * sock_cookie: *, dst [${clusterIp}]:80 udp`),
  ]);
  t.pass();
});

test.serial('a scrape is well-formed, and tells of services, flows and maps', async t => {
  await lab.execMust('outside', ...ask(`http://${NODE}:${served.far!.nodePort}/`));
  await lab.execMust('client', 'ping', '-c', '1', '-W', '20', OUTSIDE);
  const metrics = readExposition(
    await lab.execMust(
      'left',
      'curl',
      '-sS',
      '--unix-socket',
      '/run/fimbria/fimbria.sock',
      'http://agent/v1/metrics',
    ),
  );
  const samples = (name: string) => metrics.get(name)?.samples ?? [];
  const sum = (name: string, labels: Record<string, string>, part = name): number =>
    samples(name)
      .filter(s => s.name === part && Object.entries(labels).every(([k, v]) => s.labels[k] === v))
      .reduce((all, { value }) => all + value, 0);
  t.true(sum('cilium_services_events_total', { action: 'add' }) >= 2);
  const delay = 'cilium_service_implementation_delay';
  t.true(sum(delay, {}, `${delay}_count`) >= 2);
  t.true(sum('cilium_bpf_map_ops_total', { map_name: 'cilium_lb4_services_v2', outcome: 'success' }) > 0);
  t.is(sum('cilium_bpf_map_ops_total', { outcome: 'fail' }), 0);
  t.true(sum('cilium_datapath_conntrack_gc_runs_total', {}) >= 1);
  t.deepEqual(
    samples('cilium_datapath_nat_gc_entries').map(
      ({ labels }) => `${labels['direction']} ${labels['status']}`,
    ),
    ['ingress alive', 'ingress deleted', 'egress alive', 'egress deleted'],
  );
  t.true(samples('cilium_bpf_map_pressure').some(s => s.labels['map_name'] === 'cilium_snat_v4_external'));
});

test.serial('only of one endpoint; with the layers of its packets, or their bytes', async t => {
  const endpoints = await lab.json<
    { id: number; status: { 'external-identifiers': { 'pod-name': string } } }[]
  >('left', 'cilium', 'endpoint', 'list');
  const idOf = (name: string): number =>
    endpoints.find(e => e.status['external-identifiers']['pod-name'] === `default/${name}`)!.id;
  const both = async (): Promise<void> => {
    await lab.execMust('outside', ...ask(`http://${NODE}:${served.near!.nodePort}/`));
    await lab.execMust('client', 'ping', '-c', '1', '-W', '20', OUTSIDE);
  };
  const related = await watched(['--related-to', `${idOf('client')}`, '-v'], both, [
    /to-endpoint: \d+ bytes \(\d+ captured\), state reply, interface .*\n.*EchoReply\nEthernet\t.*\nIPv4\t.*\nICMP\t/,
  ]);
  t.notRegex(related, new RegExp(`-> ${escaped(ip.near!)}:8080`), "another endpoint's");
  await watched(['--to', `${idOf('near')}`, '--hex'], both, [/\n00000000 {2}([0-9a-f]{2} ){8} /]);
});
