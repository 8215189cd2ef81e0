import type { Place } from '../labs.ts';
import { execute, ip, type NetnsHost, sysctl } from '../netns.ts';
import { iptablesRules, nftablesRules, type RuleService } from './kube-proxy-rules.ts';

const FAMILIES = ['iptables', 'nftables'] as const;

/** The two ways in which kube-proxy writes its rules. */
export type RuleFamily = (typeof FAMILIES)[number];

/** By its path: npm puts another program of that name in front. */
const NFT = '/usr/sbin/nft';

/** A node with kube-proxy's rules, two pods that its kernel routes between, and a host outside. */
export interface RuleNode {
  readonly family: RuleFamily;
  /** The program that took the rules. */
  readonly program: string;
  readonly node: Place;
  readonly client: Place;
  readonly server: Place;
  readonly outside: Place;
  /** Replaces all rules; returns milliseconds of the program that loads them. */
  load(services: readonly RuleService[]): number;
}

const place = (netns: string, address: string): Place => ({ netns, address, cgroup: '' });

/** Loads rules in a namespace. @throws Error with what the program said */
function feed(netns: string, program: string, args: readonly string[], text: string): number {
  const begunMs = performance.now();
  execute('nsenter', [`--net=${netns}`, program, ...args], text);
  return performance.now() - begunMs;
}

/** `iptables-legacy-restore` where the kernel has its tables, since it is the faster one; else `iptables-nft-restore`. */
function iptablesProgram(netns: string): string {
  const legacy = 'iptables-legacy-restore';
  try {
    feed(netns, legacy, ['-w', '60', '--test'], '*nat\nCOMMIT\n*filter\nCOMMIT\n');
    return legacy;
  } catch {
    return 'iptables-nft-restore';
  }
}

/** One node of each family. They live until `host` ends. */
export async function setUpRuleNodes(host: NetnsHost): Promise<Record<RuleFamily, RuleNode>> {
  const nodes: Partial<Record<RuleFamily, RuleNode>> = {};
  for (const [i, family] of FAMILIES.entries()) nodes[family] = await setUpRuleNode(host, family, i);
  return nodes as Record<RuleFamily, RuleNode>;
}

async function setUpRuleNode(host: NetnsHost, family: RuleFamily, i: number): Promise<RuleNode> {
  const range = `10.${76 + i}`;
  const underlay = `192.168.${40 + i}`;
  const node = place(await host.create(), `${underlay}.100`);
  const outside = place(await host.create(), `${underlay}.1`);
  sysctl(node.netns, 'net/ipv4/ip_forward=1');
  ip(node.netns, [`link add eth0 type veth peer name eth0 netns ${outside.netns}`]);
  for (const one of [node, outside])
    ip(one.netns, [`addr add ${one.address}/24 dev eth0`, 'link set eth0 up']);
  ip(outside.netns, [`route add ${range}.0.0/16 via ${node.address}`]);
  const pods: Place[] = [];
  for (const n of [0, 1]) {
    const pod = place(await host.create(), `${range}.${n}.2`);
    ip(node.netns, [
      `link add pod${n} type veth peer name eth0 netns ${pod.netns}`,
      `addr add ${range}.${n}.1/24 dev pod${n}`,
      `link set pod${n} up`,
    ]);
    ip(pod.netns, [
      `addr add ${pod.address}/24 dev eth0`,
      'link set eth0 up',
      `route add default via ${range}.${n}.1`,
    ]);
    pods.push(pod);
  }
  const program = family === 'iptables' ? iptablesProgram(node.netns) : NFT;
  const podRange = `${range}.0.0/16`;
  const load = (services: readonly RuleService[]): number => {
    if (family === 'iptables')
      return feed(node.netns, program, ['-w', '60'], iptablesRules(services, podRange));
    const rules = nftablesRules(services, podRange, [node.address]);
    return feed(
      node.netns,
      program,
      ['-f', '-'],
      `table ip kube-proxy\ndelete table ip kube-proxy\n${rules}`,
    );
  };
  return { family, program, node, client: pods[0]!, server: pods[1]!, outside, load };
}
