import { join } from 'node:path';
import { assetPath } from '../base/paths.ts';
import { type BpfMap, BpfObject, type BpfProgram } from '../kernel/libbpf/index.ts';

/** One compiled object per kind of attach point (`bpf/*.c`). */
const OBJECTS = ['lxc', 'host', 'netdev', 'overlay'] as const;

/** Programs by name, as bpftool shows them. */
export type ProgramName =
  | 'cil_from_container'
  | 'cil_to_container'
  | 'cil_to_host'
  | 'cil_from_host'
  | 'cil_from_netdev'
  | 'cil_from_overlay'
  | 'cil_to_overlay';

/** Node-wide options that become read-only data (`bpf/lib/config.h`), so that what is off costs nothing. */
export interface DatapathOptions {
  tunnel: boolean;
  endpointRoutes: boolean;
  /** `Host: BPF`: past the node's stack. */
  hostRouting: boolean;
  /** 0 without tunnel. */
  overlayIfindex: number;
  /** Device that carries the node's address. */
  directIfindex: number;
  /** Bytes of the largest IPv4 packet of a pod that reaches another node in one piece. */
  routeMtu: number;
}

/** The node's programs and shared maps, loaded. Owner: the agent; `close` drops the handles, not what is attached. */
export class Programs {
  readonly #objects: Map<string, BpfObject>;
  readonly #programs = new Map<ProgramName, BpfProgram>();
  readonly #maps = new Map<string, BpfMap>();

  private constructor(objects: Map<string, BpfObject>) {
    this.#objects = objects;
  }

  /**
   * Loads every object with the options baked in; maps that are pinned below `<bpfRoot>/tc/globals` are taken
   * over with their contents. Nothing is attached, so a failure leaves what runs as it is.
   * @throws FimbriaError BPF_LOAD with the verifier's log
   */
  static async load(bpfRoot: string, options: DatapathOptions): Promise<Programs> {
    const objects = new Map<string, BpfObject>();
    try {
      for (const name of OBJECTS) {
        const object = BpfObject.open(assetPath(`build/bpf/${name}.o`), {
          pinRoot: join(bpfRoot, 'tc', 'globals'),
        });
        objects.set(name, object);
        object.setRodata({
          cfg_tunnel: options.tunnel,
          cfg_endpoint_routes: options.endpointRoutes,
          cfg_host_routing: options.hostRouting,
          cfg_overlay_ifindex: options.overlayIfindex,
          cfg_direct_ifindex: options.directIfindex,
          cfg_route_mtu: options.routeMtu,
        });
        await object.loadAsync();
      }
      return new Programs(objects);
    } catch (error) {
      for (const object of objects.values()) object.close();
      throw error;
    }
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
    for (const handle of [...this.#programs.values(), ...this.#maps.values(), ...this.#objects.values()])
      handle.close();
  }
}
