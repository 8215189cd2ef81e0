import { Gather } from '../base/gather.ts';
import type { Journal } from '../base/journal.ts';
import type { Logger } from '../base/log.ts';
import { type Drift, Reconciler, type Target } from '../base/reconcile.ts';
import { tcxSupported } from '../kernel/libbpf/index.ts';
import type { Link, NetlinkEvent, Route, Rtnetlink } from '../kernel/rtnetlink.ts';
import type { ResponderRecord } from '../maps/l2.ts';
import type { EndpointEntry, IpcacheRecord } from '../maps/tables.ts';
import {
  type ActualAttachment,
  type Attachment,
  AttachmentTarget,
  attachmentKey,
  type Direction,
} from './attachments.ts';
import { goesAgainst } from './concern.ts';
import { type ActualDevice, type DeviceSpec, DeviceTarget } from './device-table.ts';
import {
  type DeviceOptions,
  ensureDevices,
  HOST_DEVICE,
  NET_DEVICE,
  type NodeDevices,
  OVERLAY_DEVICE,
  removeOverlay,
} from './devices.ts';
import { type ResponderSpec, responderTarget } from './l2-responder.ts';
import { type PinSpec, PinTarget } from './pins.ts';
import { createPodLink, Ifindexes, type PodLink, type PodLinkOptions, refreshPodRoutes } from './pod-link.ts';
import { PolicyMaps, policyMapName } from './policy-maps.ts';
import { type FlowOptions, type ProgramName, Programs } from './programs.ts';
import { endpointRoute, type RouteSpec, RouteTarget } from './route-table.ts';
import { ServiceTable } from './services/table.ts';
import { serviceMaps } from './services/writes.ts';
import { removeSocketLinks, SOCKET_PROGRAMS, type SocketSpec, SocketTarget } from './socket-lb.ts';
import {
  deviceSysctls,
  nodeSysctls,
  type SysctlSpec,
  SysctlTarget,
  setDeviceSysctls,
  setNodeSysctls,
} from './sysctls.ts';
import { endpointTarget, type IpcacheSpec, ipcacheTarget, type LocalEntry } from './tables.ts';

/**
 * Deleting devices holds the kernel's lock for some 40 ms, however many they are: the routes of pods that go at the same
 * time are deleted in the pauses. `most` bounds what one deletion adds to that.
 */
const LEAVING = { lingerMs: 100, most: 64 } as const;

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
  /** Services and masquerade packet by packet; absent when neither is wanted. */
  flows?: FlowOptions;
  /** ARP is answered for what `announced` says. */
  l2Announcements?: boolean;
  /** Services are balanced; at the sockets of this cgroup and below. */
  services?: { cgroup: string; frontends: number };
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

/** Told of every repair: `routes`, and what was found. */
export type DriftListener = (table: string, found: readonly Drift[]) => void;

/** What all tables have in common. */
type Pass = Pick<Reconciler<unknown>, 'name' | 'resync' | 'allowPrune'>;

function deviceOptions(options: NodeDatapathOptions): DeviceOptions {
  return {
    routerIpv4: options.routerIpv4,
    mtu: options.deviceMtu,
    ...(options.tunnelPort === undefined ? {} : { tunnelPort: options.tunnelPort }),
  };
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
  readonly #deviceTable: Reconciler<DeviceSpec, ActualDevice>;
  readonly #sysctls: Reconciler<SysctlSpec, string>;
  readonly #pins: Reconciler<PinSpec, number>;
  readonly #sockets: Reconciler<SocketSpec, number> | undefined;
  /** Absent where services are somebody else's. */
  readonly services: ServiceTable | undefined;
  /** Addresses of Services that this node answers ARP for; absent where it announces none. */
  readonly announced: Reconciler<ResponderSpec, ResponderRecord> | undefined;
  readonly tcxAvailable: boolean;
  readonly #rtnl: Rtnetlink;
  readonly #policyMaps: PolicyMaps;
  readonly #attachmentTarget: AttachmentTarget;
  readonly #admitted = new Map<string, LocalEndpoint>();
  readonly #ifindexes = new Ifindexes();
  /** Devices that are to be deleted. */
  readonly #leaving: Gather<string>;
  /** Devices that were made with their filters and that nobody has attached to yet: their numbers by name. */
  readonly #born = new Map<string, number>();
  readonly #log: Logger;

  private constructor(
    options: NodeDatapathOptions,
    devices: NodeDevices,
    programs: Programs,
    rtnl: Rtnetlink,
    journal: Journal,
    log: Logger,
    onDrift: DriftListener,
  ) {
    this.options = options;
    this.devices = devices;
    this.programs = programs;
    this.tcxAvailable = tcxSupported();
    this.#rtnl = rtnl;
    this.#leaving = new Gather(names => rtnl.deleteLinks(names), LEAVING);
    this.#log = log;
    this.#policyMaps = new PolicyMaps(programs, options.bpfRoot);
    this.#attachmentTarget = new AttachmentTarget(programs, options.bpfRoot, rtnl);
    const table = <D, A>(target: Target<D, A>): Reconciler<D, A> => new Reconciler(target, log, onDrift);
    this.endpoints = table(endpointTarget(programs));
    this.ipcache = table(ipcacheTarget(programs));
    this.routes = table(new RouteTarget(rtnl, journal));
    this.attachments = table(this.#attachmentTarget);
    this.#pins = table(new PinTarget(programs, this.#policyMaps, options.bpfRoot));
    if (options.l2Announcements) this.announced = table(responderTarget(programs));
    if (options.services) {
      this.#sockets = table(new SocketTarget(programs, options.bpfRoot, options.services.cgroup));
      this.services = new ServiceTable(serviceMaps(programs), log, onDrift);
    }
    this.#sysctls = table(new SysctlTarget(rtnl, () => this.#sysctls.desired));
    this.#deviceTable = table(
      new DeviceTarget(
        rtnl,
        () => this.#deviceTable.desired,
        () => ensureDevices(rtnl, { ...deviceOptions(options), before: devices }, log),
      ),
    );
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
    onDrift: DriftListener,
  ): Promise<Datapath> {
    await setNodeSysctls();
    const devices = await ensureDevices(rtnl, deviceOptions(options), log);
    const programOptions = {
      tunnel: options.tunnelPort !== undefined,
      endpointRoutes: options.endpointRoutes,
      hostRouting: options.hostRouting,
      overlayIfindex: devices.overlay?.ifindex ?? 0,
      nodeIpv4: options.nodeIpv4,
      directIfindex: options.networkDevices[0]!.ifindex,
      routeMtu: options.routeMtu,
      routerIpv4: options.routerIpv4,
      ...(options.flows ? { flows: options.flows } : {}),
      ...(options.l2Announcements ? { l2Announcements: true } : {}),
      ...(options.services ? { services: options.services } : {}),
    };
    const programs = await Programs.load(options.bpfRoot, programOptions, { log });
    const datapath = new Datapath(options, devices, programs, rtnl, journal, log, onDrift);
    datapath.#ifindexes.above(await rtnl.links());
    datapath.#watchOverNode();
    await datapath.#desireNodeAttachments();
    await datapath.attachments.commit();
    await datapath.#attachSockets();
    // Only now: until its programs are replaced, what runs may need it.
    if (options.tunnelPort === undefined) await removeOverlay(rtnl);
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

  async createLink(
    o: Pick<PodLinkOptions, 'hostName' | 'netns' | 'ifname' | 'ipv4' | 'macs'>,
  ): Promise<PodLink> {
    const { routerIpv4, deviceMtu, routeMtu } = this.options;
    const filters = this.#useTcx(true) ? [] : this.#podPrograms();
    const link = await createPodLink(
      this.#rtnl,
      this.#ifindexes,
      { ...o, routerIpv4, deviceMtu, routeMtu },
      filters.map(({ direction, program }) => {
        const { fd, id, name } = this.programs.get(program);
        return { direction, programFd: fd, name: `${name}:[${id}]` };
      }),
    );
    if (filters.length > 0) this.#born.set(o.hostName, link.ifindex);
    return link;
  }

  /** Brings the routes inside a pod in line with this run's router address and MTU; the pod may be gone. */
  async refreshPodRoutes(netns: string, ifname: string): Promise<void> {
    await refreshPodRoutes(netns, ifname, this.options);
  }

  async deleteLink(hostName: string): Promise<void> {
    this.#born.delete(hostName);
    await this.#rtnl.deleteLink(hostName);
  }

  async deleteLinkSoon(hostName: string): Promise<void> {
    await this.#leaving.add(hostName);
  }

  async attach(endpoint: LocalEndpoint): Promise<void> {
    this.#policyMaps.ensure(endpoint.id);
    this.#pins.note(policyMapName(endpoint.id), { endpointId: endpoint.id });
    const { ifindex, hostIfname } = endpoint;
    this.#deviceTable.note(hostIfname, { owner: 'pod', ifindex, mtu: this.options.deviceMtu });
    for (const [name, spec] of deviceSysctls(hostIfname)) this.#sysctls.note(name, spec);
    const born = this.#born.get(hostIfname) === ifindex;
    this.#born.delete(hostIfname);
    for (const { direction, program } of this.#podPrograms()) {
      const attachment = { device: hostIfname, ifindex, direction, program, tcx: this.#useTcx(true) };
      const key = attachmentKey(hostIfname, direction);
      if (born) {
        this.#attachmentTarget.adopt(key, attachment);
        this.attachments.note(key, attachment);
      } else this.attachments.set(key, attachment);
    }
    if (born) return;
    if (!this.options.endpointRoutes) {
      // An earlier run with endpoint routes may have left it.
      await this.#attachmentTarget.clear({
        device: endpoint.hostIfname,
        ifindex: endpoint.ifindex,
        direction: 'egress',
        program: 'cil_to_container',
        tcx: false,
      });
    }
    await this.attachments.commit(attachmentKeys(endpoint));
  }

  async detach(endpoint: LocalEndpoint): Promise<void> {
    this.#deviceTable.remove(endpoint.hostIfname);
    for (const name of deviceSysctls(endpoint.hostIfname).keys()) this.#sysctls.remove(name);
    const keys = attachmentKeys(endpoint);
    for (const key of keys) {
      this.attachments.remove(key);
      this.#attachmentTarget.forget(key);
    }
    await this.attachments.commit(keys);
    this.#pins.remove(policyMapName(endpoint.id));
    this.#policyMaps.remove(endpoint.id);
  }

  async admit(endpoint: LocalEndpoint): Promise<void> {
    this.#admitted.set(endpoint.ipv4, endpoint);
    const { id, ifindex, identity, mac, hostMac } = endpoint;
    this.endpoints.set(endpoint.ipv4, { host: false, id, ifindex, identity, mac, hostMac });
    this.ipcache.set(`${endpoint.ipv4}/32`, { identity });
    if (this.options.endpointRoutes) {
      this.routes.set(`${endpoint.ipv4}/32`, endpointRoute(endpoint.ipv4, ifindex));
    }
    // Only this pod's: a full map that refuses the cluster's entries must not refuse a change that needs no room.
    await this.endpoints.commit([endpoint.ipv4]);
    await this.ipcache.commit([`${endpoint.ipv4}/32`]);
    await this.routes.commit([`${endpoint.ipv4}/32`]);
  }

  async expel(endpoint: LocalEndpoint): Promise<void> {
    // The address may be somebody else's by now: only the entry that is this endpoint's goes.
    if (this.#admitted.get(endpoint.ipv4)?.id !== endpoint.id) return;
    this.#admitted.delete(endpoint.ipv4);
    this.routes.remove(`${endpoint.ipv4}/32`);
    this.endpoints.remove(endpoint.ipv4);
    this.ipcache.remove(`${endpoint.ipv4}/32`);
    await this.routes.commit([`${endpoint.ipv4}/32`]);
    await this.endpoints.commit([endpoint.ipv4]);
    await this.ipcache.commit([`${endpoint.ipv4}/32`]);
  }

  /** Gives an admitted pod another identity, since its labels changed. */
  async relabel(ipv4: string, identity: number): Promise<void> {
    const endpoint = this.#admitted.get(ipv4);
    if (endpoint) await this.admit({ ...endpoint, identity });
  }

  /**
   * Every endpoint was attached anew, so no earlier program runs: what it counted is kept, and its maps go. Before
   * anybody but the agent's start works with this.
   */
  finishUpgrade(): void {
    this.programs.finish();
  }

  /** Pins and maps of endpoints and devices that are no more; after `finishUpgrade`. */
  sweep(endpointIds: ReadonlySet<number>): void {
    this.#policyMaps.sweep(endpointIds);
    this.#attachmentTarget.sweep(
      new Set([...this.attachments.desired.values()].filter(a => a.tcx).map(a => a.device)),
    );
  }

  /** The cluster's view is whole: from now on what is ours and nobody desires is deleted, and repairs are told. */
  allowPrune(): void {
    // Services and leases are known at moments of their own.
    for (const table of [...this.#grounds(), ...this.#tables()])
      if (table !== this.services && table !== this.announced) table.allowPrune();
  }

  /**
   * Compares with the kernel and repairs: first what others stand on (pins, devices, sysctls), then the tables.
   * @param scope `notified` leaves out what the kernel never tells of and what is dear to read
   * @throws the first failure after all were tried
   */
  async resync(scope: 'all' | 'notified' = 'all'): Promise<void> {
    const failures: unknown[] = [];
    for (const table of this.#grounds()) await table.resync().catch(error => failures.push(error));
    const dear: string[] = [this.ipcache.name, ...(this.services ? [this.services.name] : [])];
    const tables = this.#tables().filter(table => scope === 'all' || !dear.includes(table.name));
    await Promise.all(tables.map(table => table.resync().catch(error => failures.push(error))));
    if (failures.length > 0) throw failures[0];
  }

  /** Whether something happened to this node that a pass would take back. */
  goesAgainst(event: NetlinkEvent): boolean {
    return goesAgainst(event, {
      devices: this.#deviceTable.desired,
      routes: this.routes.desired,
      attachments: this.attachments.desired,
      networkDevices: this.options.networkDevices.map(d => d.name),
    });
  }

  policyMapPath(endpointId: number): string {
    return this.#policyMaps.path(endpointId);
  }

  /** Drops handles; everything in the kernel goes on working. */
  close(): void {
    this.services?.close();
    this.programs.close();
  }

  #grounds(): Pass[] {
    return [this.#pins, this.#deviceTable, this.#sysctls];
  }

  #tables(): Pass[] {
    return [
      this.endpoints,
      this.ipcache,
      this.routes,
      this.attachments,
      ...(this.#sockets ? [this.#sockets] : []),
      ...(this.services ? [this.services] : []),
      ...(this.announced ? [this.announced] : []),
    ];
  }

  /** The node's own devices, pins and sysctls are as they must be: from now on they are watched over. */
  #watchOverNode(): void {
    const { host, net, overlay } = this.devices;
    const { deviceMtu: mtu, routerIpv4, networkDevices } = this.options;
    for (const { name, ifindex } of [host, net])
      this.#deviceTable.note(name, {
        owner: 'node',
        ifindex,
        mtu,
        noarp: true,
        ...(name === HOST_DEVICE ? { ipv4: routerIpv4 } : {}),
      });
    if (overlay) this.#deviceTable.note(overlay.name, { owner: 'node', ifindex: overlay.ifindex, mtu });
    for (const name of this.programs.pinnedMaps) this.#pins.note(name, { mapId: this.programs.map(name).id });
    for (const [name, spec] of nodeSysctls()) this.#sysctls.note(name, spec);
    for (const { name: device } of [host, net, ...(overlay ? [overlay] : []), ...networkDevices])
      for (const [name, spec] of deviceSysctls(device)) this.#sysctls.note(name, spec);
  }

  /** Sockets of pods and of the node itself ask for services from now on, or, without services, no longer. */
  async #attachSockets(): Promise<void> {
    if (!this.#sockets) return removeSocketLinks(this.options.bpfRoot);
    for (const [program, hook] of Object.entries(SOCKET_PROGRAMS))
      this.#sockets.set(program, { program, hook } as SocketSpec);
    await this.#sockets.commit();
  }

  #podPrograms(): { direction: Direction; program: ProgramName }[] {
    return [
      { direction: 'ingress', program: 'cil_from_container' },
      ...(this.options.endpointRoutes ? [{ direction: 'egress', program: 'cil_to_container' } as const] : []),
    ];
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
      await setDeviceSysctls(device.name);
      this.#desire(device.name, device.ifindex, 'ingress', 'cil_from_netdev', tcx);
      const egress = { device: device.name, ifindex: device.ifindex, direction: 'egress' } as const;
      if (this.options.flows?.nodePort || this.options.flows?.masquerade)
        this.#desire(device.name, device.ifindex, 'egress', 'cil_to_netdev', tcx);
      // An earlier run may have left it.
      else await this.#attachmentTarget.clearOurs({ ...egress, program: 'cil_to_netdev', tcx });
    }
    this.#log.debug('attaching to node devices', { tcx });
  }

  #desire(device: string, ifindex: number, direction: Direction, program: ProgramName, tcx: boolean): void {
    this.attachments.set(attachmentKey(device, direction), { device, ifindex, direction, program, tcx });
  }
}

function attachmentKeys(endpoint: LocalEndpoint): string[] {
  return [attachmentKey(endpoint.hostIfname, 'ingress'), attachmentKey(endpoint.hostIfname, 'egress')];
}
