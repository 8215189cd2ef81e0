import { release } from 'node:os';
import { join } from 'node:path';
import { ipv4Mask, parseIpv4, parseIpv4Cidr } from '../base/addr.ts';
import type { Logger } from '../base/log.ts';
import { assetPath } from '../base/paths.ts';
import { type BpfMap, BpfObject, type BpfProgram } from '../kernel/libbpf/index.ts';
import { ownNetnsCookie } from '../kernel/netns.ts';
import type { Rodata } from '../maps/abi.gen.ts';
import type { LayoutUpgrade } from '../maps/upgrades.ts';
import { MapUpgrade } from './map-upgrade.ts';

/** One compiled object per kind of attach point (`bpf/*.c`); the first makes the maps that all share. */
const OBJECTS = ['lxc', 'host', 'netdev', 'overlay', 'sock'] as const;

/** Programs by name, as bpftool shows them. */
export type ProgramName =
  | 'cil_from_container'
  | 'cil_to_container'
  | 'cil_to_host'
  | 'cil_from_host'
  | 'cil_from_netdev'
  | 'cil_to_netdev'
  | 'cil_from_overlay'
  | 'cil_to_overlay'
  | 'cil_sock4_connect'
  | 'cil_sock4_sendmsg'
  | 'cil_sock4_recvmsg'
  | 'cil_sock4_getpeername'
  | 'cil_sock6_connect'
  | 'cil_sock6_sendmsg'
  | 'cil_sock6_recvmsg'
  | 'cil_sock6_getpeername'
  | 'cil_sock_release';

/** Node-wide options that become read-only data (`bpf/lib/config.h`), so that what is off costs nothing. */
export interface DatapathOptions {
  tunnel: boolean;
  endpointRoutes: boolean;
  /** `Host: BPF`: past the node's stack. */
  hostRouting: boolean;
  /** 0 without tunnel. */
  overlayIfindex: number;
  nodeIpv4: string;
  /** Device that carries the node's address. */
  directIfindex: number;
  /** Bytes of the largest IPv4 packet of a pod that reaches another node in one piece. */
  routeMtu: number;
  routerIpv4?: string;
  /** Services are translated at the sockets, with room for so many; the programs for that are not loaded without. */
  services?: { frontends: number };
  /** ARP for addresses of services is answered on network devices. */
  l2Announcements?: boolean;
  /**
   * The node's netfilter masquerades: host routing leaves to the stack, both ways, what it may have to do with; not
   * what `nativeRoutingCidr` holds.
   */
  stackMasquerade?: { nativeRoutingCidr?: string };
  /** What deals with services and addresses packet by packet; none of it when absent. */
  flows?: FlowOptions;
}

/** Service translation on devices, masquerade, and what they remember. */
export interface FlowOptions {
  /** From outside to NodePort, LoadBalancer and external addresses. */
  nodePort: boolean;
  /** What pods send to services; their sockets are left alone then, the node's own are not. */
  podLb: boolean;
  /** Native mode: remote backends answer clients themselves. */
  dsr: boolean;
  masquerade: boolean;
  /** Network devices by ifindex have these addresses to masquerade with; absent where there is only the node's. */
  deviceAddresses?: ReadonlyMap<number, string>;
  /** Destinations that see pods' own addresses, as `10.0.0.0/8`. */
  nativeRoutingCidr?: string;
  /** Ports that no translation takes. */
  nodePortRange: readonly [number, number];
  /** Entries. */
  sizes: { ctTcp: number; ctAny: number; nat: number; fragments: number };
}

/** Maps that flows fill, with the size that belongs to each. */
const FLOW_MAPS = {
  cilium_ct4_global: 'ctTcp',
  cilium_ct_any4_global: 'ctAny',
  cilium_snat_v4_external: 'nat',
  cilium_ipv4_frag_datagrams: 'fragments',
} as const;

/** Of a map that nothing fills: the kernel makes none without entries. */
const NO_ROOM = 1;

/** Conntrack is for packets that services or policies concern; policies always may. */
const POLICY_ONLY = { ctTcp: 8192, ctAny: 4096, nat: NO_ROOM, fragments: NO_ROOM };

function sizeFlowMaps(object: BpfObject, flows: FlowOptions | undefined): void {
  for (const [name, kind] of Object.entries(FLOW_MAPS))
    object.configureMap(name, { maxEntries: (flows?.sizes ?? POLICY_ONLY)[kind] });
}

/** `cfg_` options of `flows`; those of a node without them are off. */
function flowRodata(options: DatapathOptions): Partial<Rodata> {
  const { flows, routerIpv4 } = options;
  const range = (options.stackMasquerade ?? flows)?.nativeRoutingCidr;
  const native = range ? parseIpv4Cidr(range) : undefined;
  return {
    cfg_node_port: flows?.nodePort ?? false,
    cfg_pod_lb: flows?.podLb ?? false,
    cfg_socket_netns: flows?.podLb ? ownNetnsCookie() : 0,
    cfg_dsr: (flows?.dsr ?? false) && !options.tunnel,
    cfg_masquerade: flows?.masquerade ?? false,
    cfg_device_addresses: flows?.deviceAddresses !== undefined,
    cfg_stack_masquerade: options.stackMasquerade !== undefined,
    cfg_native_net: native?.network ?? 0,
    cfg_native_mask: native ? ipv4Mask(native.prefixLength) : 0,
    cfg_router_ipv4: routerIpv4 ? parseIpv4(routerIpv4) : 0,
    ...(flows
      ? { cfg_node_port_min: flows.nodePortRange[0], cfg_node_port_max: flows.nodePortRange[1] }
      : {}),
  };
}

/** Entries of the service maps for each one that a frontend takes. */
const SERVICE_MAPS = {
  cilium_lb4_services_v2: 4,
  cilium_lb4_backends_v3: 2,
  cilium_lb4_reverse_nat: 1,
  cilium_lb4_maglev: 1,
  cilium_lb4_source_range: 1,
  cilium_lb4_affinity: 1,
  cilium_lb4_reverse_sk: 1,
  cilium_lb4_sockets: 1,
} as const;

function sizeServiceMaps(object: BpfObject, services: DatapathOptions['services']): void {
  for (const [name, each] of Object.entries(SERVICE_MAPS))
    object.configureMap(name, { maxEntries: services ? services.frontends * each : NO_ROOM });
}

/** Whether programs at sockets may say why they refuse: since Linux 5.18. */
function hasSetRetval(kernel: string = release()): boolean {
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map(Number);
  return major > 5 || (major === 5 && minor >= 18);
}

/** The node's programs and shared maps, loaded. Owner: the agent; `close` drops the handles, not what is attached. */
export class Programs {
  readonly #objects: Map<string, BpfObject>;
  readonly #programs = new Map<ProgramName, BpfProgram>();
  readonly #maps = new Map<string, BpfMap>();
  readonly #upgrade: MapUpgrade;

  private constructor(objects: Map<string, BpfObject>, upgrade: MapUpgrade) {
    this.#objects = objects;
    this.#upgrade = upgrade;
  }

  /**
   * Loads every object with the options baked in. Maps that are pinned below `<bpfRoot>/tc/globals` are taken over;
   * of those whose layout is another one now there are new ones with the same contents, and `finish` must be called
   * when every program was replaced (`map-upgrade.ts`). Nothing is attached, so a failure leaves what runs, its maps
   * and its pins as they are.
   * @param o.folder where the objects are; those of the package when absent
   * @param o.upgrades what copying by name cannot know of the layouts; those of this version when absent
   * @throws FimbriaError BPF_LOAD with the verifier's log; FOREIGN_MAP, MAP_LAYOUT
   */
  static async load(
    bpfRoot: string,
    options: DatapathOptions,
    o: { log: Logger; folder?: string; upgrades?: readonly LayoutUpgrade[] },
  ): Promise<Programs> {
    const objects = new Map<string, BpfObject>();
    let upgrade: MapUpgrade | undefined;
    try {
      for (const name of OBJECTS) {
        if (name === 'sock' && !options.services) continue;
        const file = `${name}.o`;
        objects.set(
          name,
          BpfObject.open(o.folder ? join(o.folder, file) : assetPath(join('build/bpf', file))),
        );
      }
      const lxc = objects.get('lxc')!;
      for (const object of objects.values()) {
        sizeFlowMaps(object, options.flows);
        sizeServiceMaps(object, options.services);
      }
      upgrade = MapUpgrade.plan(lxc, join(bpfRoot, 'tc', 'globals'), o.log, o.upgrades);
      for (const object of objects.values()) {
        object.setRodata({
          cfg_tunnel: options.tunnel,
          cfg_endpoint_routes: options.endpointRoutes,
          cfg_host_routing: options.hostRouting,
          cfg_overlay_ifindex: options.overlayIfindex,
          cfg_node_ipv4: parseIpv4(options.nodeIpv4),
          cfg_direct_ifindex: options.directIfindex,
          cfg_route_mtu: options.routeMtu,
          ...flowRodata(options),
          cfg_set_retval: hasSetRetval(),
          cfg_l2_announcements: options.l2Announcements ?? false,
        });
        upgrade.bind(object, object === lxc ? undefined : lxc);
        await object.loadAsync();
      }
      await upgrade.fill(lxc);
      return new Programs(objects, upgrade);
    } catch (error) {
      upgrade?.close();
      for (const object of objects.values()) object.close();
      throw error;
    }
  }

  /** No program of an earlier load runs any more: the pins of its maps become those of ours. Repeatable. */
  finish(): void {
    this.#upgrade.finish(name => this.map(name));
  }

  /** The handle stays this object's. */
  get(name: ProgramName): BpfProgram {
    const known = this.#programs.get(name);
    if (known) return known;
    const object = [...this.#objects.values()].find(o => o.programs.some(p => p.name === name));
    if (!object) throw new RangeError(`no object has program ${name}`);
    const program = object.program(name);
    this.#programs.set(name, program);
    return program;
  }

  /** One of the maps that all programs share. The handle stays this object's. */
  map(name: string): BpfMap {
    const known = this.#maps.get(name);
    if (known) return known;
    const map = this.lxc.map(name);
    this.#maps.set(name, map);
    return map;
  }

  /** Names of the maps that all programs share and that are pinned. */
  get pinnedMaps(): string[] {
    return this.lxc.maps.filter(map => map.pinned).map(map => map.name);
  }

  /** The object of the pods' programs; it declares every shared map. */
  get lxc(): BpfObject {
    return this.#objects.get('lxc')!;
  }

  close(): void {
    this.#upgrade.close();
    for (const handle of [...this.#programs.values(), ...this.#maps.values(), ...this.#objects.values()])
      handle.close();
  }
}
