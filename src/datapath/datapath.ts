import type { Journal } from '../base/journal.ts';
import type { Logger } from '../base/log.ts';
import { type Drift, Reconciler } from '../base/reconcile.ts';
import { tcxSupported } from '../kernel/libbpf/index.ts';
import type { Link, Route, Rtnetlink } from '../kernel/rtnetlink.ts';
import type { EndpointEntry, IpcacheRecord } from '../maps/tables.ts';
import {
  type ActualAttachment,
  type Attachment,
  AttachmentTarget,
  attachmentKey,
  type Direction,
} from './attachments.ts';
import {
  type DeviceOptions,
  deviceSysctls,
  ensureDevices,
  HOST_DEVICE,
  NET_DEVICE,
  type NodeDevices,
  nodeSysctls,
  OVERLAY_DEVICE,
} from './devices.ts';
import { createPodLink, type PodLink, refreshPodRoutes } from './pod-link.ts';
import { PolicyMaps } from './policy-maps.ts';
import { type ProgramName, Programs } from './programs.ts';
import { type RouteSpec, RouteTarget } from './route-table.ts';
import { endpointTarget, type IpcacheSpec, ipcacheTarget, type LocalEntry } from './tables.ts';

/** Everything that decides what the node's datapath looks like. Bytes for MTUs. */
export interface NodeDatapathOptions {
  bpfRoot: string;
  routerIpv4: string;
  nodeIpv4: string;
  /** Devices that carry the node's traffic; the first has the node's address. */
  networkDevices: readonly Link[];
  tunnelPort?: number;
  endpointRoutes: boolean;
  hostRouting: boolean;
  deviceMtu: number;
  routeMtu: number;
  tcx: 'always' | 'devices' | 'never';
}

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

/**
 * The kernel's side of one node: devices, programs, and one reconciler per table. The agent's only way to change
 * any of it, so every map, route and attachment has one writer.
 */
export class Datapath {
  readonly options: NodeDatapathOptions;
  readonly devices: NodeDevices;
  readonly programs: Programs;
  readonly endpoints: Reconciler<LocalEntry, EndpointEntry>;
  readonly ipcache: Reconciler<IpcacheSpec, IpcacheRecord>;
  readonly routes: Reconciler<RouteSpec, Route>;
  readonly attachments: Reconciler<Attachment, ActualAttachment>;
  readonly tcxAvailable: boolean;
  readonly #rtnl: Rtnetlink;
  readonly #policyMaps: PolicyMaps;
  readonly #attachmentTarget: AttachmentTarget;
  readonly #admitted = new Map<string, LocalEndpoint>();
  readonly #log: Logger;

  private constructor(
    options: NodeDatapathOptions,
    devices: NodeDevices,
    programs: Programs,
    rtnl: Rtnetlink,
    journal: Journal,
    log: Logger,
  ) {
    this.options = options;
    this.devices = devices;
    this.programs = programs;
    this.tcxAvailable = tcxSupported();
    this.#rtnl = rtnl;
    this.#log = log;
    this.#policyMaps = new PolicyMaps(programs, options.bpfRoot);
    this.#attachmentTarget = new AttachmentTarget(programs, options.bpfRoot, rtnl);
    this.endpoints = new Reconciler(endpointTarget(programs), log);
    this.ipcache = new Reconciler(ipcacheTarget(programs), log);
    this.routes = new Reconciler(new RouteTarget(rtnl, journal), log);
    this.attachments = new Reconciler(this.#attachmentTarget, log);
  }

  /**
   * Devices, programs and their attachment at the node's own devices. What runs already keeps running until its
   * replacement was accepted by the verifier.
   * @throws FimbriaError of the step that failed; what was there before still works
   */
  static async start(
    rtnl: Rtnetlink,
    options: NodeDatapathOptions,
    journal: Journal,
    log: Logger,
  ): Promise<Datapath> {
    await nodeSysctls();
    const deviceOptions: DeviceOptions = {
      routerIpv4: options.routerIpv4,
      mtu: options.deviceMtu,
      ...(options.tunnelPort === undefined ? {} : { tunnelPort: options.tunnelPort }),
    };
    const devices = await ensureDevices(rtnl, deviceOptions, log);
    const programs = await Programs.load(options.bpfRoot, {
      tunnel: options.tunnelPort !== undefined,
      endpointRoutes: options.endpointRoutes,
      hostRouting: options.hostRouting,
      overlayIfindex: devices.overlay?.ifindex ?? 0,
      tunnelMtu: options.routeMtu,
    });
    const datapath = new Datapath(options, devices, programs, rtnl, journal, log);
    await datapath.#desireNodeAttachments();
    await datapath.attachments.commit();
    for (const address of [options.nodeIpv4, options.routerIpv4]) {
      datapath.endpoints.set(address, { host: true });
    }
    await datapath.endpoints.commit();
    return datapath;
  }

  /** Addresses of local pods, health included, with what the datapath knows of them. */
  get admitted(): ReadonlyMap<string, LocalEndpoint> {
    return this.#admitted;
  }

  createLink(o: { hostName: string; netns: string; ifname: string; ipv4: string }): Promise<PodLink> {
    const { routerIpv4, deviceMtu, routeMtu } = this.options;
    return createPodLink(this.#rtnl, { ...o, routerIpv4, deviceMtu, routeMtu });
  }

  /** Brings the routes inside a pod in line with this run's router address and MTU; the pod may be gone. */
  async refreshPodRoutes(netns: string, ifname: string): Promise<void> {
    await refreshPodRoutes(netns, ifname, this.options);
  }

  async deleteLink(hostName: string): Promise<void> {
    await this.#rtnl.deleteLink(hostName);
  }

  async attach(endpoint: LocalEndpoint): Promise<void> {
    this.#policyMaps.ensure(endpoint.id);
    this.#desire(endpoint.hostIfname, endpoint.ifindex, 'ingress', 'cil_from_container', this.#useTcx(true));
    if (this.options.endpointRoutes) {
      this.#desire(endpoint.hostIfname, endpoint.ifindex, 'egress', 'cil_to_container', this.#useTcx(true));
    } else {
      // An earlier run with endpoint routes may have left it.
      await this.#attachmentTarget.clear({
        device: endpoint.hostIfname,
        ifindex: endpoint.ifindex,
        direction: 'egress',
        program: 'cil_to_container',
        tcx: false,
      });
    }
    await this.attachments.commit();
  }

  async detach(endpoint: LocalEndpoint): Promise<void> {
    for (const direction of ['ingress', 'egress'] as const) {
      this.attachments.remove(attachmentKey(endpoint.hostIfname, direction));
    }
    await this.attachments.commit();
    this.#policyMaps.remove(endpoint.id);
  }

  async admit(endpoint: LocalEndpoint): Promise<void> {
    this.#admitted.set(endpoint.ipv4, endpoint);
    const { id, ifindex, identity, mac, hostMac } = endpoint;
    this.endpoints.set(endpoint.ipv4, { host: false, id, ifindex, identity, mac, hostMac });
    this.ipcache.set(`${endpoint.ipv4}/32`, { identity });
    if (this.options.endpointRoutes) {
      this.routes.set(`${endpoint.ipv4}/32`, { dst: `${endpoint.ipv4}/32`, ifindex, scope: 'link' });
    }
    await this.endpoints.commit();
    await this.ipcache.commit();
    await this.routes.commit();
  }

  async expel(endpoint: LocalEndpoint): Promise<void> {
    // The address may be somebody else's by now: only the entry that is this endpoint's goes.
    if (this.#admitted.get(endpoint.ipv4)?.id !== endpoint.id) return;
    this.#admitted.delete(endpoint.ipv4);
    this.routes.remove(`${endpoint.ipv4}/32`);
    this.endpoints.remove(endpoint.ipv4);
    this.ipcache.remove(`${endpoint.ipv4}/32`);
    await this.routes.commit();
    await this.endpoints.commit();
    await this.ipcache.commit();
  }

  /** Gives an admitted pod another identity, since its labels changed. */
  async relabel(ipv4: string, identity: number): Promise<void> {
    const endpoint = this.#admitted.get(ipv4);
    if (endpoint) await this.admit({ ...endpoint, identity });
  }

  /** Pins and maps of endpoints and devices that are no more; after restore. */
  sweep(endpointIds: ReadonlySet<number>): void {
    this.#policyMaps.sweep(endpointIds);
    this.#attachmentTarget.sweep(
      new Set([...this.attachments.desired.values()].filter(a => a.tcx).map(a => a.device)),
    );
  }

  /** Compares all tables with the kernel and repairs them. @throws the first failure after all were tried */
  async resync(): Promise<Drift[]> {
    const results = await Promise.allSettled(this.#tables().map(table => table.resync()));
    const failed = results.find(r => r.status === 'rejected');
    if (failed) throw failed.reason;
    return results.flatMap(r => (r.status === 'fulfilled' ? r.value : []));
  }

  drift(): { table: string; repaired: number; recent: readonly Drift[] }[] {
    return this.#tables().map(t => ({ table: t.name, ...t.drift }));
  }

  policyMapPath(endpointId: number): string {
    return this.#policyMaps.path(endpointId);
  }

  /** Drops handles; everything in the kernel goes on working. */
  close(): void {
    this.programs.close();
  }

  #tables(): Reconciler<never, never>[] {
    return [this.endpoints, this.ipcache, this.routes, this.attachments] as unknown as Reconciler<
      never,
      never
    >[];
  }

  #useTcx(pod: boolean): boolean {
    if (!this.tcxAvailable || this.options.tcx === 'never') return false;
    return pod ? this.options.tcx === 'always' : true;
  }

  async #desireNodeAttachments(): Promise<void> {
    const tcx = this.#useTcx(false);
    const { host, net, overlay } = this.devices;
    this.#desire(HOST_DEVICE, host.ifindex, 'egress', 'cil_from_host', tcx);
    this.#desire(HOST_DEVICE, host.ifindex, 'ingress', 'cil_to_host', tcx);
    this.#desire(NET_DEVICE, net.ifindex, 'ingress', 'cil_to_host', tcx);
    if (overlay) {
      this.#desire(OVERLAY_DEVICE, overlay.ifindex, 'ingress', 'cil_from_overlay', tcx);
      this.#desire(OVERLAY_DEVICE, overlay.ifindex, 'egress', 'cil_to_overlay', tcx);
    }
    for (const device of this.options.networkDevices) {
      await deviceSysctls(device.name);
      this.#desire(device.name, device.ifindex, 'ingress', 'cil_from_netdev', tcx);
    }
    this.#log.debug('attaching to node devices', { tcx });
  }

  #desire(device: string, ifindex: number, direction: Direction, program: ProgramName, tcx: boolean): void {
    this.attachments.set(attachmentKey(device, direction), { device, ifindex, direction, program, tcx });
  }
}
