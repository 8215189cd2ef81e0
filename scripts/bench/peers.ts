import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '../../src/lab/processes.ts';
import { setUpFloor } from './floor.ts';
import type { Place } from './labs.ts';
import { execute, ip, NetnsHost, sysctl } from './netns.ts';

const UNDERLAY = ['192.168.20.100', '192.168.20.101'];
const VXLAN_OVERHEAD = 50;
/** What flannel calls its device and how it sets it up by default. */
const FLANNEL = { device: 'flannel.1', vni: 1, port: 8472 };

/** What others would use instead, on two nodes of their own that a veth pair joins; no rules, no conntrack. */
export interface Peers {
  /** Two hosts that nothing but a veth pair joins. */
  bareVeth: [Place, Place];
  /** Two pods that an empty program in a filter joins. */
  floor: [Place, Place];
  /** The two nodes themselves. */
  bareNodes: [Place, Place];
  /** Node to node through the kernel's VXLAN, without pods. */
  kernelVxlan: [Place, Place];
  ptp: PodPlaces;
  bridge: PodPlaces;
  /** Bridge on the node, kernel VXLAN between the nodes, as flannel does it. */
  flannel: PodPlaces;
}

/** Two pods on one node, and one on another. */
export interface PodPlaces {
  here: Place;
  near: Place;
  far: Place;
}

/** A network configuration of one of the two plugins, with addresses of its own. */
export function pluginConfig(type: string, subnet: string, dataDir: string, more: object = {}): object {
  const ipam = { type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }], dataDir };
  return {
    cniVersion: '1.0.0',
    name: `bench-${type}-${subnet.split('/')[0]}`,
    type,
    ipMasq: false,
    ipam,
    ...more,
  };
}

/** Files of a run, below the machine's folder for temporary ones. */
export class Scratch {
  static readonly #prefix = 'fimbria-bench-';
  readonly dir = mkdtempSync(join(tmpdir(), `${Scratch.#prefix}${process.pid}-`));

  /** Removes those of runs that did not live to do it. */
  static sweep(): void {
    for (const name of readdirSync(tmpdir())) {
      const pid = name.startsWith(Scratch.#prefix) && Number.parseInt(name.slice(Scratch.#prefix.length), 10);
      if (pid && !isAlive(pid)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
    }
  }

  /** Writes a network configuration; returns its path. */
  config(name: string, content: object): string {
    const path = join(this.dir, `${name}.json`);
    writeFileSync(path, JSON.stringify(content));
    return path;
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const place = (netns: string, address: string): Place => ({ netns, address, cgroup: '' });

/** Two namespaces and a veth pair between them, with these addresses in a /24. */
async function joined(host: NetnsHost, addresses: readonly string[]): Promise<[Place, Place]> {
  const left = place(await host.create(), addresses[0]!);
  const right = place(await host.create(), addresses[1]!);
  ip(left.netns, [`link add eth0 mtu 1500 type veth peer name eth0 mtu 1500 netns ${right.netns}`]);
  for (const one of [left, right]) ip(one.netns, [`addr add ${one.address}/24 dev eth0`, 'link set eth0 up']);
  return [left, right];
}

/** Adds pods with a plugin: two on the first node, one on the second. */
async function addPods(
  runners: readonly NetnsHost[],
  program: string,
  configs: readonly string[],
): Promise<PodPlaces> {
  const add = async (node: number, name: string): Promise<Place> => {
    const runner = runners[node]!;
    const netns = await runner.create();
    const container = `${name}-${configs[node]!.replace(/\W/g, '')}`.slice(-60);
    const run = await runner.plugin({ command: 'ADD', program, config: configs[node]!, container, netns });
    if (run.status !== 0) throw new Error(`${program} ADD: ${run.output}`);
    const result = JSON.parse(run.output) as { ips: { address: string }[] };
    return place(netns, result.ips[0]!.address.split('/')[0]!);
  };
  return { here: await add(0, 'here'), near: await add(0, 'near'), far: await add(1, 'far') };
}

/** flannel's device on one node: static neighbour and forwarding entries, no learning. */
function addFlannelDevice(node: Place, own: string, remote: string, remoteNode: string, i: number): void {
  const { device, vni, port } = FLANNEL;
  const mac = (n: number) => `02:42:00:00:00:0${n}`;
  ip(node.netns, [
    `link add ${device} address ${mac(i)} mtu ${1500 - VXLAN_OVERHEAD} type vxlan id ${vni} dev eth0 local ${node.address} dstport ${port} nolearning`,
    `addr add ${own}/32 dev ${device}`,
    `link set ${device} up`,
    `neigh add ${remote} lladdr ${mac(1 - i)} dev ${device} nud permanent`,
    `route add ${remote}/24 via ${remote} dev ${device} onlink`,
  ]);
  const fdb = ['bridge', 'fdb', 'append', mac(1 - i), 'dev', device, 'dst', remoteNode];
  execute('nsenter', [`--net=${node.netns}`, ...fdb]);
}

/** Sets all of them up. They live until the helpers end. */
export async function setUpPeers(plugins: string, scratch: Scratch): Promise<Peers> {
  const host = NetnsHost.start();
  const bareVeth = await joined(host, ['192.168.30.1', '192.168.30.2']);
  const nodes = await joined(host, UNDERLAY);
  for (const node of nodes) sysctl(node.netns, 'net/ipv4/ip_forward=1');
  const runners = nodes.map(node => NetnsHost.start(node.netns));
  const podsOf = (name: string, type: string, block: number, more: object) => {
    const configs = nodes.map((_, i) =>
      scratch.config(
        `${name}-${i}`,
        pluginConfig(type, `10.${block}.${i}.0/24`, join(scratch.dir, `${name}-${i}`), more),
      ),
    );
    return addPods(runners, join(plugins, type), configs);
  };
  const ptp = await podsOf('ptp', 'ptp', 71, { mtu: 1500 });
  const bridge = await podsOf('bridge', 'bridge', 72, { bridge: 'cni0', isGateway: true });
  const overlayMtu = 1500 - VXLAN_OVERHEAD;
  const flannel = await podsOf('flannel', 'bridge', 73, { bridge: 'cni1', isGateway: true, mtu: overlayMtu });
  const overlay = ['10.73.0.0', '10.73.1.0'];
  for (const [i, node] of nodes.entries()) {
    const other = 1 - i;
    ip(
      node.netns,
      [71, 72].map(block => `route add 10.${block}.${other}.0/24 via ${UNDERLAY[other]}`),
    );
    addFlannelDevice(node, overlay[i]!, overlay[other]!, UNDERLAY[other]!, i);
  }
  const kernelVxlan: [Place, Place] = [
    place(nodes[0].netns, overlay[0]!),
    place(nodes[1].netns, overlay[1]!),
  ];
  const floor = await setUpFloor(host);
  return { bareVeth, floor, bareNodes: nodes, kernelVxlan, ptp, bridge, flannel };
}
