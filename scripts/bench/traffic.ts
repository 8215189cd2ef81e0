import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { BenchLab, Place } from './labs.ts';
import { compiled } from './netns.ts';
import type { Peers, PodPlaces } from './peers.ts';
import type { Case } from './rounds.ts';
import { median } from './stats.ts';

/** rr: one byte there and back; crr: with a connection of its own; connect: of that the call; stream: as much as goes. */
export type Mode = 'rr' | 'crr' | 'connect' | 'stream';

/** How slices are taken. */
export interface SliceOptions {
  readonly cpu: number;
  readonly milliseconds: number;
  /** What the client asks for instead of the server's own address: a service, with the backends `SLICE_PORTS`. */
  readonly frontend?: { readonly address: string; readonly port: number };
}

/** Where servers of a slice with a frontend listen. */
export const SLICE_PORTS = [8080, 8081] as const;

const run = promisify(execFile);

/** One slice of traffic: µs of the middle transaction, or Mbit/s of a stream. @throws Error with what stopped it */
export async function slice(mode: Mode, from: Place, to: Place, options: SliceOptions): Promise<number> {
  const { cpu, milliseconds, frontend } = options;
  const where = [frontend?.address ?? to.address, from.netns, to.netns, from.cgroup, to.cgroup];
  if (frontend) where.push(`${frontend.port}`, `${SLICE_PORTS[0]}`);
  try {
    const { stdout } = await run(compiled('slice'), [mode, `${cpu}`, `${milliseconds}`, ...where]);
    const result = JSON.parse(stdout) as { p50Ns?: number; mbps?: number };
    return result.mbps ?? result.p50Ns! / 1000;
  } catch (error) {
    const why = (error as { stderr?: string }).stderr?.trim() || String(error);
    throw new Error(`${mode} to ${frontend?.address ?? to.address}: ${why}`);
  }
}

/** A lab with its two pods on one node and one on the other. */
export interface LabPods {
  readonly lab: BenchLab;
  readonly pods: PodPlaces;
}

/** The datapath's ways, each in a lab of its own. */
export interface OwnLabs {
  readonly bpf: LabPods;
  readonly legacy: LabPods;
  readonly vxlan: LabPods;
}

/** Ways through the machine by key: whose, from where to where, and what the way is compared with. */
interface Way {
  readonly key: string;
  readonly title: string;
  readonly ends: [Place, Place];
  readonly baseline?: string;
}

function ways(peers: Peers, own: OwnLabs): { same: Way[]; cross: Way[]; vxlan: Way[] } {
  const same = (pods: PodPlaces): [Place, Place] => [pods.here, pods.near];
  const cross = (pods: PodPlaces): [Place, Place] => [pods.here, pods.far];
  const veth = 'bare-veth';
  const node = 'bare-node';
  return {
    same: [
      { key: veth, title: 'bare veth pair', ends: peers.bareVeth },
      { key: 'floor', title: 'empty program in clsact, redirect_peer', ends: peers.floor, baseline: veth },
      { key: 'same-bpf', title: 'fimbria, Host: BPF', ends: same(own.bpf.pods), baseline: veth },
      { key: 'same-legacy', title: 'fimbria, Host: Legacy', ends: same(own.legacy.pods), baseline: veth },
      { key: 'same-ptp', title: 'ptp', ends: same(peers.ptp), baseline: veth },
      { key: 'same-bridge', title: 'bridge', ends: same(peers.bridge), baseline: veth },
    ],
    cross: [
      { key: node, title: 'bare node to node', ends: peers.bareNodes },
      { key: 'native-bpf', title: 'fimbria native, Host: BPF', ends: cross(own.bpf.pods), baseline: node },
      {
        key: 'native-legacy',
        title: 'fimbria native, Host: Legacy',
        ends: cross(own.legacy.pods),
        baseline: node,
      },
      { key: 'cross-ptp', title: 'ptp and routes', ends: cross(peers.ptp), baseline: node },
      { key: 'cross-bridge', title: 'bridge and routes', ends: cross(peers.bridge), baseline: node },
    ],
    vxlan: [
      { key: 'kernel-vxlan', title: 'kernel VXLAN, no pods', ends: peers.kernelVxlan, baseline: node },
      { key: 'vxlan', title: 'fimbria VXLAN', ends: cross(own.vxlan.pods), baseline: node },
      {
        key: 'flannel',
        title: 'bridge and kernel VXLAN (flannel)',
        ends: cross(peers.flannel),
        baseline: node,
      },
    ],
  };
}

const casesOf = (mode: Mode, some: readonly Way[], options: SliceOptions): Case[] =>
  some.map(({ key, title, ends: [from, to], baseline }) => ({
    key,
    title,
    ...(baseline === undefined ? {} : { baseline }),
    measure: () => slice(mode, from, to, options),
  }));

/** One byte there and back, every way. */
export function roundTripCases(peers: Peers, own: OwnLabs, options: SliceOptions): Case[] {
  const { same, cross, vxlan } = ways(peers, own);
  return casesOf('rr', [...same, ...cross, ...vxlan], options);
}

/** A connection for every byte, every way. */
export function connectionCases(peers: Peers, own: OwnLabs, options: SliceOptions): Case[] {
  const { same, cross, vxlan } = ways(peers, own);
  return casesOf('crr', [...same, ...cross, ...vxlan], options);
}

/**
 * One stream between nodes, the tunnel's beside the kernel's own tunnel. A value is the median of several short slices:
 * in a long one something else runs on this CPU too, and throughput falls by half.
 */
export function streamCases(peers: Peers, own: OwnLabs, options: SliceOptions & { slices: number }): Case[] {
  const { cross, vxlan } = ways(peers, own);
  const beside = vxlan.map(way => (way.key === 'kernel-vxlan' ? way : { ...way, baseline: 'kernel-vxlan' }));
  return casesOf('stream', [...cross, ...beside], options).map(one => ({
    ...one,
    measure: async () => {
      const values: number[] = [];
      for (let i = 0; i < options.slices; i++) values.push(await one.measure());
      return median(values);
    },
  }));
}
