import test from 'ava';
import type { Lease, Service } from '../../src/model/types.ts';
import { TestCluster } from './lib/cluster.ts';
import { server } from './lib/workloads.ts';

/** The document's chapter on load-balancer addresses, command for command with kubectl, asked from a host outside. */

const VALUES = [
  'kubeProxyReplacement=true',
  'routingMode=native',
  'autoDirectNodeRoutes=true',
  'ipv4NativeRoutingCIDR=10.244.0.0/16',
  'l2announcements.enabled=true',
  'externalIPs.enabled=true',
];
const ADDRESS = '10.0.250.1';
const LEASE = 'cilium-l2announce-default-web';
const POOL = `
apiVersion: "cilium.io/v2alpha1"
kind: CiliumLoadBalancerIPPool
metadata:
  name: lb-ip-pool
spec:
  cidrs:
    - cidr: "10.0.250.0/24"
`;
const POLICY = `
apiVersion: "cilium.io/v2alpha1"
kind: CiliumL2AnnouncementPolicy
metadata:
  name: cilium-l2-announcement-policy
spec:
  externalIPs: true
  loadBalancerIPs: true
`;

let cluster: TestCluster;

test.before(async () => {
  cluster = await TestCluster.up();
  await cluster.install(VALUES);
  await cluster.nodesReady();
  for (const { name } of cluster.members)
    await cluster.apply(server(`web-${name}`, { node: name, app: 'web' }));
  await cluster.pods('web', cluster.members.length);
  await cluster.outside.must('ip', 'route', 'add', '10.0.250.0/24', 'dev', 'eth0');
});

test.afterEach.always(async t => {
  if (!t.passed && cluster) t.log(await cluster.diagnosis());
});

test.after.always(() => cluster?.down());

/** What `outside` hears of the address when it knows nothing of the segment. */
async function asked(): Promise<string | undefined> {
  await cluster.outside.run('ip', 'neigh', 'flush', 'to', ADDRESS);
  const { stdout } = await cluster.outside.run('curl', '-sS', '--max-time', '2', `http://${ADDRESS}/`);
  return stdout.startsWith('web-') ? stdout.trim() : undefined;
}

/** Milliseconds until the address answers. */
async function untilAnswered(): Promise<number> {
  const beganMs = performance.now();
  await cluster.settles(`an answer of ${ADDRESS}`, async () => ((await asked()) ? undefined : 'none'));
  return Math.round(performance.now() - beganMs);
}

const macOf = async (name: string): Promise<string> =>
  (await cluster.member(name).node.must('cat', '/sys/class/net/eth0/address')).trim();

/** Where `outside` believes the address to be: a MAC. */
const neighbour = async (): Promise<string | undefined> =>
  /lladdr (\S+)/.exec(await cluster.outside.must('ip', 'neigh', 'show', ADDRESS))?.[1];

test.serial('the pool gives the Service its first address', async t => {
  await cluster.apply(POOL);
  await cluster.kubectl('create', 'service', 'loadbalancer', 'web', '--tcp=80:8080');
  await cluster.until<Service>('the address', 'Service', services =>
    services.some(one => one.status?.loadBalancer?.ingress?.[0]?.ip === ADDRESS),
  );
  t.regex(
    await cluster.kubectl('get', 'svc', 'web'),
    /^web +LoadBalancer +10\.96\.[\d.]+ +10\.0\.250\.1 +80:3\d{4}\/TCP /m,
  );
});

test.serial('the configuration is as the document shows it', async t => {
  const { name } = cluster.members[0]!;
  const config = await cluster.agent(name, 'cilium', 'config', 'view');
  t.regex(config, /^enable-l2-announcements +true$/m);
  t.regex(config, /^enable-l2-neigh-discovery +true$/m);
});

test.serial('with a policy the address is answered for, by the node that has the lease', async t => {
  t.is(await asked(), undefined, 'nobody answers before');
  await cluster.apply(POLICY);
  t.log(`first answer ${await untilAnswered()} ms after the policy`);
  const leases = await cluster.kubectl('-n', 'kube-system', 'get', 'lease');
  const holder = new RegExp(`^${LEASE} +(w[12]) `, 'm').exec(leases)?.[1];
  t.truthy(holder, leases);
  t.is(await neighbour(), await macOf(holder!));
});

test.serial('the announcing machine is gone: another takes over', async t => {
  const lease = await cluster.client.get<Lease>('Lease', LEASE, 'kube-system');
  const first = lease.spec!.holderIdentity!;
  const beganMs = performance.now();
  await cluster.destroy(first);
  t.log(`all of ${first} is gone after ${Math.round(performance.now() - beganMs)} ms`);
  const other = cluster.members[0]!.name;
  await cluster.until<Lease>('another holder', 'Lease', leases =>
    leases.some(one => one.metadata.name === LEASE && one.spec?.holderIdentity === other),
  );
  t.log(`${other} has the lease ${Math.round(performance.now() - beganMs)} ms after ${first} was gone`);
  await untilAnswered();
  t.log(`answered ${Math.round(performance.now() - beganMs)} ms after ${first} was gone`);
  t.is(await neighbour(), await macOf(other));
  // The backend that is gone with its machine is asked no more once its node counts as lost.
  await cluster.settles('only living backends to answer', async () => {
    for (let i = 0; i < 10; i++)
      if ((await asked()) === undefined) return 'one of ten requests had no answer';
    return undefined;
  });
});
