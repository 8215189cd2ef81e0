import test, { type ExecutionContext } from 'ava';
import { L2Announcer } from '../../../src/agent/l2/announcer.ts';
import { ControllerSet } from '../../../src/base/controller.ts';
import { silent } from '../../../src/base/log.ts';
import { Reconciler } from '../../../src/base/reconcile.ts';
import type { ResponderSpec } from '../../../src/datapath/l2-responder.ts';
import { createHeldNetns } from '../../../src/kernel/netns.ts';
import { Rtnetlink } from '../../../src/kernel/rtnetlink.ts';
import type { CiliumL2AnnouncementPolicy, EndpointSlice, Lease, Service } from '../../../src/model/types.ts';
import { Cluster } from '../../operator/server.ts';

/** What ends a lease that nobody renews takes long enough that no loaded machine gets there by itself. */
const TIMINGS = { leaseMs: 60_000, deadlineMs: 40_000, renewMs: 20_000 };
const ADDRESS = '10.0.250.1';
const LEASE = 'cilium-l2announce-default-web';

/** A node with an announcer, a device with a carrier in a namespace of its own, and a map that is only memory. */
class AnnouncingNode {
  readonly map = new Map<string, ResponderSpec>();
  readonly #changed = new Set<() => void>();
  readonly rtnl: Rtnetlink;

  private constructor(rtnl: Rtnetlink) {
    this.rtnl = rtnl;
  }

  static async start(t: ExecutionContext, cluster: Cluster, name: string): Promise<AnnouncingNode> {
    const netns = await createHeldNetns();
    const rtnl = Rtnetlink.open({ netns: netns.path });
    await rtnl.createVeth({ name: 'eth0', peer: { name: 'wire' } });
    await rtnl.setLink('wire', { up: true });
    await rtnl.setLink('eth0', { up: true });
    const node = new AnnouncingNode(rtnl);
    const client = cluster.newClient();
    const table = new Reconciler<ResponderSpec, ResponderSpec>(
      {
        name: 'announced addresses',
        read: async () => new Map(node.map),
        same: (a, b) => a.mac === b.mac && a.validUntilNs === b.validUntilNs,
        update: async (key, spec) => node.#change(() => node.map.set(key, spec)),
        delete: async key => node.#change(() => node.map.delete(key)),
      },
      silent,
    );
    table.allowPrune();
    const controllers = new ControllerSet(silent);
    const announcer = new L2Announcer({
      client,
      nodeName: name,
      k8sNamespace: 'kube-system',
      timings: TIMINGS,
      services: client.informer<Service>('Service'),
      slices: client.informer<EndpointSlice>('EndpointSlice'),
      networkDevices: [(await rtnl.link('eth0'))!],
      netns: netns.path,
      rtnl,
      table,
      controllers,
      log: silent,
    });
    t.teardown(async () => {
      await announcer.close();
      controllers.stop();
      rtnl.close();
      netns.close();
    });
    return node;
  }

  #change(act: () => void): void {
    act();
    for (const look of this.#changed) look();
  }

  get answers(): boolean {
    return [...this.map.values()].some(({ ipv4 }) => ipv4 === ADDRESS);
  }

  /** Resolves when the map says whether it answers for the address. */
  async until(answers: boolean): Promise<void> {
    while (this.answers !== answers) {
      await new Promise<void>(resolve => {
        const look = (): void => {
          this.#changed.delete(look);
          resolve();
        };
        this.#changed.add(look);
      });
    }
  }
}

async function withService(t: ExecutionContext): Promise<Cluster> {
  const cluster = await Cluster.start(t);
  const service = await cluster.client.create<Service>({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  });
  const status = { loadBalancer: { ingress: [{ ip: ADDRESS }] } };
  await cluster.client.update({ ...service, status }, { subresource: 'status' });
  await cluster.client.create<CiliumL2AnnouncementPolicy>({
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumL2AnnouncementPolicy',
    metadata: { name: 'all' },
    spec: { loadBalancerIPs: true },
  });
  return cluster;
}

test('who has the lease answers, no longer than the lease lasts; without a link it gives it back and another has it at once', async t => {
  const cluster = await withService(t);
  const one = await AnnouncingNode.start(t, cluster, 'one');
  await one.until(true);
  const [entry] = one.map.values();
  const leftMs = Number((entry!.validUntilNs - process.hrtime.bigint()) / 1_000_000n);
  t.true(leftMs < TIMINGS.leaseMs - 500, 'silent before another may take it');
  const mac = (await one.rtnl.link('eth0'))!.mac;
  t.is(entry!.mac, mac);

  const two = await AnnouncingNode.start(t, cluster, 'two');
  // It has looked: from now on it would look again in 20 s only, but for the watch.
  await cluster.until<Lease>('Lease', leases => leases.some(one => one.spec?.holderIdentity === 'one'));
  t.false(two.answers);
  await one.rtnl.setLink('eth0', { up: false });
  await one.until(false);
  await two.until(true);
  t.is((await cluster.client.get<Lease>('Lease', LEASE, 'kube-system')).spec?.holderIdentity, 'two');

  await one.rtnl.setLink('eth0', { up: true });
  await cluster.client.delete('Service', 'web', { namespace: 'default' });
  await two.until(false);
  await cluster.until<Lease>('Lease', leases => leases.every(({ metadata }) => metadata.name !== LEASE));
});

test('what is in the map and stands on no lease goes', async t => {
  const cluster = await withService(t);
  const node = await AnnouncingNode.start(t, cluster, 'one');
  await node.until(true);
  await cluster.client.delete('CiliumL2AnnouncementPolicy', 'all');
  await node.until(false);
  t.is(node.map.size, 0);
});
