import { Gather } from '../base/gather.ts';
import type { Reconciler } from '../base/reconcile.ts';
import type { Rtnetlink } from '../kernel/rtnetlink.ts';
import { type Attachment, type AttachmentTarget, attachmentKey, type Direction } from './attachments.ts';
import type { DeviceSpec } from './device-table.ts';
import { type NodeDatapathOptions, usesTcx } from './options.ts';
import type { PinSpec } from './pins.ts';
import { createPodLink, Ifindexes, type PodLink, type PodLinkOptions, refreshPodRoutes } from './pod-link.ts';
import { type PolicyMaps, policyMapName } from './policy-maps.ts';
import type { ProgramName, Programs } from './programs.ts';
import { endpointRoute, type RouteSpec } from './route-table.ts';
import { deviceSysctls, type SysctlSpec } from './sysctls.ts';
import type { IpcacheSpec, LocalEntry } from './tables.ts';

/**
 * Deleting devices holds the kernel's lock for some 40 ms, however many they are: the routes of pods that go at the same
 * time are deleted in the pauses. `most` bounds what one deletion adds to that.
 */
const LEAVING = { lingerMs: 100, most: 64 } as const;

/** What the datapath must know of a local pod. */
export interface LocalEndpoint {
  id: number;
  ipv4: string;
  ifindex: number;
  hostIfname: string;
  mac: string;
  hostMac: string;
  identity: number;
}

/** A table as far as pods are written into it. */
type Wishes<D> = Pick<Reconciler<D>, 'set' | 'note' | 'remove' | 'commit'>;

/** What pods are written into; the node's tables. */
export interface PodTables {
  options: NodeDatapathOptions;
  rtnl: Rtnetlink;
  programs: Programs;
  policyMaps: PolicyMaps;
  attachmentTarget: AttachmentTarget;
  endpoints: Wishes<LocalEntry>;
  ipcache: Wishes<IpcacheSpec>;
  routes: Wishes<RouteSpec>;
  attachments: Wishes<Attachment>;
  devices: Wishes<DeviceSpec>;
  sysctls: Wishes<SysctlSpec>;
  pins: Wishes<PinSpec>;
}

/**
 * The pods of this node in the datapath, health endpoint included: their devices, programs and entries. Every method
 * is idempotent; of one pod one at a time.
 */
export class LocalPods {
  readonly #parts: PodTables;
  readonly #admitted = new Map<string, LocalEndpoint>();
  readonly #ifindexes = new Ifindexes();
  /** Devices that are to be deleted. */
  readonly #leaving: Gather<string>;
  /** Devices that were made with their filters and that nobody has attached to yet: their numbers by name. */
  readonly #born = new Map<string, number>();

  constructor(parts: PodTables) {
    this.#parts = parts;
    this.#leaving = new Gather(names => parts.rtnl.deleteLinks(names), LEAVING);
  }

  /** Numbers of new devices lie above those of all that the node has. */
  async learnIfindexes(): Promise<void> {
    this.#ifindexes.above(await this.#parts.rtnl.links());
  }

  /** Addresses of local pods, health included, with what the datapath knows of them. */
  get admitted(): ReadonlyMap<string, LocalEndpoint> {
    return this.#admitted;
  }

  async createLink(
    o: Pick<PodLinkOptions, 'hostName' | 'netns' | 'ifname' | 'ipv4' | 'macs'>,
  ): Promise<PodLink> {
    const { routerIpv4, deviceMtu, routeMtu } = this.#parts.options;
    const filters = usesTcx(this.#parts.options, 'pods') ? [] : this.#podPrograms();
    const link = await createPodLink(
      this.#parts.rtnl,
      this.#ifindexes,
      { ...o, routerIpv4, deviceMtu, routeMtu },
      filters.map(({ direction, program }) => {
        const { fd, id, name } = this.#parts.programs.get(program);
        return { direction, programFd: fd, name: `${name}:[${id}]` };
      }),
    );
    if (filters.length > 0) this.#born.set(o.hostName, link.ifindex);
    return link;
  }

  /** Brings the routes inside a pod in line with this run's router address and MTU; the pod may be gone. */
  async refreshPodRoutes(netns: string, ifname: string): Promise<void> {
    await refreshPodRoutes(netns, ifname, this.#parts.options);
  }

  async deleteLink(hostName: string): Promise<void> {
    this.#born.delete(hostName);
    await this.#parts.rtnl.deleteLink(hostName);
  }

  async deleteLinkSoon(hostName: string): Promise<void> {
    await this.#leaving.add(hostName);
  }

  async attach(endpoint: LocalEndpoint): Promise<void> {
    this.#parts.policyMaps.ensure(endpoint.id);
    this.#parts.pins.note(policyMapName(endpoint.id), { endpointId: endpoint.id });
    const { ifindex, hostIfname } = endpoint;
    this.#parts.devices.note(hostIfname, { owner: 'pod', ifindex, mtu: this.#parts.options.deviceMtu });
    for (const [name, spec] of deviceSysctls(hostIfname)) this.#parts.sysctls.note(name, spec);
    const born = this.#born.get(hostIfname) === ifindex;
    this.#born.delete(hostIfname);
    for (const { direction, program } of this.#podPrograms()) {
      const attachment = {
        device: hostIfname,
        ifindex,
        direction,
        program,
        tcx: usesTcx(this.#parts.options, 'pods'),
      };
      const key = attachmentKey(hostIfname, direction);
      if (born) {
        this.#parts.attachmentTarget.adopt(key, attachment);
        this.#parts.attachments.note(key, attachment);
      } else this.#parts.attachments.set(key, attachment);
    }
    if (born) return;
    if (!this.#parts.options.endpointRoutes) {
      // An earlier run with endpoint routes may have left it.
      await this.#parts.attachmentTarget.clear({
        device: endpoint.hostIfname,
        ifindex: endpoint.ifindex,
        direction: 'egress',
        program: 'cil_to_container',
        tcx: false,
      });
    }
    await this.#parts.attachments.commit(attachmentKeys(endpoint));
  }

  async detach(endpoint: LocalEndpoint): Promise<void> {
    this.#parts.devices.remove(endpoint.hostIfname);
    for (const name of deviceSysctls(endpoint.hostIfname).keys()) this.#parts.sysctls.remove(name);
    const keys = attachmentKeys(endpoint);
    for (const key of keys) {
      this.#parts.attachments.remove(key);
      this.#parts.attachmentTarget.forget(key);
    }
    await this.#parts.attachments.commit(keys);
    this.#parts.pins.remove(policyMapName(endpoint.id));
    this.#parts.policyMaps.remove(endpoint.id);
  }

  async admit(endpoint: LocalEndpoint): Promise<void> {
    this.#admitted.set(endpoint.ipv4, endpoint);
    const { id, ifindex, identity, mac, hostMac } = endpoint;
    this.#parts.endpoints.set(endpoint.ipv4, { host: false, id, ifindex, identity, mac, hostMac });
    this.#parts.ipcache.set(`${endpoint.ipv4}/32`, { identity });
    if (this.#parts.options.endpointRoutes) {
      this.#parts.routes.set(`${endpoint.ipv4}/32`, endpointRoute(endpoint.ipv4, ifindex));
    }
    // Only this pod's: a full map that refuses the cluster's entries must not refuse a change that needs no room.
    await this.#parts.endpoints.commit([endpoint.ipv4]);
    await this.#parts.ipcache.commit([`${endpoint.ipv4}/32`]);
    await this.#parts.routes.commit([`${endpoint.ipv4}/32`]);
  }

  async expel(endpoint: LocalEndpoint): Promise<void> {
    // The address may be somebody else's by now: only the entry that is this endpoint's goes.
    if (this.#admitted.get(endpoint.ipv4)?.id !== endpoint.id) return;
    this.#admitted.delete(endpoint.ipv4);
    this.#parts.routes.remove(`${endpoint.ipv4}/32`);
    this.#parts.endpoints.remove(endpoint.ipv4);
    this.#parts.ipcache.remove(`${endpoint.ipv4}/32`);
    await this.#parts.routes.commit([`${endpoint.ipv4}/32`]);
    await this.#parts.endpoints.commit([endpoint.ipv4]);
    await this.#parts.ipcache.commit([`${endpoint.ipv4}/32`]);
  }

  /** Gives an admitted pod another identity, since its labels changed. */
  async relabel(ipv4: string, identity: number): Promise<void> {
    const endpoint = this.#admitted.get(ipv4);
    if (endpoint) await this.admit({ ...endpoint, identity });
  }

  #podPrograms(): { direction: Direction; program: ProgramName }[] {
    return [
      { direction: 'ingress', program: 'cil_from_container' },
      ...(this.#parts.options.endpointRoutes
        ? [{ direction: 'egress', program: 'cil_to_container' } as const]
        : []),
    ];
  }
}

function attachmentKeys(endpoint: LocalEndpoint): string[] {
  return [attachmentKey(endpoint.hostIfname, 'ingress'), attachmentKey(endpoint.hostIfname, 'egress')];
}
