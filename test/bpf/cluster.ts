import { parseIpv4 } from '../../src/base/addr.ts';
import { type BpfMap, BpfObject, TcFilter } from '../../src/kernel/libbpf/index.ts';
import { setSysctl } from '../../src/kernel/netns.ts';
import type { Rodata } from '../../src/maps/abi.gen.ts';
import { type MetricsRow, metricsMap } from '../../src/maps/metrics.ts';
import { endpointMap, ipcacheMap } from '../../src/maps/tables.ts';
import {
  builtObject,
  type Configuration,
  Namespace,
  OVERLAY_IFINDEX,
  rodata,
  TUNNEL_MTU,
} from './harness.ts';

/** Two nodes with real devices, routes and programs, for what BPF_PROG_TEST_RUN cannot show: where packets arrive. */

const INDEX = { eth0: 2, host: 3, net: 4, overlay: OVERLAY_IFINDEX, lxc: 20 } as const;

/** A host beside the cluster. */
export const OUTSIDE = '192.168.10.1';

export interface LivePod {
  readonly ip: string;
  readonly identity: number;
  readonly device: string;
  readonly namespace: Namespace;
}

export class LiveNode {
  readonly ip: string;
  readonly router: string;
  readonly podCidr: string;
  readonly pods: LivePod[] = [];
  readonly namespace: Namespace;
  readonly #objects: BpfObject[] = [];
  readonly #configuration: Configuration;
  /** Options beside the configuration's; with any, network devices get their egress program, too. */
  readonly #more: Partial<Rodata>;

  private constructor(
    number: number,
    configuration: Configuration,
    more: Partial<Rodata>,
    namespace: Namespace,
  ) {
    this.ip = `192.168.10.${100 + number}`;
    this.router = `10.0.${number}.1`;
    this.podCidr = `10.0.${number}.0/24`;
    this.namespace = namespace;
    this.#configuration = configuration;
    this.#more = more;
  }

  /**
   * Two nodes joined by a cable, each with `podsPerNode` pods, everything programmed and attached.
   * @param more options beside the configuration's
   * @param outside a namespace that gets a switch with `OUTSIDE` as its address, instead of the cable
   */
  static async pair(
    configuration: Configuration,
    podsPerNode: number,
    more: Partial<Rodata> = {},
    outside?: Namespace,
  ): Promise<[LiveNode, LiveNode]> {
    const nodes: LiveNode[] = [];
    try {
      for (const number of [0, 1])
        nodes.push(new LiveNode(number, configuration, more, await quietNamespace()));
      const [a, b] = nodes as [LiveNode, LiveNode];
      if (outside) {
        outside.ip([
          'link set lo up',
          'link add br0 type bridge',
          'link set br0 up',
          `address add ${OUTSIDE}/24 dev br0`,
        ]);
        for (const [i, node] of nodes.entries()) {
          node.namespace.ip([
            `link add eth0 index ${INDEX.eth0} type veth peer name node${i} netns ${outside.path}`,
          ]);
          outside.ip([`link set node${i} master br0`, `link set node${i} up`]);
        }
      } else {
        a.namespace.ip([
          `link add eth0 index ${INDEX.eth0} type veth peer name eth0 index ${INDEX.eth0} netns ${b.namespace.path}`,
        ]);
      }
      for (const node of [a, b]) {
        node.#makeDevices();
        for (let i = 0; i < podsPerNode; i++) await node.#addPod(10 + i);
      }
      a.#program(b);
      b.#program(a);
      return [a, b];
    } catch (error) {
      for (const node of nodes) node.close();
      throw error;
    }
  }

  #makeDevices(): void {
    this.namespace.ip([
      'link set lo up',
      `address add ${this.ip}/24 dev eth0`,
      'link set eth0 up',
      `route add default via ${OUTSIDE}`,
      `link add cilium_host index ${INDEX.host} type veth peer name cilium_net index ${INDEX.net}`,
      'link set cilium_host arp off up',
      'link set cilium_net arp off up',
      `address add ${this.router}/32 dev cilium_host`,
      ...(this.#configuration.tunnel
        ? [
            `link add cilium_vxlan index ${INDEX.overlay} type vxlan external dstport 8472`,
            'link set cilium_vxlan up',
          ]
        : []),
      ...(this.#configuration.endpointRoutes
        ? []
        : [
            `route add ${this.router} dev cilium_host scope link`,
            `route add ${this.podCidr} via ${this.router} dev cilium_host src ${this.router}`,
          ]),
    ]);
  }

  async #addPod(number: number): Promise<void> {
    const ip = this.podCidr.replace('0/24', `${number}`);
    const pod = {
      ip,
      identity: 1000 + Number(ip.split('.')[2]) * 100 + number,
      device: `lxc${number}`,
      namespace: await quietNamespace(),
    };
    this.pods.push(pod);
    this.namespace.ip([
      `link add ${pod.device} index ${INDEX.lxc + number} type veth peer name eth0 netns ${pod.namespace.path}`,
      `link set ${pod.device} up`,
      ...(this.#configuration.endpointRoutes ? [`route add ${ip} dev ${pod.device} scope link`] : []),
    ]);
    pod.namespace.ip([
      'link set lo up',
      `address add ${ip}/32 dev eth0`,
      'link set eth0 up',
      `route add ${this.router} dev eth0 scope link`,
      `route add default via ${this.router} dev eth0`,
    ]);
  }

  /** Loads the programs, fills the maps with what this node knows of itself and its peer, attaches. */
  #program(peer: LiveNode): void {
    const { tunnel, endpointRoutes } = this.#configuration;
    this.namespace.ip([
      tunnel
        ? `route add ${peer.podCidr} ${endpointRoutes ? '' : `via ${this.router}`} dev cilium_host src ${this.router} mtu ${TUNNEL_MTU}`
        : `route add ${peer.podCidr} via ${peer.ip} dev eth0`,
    ]);
    const lxc = this.#load('lxc');
    const host = this.#load('host');
    const netdev = this.#load('netdev');
    const overlay = this.#load('overlay');
    this.#fillMaps(lxc, peer);

    const attach = (
      object: BpfObject,
      name: string,
      ifindex: number,
      direction: 'ingress' | 'egress',
    ): void => {
      const program = object.program(name);
      TcFilter.attach({ ifindex, direction, program, netns: this.namespace.path });
      program.close();
    };
    attach(host, 'cil_to_host', INDEX.host, 'ingress');
    attach(host, 'cil_from_host', INDEX.host, 'egress');
    attach(host, 'cil_to_host', INDEX.net, 'ingress');
    attach(netdev, 'cil_from_netdev', INDEX.eth0, 'ingress');
    if (Object.keys(this.#more).length > 0) attach(netdev, 'cil_to_netdev', INDEX.eth0, 'egress');
    if (tunnel) {
      attach(overlay, 'cil_from_overlay', INDEX.overlay, 'ingress');
      attach(overlay, 'cil_to_overlay', INDEX.overlay, 'egress');
    }
    for (const pod of this.pods) {
      const ifindex = INDEX.lxc + Number(pod.device.slice(3));
      attach(lxc, 'cil_from_container', ifindex, 'ingress');
      if (endpointRoutes) attach(lxc, 'cil_to_container', ifindex, 'egress');
    }
  }

  #load(name: 'lxc' | 'host' | 'netdev' | 'overlay'): BpfObject {
    const object = BpfObject.open(builtObject(name));
    const [first] = this.#objects;
    this.#objects.push(object);
    for (const { name: map, pinned } of object.maps) {
      if (!pinned) continue;
      const shared = first?.map(map);
      object.configureMap(map, shared ? { pinPath: null, reuse: shared } : { pinPath: null });
      shared?.close();
    }
    object.setRodata({
      ...rodata(this.#configuration),
      cfg_node_ipv4: parseIpv4(this.ip),
      cfg_router_ipv4: parseIpv4(this.router),
      cfg_direct_ifindex: INDEX.eth0,
      ...this.#more,
    });
    object.load();
    return object;
  }

  #fillMaps(object: BpfObject, peer: LiveNode): void {
    const none = { host: false, policyIngress: false, policyEgress: false };
    const lxcMap = object.map('cilium_lxc');
    const endpoints = endpointMap(lxcMap);
    for (const pod of this.pods) {
      const number = Number(pod.device.slice(3));
      endpoints.set(pod.ip, {
        ...none,
        ifindex: INDEX.lxc + number,
        identity: pod.identity,
        endpointId: number,
        mac: macOf(pod.namespace, 'eth0'),
        nodeMac: macOf(this.namespace, pod.device),
      });
    }
    const mac = '00:00:00:00:00:00';
    for (const ip of [this.ip, this.router])
      endpoints.set(ip, { ...none, host: true, ifindex: 0, identity: 1, endpointId: 0, mac, nodeMac: mac });
    lxcMap.close();

    const plain = { tunnelEndpoint: '0.0.0.0', ownPodCidr: false, cluster: false, neighbour: false };
    const remote = { tunnelEndpoint: peer.ip, ownPodCidr: false, cluster: true, neighbour: false };
    const ipcache = object.map('cilium_ipcache');
    ipcacheMap(ipcache).updateBatch([
      ['0.0.0.0/0', { ...plain, identity: 2 }],
      [this.podCidr, { ...plain, identity: 2, ownPodCidr: true, cluster: true }],
      [peer.podCidr, { ...remote, identity: 2 }],
      [peer.ip, { ...plain, identity: 6 }],
      [this.ip, { ...plain, identity: 1 }],
      ...peer.pods.map(pod => [pod.ip, { ...remote, identity: pod.identity }] as const),
      ...this.pods.map(pod => [pod.ip, { ...plain, cluster: true, identity: pod.identity }] as const),
    ]);
    ipcache.close();
  }

  /** One of the maps that all programs of this node share. The caller closes it. */
  map(name: string): BpfMap {
    return this.#objects[0]!.map(name);
  }

  metrics(): MetricsRow[] {
    const map = this.#objects[0]!.map('cilium_metrics');
    const rows = metricsMap(map).rows();
    map.close();
    return rows;
  }

  /** Packets that left through a device's own transmit path. */
  transmitted(device: string): number {
    return Number(this.namespace.run('cat', `/proc/net/dev`).split(`${device}:`)[1]!.trim().split(/\s+/)[9]);
  }

  close(): void {
    for (const object of this.#objects) object.close();
    for (const pod of this.pods) pod.namespace.close();
    this.namespace.close();
  }
}

function macOf(namespace: Namespace, device: string): string {
  const [link] = JSON.parse(namespace.run('ip', '-json', 'link', 'show', 'dev', device));
  return link.address;
}

/** A router's namespace that says nothing by itself. */
async function quietNamespace(): Promise<Namespace> {
  const namespace = await Namespace.create();
  const { path: netns } = namespace;
  await setSysctl('net.ipv6.conf.all.disable_ipv6', 1, { netns });
  await setSysctl('net.ipv6.conf.default.disable_ipv6', 1, { netns });
  await setSysctl('net.ipv4.ip_forward', 1, { netns });
  await setSysctl('net.ipv4.conf.all.rp_filter', 0, { netns });
  await setSysctl('net.ipv4.conf.default.rp_filter', 0, { netns });
  await setSysctl('net.ipv4.conf.all.accept_local', 1, { netns });
  await setSysctl('net.ipv4.conf.all.send_redirects', 0, { netns });
  await setSysctl('net.ipv4.conf.default.send_redirects', 0, { netns });
  return namespace;
}
