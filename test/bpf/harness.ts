import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIpv4 } from '../../src/base/addr.ts';
import { assetPath, packageRoot } from '../../src/base/paths.ts';
import {
  BpfMap,
  BpfObject,
  MAP_FLAGS,
  RingBuffer,
  type TestRunBatch,
  type TestRunBatchResult,
} from '../../src/kernel/libbpf/index.ts';
import { createHeldNetns, type HeldNetns } from '../../src/kernel/netns.ts';
import type { Rodata } from '../../src/maps/abi.gen.ts';
import { type DatapathEvent, decodeEvent } from '../../src/maps/events.ts';
import { type MetricsRow, metricsMap } from '../../src/maps/metrics.ts';
import {
  endpointMap,
  ipcacheMap,
  POLICY_KEY_SIZE,
  POLICY_VALUE_SIZE,
  type PolicyRuleKey,
  type PolicyVerdict,
  policyMap,
  runtimeMap,
  setPolicySlot,
} from '../../src/maps/tables.ts';

/** The three options that choose a packet's way. */
export interface Configuration {
  tunnel: boolean;
  endpointRoutes: boolean;
  hostRouting: boolean;
}

export const CONFIGURATIONS: Configuration[] = [false, true].flatMap(tunnel =>
  [false, true].flatMap(endpointRoutes =>
    [false, true].map(hostRouting => ({ tunnel, endpointRoutes, hostRouting })),
  ),
);

export function configurationName(c: Configuration): string {
  const network = c.tunnel ? 'tunnel' : 'native';
  return `${network}, ${c.endpointRoutes ? 'endpoint routes' : 'cilium_host'}, ${c.hostRouting ? 'BPF' : 'stack'}`;
}

export const OVERLAY_IFINDEX = 8;
export const NODE_IPV4 = '192.168.10.100';
export const ROUTER_IPV4 = '10.0.0.1';
export const DIRECT_IFINDEX = 5;
export const TUNNEL_MTU = 1450;

export function rodata(c: Configuration): Rodata {
  return {
    cfg_tunnel: c.tunnel,
    cfg_endpoint_routes: c.endpointRoutes,
    cfg_host_routing: c.hostRouting,
    cfg_overlay_ifindex: OVERLAY_IFINDEX,
    cfg_node_ipv4: parseIpv4(NODE_IPV4),
    cfg_direct_ifindex: DIRECT_IFINDEX,
    cfg_route_mtu: TUNNEL_MTU,
    cfg_node_port: false,
    cfg_pod_lb: false,
    cfg_socket_netns: 0,
    cfg_dsr: false,
    cfg_masquerade: false,
    cfg_stack_masquerade: false,
    cfg_device_addresses: false,
    cfg_native_net: 0,
    cfg_native_mask: 0,
    cfg_router_ipv4: parseIpv4(ROUTER_IPV4),
    cfg_node_port_min: 30000,
    cfg_node_port_max: 32767,
    cfg_set_retval: false,
    cfg_l2_announcements: true,
  };
}

/** Size of `struct __sk_buff` and offsets in it. */
export const SKB = {
  bytes: 192,
  mark: 8,
  ingressIfindex: 36,
  ifindex: 40,
  cb: 48,
  gsoSegs: 164,
  gsoSize: 176,
} as const;

export const VERDICT = { pass: 0, drop: 2, redirect: 7 } as const;

export interface Input {
  packet: Uint8Array;
  ifindex: number;
  mark?: number;
  /** VNI that a received packet carries; for the overlay's probes. */
  vni?: number;
  /** The frame breaks off after so many bytes; for probes. */
  cutTo?: number;
  /** Runs of the same packet, 1 when absent. */
  repeat?: number;
  /** Payload bytes of one segment: the packet stands for several on the wire. */
  gsoSize?: number;
}

export interface Outcome {
  verdict: number;
  packet: Buffer;
  mark: number;
  /** What the packet added to cilium_metrics. */
  metrics: MetricsRow[];
  events: DatapathEvent[];
  /** Tunnel key it left with; from probes only. */
  tunnel: { vni: number; remote: number } | undefined;
}

/** Maps that packets fill. */
export const FLOW_MAPS = [
  'cilium_ct4_global',
  'cilium_ct_any4_global',
  'cilium_snat_v4_external',
  'cilium_ipv4_frag_datagrams',
] as const;

/** One object in the kernel, with maps of its own. Close it. */
export class Loaded {
  readonly endpoints;
  readonly ipcache;
  readonly runtime;
  readonly #object: BpfObject;
  readonly #maps = new Map<string, BpfMap>();
  /** Policy maps, those that were replaced too. */
  readonly policies: BpfMap[] = [];
  readonly #ring: RingBuffer;
  readonly #netns: string;
  #events: DatapathEvent[] = [];

  /** @param o options beside the configuration's, another size for maps that flows fill, and which programs alone are loaded */
  constructor(
    path: string,
    configuration: Configuration,
    netns: string,
    o: { more?: Partial<Rodata>; flowEntries?: number; programs?: string[] } = {},
  ) {
    this.#object = BpfObject.open(path);
    for (const { name } of this.#object.programs)
      if (o.programs?.includes(name) === false) this.#object.configureProgram(name, { autoload: false });
    for (const map of this.#object.maps) {
      if (map.pinned) this.#object.configureMap(map.name, { pinPath: null });
    }
    // The sizes of a node are tested where all objects are loaded; here they would only cost memory.
    this.#object.configureMap('cilium_lxc', { maxEntries: 64 });
    for (const name of FLOW_MAPS) this.#object.configureMap(name, { maxEntries: o.flowEntries ?? 4096 });
    this.#object.setRodata({ ...rodata(configuration), ...o.more });
    this.#object.load();
    this.#netns = netns;
    this.endpoints = endpointMap(this.map('cilium_lxc'));
    this.ipcache = ipcacheMap(this.map('cilium_ipcache'));
    this.runtime = runtimeMap(this.map('cilium_runtime'));
    this.#ring = new RingBuffer({
      map: this.map('cilium_events'),
      onSample: sample => {
        const event = decodeEvent(sample);
        if (event) this.#events.push(event);
      },
    });
  }

  map(name: string): BpfMap {
    let map = this.#maps.get(name);
    if (!map) {
      map = this.#object.map(name);
      this.#maps.set(name, map);
    }
    return map;
  }

  /** Gives an endpoint a policy map with these rules and nothing else. */
  setPolicy(endpointId: number, rules: [PolicyRuleKey, PolicyVerdict][]): BpfMap {
    const map = BpfMap.create({
      type: 'lpm_trie',
      name: `cilium_policy_${endpointId}`.slice(0, 15),
      keySize: POLICY_KEY_SIZE,
      valueSize: POLICY_VALUE_SIZE,
      maxEntries: this.#object.maps.find(m => m.name === 'cilium_policy')!.maxEntries,
      flags: MAP_FLAGS.NO_PREALLOC,
      btfFrom: { object: this.#object, map: 'cilium_policy' },
    });
    this.policies.push(map);
    policyMap(map).updateBatch(rules);
    setPolicySlot(this.map('cilium_policy_maps'), endpointId, map);
    return map;
  }

  /** Conntrack and what belongs to it is empty again. */
  forgetFlows(): void {
    for (const name of FLOW_MAPS) {
      const map = this.map(name);
      map.deleteBatch([...map.keys()]);
    }
  }

  /** Runs a program on one packet and tells everything it did. */
  run(programName: string, input: Input): Outcome {
    const metrics = this.map('cilium_metrics');
    metrics.deleteBatch([...metrics.keys()]);
    this.#ring.poll();
    this.#events = [];
    const ctx = Buffer.alloc(SKB.bytes);
    ctx.writeUInt32LE(input.vni ?? 0, SKB.cb);
    ctx.writeUInt32LE(input.cutTo ?? 0, SKB.cb + 4);
    if (input.gsoSize) {
      ctx.writeUInt32LE(input.gsoSize, SKB.gsoSize);
      ctx.writeUInt32LE(2, SKB.gsoSegs);
    }
    const program = this.#object.program(programName);
    try {
      const {
        retval,
        data,
        mark,
        ctx: after,
      } = program.testRun({
        data: input.packet,
        ctx,
        ifindex: input.ifindex,
        mark: input.mark ?? 0,
        netns: this.#netns,
        repeat: input.repeat ?? 1,
      });
      this.#ring.poll();
      const vni = after.readUInt32LE(SKB.cb);
      return {
        verdict: retval,
        packet: data,
        mark,
        metrics: metricsMap(metrics).rows(),
        events: this.#events,
        tunnel:
          programName.startsWith('probe_') && vni !== 0
            ? { vni, remote: after.readUInt32LE(SKB.cb + 4) }
            : undefined,
      };
    } finally {
      program.close();
    }
  }

  /** Runs a program on many packets; at most as many as the ring holds events. */
  runBatch(
    programName: string,
    batch: TestRunBatch,
  ): TestRunBatchResult & { metrics: MetricsRow[]; events: DatapathEvent[] } {
    const metrics = this.map('cilium_metrics');
    metrics.deleteBatch([...metrics.keys()]);
    this.#ring.poll();
    this.#events = [];
    const program = this.#object.program(programName);
    try {
      const result = program.testRunBatch(batch, this.#netns);
      this.#ring.poll();
      return { ...result, metrics: metricsMap(metrics).rows(), events: this.#events };
    } finally {
      program.close();
    }
  }

  close(): void {
    this.#ring.close();
    for (const map of [...this.#maps.values(), ...this.policies]) map.close();
    this.#object.close();
  }
}

/** Compiled test programs, in a folder that `close` removes. */
export class Probes {
  readonly #folder = mkdtempSync(join(tmpdir(), 'fimbria-test-probes-'));

  /** Compiles `test/bpf/testdata/<name>.c`, once. */
  compile(name: string): string {
    const object = join(this.#folder, `${name}.o`);
    const include = `/usr/include/${command('gcc', ['-dumpmachine']).trim()}`;
    const flags = ['-O2', '-g', '-Wall', '-Wextra', '-Werror', '-target', 'bpf', '-mcpu=v3', `-I${include}`];
    command('clang', [...flags, '-c', join(packageRoot(), `test/bpf/testdata/${name}.c`), '-o', object]);
    return object;
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function builtObject(name: 'lxc' | 'host' | 'netdev' | 'overlay'): string {
  return assetPath(`build/bpf/${name}.o`);
}

export function command(program: string, args: string[], input = ''): string {
  const result = spawnSync(program, args, { encoding: 'utf8', input });
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${result.error ?? result.stderr}`);
  return result.stdout;
}

/** A network namespace that only this process holds: however it ends, nothing stays behind. */
export class Namespace {
  readonly #held: HeldNetns;

  private constructor(held: HeldNetns) {
    this.#held = held;
  }

  static async create(): Promise<Namespace> {
    return new Namespace(await createHeldNetns());
  }

  /** How other processes reach it while it is open. */
  get path(): string {
    return this.#held.path;
  }

  run(program: string, ...args: string[]): string {
    return command('nsenter', [`--net=${this.path}`, '--', program, ...args]);
  }

  /** Lines for `ip -batch`. */
  ip(lines: string[]): void {
    command('nsenter', [`--net=${this.path}`, '--', 'ip', '-batch', '-'], `${lines.join('\n')}\n`);
  }

  close(): void {
    this.#held.close();
  }
}

export const ipNumber = parseIpv4;
