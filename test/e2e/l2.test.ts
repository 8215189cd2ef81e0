import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type ClusterClient, createClient } from '../../src/cluster/index.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import type { Lease } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';
import { ask, serve } from './serve.ts';
import { untilObjects } from './until.ts';

/** The seed's chapter about load-balancer addresses, as a person outside the cluster sees it. */
const lab = new TestLab('l2');
let client: ClusterClient;
const ADDRESS = '10.0.250.1';
const LEASE = 'cilium-l2announce-default-web';
const NODES = ['left', 'right'];

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
const SERVICE = `
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`;

async function apply(text: string): Promise<void> {
  const file = join(tmpdir(), `fimbria-${lab.name}.yaml`);
  writeFileSync(file, text);
  await lab.must('apply', '-f', file);
}

const answers = async (times = 1): Promise<string[]> =>
  (await lab.exec('outside', ...ask(`http://${ADDRESS}/`, times))).stdout.trim().split('\n');

const holderOf = async (): Promise<string> =>
  (await client.get<Lease>('Lease', LEASE, 'kube-system')).spec?.holderIdentity ?? '';

const untilHeldBy = (wanted: (holder: string) => boolean): Promise<unknown> =>
  untilObjects<Lease>(client, 'Lease', all =>
    all.some(one => one.metadata.name === LEASE && wanted(one.spec?.holderIdentity ?? '')),
  );

/** The MAC that `outside` believes the address to be at. */
const neighbour = async (): Promise<string> =>
  (await lab.exec('outside', 'ip', 'neigh', 'show', ADDRESS)).stdout.match(/lladdr (\S+)/)?.[1] ?? '';
const macOf = async (node: string): Promise<string> =>
  (await lab.execMust(node, 'cat', '/sys/class/net/eth0/address')).trim();

/** Asks as somebody who knows nothing of the segment, until answered; milliseconds it took. */
async function untilAnswered(): Promise<number> {
  const beganMs = performance.now();
  await waitUntil('an answer outside', 60_000, async because => {
    const script = `ip neigh flush to ${ADDRESS}; curl -s -m 1 http://${ADDRESS}/`;
    const { stdout, stderr } = await lab.exec('outside', 'sh', '-c', script);
    because(`${stdout}${stderr}`);
    return stdout.startsWith('web ') ? true : undefined;
  });
  return Math.round(performance.now() - beganMs);
}

test.before(async () => {
  await lab.up(
    NODES.join(),
    'kubeProxyReplacement=true',
    'routingMode=native',
    'autoDirectNodeRoutes=true',
    'l2announcements.enabled=true',
    'externalIPs.enabled=true',
  );
  client = createClient(labPaths(lab.name).localKubeconfig);
  await lab.must(
    'lab',
    'pod',
    'add',
    'web',
    '--node',
    'left',
    '--label',
    'app=web',
    '--',
    ...serve('web', 8080),
  );
  await lab.execMust('outside', 'ip', 'route', 'add', '10.0.250.0/24', 'dev', 'eth0');
});

test.after.always(async () => {
  client?.close();
  await lab.down();
});

test.serial('the seed: config, pool, address, policy; outside asks and is answered', async t => {
  const config = await lab.execMust('left', 'cilium', 'config', 'view');
  t.regex(config, /^enable-l2-announcements +true$/m);
  t.regex(config, /^enable-l2-neigh-discovery +true$/m);
  await apply(POOL);
  await apply(SERVICE);
  await waitUntil('the address', 30_000, async () =>
    (await lab.must('get', 'svc')).includes(` ${ADDRESS} `) ? true : undefined,
  );
  const arping = await lab.exec('outside', 'sh', '-c', `curl -s -m 1 http://${ADDRESS}/`);
  t.not(arping.status, 0, 'without a policy nobody answers');
  await apply(POLICY);
  const ms = await untilAnswered();
  t.log(`first answer ${ms} ms after the policy was applied`);
  const holder = await holderOf();
  t.true(NODES.includes(holder));
  t.is(await neighbour(), await macOf(holder));
  t.true((await answers(5)).every(line => line.startsWith('web ')));
});

test.serial(
  'the link of the announcing node goes down: another takes over at once, and tells the segment',
  async t => {
    const first = await holderOf();
    const other = NODES.find(node => node !== first)!;
    await lab.execMust(first, 'ip', 'link', 'set', 'eth0', 'down');
    const beganMs = performance.now();
    await untilHeldBy(holder => holder === other);
    t.log(
      `another node has the lease ${Math.round(performance.now() - beganMs)} ms after the link went down`,
    );
    const mac = await macOf(other);
    await waitUntil('the gratuitous ARP outside', 10_000, async because => {
      const seen = await neighbour();
      because(seen);
      return seen === mac ? true : undefined;
    });
    await lab.execMust(first, 'ip', 'link', 'set', 'eth0', 'up');
    t.pass();
  },
);

test.serial(
  'the announcing agent is killed: the address falls silent, then another node answers',
  async t => {
    await untilAnswered();
    const first = await holderOf();
    await lab.must('lab', 'node', 'kill', first);
    const beganMs = performance.now();
    await untilHeldBy(holder => holder !== first && holder !== '');
    const ms = await untilAnswered();
    const total = Math.round(performance.now() - beganMs);
    t.log(
      `another node has the lease and answered ${total} ms after the kill (${ms} ms of it after the lease)`,
    );
    t.is(await neighbour(), await macOf(await holderOf()));
    await lab.must('lab', 'node', 'start', first);
    t.not(await holderOf(), first, 'who comes back takes nothing away');
  },
);

test.serial('an agent that is restarted keeps what it had', async t => {
  const holder = await holderOf();
  const before = (await client.get<Lease>('Lease', LEASE, 'kube-system')).spec?.leaseTransitions;
  await lab.must('lab', 'node', 'stop', holder);
  await lab.must('lab', 'node', 'start', holder);
  await untilAnswered();
  t.is(await holderOf(), holder);
  t.is((await client.get<Lease>('Lease', LEASE, 'kube-system')).spec?.leaseTransitions, before);
});

test.serial('the policy goes: nobody answers; with the Service the lease goes', async t => {
  await lab.must('delete', 'CiliumL2AnnouncementPolicy', 'cilium-l2-announcement-policy');
  await untilHeldBy(holder => holder === '');
  const script = `ip neigh flush to ${ADDRESS}; curl -s -m 2 http://${ADDRESS}/`;
  t.not((await lab.exec('outside', 'sh', '-c', script)).status, 0);
  await apply(POLICY);
  await untilAnswered();
  await lab.must('delete', 'svc', 'web');
  await untilObjects<Lease>(client, 'Lease', all => all.every(one => one.metadata.name !== LEASE));
  t.pass();
});
