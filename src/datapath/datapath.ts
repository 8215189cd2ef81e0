import type { Journal } from '../base/journal.ts';
import type { Logger } from '../base/log.ts';
import { type Drift, Reconciler, type Target } from '../base/reconcile.ts';
import { tcxSupported } from '../kernel/libbpf/index.ts';
import type { NftChange } from '../kernel/nftables.ts';
import type { NetlinkEvent, Route, Rtnetlink } from '../kernel/rtnetlink.ts';
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
  ensureDevices,
  HOST_DEVICE,
  NET_DEVICE,
  type NodeDevices,
  OVERLAY_DEVICE,
  removeOverlay,
} from './devices.ts';
import { type ResponderSpec, responderTarget } from './l2-responder.ts';
import { LocalPods } from './local-pods.ts';
import { type MasqueradeSpec, MasqueradeTarget } from './masquerade-table.ts';
import { deviceOptions, type NodeDatapathOptions, usesTcx } from './options.ts';
import { type PinSpec, PinTarget } from './pins.ts';
import { PolicyMaps } from './policy-maps.ts';
import { type ProgramName, Programs } from './programs.ts';
import { type RouteSpec, RouteTarget } from './route-table.ts';
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
import {
  deviceAddressTarget,
  endpointTarget,
  type IpcacheSpec,
  ipcacheTarget,
  ipmasqTarget,
  type LocalEntry,
} from './tables.ts';

/** Told of every repair: `routes`, and what was found. */
export type DriftListener = (table: string, found: readonly Drift[]) => void;

/** What all tables have in common. */
type Pass = Pick<Reconciler<unknown>, 'name' | 'resync' | 'allowPrune'>;

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
  /** What the node's netfilter masquerades; nothing where it need not. */
  readonly masquerade: Reconciler<MasqueradeSpec, string>;
  /** Destinations that pods reach with their own address, for programs. */
  readonly notMasqueraded: Reconciler<true>;
  readonly #deviceAddresses: Reconciler<string>;
  readonly #masqueradeTarget = new MasqueradeTarget();
  readonly #deviceTable: Reconciler<DeviceSpec, ActualDevice>;
  readonly #sysctls: Reconciler<SysctlSpec, string>;
  readonly #pins: Reconciler<PinSpec, number>;
  readonly #sockets: Reconciler<SocketSpec, number> | undefined;
  /** Absent where services are somebody else's. */
  readonly services: ServiceTable | undefined;
  /** Addresses of Services that this node answers ARP for; absent where it announces none. */
  readonly announced: Reconciler<ResponderSpec, ResponderRecord> | undefined;
  /** What ADD and DEL go through. */
  readonly pods: LocalPods;
  readonly tcxAvailable = tcxSupported();
  readonly #policyMaps: PolicyMaps;
  readonly #attachmentTarget: AttachmentTarget;
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
    this.#log = log;
    this.#policyMaps = new PolicyMaps(programs, options.bpfRoot);
    this.#attachmentTarget = new AttachmentTarget(programs, options.bpfRoot, rtnl);
    const table = <D, A>(target: Target<D, A>): Reconciler<D, A> => new Reconciler(target, log, onDrift);
    this.endpoints = table(endpointTarget(programs));
    this.ipcache = table(ipcacheTarget(programs));
    this.routes = table(new RouteTarget(rtnl, journal));
    this.attachments = table(this.#attachmentTarget);
    this.masquerade = table(this.#masqueradeTarget);
    this.notMasqueraded = table(ipmasqTarget(programs));
    this.#deviceAddresses = table(deviceAddressTarget(programs));
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
    this.pods = new LocalPods({
      options,
      rtnl,
      programs,
      policyMaps: this.#policyMaps,
      attachmentTarget: this.#attachmentTarget,
      endpoints: this.endpoints,
      ipcache: this.ipcache,
      routes: this.routes,
      attachments: this.attachments,
      devices: this.#deviceTable,
      sysctls: this.#sysctls,
      pins: this.#pins,
    });
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
      ...(options.stackMasquerade ? { stackMasquerade: options.stackMasquerade } : {}),
      ...(options.l2Announcements ? { l2Announcements: true } : {}),
      ...(options.services ? { services: options.services } : {}),
    };
    const programs = await Programs.load(options.bpfRoot, programOptions, { log });
    const datapath = new Datapath(options, devices, programs, rtnl, journal, log, onDrift);
    await datapath.pods.learnIfindexes();
    datapath.#watchOverNode();
    await datapath.#desireNodeAttachments();
    // Before programs ask for them.
    for (const [ifindex, address] of options.flows?.deviceAddresses ?? [])
      datapath.#deviceAddresses.set(String(ifindex), address);
    await datapath.#deviceAddresses.commit();
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

  /** Whether the node's netfilter masquerades already, by the rules of an earlier run. */
  async masquerades(): Promise<boolean> {
    return (await this.#masqueradeTarget.read()).size > 0;
  }

  /** The same of a change to the node's netfilter. */
  goesAgainstRules(change: NftChange): boolean {
    return this.#masqueradeTarget.concerns(change);
  }

  policyMapPath(endpointId: number): string {
    return this.#policyMaps.path(endpointId);
  }

  /** Drops handles; everything in the kernel goes on working. */
  close(): void {
    this.services?.close();
    this.#masqueradeTarget.close();
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
      this.masquerade,
      this.notMasqueraded,
      this.#deviceAddresses,
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

  async #desireNodeAttachments(): Promise<void> {
    const tcx = usesTcx(this.options, 'node');
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
