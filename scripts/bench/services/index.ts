import { type PacketTime, packetTime } from '../ebpf.ts';
import { BenchLab, type Place } from '../labs.ts';
import { ip, NetnsHost } from '../netns.ts';
import type { Peers } from '../peers.ts';
import { type Case, interleave, type Outcome, type RoundOptions } from '../rounds.ts';
import type { Summary } from '../stats.ts';
import { type LabPods, SLICE_PORTS, type SliceOptions, slice } from '../traffic.ts';
import { type RuleFamily, type RuleNode, setUpRuleNodes } from './kube-proxy.ts';
import { enforcePolicies, LabServices } from './lab-services.ts';
import { type PacketCost, packetCosts } from './packet-cost.ts';
import { type Programming, programmingCosts } from './programming.ts';
import { type Backend, MEASURED, MEASURED_CLUSTER_IP, workload } from './workload.ts';

/** One point of the curve over the services of a cluster. */
export interface ServicePoint {
  readonly services: number;
  /** The connect call: from a pod to a ClusterIP, from outside to a node port, and beside that without a service. */
  readonly connect: Outcome[];
  /** What the program that loads a peer's rules took, ms. */
  readonly rulesMs: Record<RuleFamily, number>;
  readonly agentMemoryMb: number;
}

export interface ServicesResult {
  readonly points: ServicePoint[];
  /** Programs that took the peers' rules. */
  readonly programs: Record<RuleFamily, string>;
  /** Round trips with policies enforced, conntrack, masquerade, services and host routing. */
  readonly roundTrip: Outcome[];
  /** The same, as the kernel counts it. */
  readonly packetTimes: Record<'same' | 'native', PacketTime>;
  readonly packetCosts: PacketCost[];
  readonly programming: Programming;
  /** An endpoint of one of them replaced by way of the API server. */
  readonly change: { fromEventMs: Summary; fromRequestMs: Summary };
}

export interface ServicesOptions extends RoundOptions {
  readonly sizes: readonly number[];
  readonly slice: SliceOptions;
  readonly packetRounds: number;
  readonly changes: number;
  /** Brings up a lab of two nodes, joined, with its pods. */
  readonly pair: (part: string, values: readonly string[]) => Promise<LabPods>;
  /** Of labs: native routing past the host's stack. */
  readonly values: readonly string[];
}

const NODES = ['node-0', 'node-1'];
const EVERYTHING = ['kubeProxyReplacement=true', 'bpf.masquerade=true'];
const NODE_ADDRESS = '192.168.10.100';

const backendsAt = (pod: Place): Backend[] => SLICE_PORTS.map(port => ({ address: pod.address, port }));

/** A way to somebody's server, and by which address and port it is asked for. */
interface Way {
  readonly key: string;
  readonly title: string;
  readonly ends: readonly [Place, Place];
  readonly to?: { address: string; port: number };
  readonly baseline?: string;
}

const measuring = (mode: 'connect' | 'rr', way: Way, options: SliceOptions): Case => ({
  key: way.key,
  title: way.title,
  ...(way.baseline === undefined ? {} : { baseline: way.baseline }),
  measure: () =>
    slice(mode, ...way.ends, {
      ...options,
      frontend: way.to ?? { address: way.ends[1].address, port: SLICE_PORTS[0] },
    }),
});

/** Everything that connect is measured on: a lab for pods, one with a host outside, and a node of each peer. */
interface Scene {
  readonly inside: LabPods;
  readonly edge: { lab: BenchLab; pod: Place; outside: Place };
  readonly rules: Record<RuleFamily, RuleNode>;
  /** As deep as a pod's, for processes that no program of ours is to see. */
  readonly cgroups: readonly [string, string];
}

function connectWays({ inside: { pods }, edge, rules, cgroups: [client, server] }: Scene): Way[] {
  const clusterIp = { address: MEASURED_CLUSTER_IP, port: MEASURED.port };
  const nodePort = { address: NODE_ADDRESS, port: MEASURED.nodePort };
  const unseen = [
    { ...pods.here, cgroup: client },
    { ...pods.near, cgroup: server },
  ] as const;
  const own: Way[] = [
    { key: 'direct', title: 'fimbria, pod to pod', ends: [pods.here, pods.near] },
    { key: 'unseen', title: 'fimbria, no program at the socket', ends: unseen, baseline: 'direct' },
    {
      key: 'cluster-ip',
      title: 'fimbria, ClusterIP',
      ends: [pods.here, pods.near],
      to: clusterIp,
      baseline: 'direct',
    },
    { key: 'node-port', title: 'fimbria, node port', ends: [edge.outside, edge.pod], to: nodePort },
  ];
  const peers = Object.values(rules).flatMap(({ family, client, server, outside, node }): Way[] => [
    { key: `${family}-direct`, title: `${family}, pod to pod`, ends: [client, server], baseline: 'direct' },
    {
      key: `${family}-cluster-ip`,
      title: `${family}, ClusterIP`,
      ends: [client, server],
      to: clusterIp,
      baseline: 'cluster-ip',
    },
    {
      key: `${family}-node-port`,
      title: `${family}, node port`,
      ends: [outside, server],
      to: { address: node.address, port: MEASURED.nodePort },
      baseline: 'node-port',
    },
  ]);
  return [...own, ...peers];
}

/** The same nodes with their processes in these cgroups. Pure. */
function seated(node: RuleNode, [client, server]: readonly [string, string]): RuleNode {
  return {
    ...node,
    client: { ...node.client, cgroup: client },
    server: { ...node.server, cgroup: server },
    outside: { ...node.outside, cgroup: client },
  };
}

async function setUpEdge(values: readonly string[], cgroup: string): Promise<Scene['edge']> {
  const lab = new BenchLab('edge');
  await lab.up(1, values);
  const netns = await NetnsHost.start().create();
  const outside = await lab.joinOutside(NODES[0]!, netns);
  const [pod] = await lab.pods({ server: NODES[0]! });
  ip(netns, [`route add ${pod!.address}/32 via ${NODE_ADDRESS}`]);
  return { lab, pod: pod!, outside: { ...outside, cgroup } };
}

/** Services: what a connection to one costs, what a packet does, and how soon a change is in the maps. */
export async function serviceCosts(
  peers: Peers,
  cgroupsOf: (pod: string) => [string, string],
  options: ServicesOptions,
): Promise<ServicesResult> {
  const { progress } = options;
  const most = Math.max(...options.sizes);
  progress('packets on their own, and tables of their own');
  const costs = await packetCosts({ rounds: options.rounds, batches: 8 });
  const programming = programmingCosts(most, options.packetRounds);
  const values = [...options.values, ...EVERYTHING];
  progress('two labs with services, and a node each with rules of kube-proxy');
  const inside = await options.pair('services', values);
  const cgroups = cgroupsOf(inside.pods.here.cgroup);
  const bare = await setUpRuleNodes(NetnsHost.start());
  const scene: Scene = {
    inside,
    edge: await setUpEdge(values, cgroups[0]),
    rules: { iptables: seated(bare.iptables, cgroups), nftables: seated(bare.nftables, cgroups) },
    cgroups,
  };
  const { edge, rules } = scene;
  const services = { inside: new LabServices(inside.lab), edge: new LabServices(edge.lab) };
  try {
    const points: ServicePoint[] = [];
    for (const size of options.sizes) {
      progress(`${size.toLocaleString('en')} services`);
      await Promise.all([
        services.inside.ensure(NODES[0]!, workload(size, backendsAt(inside.pods.near))),
        services.edge.ensure(NODES[0]!, workload(size, backendsAt(edge.pod))),
      ]);
      const rulesMs = {
        iptables: rules.iptables.load(workload(size, backendsAt(rules.iptables.server))),
        nftables: rules.nftables.load(workload(size, backendsAt(rules.nftables.server))),
      };
      const ways = connectWays(scene).map(way => measuring('connect', way, options.slice));
      const connect = await interleave(ways, options);
      const agentMemoryMb = inside.lab.agentMemoryMb(NODES[0]!);
      points.push({ services: size, connect, rulesMs, agentMemoryMb });
    }
    progress('an endpoint after the other');
    const change = await services.inside.changes(NODES[0]!, workload(most, [])[0]!, options.changes);
    progress('round trips with everything on');
    const everything = await withEverything(peers, scene, options);
    const programs = { iptables: rules.iptables.program, nftables: rules.nftables.program };
    return { points, programs, ...everything, packetCosts: costs, programming, change };
  } finally {
    services.inside.close();
    services.edge.close();
  }
}

/** With the agents away, since nothing enforces policies by itself yet. */
async function withEverything(
  peers: Peers,
  { inside: { lab, pods }, rules }: Scene,
  options: ServicesOptions,
): Promise<Pick<ServicesResult, 'roundTrip' | 'packetTimes'>> {
  await Promise.all(NODES.map(node => lab.run('lab', 'node', 'stop', node)));
  enforcePolicies(lab, NODES[0]!, [pods.here.address, pods.near.address]);
  enforcePolicies(lab, NODES[1]!, [pods.far.address]);
  const clusterIp = { address: MEASURED_CLUSTER_IP, port: MEASURED.port };
  const ways: Way[] = [
    { key: 'bare-veth', title: 'bare veth pair', ends: peers.bareVeth },
    {
      key: 'same',
      title: 'fimbria, ClusterIP, same node',
      ends: [pods.here, pods.near],
      to: clusterIp,
      baseline: 'bare-veth',
    },
    ...Object.values(rules).map(({ family, client, server }) => ({
      key: `same-${family}`,
      title: `${family}, ClusterIP, same node`,
      ends: [client, server] as const,
      to: clusterIp,
      baseline: 'bare-veth',
    })),
    { key: 'bare-node', title: 'bare node to node', ends: peers.bareNodes },
    { key: 'native', title: 'fimbria native', ends: [pods.here, pods.far], baseline: 'bare-node' },
  ];
  const { slice: slices, packetRounds } = options;
  return {
    roundTrip: await interleave(
      ways.map(way => measuring('rr', way, slices)),
      options,
    ),
    packetTimes: {
      same: await packetTime(lab, NODES, [pods.here, pods.near], { ...slices, rounds: packetRounds }),
      native: await packetTime(lab, NODES, [pods.here, pods.far], { ...slices, rounds: packetRounds }),
    },
  };
}
