import test from 'ava';
import type { CiliumLoadBalancerIPPool, Pod, Service } from '../../src/model/types.ts';
import { collect, printed } from '../e2e/lab.ts';
import { ask as askHttp } from '../e2e/serve.ts';
import { TestCluster } from './lib/cluster.ts';
import { clusterDns, DNS_ADDRESS } from './lib/dns.ts';
import { ask, nodeOf, runInPod } from './lib/pods.ts';
import { OUTSIDE_HOST } from './lib/underlay.ts';
import { server } from './lib/workloads.ts';

/** Services of a cluster without kube-proxy, whose API server has EndpointSlices of v1beta1 only. */

const VALUES = [
  'routingMode=native',
  'autoDirectNodeRoutes=true',
  'ipv4NativeRoutingCIDR=10.244.0.0/16',
  'kubeProxyReplacement=true',
  'bpf.masquerade=true',
];
const API_CLUSTER_IP = '10.96.0.1';

let cluster: TestCluster;
let pods: Pod[];
let service: Service;

test.before(async () => {
  cluster = await TestCluster.up();
  await cluster.install(VALUES);
  await cluster.nodesReady();
  await cluster.apply(server('web', { replicas: 4 }));
  pods = await cluster.pods('web', 4);
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
  t.is(spec.clusterIP, API_CLUSTER_IP);
  for (const { name, node } of cluster.members) {
    const url = `https://${spec.clusterIP}/version`;
    const from = pods.find(pod => nodeOf(pod) === name)!;
    const said = [await node.run('curl', '-sSk', url), await runInPod(cluster, from, 'curl', '-sSk', url)];
    for (const { stdout, stderr } of said) t.regex(stdout, /gitVersion|Unauthorized/, stderr);
  }
});

test.serial('Pods and nodes get answers from the DNS of the cluster, a Service of UDP', async t => {
  await cluster.apply(clusterDns(cluster.image, API_CLUSTER_IP));
  await cluster.pods('kube-dns', 2, 'kube-system');
  const name = 'kubernetes.default.svc.cluster.local';
  for (const member of cluster.members) {
    const from = pods.find(pod => nodeOf(pod) === member.name)!;
    // Who it is to ask, the kubelet has told the Pod.
    const lookUp = ['exec', from.metadata.name, '--', 'nslookup', '-type=a', name];
    await cluster.settles(`an answer in ${from.metadata.name}`, async () => {
      const { status, stdout, stderr } = await cluster.tryKubectl(lookUp);
      return status === 0 ? undefined : `${stdout}${stderr}`;
    });
    const said = await cluster.kubectl(...lookUp);
    t.regex(
      said,
      new RegExp(`Server:\\s+${DNS_ADDRESS}\\s[^]*Name:\\s+${name}\\s+Address: ${API_CLUSTER_IP}`),
    );
    const resolver = `const r = new (require('node:dns').promises.Resolver)({ timeout: 5000, tries: 4 });
      r.setServers(['${DNS_ADDRESS}']); r.resolve4('${name}').then(a => console.log(a.join()));`;
    t.is((await member.node.must(process.execPath, '-e', resolver)).trim(), API_CLUSTER_IP);
  }
});

test.serial('a rollout loses no request: who goes serves until everybody knows', async t => {
  await cluster.apply(server('rolled', { replicas: 2, leaveSlowly: true }));
  await cluster.pods('rolled', 2);
  await cluster.kubectl('expose', 'deployment', 'rolled', '--port=80', '--target-port=8080');
  const { spec } = await cluster.client.get<Service>('Service', 'rolled', 'default');
  const url = `http://${spec.clusterIP}/`;
  const [member] = cluster.members;
  await cluster.settles('a first answer', async () => {
    const { stdout, stderr } = await member!.node.run(...askHttp(url));
    return stdout.startsWith('rolled-') ? undefined : `${stdout}${stderr}`;
  });
  // One line a request, for as long as it may take; ended by us.
  const asking = member!.node.spawn(askHttp(url, 1_000_000));
  const all = collect(asking);
  await printed(asking, /rolled-/);
  await cluster.kubectl('rollout', 'restart', 'deployment', 'rolled');
  await cluster.kubectl('rollout', 'status', 'deployment', 'rolled');
  await cluster.pods('rolled', 2);
  asking.kill('SIGTERM');
  const lines = (await all).stdout.trim().split(/\n+/);
  t.deepEqual(
    lines.filter(line => !line.startsWith('rolled-')),
    [],
    `of ${lines.length} requests`,
  );
  t.true(new Set(lines).size >= 4, 'old and new ones answered');
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
