import type { Controller, ControllerSet } from '../../base/controller.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Reconciler } from '../../base/reconcile.ts';
import { timestamp } from '../../base/time.ts';
import type { LeaderTimings } from '../../cluster/leader.ts';
import type { ClusterClient, Informer } from '../../cluster/types.ts';
import { type ResponderSpec, responderKey } from '../../datapath/l2-responder.ts';
import type { NetnsRef } from '../../kernel/addon.ts';
import { gratuitousArp, sendFrame } from '../../kernel/packet.ts';
import { type Link, NetlinkMonitor, type Rtnetlink } from '../../kernel/rtnetlink.ts';
import { type Announcement, announcements, policyFault } from '../../l2/announcements.ts';
import type {
  CiliumL2AnnouncementPolicy,
  Condition,
  EndpointSlice,
  Node,
  Service,
} from '../../model/types.ts';
import { LeaseHolder } from './lease-holder.ts';
import { LeaseWatch } from './lease-watch.ts';

const SPACING_MS = 50;
const INTERVAL_MS = 30_000;
/** An entry ends so long before others may have the lease: clocks do not run alike, and answers take their way. */
const MARGIN_MS = 500;
const NS_PER_MS = 1e6;
const BAD = 'io.cilium/bad-';

export interface AnnouncerDeps {
  client: ClusterClient;
  nodeName: string;
  /** Where the leases are. */
  k8sNamespace: string;
  timings: LeaderTimings;
  services: Informer<Service>;
  slices: Informer<EndpointSlice>;
  networkDevices: readonly Link[];
  /** The namespace that these are in; the process's own when absent. */
  netns?: NetnsRef;
  rtnl: Pick<Rtnetlink, 'links'>;
  table: Reconciler<ResponderSpec, unknown>;
  controllers: ControllerSet;
  log: Logger;
}

interface Candidacy {
  announcement: Announcement;
  holder: LeaseHolder;
  /** By the kernel's monotonic clock; absent until the lease was ours. */
  validUntilNs?: bigint;
}

/**
 * Announces addresses of Services: is a candidate for the lease of each that this node may announce, answers ARP for
 * those whose lease it has, and tells the segment when it takes one over. A device that goes down gives its leases back
 * at once; an agent that is gone stops being answered for when its leases run out, before another node takes over.
 */
export class L2Announcer {
  readonly #deps: AnnouncerDeps;
  readonly #policies: Informer<CiliumL2AnnouncementPolicy>;
  readonly #node: Informer<Node>;
  readonly #leases: LeaseWatch;
  readonly #sync: Controller;
  readonly #monitor: NetlinkMonitor;
  readonly #candidacies = new Map<string, Candidacy>();
  #pruneTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(deps: AnnouncerDeps) {
    this.#deps = deps;
    const { client, nodeName, controllers, k8sNamespace, netns } = deps;
    this.#leases = new LeaseWatch(client, k8sNamespace);
    this.#policies = client.informer<CiliumL2AnnouncementPolicy>('CiliumL2AnnouncementPolicy');
    this.#node = client.informer<Node>('Node', {
      fieldSelector: `metadata.name=${nodeName}`,
      metadataOnly: true,
    });
    this.#sync = controllers.add({
      name: 'sync-l2-announcements',
      spacingMs: SPACING_MS,
      intervalMs: INTERVAL_MS,
      run: () => this.#pass(),
    });
    const kick = (): void => this.#sync.kick();
    for (const informer of [this.#policies, this.#node, deps.services, deps.slices] as Informer<unknown>[])
      informer.on({ added: kick, updated: kick, deleted: kick });
    this.#monitor = new NetlinkMonitor({
      groups: ['link'],
      onEvent: kick,
      onOverrun: kick,
      ...(netns !== undefined && { netns }),
    }).unref();
  }

  /** Leases stay ours until they run out: an agent that comes back soon goes on. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#pruneTimer);
    this.#monitor.close();
    this.#policies.close();
    this.#node.close();
    this.#leases.close();
    await Promise.all([...this.#candidacies.values()].map(({ holder }) => holder.end('leave')));
  }

  async #pass(): Promise<void> {
    const { services, slices, nodeName, rtnl, networkDevices, timings, table } = this.#deps;
    await Promise.all([this.#policies, this.#node, services, slices].map(informer => informer.synced));
    if (this.#closed) return;
    const ours = new Set(networkDevices.map(({ name }) => name));
    const devices = (await rtnl.links())
      .filter(link => ours.has(link.name) && link.up && link.running && link.mac !== '')
      .map(({ name, ifindex, mac }) => ({ name, ifindex, mac }));
    const wanted = announcements({
      policies: this.#policies.list(),
      services: services.list(),
      slices: slices.list(),
      node: { name: nodeName, labels: this.#node.get(nodeName)?.metadata.labels ?? {} },
      devices,
    });
    for (const [lease, candidacy] of this.#candidacies) {
      const announcement = wanted.get(lease);
      if (candidacy.holder.ended) continue;
      if (announcement) candidacy.announcement = announcement;
      else this.#leave(lease, candidacy);
    }
    for (const [lease, announcement] of wanted)
      if (!this.#candidacies.has(lease)) this.#candidacies.set(lease, this.#stand(lease, announcement));
    await this.#write();
    // By then what an earlier run left is ours again or has run out.
    this.#pruneTimer ??= setTimeout(() => table.allowPrune(), timings.leaseMs).unref();
    await this.#tellFaults();
  }

  #stand(lease: string, announcement: Announcement): Candidacy {
    const { client, k8sNamespace, nodeName, timings, log } = this.#deps;
    const candidacy: Candidacy = {
      announcement,
      holder: new LeaseHolder({
        client,
        name: lease,
        namespace: k8sNamespace,
        identity: nodeName,
        timings,
        log: log.for(lease),
        freed: signal => this.#leases.freed(lease, signal),
        onHeld: untilMs => {
          const leftNs = BigInt(Math.round((untilMs - MARGIN_MS - performance.now()) * NS_PER_MS));
          candidacy.validUntilNs = process.hrtime.bigint() + leftNs;
          this.#write().catch(error =>
            log.warn('could not write announced addresses', { lease, error: messageOf(error) }),
          );
        },
        onGiveBack: async () => {
          delete candidacy.validUntilNs;
          await this.#write();
        },
      }),
    };
    return candidacy;
  }

  /** The lease is given back, or deleted with its Service; only then may this node stand for it again. */
  #leave(lease: string, { holder, announcement }: Candidacy): void {
    const { name, namespace } = announcement;
    const gone = this.#deps.services.get(name, namespace) === undefined;
    holder.end(gone ? 'delete' : 'give back').then(() => {
      this.#candidacies.delete(lease);
      if (!this.#closed) this.#sync.kick();
    });
  }

  /** Makes the table say what is announced now; tells the segment of what is new. */
  async #write(): Promise<void> {
    const { table, log, netns } = this.#deps;
    const nowNs = process.hrtime.bigint();
    const specs = new Map<string, ResponderSpec>();
    for (const { announcement, validUntilNs } of this.#candidacies.values()) {
      if (validUntilNs === undefined || validUntilNs <= nowNs) continue;
      for (const ipv4 of announcement.addresses)
        for (const { ifindex, mac } of announcement.devices) {
          const spec = { ipv4, ifindex, mac, validUntilNs };
          const key = responderKey(spec);
          // Services that share an address may have their leases here at once: the longer counts.
          if ((specs.get(key)?.validUntilNs ?? 0n) < validUntilNs) specs.set(key, spec);
        }
    }
    const fresh = [...specs].filter(([key, { mac }]) => table.desired.get(key)?.mac !== mac);
    table.replace(
      specs,
      () => true,
      (a, b) => a.mac === b.mac && a.validUntilNs === b.validUntilNs,
    );
    await table.commit();
    for (const [, { ipv4, ifindex, mac }] of fresh) {
      log.info('announcing', { address: ipv4, ifindex, mac });
      try {
        sendFrame(ifindex, gratuitousArp(mac, ipv4), netns);
      } catch (error) {
        log.warn('could not tell the segment of an address', { address: ipv4, error: messageOf(error) });
      }
    }
  }

  /** Every agent finds the same, so whoever writes first has written it for all. */
  async #tellFaults(): Promise<void> {
    for (const policy of this.#policies.list()) {
      const fault = policyFault(policy);
      const present = policy.status?.conditions ?? [];
      const ours = present.filter(({ type }) => type.startsWith(BAD));
      const same = ours.length === (fault ? 1 : 0) && ours.every(one => one.message === fault?.message);
      if (same) continue;
      const condition: Condition[] = fault
        ? [
            {
              ...fault,
              status: 'True',
              reason: 'error',
              lastTransitionTime: timestamp(),
            },
          ]
        : [];
      const conditions = [...present.filter(one => !ours.includes(one)), ...condition];
      const { name, resourceVersion } = policy.metadata;
      await this.#deps.client
        .patch(
          'CiliumL2AnnouncementPolicy',
          name,
          { metadata: { resourceVersion }, status: { conditions } },
          { subresource: 'status' },
        )
        .catch(error => this.#deps.log.debug('could not tell a policy its fault', { policy: name, error }));
    }
  }
}
