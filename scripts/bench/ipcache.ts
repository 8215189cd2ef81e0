import { setTimeout as delay } from 'node:timers/promises';
import { formatIpv4, parseIpv4 } from '../../src/base/addr.ts';
import { BpfMap } from '../../src/kernel/libbpf/index.ts';
import { ipcacheMap } from '../../src/maps/tables.ts';
import { type PacketTime, packetTime } from './ebpf.ts';
import type { BenchLab } from './labs.ts';
import type { Peers } from './peers.ts';
import { interleave, type Outcome, type RoundOptions } from './rounds.ts';
import { type LabPods, type SliceOptions, slice } from './traffic.ts';

const FIRST_ADDRESS = parseIpv4('10.128.0.0');
const BATCH = 10_000;
const NODES = ['node-0', 'node-1'];
/** A number that no identity of the lab has. */
const FOREIGN_IDENTITY = 60_000;

/** One point of the curve over the entries of `cilium_ipcache`. */
export interface IpcachePoint {
  readonly entries: number;
  /** Milliseconds to write those that were new, both nodes. */
  readonly fillMs: number;
  /** Round trip across nodes beside the bare nodes. */
  readonly roundTrip: Outcome[];
  readonly packet: PacketTime;
  /** Of an agent that starts over so many entries. */
  readonly readyMs: number;
  readonly memoryMb: number;
}

/** Writes pod addresses of other nodes, as a large cluster has them, into a node's map. */
function fill(lab: BenchLab, node: string, entries: number): void {
  const raw = BpfMap.fromPin(lab.pin(node, 'cilium_ipcache'));
  const map = ipcacheMap(raw);
  const record = {
    identity: FOREIGN_IDENTITY,
    tunnelEndpoint: '192.168.10.200',
    ownPodCidr: false,
    cluster: true,
    neighbour: false,
  };
  try {
    for (let from = 0; from < entries; from += BATCH) {
      const size = Math.min(BATCH, entries - from);
      const batch = Array.from({ length: size }, (_, i) => formatIpv4(FIRST_ADDRESS + from + i));
      map.updateBatch(batch.map(address => [`${address}/32`, record] as const));
    }
  } finally {
    raw.close();
  }
}

/** How much is measured at every point. */
export interface CurveOptions extends RoundOptions {
  readonly sizes: readonly number[];
  readonly slice: SliceOptions;
  readonly packetRounds: number;
}

/**
 * The native way and the agent's start over so many entries. The agents are away while packets are measured: they
 * would take away, as they should, entries that the cluster does not know.
 */
export async function ipcacheCurve(
  { lab, pods }: LabPods,
  peers: Peers,
  options: CurveOptions,
): Promise<IpcachePoint[]> {
  const points: IpcachePoint[] = [];
  for (const entries of options.sizes) {
    options.progress(`${entries.toLocaleString('en')} ipcache entries`);
    await Promise.all(NODES.map(node => lab.run('lab', 'node', 'stop', node)));
    const begunMs = performance.now();
    for (const node of NODES) fill(lab, node, entries);
    const fillMs = performance.now() - begunMs;
    const [bareFrom, bareTo] = peers.bareNodes;
    const roundTrip = await interleave(
      [
        {
          key: 'bare-node',
          title: 'bare node to node',
          measure: () => slice('rr', bareFrom, bareTo, options.slice),
        },
        {
          key: 'native-bpf',
          title: 'fimbria native, Host: BPF',
          baseline: 'bare-node',
          measure: () => slice('rr', pods.here, pods.far, options.slice),
        },
      ],
      { ...options, progress: () => {} },
    );
    const packet = await packetTime(lab, NODES, [pods.here, pods.far], {
      ...options.slice,
      rounds: options.packetRounds,
    });
    await lab.run('lab', 'node', 'start', NODES[0]!);
    const readyMs = lab.readyAfterMs(NODES[0]!);
    await delay(SETTLE_MS);
    points.push({ entries, fillMs, roundTrip, packet, readyMs, memoryMb: lab.agentMemoryMb(NODES[0]!) });
    await lab.run('lab', 'node', 'start', NODES[1]!);
  }
  return points;
}

/** After this an agent that just started has done what it does at start. */
export const SETTLE_MS = 1_000;
