import { parseIpv4 } from '../../../src/base/addr.ts';
import { silent } from '../../../src/base/log.ts';
import { assetPath } from '../../../src/base/paths.ts';
import { createPolicyMap } from '../../../src/datapath/policy-maps.ts';
import { ServiceTable } from '../../../src/datapath/services/table.ts';
import { serviceMaps } from '../../../src/datapath/services/writes.ts';
import { type BpfMap, BpfObject, type BpfProgram, bpfStatsHold } from '../../../src/kernel/libbpf/index.ts';
import type { Rodata } from '../../../src/maps/abi.gen.ts';
import { allowAllKey, endpointMap, policyMap, setPolicySlot } from '../../../src/maps/tables.ts';
import { ip, NetnsHost } from '../netns.ts';
import { type Summary, summarize } from '../stats.ts';
import { tcpSegment } from './frames.ts';

/** eBPF time of one packet of a long-lived TCP connection between two pods of a node, each direction. */
export interface PacketCost {
  readonly title: string;
  /** Nanoseconds of each round; the kernel's own counting is in it. */
  readonly requestNs: Summary;
  readonly replyNs: Summary;
}

/** One way to run the node, and what the client asks for. */
interface Variant {
  readonly title: string;
  readonly policy: boolean;
  readonly podLb: boolean;
}

const VARIANTS: readonly Variant[] = [
  { title: 'nothing on', policy: false, podLb: false },
  { title: 'policy, conntrack; services at the socket', policy: true, podLb: false },
  { title: 'services packet by packet', policy: false, podLb: true },
  { title: 'policy, conntrack, services packet by packet', policy: true, podLb: true },
];

const NODE_MAC = '02:46:00:00:01:00';
const CLIENT = {
  address: '10.244.0.10',
  endpointId: 10,
  ifindex: 11,
  identity: 1010,
  mac: '02:46:00:00:01:0a',
};
const SERVER = {
  address: '10.244.0.20',
  endpointId: 20,
  ifindex: 12,
  identity: 1020,
  mac: '02:46:00:00:01:14',
};
const FRONTEND = { address: '10.96.0.10', port: 80 };
const PORTS = { client: 40_000, server: 8080 };
const TCP = 6;

/** Packets of one call: each is a run of its own, since a program changes its packet. */
const BATCH = 256;
/** Bytes of `struct __sk_buff`, and where a device's index is in it. */
const SKB = { bytes: 192, ingressIfindex: 36, ifindex: 40 } as const;

function options(variant: Variant): Partial<Rodata> {
  return {
    cfg_host_routing: true,
    cfg_endpoint_routes: true,
    cfg_node_ipv4: parseIpv4('192.168.10.100'),
    cfg_router_ipv4: parseIpv4('10.244.0.1'),
    cfg_route_mtu: 1500,
    cfg_node_port: true,
    cfg_pod_lb: variant.podLb,
    cfg_masquerade: true,
    cfg_native_net: parseIpv4('10.244.0.0'),
    cfg_native_mask: parseIpv4('255.255.0.0'),
  };
}

/** The pods' program in the kernel, with maps of its own that know two pods and a service. */
class Loaded {
  readonly #object: BpfObject;
  readonly #maps = new Map<string, BpfMap>();
  readonly #policies: BpfMap[] = [];
  readonly #program: BpfProgram;

  constructor(path: string, variant: Variant) {
    this.#object = BpfObject.open(path);
    for (const map of this.#object.maps)
      if (map.pinned) this.#object.configureMap(map.name, { pinPath: null });
    this.#object.setRodata(options(variant));
    this.#object.load();
    this.#program = this.#object.program('cil_from_container');
    for (const pod of [CLIENT, SERVER]) this.#addPod(pod, variant.policy);
    const table = new ServiceTable(serviceMaps({ map: name => this.#map(name) }), silent);
    table.apply(
      new Map([
        [
          'bench',
          [
            {
              ...FRONTEND,
              l4Proto: TCP,
              type: 'ClusterIP',
              group: 'bench',
              external: { local: false, backends: [{ address: SERVER.address, port: PORTS.server }] },
              terminating: [],
            },
          ],
        ],
      ]),
    );
    table.close();
  }

  #addPod({ address, ...pod }: typeof CLIENT, policy: boolean): void {
    if (policy) {
      const rules = createPolicyMap(this.#object, pod.endpointId);
      this.#policies.push(rules);
      for (const direction of ['ingress', 'egress'] as const)
        policyMap(rules).set(allowAllKey(direction), { deny: false });
      setPolicySlot(this.#map('cilium_policy_maps'), pod.endpointId, rules);
    }
    endpointMap(this.#map('cilium_lxc')).set(address, {
      ...pod,
      nodeMac: NODE_MAC,
      host: false,
      policyIngress: policy,
      policyEgress: policy,
    });
  }

  #map(name: string): BpfMap {
    const map = this.#maps.get(name) ?? this.#object.map(name);
    this.#maps.set(name, map);
    return map;
  }

  /** Mean nanoseconds of the program over so many packets like this one. @throws Error unless all go into a pod */
  run(frame: Buffer, ifindex: number, batches: number, netns: string): number {
    const context = Buffer.alloc(SKB.bytes);
    context.writeUInt32LE(ifindex, SKB.ifindex);
    context.writeUInt32LE(ifindex, SKB.ingressIfindex);
    const many = <T extends Uint8Array>(one: T): Buffer => Buffer.concat(Array(BATCH).fill(one));
    const batch = {
      frames: many(frame),
      sizes: new Uint32Array(BATCH).fill(frame.length),
      contexts: many(context),
    };
    const before = this.#program.info();
    for (let i = 0; i < batches; i++) {
      const { verdicts } = this.#program.testRunBatch(batch, netns);
      const REDIRECT = 7;
      if (!verdicts.every(verdict => verdict === REDIRECT))
        throw new Error(`a packet of the bench got verdict ${verdicts.find(v => v !== REDIRECT)}`);
    }
    const after = this.#program.info();
    return Number(after.runTimeNs - before.runTimeNs) / Number(after.runCount - before.runCount);
  }

  close(): void {
    this.#program.close();
    for (const map of [...this.#maps.values(), ...this.#policies]) map.close();
    this.#object.close();
  }
}

/** How much is measured. */
export interface PacketCostOptions {
  readonly rounds: number;
  readonly batches: number;
  /** Compiled `bpf/lxc.c`, by name: more than one are compared in the same rounds. */
  readonly objects?: Readonly<Record<string, string>>;
}

/**
 * Runs the pods' program on made-up packets (BPF_PROG_TEST_RUN), every variant once a round. Each packet is a run of its
 * own and its maps' entries are warm; what redirecting costs is not in it.
 */
export async function packetCosts(o: PacketCostOptions): Promise<PacketCost[]> {
  const objects = Object.entries(o.objects ?? { '': assetPath('build/bpf/lxc.o') });
  const host = NetnsHost.start();
  const netns = await host.create();
  for (const { ifindex } of [CLIENT, SERVER])
    ip(
      netns,
      [`link add bench${ifindex} index ${ifindex} type dummy`].map(line =>
        line.replace('dummy', `veth peer name peer${ifindex}`),
      ),
    );
  const hold = bpfStatsHold();
  const cases = objects.flatMap(([name, path]) =>
    VARIANTS.map(variant => ({
      title: name ? `${name}: ${variant.title}` : variant.title,
      variant,
      loaded: new Loaded(path, variant),
      request: [] as number[],
      reply: [] as number[],
    })),
  );
  try {
    for (let round = 0; round < o.rounds; round++) {
      for (const { variant, loaded, request, reply } of cases) {
        const asked = variant.podLb
          ? { destination: FRONTEND.address, dport: FRONTEND.port }
          : { destination: SERVER.address, dport: PORTS.server };
        const there = tcpSegment({
          sourceMac: CLIENT.mac,
          destinationMac: NODE_MAC,
          source: CLIENT.address,
          sport: PORTS.client,
          ...asked,
        });
        const back = tcpSegment({
          sourceMac: SERVER.mac,
          destinationMac: NODE_MAC,
          source: SERVER.address,
          sport: PORTS.server,
          destination: CLIENT.address,
          dport: PORTS.client,
        });
        request.push(loaded.run(there, CLIENT.ifindex, o.batches, netns));
        reply.push(loaded.run(back, SERVER.ifindex, o.batches, netns));
      }
    }
  } finally {
    hold.close();
    for (const { loaded } of cases) loaded.close();
    await host.end();
  }
  return cases.map(({ title, request, reply }) => ({
    title,
    requestNs: summarize(request),
    replyNs: summarize(reply),
  }));
}
