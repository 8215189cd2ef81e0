import test from 'ava';
import type { CiliumLoadBalancerIPPool, EndpointSlice, Pod, Service } from '../../src/model/types.ts';
import { TestCluster } from './lib/cluster.ts';
import { ask, ipOf, nodeOf, runInPod } from './lib/pods.ts';
import { OUTSIDE_HOST } from './lib/underlay.ts';
import { server } from './lib/workloads.ts';

/** Services of a cluster without kube-proxy. Its API server has no EndpointSlices of its own: the test writes them. */

const VALUES = [
  'routingMode=native',
  'autoDirectNodeRoutes=true',
  'ipv4NativeRoutingCIDR=10.244.0.0/16',
  'kubeProxyReplacement=true',
  'bpf.masquerade=true',
];
const API_SERVER = '192.168.10.10';

let cluster: TestCluster;
let pods: Pod[];
let service: Service;

test.before(async () => {
  cluster = await TestCluster.up();
  await cluster.install(VALUES);
  await cluster.nodesReady();
  await slice('kubernetes', [{ addresses: [API_SERVER] }], { name: 'https', port: 6443 });
  await cluster.apply(server('web', { replicas: 4 }));
  pods = await cluster.pods('web', 4);
  const endpoints = pods.map(pod => ({
    addresses: [ipOf(pod)],
    conditions: { ready: true },
    nodeName: nodeOf(pod),
  }));
  await slice('web', endpoints, { name: 'http', port: 8080 });
  await cluster.client.create<CiliumLoadBalancerIPPool>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumLoadBalancerIPPool',
    metadata: { name: 'lb-ip-pool' },
    spec: { cidrs: [{ cidr: '10.0.250.0/24' }] },
  });
  await cluster.client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
    },
  });
  const found = await cluster.until<Service>('the Service to have its address', 'Service', services =>
    services.some(one => one.metadata.name === 'web' && one.status?.loadBalancer?.ingress?.length === 1),
  );
  service = found.find(one => one.metadata.name === 'web')!;
});

test.afterEach.always(async t => {
  if (!t.passed && cluster) t.log(await cluster.diagnosis());
});

test.after.always(() => cluster?.down());

async function slice(
  name: string,
  endpoints: EndpointSlice['endpoints'],
  port: { name: string; port: number },
): Promise<void> {
  await cluster.client.create<EndpointSlice>({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints,
    ports: [{ ...port, protocol: 'TCP' }],
  });
}

const names = (): string[] => pods.map(({ metadata }) => metadata.name).sort();

/** Who answers on a machine's requests, until each has been heard. */
async function answering(node: TestCluster['outside'], url: string): Promise<string[]> {
  const heard = new Set<string>();
  await cluster.settles(`all Pods to answer at ${url}`, async () => {
    const { status, stdout, stderr } = await node.run('curl', '-sS', '--max-time', '10', url);
    if (status !== 0) return stderr;
    heard.add(stdout.trim());
    return heard.size === pods.length ? undefined : `heard ${[...heard].join(', ')}`;
  });
  return [...heard].sort();
}

test.serial('a cluster IP answers Pods and nodes', async t => {
  const clusterIp = service.spec.clusterIP!;
  for (const { name, node } of cluster.members) {
    t.deepEqual(await answering(node, `http://${clusterIp}/`), names());
    const from = pods.find(pod => nodeOf(pod) === name)!;
    t.true(names().includes(await ask(cluster, from, clusterIp, 80)));
  }
});

test.serial('the API server answers at its cluster IP', async t => {
  const { spec } = await cluster.client.get<Service>('Service', 'kubernetes', 'default');
  for (const { name, node } of cluster.members) {
    const url = `https://${spec.clusterIP}/version`;
    const from = pods.find(pod => nodeOf(pod) === name)!;
    const said = [await node.run('curl', '-sSk', url), await runInPod(cluster, from, 'curl', '-sSk', url)];
    for (const { stdout, stderr } of said) t.regex(stdout, /gitVersion|Unauthorized/, stderr);
  }
});

test.serial(
  'from outside a node port answers on every node, and the address of the pool through any',
  async t => {
    const { nodePort } = service.spec.ports![0]!;
    const [address] = service.status!.loadBalancer!.ingress!.map(({ ip }) => ip);
    t.is(address, '10.0.250.1');
    for (const { ip } of cluster.members) {
      t.deepEqual(await answering(cluster.outside, `http://${ip}:${nodePort}/`), names());
      await cluster.outside.must('ip', 'route', 'replace', `${address}/32`, 'via', ip);
      t.deepEqual(await answering(cluster.outside, `http://${address}/`), names());
    }
    t.regex(await cluster.kubectl('get', 'svc', 'web'), /LoadBalancer +[\d.]+ +10\.0\.250\.1 +80:\d+\/TCP/);
    t.regex(await cluster.kubectl('get', 'ciliumloadbalancerippools'), /lb-ip-pool +(false )? *False +253/);
  },
);

test.serial('what Pods send out of the cluster has the address of their node', async t => {
  for (const pod of pods) {
    const { status, stdout, stderr } = await runInPod(
      cluster,
      pod,
      'ping',
      '-c',
      '2',
      '-W',
      '5',
      OUTSIDE_HOST,
    );
    t.is(status, 0, `${stderr}${stdout}`);
  }
});

test.serial('the agents say what they do', async t => {
  const agent = (await cluster.client.list<Pod>('Pod')).items.find(
    ({ metadata }) => metadata.labels?.['k8s-app'] === 'cilium',
  )!;
  const inAgent = (...command: string[]): Promise<string> =>
    cluster.kubectl(
      'exec',
      '-n',
      agent.metadata.namespace!,
      agent.metadata.name,
      '-c',
      'cilium-agent',
      '--',
      ...command,
    );
  const status = await inAgent('cilium', 'status', '--verbose');
  t.regex(status, /KubeProxyReplacement: +True +\[eth0/);
  t.regex(status, /Masquerading: +BPF +\[eth0\]/);
  t.regex(await inAgent('cilium', 'service', 'list'), /10\.0\.250\.1:80\/TCP +LoadBalancer/);
});
