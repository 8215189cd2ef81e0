import { renameSync } from 'node:fs';
import test from 'ava';
import { createClient, loadKubeconfig } from '../../src/cluster/index.ts';
import { identityFor } from '../../src/identity/index.ts';
import { AGENT_RIGHTS } from '../../src/install/manifests/rbac.ts';
import { labPaths } from '../../src/lab/names.ts';
import type {
  CiliumEndpoint,
  CiliumIdentity,
  CiliumL2AnnouncementPolicy,
  CiliumNode,
  CiliumPodIPPool,
  Event,
  Lease,
  Namespace,
  Service,
} from '../../src/model/types.ts';
import { Gatekeeper } from '../install/gatekeeper.ts';
import { rightsOf } from '../install/rights.ts';
import { TestLab } from './lab.ts';
import { untilObjects } from './until.ts';

/** Watches are late here, also for a machine that takes seconds to add a Pod, so agents have to ask for what a Pod needs. */
const WATCH_DELAY_MS = 5_000;

test.serial(
  'an agent does its work with the rights that it has, and has none that it does not use',
  async t => {
    const used = new Set<string>();
    const guard = async (lab: TestLab): Promise<Gatekeeper> => {
      const socket = loadKubeconfig(labPaths(lab.name).localKubeconfig).server.replace('unix://', '');
      renameSync(socket, `${socket}.server`);
      const keeper = await Gatekeeper.start(t, socket, `${socket}.server`, {
        userAgent: 'fimbria-agent',
        rights: AGENT_RIGHTS,
        home: 'kube-system',
      });
      // From its first request on.
      await lab.must('lab', 'node', 'stop', 'w1');
      return keeper;
    };
    const note = (keeper: Gatekeeper): void => {
      t.deepEqual([...keeper.refused], []);
      for (const right of keeper.used) used.add(right);
    };

    const pools = new TestLab('rights');
    t.teardown(() => pools.down());
    await pools.up(
      'w1',
      'ipam.mode=multi-pool',
      'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs=10.1.0.0/28',
      'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=28',
    );
    const keeper = await guard(pools);
    const client = createClient(labPaths(pools.name).kubeconfig);
    t.teardown(() => client.close());
    await client.create({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNodeConfig',
      metadata: { name: 'a', namespace: 'kube-system' },
      spec: { nodeSelector: {}, defaults: { 'enable-endpoint-health-checking': 'true' } },
    } as never);
    // Somebody has deleted it: the agent makes it anew.
    await client.delete('CiliumNode', 'w1');
    await pools.must('lab', 'node', 'start', 'w1');
    keeper.watchDelayMs = WATCH_DELAY_MS;
    await pools.pod('a', 'w1');
    // The watches have brought neither this Namespace nor its Pod when the agent has to know them.
    await client.create<Namespace>({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'team' } });
    await pools.must('lab', 'pod', 'add', 'b', '-n', 'team', '--node', 'w1');
    const [one] = await untilObjects<CiliumEndpoint>(client, 'CiliumEndpoint', all => all.length === 2);
    // A number that other labels have is asked for, and the next one taken.
    const labels = one!.status!.identity!.labels!;
    await client.create<CiliumIdentity>({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumIdentity',
      metadata: { name: `${identityFor([...labels, 'k8s:tier=web'])}` },
      'security-labels': { 'k8s:somebody': 'else' },
    });
    await pools.must('lab', 'pod', 'add', 'c', '--node', 'w1', '--label', 'tier=web');
    // From another pool: a block of it is asked for.
    await client.create<CiliumPodIPPool>({
      apiVersion: 'cilium.io/v2alpha1',
      kind: 'CiliumPodIPPool',
      metadata: { name: 'mars' },
      spec: { ipv4: { cidrs: ['10.9.0.0/24'], maskSize: 28 } },
    });
    await pools.must('lab', 'pod', 'add', 'd', '--node', 'w1', '--annotation', 'ipam.cilium.io/ip-pool=mars');
    // An endpoint of this node's that is none of its own goes, when nobody else clears it away.
    await pools.must('lab', 'operator', 'stop');
    await client.create<CiliumEndpoint>({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumEndpoint',
      metadata: { name: 'nobody', namespace: 'default' },
      status: { id: 9, networking: { node: '192.168.10.100', addressing: [] } },
    });
    await keeper.passed('ciliumendpoints', 'nobody');
    // One that somebody has changed is put right.
    const changed = keeper.passed('ciliumendpoints', 'a');
    await client.patch('CiliumEndpoint', 'a', { status: { id: 4_095 } });
    await changed;
    await pools.must('lab', 'pod', 'delete', 'c');
    await untilObjects<CiliumEndpoint>(client, 'CiliumEndpoint', all =>
      all.some(({ metadata, status }) => metadata.name === 'a' && status?.id !== 4_095),
    );
    await untilObjects(client, 'CiliumEndpoint', all =>
      all.every(({ metadata }) => metadata.name !== 'nobody'),
    );
    // No such pool, more than once.
    const nowhere = ['lab', 'pod', 'add', 'e', '--node', 'w1', '--wait', '8s'];
    t.is((await pools.fimbria(...nowhere, '--annotation', 'ipam.cilium.io/ip-pool=nowhere')).status, 1);
    await untilObjects<Event>(client, 'Event', all =>
      all.some(({ reason, count = 0 }) => reason === 'UnknownIPPool' && count > 1),
    );
    note(keeper);

    const single = new TestLab('rights-one');
    t.teardown(() => single.down());
    await single.up(
      'w1',
      'ipam.operator.clusterPoolGrowFullNodes=true',
      'kubeProxyReplacement=true',
      'l2announcements.enabled=true',
    );
    const second = await guard(single);
    const other = createClient(labPaths(single.name).kubeconfig);
    t.teardown(() => other.close());
    await other.delete('CiliumNode', 'w1');
    await single.must('lab', 'node', 'start', 'w1');
    await untilObjects<CiliumNode>(
      other,
      'CiliumNode',
      ([node]) => node?.status?.ipam?.['pod-cidrs'] !== undefined,
    );
    // An address is announced and, with its Service, no more; a policy is told its fault.
    for (const [name, interfaces] of [
      ['good', []],
      ['bad', ['(']],
    ] as const)
      await other.create<CiliumL2AnnouncementPolicy>({
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumL2AnnouncementPolicy',
        metadata: { name },
        spec: { externalIPs: true, interfaces: [...interfaces] },
      });
    await other.create<Service>({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'default' },
      spec: { externalIPs: ['10.0.250.9'], ports: [{ port: 80 }] },
    });
    const isOurs = ({ metadata }: Lease): boolean => metadata.name === 'cilium-l2announce-default-web';
    await untilObjects<Lease>(other, 'Lease', all => all.some(isOurs));
    // Held, then renewed.
    const [held] = (await other.list<Lease>('Lease')).items.filter(isOurs);
    await untilObjects<Lease>(other, 'Lease', all =>
      all.some(one => isOurs(one) && one.spec?.renewTime !== held?.spec?.renewTime),
    );
    await untilObjects<CiliumL2AnnouncementPolicy>(other, 'CiliumL2AnnouncementPolicy', all =>
      all.some(({ status }) =>
        status?.conditions?.some(({ type }) => type === 'io.cilium/bad-interface-regex'),
      ),
    );
    await other.delete('Service', 'web', { namespace: 'default' });
    await untilObjects<Lease>(other, 'Lease', all => !all.some(isOurs));
    note(second);

    t.deepEqual([...used].sort(), rightsOf(AGENT_RIGHTS));
  },
);
