import test from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths, OUTSIDE, OUTSIDE_IP } from '../../src/lab/names.ts';
import type { CiliumLoadBalancerIPPool, Pod, Service } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { type Probe, probe } from './probe.ts';
import { serve } from './serve.ts';
import { untilObjects } from './until.ts';

/** Every frontend of a service from everywhere, TCP and UDP, in the modes of the datapath: who answers, and whom he sees. */
const lab = new TestLab('ways');
let client: ClusterClient;
const [LEFT, RIGHT] = ['192.168.10.100', '192.168.10.101'];
/** Who serves each service, and where. */
const SERVICES = {
  near: { node: 'left', port: 8080 },
  far: { node: 'right', port: 8080 },
  hosted: { node: 'right', port: 8081, hostNetwork: true },
} as const;
type Name = keyof typeof SERVICES;
const NAMES = Object.keys(SERVICES) as Name[];
const HOST_PORTS = { near: 9001, far: 9002 };
const PLACES = ['client', 'near', 'far', 'left', 'right', OUTSIDE];

const native = { routingMode: 'native', autoDirectNodeRoutes: true };
const ALL_MODES = [true, false].flatMap(isNative =>
  [true, false].flatMap(endpointRoutes =>
    [true, false].flatMap(legacy =>
      [true, false].flatMap(sockets =>
        (isNative ? ['snat', 'dsr'] : ['snat']).map(mode => ({
          isNative,
          endpointRoutes,
          legacy,
          mode,
          sockets,
        })),
      ),
    ),
  ),
);
/** Each word of a mode beside each other one; all of them with FIMBRIA_TEST_FULL=1. */
const MODES = process.env['FIMBRIA_TEST_FULL']
  ? ALL_MODES
  : [
      { isNative: true, endpointRoutes: true, legacy: false, mode: 'dsr', sockets: true },
      { isNative: true, endpointRoutes: false, legacy: true, mode: 'snat', sockets: true },
      { isNative: false, endpointRoutes: true, legacy: true, mode: 'snat', sockets: true },
      { isNative: false, endpointRoutes: false, legacy: false, mode: 'snat', sockets: true },
      { isNative: true, endpointRoutes: true, legacy: false, mode: 'snat', sockets: false },
      { isNative: false, endpointRoutes: false, legacy: true, mode: 'snat', sockets: false },
    ];

interface Way extends Probe {
  service: Name;
  /** For people: `near by ClusterIP`. */
  title: string;
  /** The node that serves it to clients outside. */
  entry?: string;
}

let ways: Way[];
const podIps: Record<string, string> = {};

async function createPod(name: string, node: string, spec: Partial<Pod['spec']>): Promise<void> {
  await client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: { nodeName: node, containers: [{ name: 'main', image: 'none' }], ...spec },
  });
}

test.before(async () => {
  await lab.up('left,right', 'kubeProxyReplacement=true', 'bpf.masquerade=true');
  client = createClient(labPaths(lab.name).localKubeconfig);
  await client.create<CiliumLoadBalancerIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumLoadBalancerIPPool',
    metadata: { name: 'pool' },
    spec: { blocks: [{ cidr: '10.0.250.0/24' }] },
  });
  await createPod('client', 'left', {});
  for (const name of NAMES) {
    const { node, port, ...more } = SERVICES[name];
    const hostPort = HOST_PORTS[name as keyof typeof HOST_PORTS];
    const ports = (['TCP', 'UDP'] as const).map(protocol => ({ containerPort: port, hostPort, protocol }));
    await createPod(name, node, {
      ...more,
      containers: [
        {
          name: 'main',
          image: 'none',
          command: serve(name, port, name === 'hosted' ? RIGHT : undefined),
          ...(hostPort ? { ports } : {}),
        },
      ],
    });
    await client.create<Service>({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        selector: { app: name },
        externalIPs: [`10.0.251.${NAMES.indexOf(name) + 1}`],
        ports: (['TCP', 'UDP'] as const).map(protocol => ({
          name: protocol.toLowerCase(),
          protocol,
          port: 80,
          targetPort: port,
        })),
      },
    });
  }
  const services = (
    await untilObjects<Service>(
      client,
      'Service',
      all =>
        all.filter(
          ({ spec, status }) =>
            status?.loadBalancer?.ingress?.[0]?.ip &&
            spec.clusterIP &&
            spec.ports!.every(port => port.nodePort),
        ).length === NAMES.length,
    )
  ).filter(({ metadata }) => NAMES.includes(metadata.name as Name));
  const pods = await untilObjects<Pod>(
    client,
    'Pod',
    all => all.filter(pod => pod.status?.podIP && pod.status.phase === 'Running').length === 4,
  );
  for (const { metadata, status } of pods) podIps[metadata.name] = status!.podIP!;
  ways = services.flatMap(service => waysTo(service));
  await lab.execMust(OUTSIDE, 'ip', 'route', 'add', '10.0.250.0/24', 'via', LEFT!);
  await lab.execMust(OUTSIDE, 'ip', 'route', 'add', '10.0.251.0/24', 'via', RIGHT!);
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

function waysTo({ metadata, spec, status }: Service): Way[] {
  const service = metadata.name as Name;
  return (['tcp', 'udp'] as const).flatMap(proto => {
    const nodePort = spec.ports!.find(port => port.name === proto)!.nodePort!;
    const way = (by: string, address: string, port: number, entry?: string): Way => ({
      service,
      proto,
      address,
      port,
      title: `${service} by ${by}, ${proto}`,
      ...(entry ? { entry } : {}),
    });
    const hostPort = HOST_PORTS[service as keyof typeof HOST_PORTS];
    const [own, node] = service === 'near' ? [LEFT!, 'left'] : [RIGHT!, 'right'];
    return [
      way('ClusterIP', spec.clusterIP!, 80),
      way("the left node's port", LEFT!, nodePort, 'left'),
      way("the right node's port", RIGHT!, nodePort, 'right'),
      way('its load-balancer address', status!.loadBalancer!.ingress![0]!.ip!, 80, 'left'),
      way('its external address', spec.externalIPs![0]!, 80, 'right'),
      ...(hostPort ? [way('its host port', own, hostPort, node)] : []),
    ];
  });
}

/** From pods and nodes also through connected datagram sockets, and from IPv6 sockets by the mapped address. */
function probesFrom(place: string): Way[] {
  if (place === OUTSIDE) return ways.filter(way => way.entry);
  return ways.flatMap(way => [
    way,
    ...(way.proto === 'udp' && way.port === 80
      ? [
          { ...way, title: `${way.title}, connected`, connected: true },
          { ...way, title: `${way.title}, mapped`, address: `::ffff:${way.address}` },
          {
            ...way,
            title: `${way.title}, mapped, connected`,
            address: `::ffff:${way.address}`,
            connected: true,
          },
        ]
      : []),
  ]);
}

/** Whom the backend must see as its client; undefined where that is the routes' choice. */
function seenAs(
  place: string,
  way: Way,
  { isNative, mode, sockets }: (typeof MODES)[number],
  routers: Record<string, string>,
) {
  const { node } = SERVICES[way.service];
  if (place === OUTSIDE) {
    if (way.entry === node || mode === 'dsr') return OUTSIDE_IP;
    if (way.service === 'hosted') return way.entry === 'left' ? LEFT : RIGHT;
    return isNative ? (way.entry === 'left' ? LEFT : RIGHT) : routers[way.entry!];
  }
  // A host port is its own node's alone: another node meets it on the wire.
  if (way.title.includes('host port')) return undefined;
  if (place === 'left' || place === 'right' || way.service === 'hosted') return undefined;
  // A pod must not see itself as a client: it would answer past the datapath.
  if (!sockets && place === way.service) return '169.254.42.1';
  return podIps[place];
}

for (const mode of MODES) {
  const { isNative, endpointRoutes, legacy, sockets } = mode;
  const title = `${isNative ? 'native' : 'vxlan'}, endpoint routes ${endpointRoutes ? 'on' : 'off'}, Host: ${legacy ? 'Legacy' : 'BPF'}, ${mode.mode}${sockets ? '' : ', pods packet by packet'}`;
  test.serial(title, async t => {
    await lab.upgrade({
      kubeProxyReplacement: true,
      'bpf.masquerade': true,
      ...(isNative ? native : {}),
      'endpointRoutes.enabled': endpointRoutes,
      'bpf.hostLegacyRouting': legacy,
      'loadBalancer.mode': mode.mode,
      'socketLB.hostNamespaceOnly': !sockets,
    });
    const routers: Record<string, string> = {};
    for (const node of ['left', 'right'])
      routers[node] = /inet ([\d.]+)/.exec(
        await lab.execMust(node, 'ip', 'addr', 'show', 'cilium_host'),
      )![1]!;
    for (const place of PLACES) {
      const probes = probesFrom(place);
      await waitUntil(`answers in ${place}`, 60_000, async because => {
        const answers = await probe(lab, place, probes);
        const wrong = probes.flatMap((way, i) => {
          const seen = seenAs(place, way, mode, routers);
          const from = way.proto === 'udp' ? ` from ${way.address.replace('::ffff:', '')}:${way.port}` : '';
          const [name, seer, ...rest] = answers[i]!.split(' ');
          const is = `${name} ${seen ? seer : ''}${rest.map(word => ` ${word}`).join('')}`;
          const want = `${way.service} ${seen ?? ''}${from}`;
          return is === want ? [] : [`${way.title} (${way.address}:${way.port}): ${answers[i]}, not ${want}`];
        });
        because(wrong.join('\n'));
        return wrong.length === 0 || undefined;
      });
    }
    t.pass();
  });
}
