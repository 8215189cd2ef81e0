import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiClient } from '../../../src/api/client.ts';
import { assetPath } from '../../../src/base/paths.ts';
import { type ClusterClient, createClient, formatKubeconfig } from '../../../src/cluster/index.ts';
import { loadValues, valuesToFlat } from '../../../src/config/index.ts';
import { createHeldNetns, type HeldNetns } from '../../../src/kernel/netns.ts';
import { Rtnetlink } from '../../../src/kernel/rtnetlink.ts';
import { waitUntil } from '../../../src/lab/deadline.ts';
import type { Namespace, Node, Pod } from '../../../src/model/types.ts';
import { type ClusterNode, CNI_BIN, stop, tail } from './node.ts';

const START_TIMEOUT_MS = 60_000;
export const NODE_IP = '192.168.77.10';
export const OUTSIDE_IP = '192.168.77.1';
/** 12 addresses for pods: network and broadcast, router and health endpoint have theirs. */
export const POD_ADDRESSES = 12;
const POD_CIDR = '10.66.0.0/28';

/** What pods may leave behind on a node, for a comparison of before and after. */
export interface Traces {
  devices: string[];
  routes: string[];
  policyMaps: string[];
  /** Addresses in use. */
  ipam: string[];
  endpoints: string[];
  ipcache: string[];
}

/**
 * One node of a cluster of one: the real agent in a {@link ClusterNode}, its embedded API server beside it, `eth0` to a
 * host outside, and a Node object that gives the pods their range.
 */
export class AgentNode {
  readonly node: ClusterNode;
  readonly api: ApiClient;
  readonly client: ClusterClient;
  readonly #outside: HeldNetns;
  #agent: ChildProcess | undefined;

  private constructor(node: ClusterNode, outside: HeldNetns) {
    this.node = node;
    this.#outside = outside;
    // Through the node's root: /run is its own.
    this.api = new ApiClient(node.path('/run/fimbria/fimbria.sock'), { timeoutMs: 20_000 });
    this.client = createClient({ server: `unix://${join(node.dir, 'apiserver.sock')}` });
  }

  /** Starts everything and returns when the agent is ready. `sets` are values as `--set` takes them. */
  static async start(node: ClusterNode, sets: readonly string[] = []): Promise<AgentNode> {
    const { flat } = valuesToFlat(loadValues([], ['ipam.mode=kubernetes', ...sets]));
    const config = join(node.dir, 'config');
    mkdirSync(config);
    for (const [key, value] of Object.entries(flat)) writeFileSync(join(config, key), value);
    const outside = await connectOutside(node);
    const own = new AgentNode(node, outside);
    await own.#startApiServer();
    await own.startAgent();
    return own;
  }

  get outside(): string {
    return this.#outside.path;
  }

  /** Starts the agent, or starts it again, and returns when it is ready. */
  async startAgent(): Promise<void> {
    const { node } = this;
    const socket = join(node.dir, 'apiserver.sock');
    const kubeconfig = join(node.dir, 'agent.kubeconfig');
    writeFileSync(kubeconfig, formatKubeconfig('fimbria-test', { server: `unix://${socket}` }));
    const agent = node.start('agent', [
      ...[process.execPath, assetPath('dist/fimbria-agent.js'), '--node-name', node.name],
      ...['--kubeconfig', kubeconfig, '--config-dir', join(node.dir, 'config'), '--cni-bin-dir', CNI_BIN],
    ]);
    this.#agent = agent;
    await waitUntil(`agent of ${node.name}`, START_TIMEOUT_MS, async because => {
      if (agent.exitCode !== null || agent.signalCode !== null)
        throw new Error(`start agent: it ended; it said: ${tail(node.log('agent'))}`);
      try {
        const { cilium } = await this.api.healthz({ brief: true });
        because(cilium?.msg ?? '');
        return cilium?.state === 'Ok' || undefined;
      } catch (error) {
        because((error as Error).message);
        return undefined;
      }
    });
  }

  async stopAgent(how: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#agent) await stop(this.#agent, how);
  }

  /** Registers a pod with the API server, bound to this node, as kubelet would find it. */
  async createPod(name: string, labels: Record<string, string> = {}): Promise<void> {
    await this.client.create<Pod>({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels },
      spec: { nodeName: this.node.name, containers: [{ name: 'main', image: 'busybox' }] },
    });
  }

  /** All that pods have on this node now. */
  async traces(): Promise<Traces> {
    const rtnl = Rtnetlink.open({ netns: this.node.netns });
    try {
      const links = await rtnl.links();
      const name = new Map(links.map(link => [link.ifindex, link.name]));
      const routes = await rtnl.routes({ table: 254 });
      const pins = readdirSync(this.node.path('/sys/fs/bpf/tc/globals'));
      return {
        devices: links.map(link => link.name).sort(),
        routes: routes.map(r => `${r.dst} ${r.gateway ?? ''} ${name.get(r.ifindex ?? 0)}`).sort(),
        policyMaps: pins.filter(pin => /^cilium_policy_\d+$/.test(pin)).sort(),
        ipam: ((await this.api.healthz()).ipam?.ipv4 ?? []).toSorted(),
        endpoints: (await this.api.bpf('endpoint')).map(entry => entry.ip).sort(),
        ipcache: (await this.api.bpf('ipcache')).map(entry => entry.prefix).sort(),
      };
    } finally {
      rtnl.close();
    }
  }

  /** Waits until the node has these traces: devices follow a DEL's answer. @throws with what differs at the deadline */
  async untilTraces(wanted: Traces, timeoutMs = 30_000): Promise<void> {
    await waitUntil('traces of pods to be as before', timeoutMs, async because => {
      const have = await this.traces();
      const differing = (Object.keys(wanted) as (keyof Traces)[]).filter(
        key => JSON.stringify(have[key]) !== JSON.stringify(wanted[key]),
      );
      because(differing.map(key => `${key}: ${have[key]}, not ${wanted[key]}`).join('; '));
      return differing.length === 0 || undefined;
    });
  }

  /** Closes what this process holds; agent and API server end with the node. */
  async close(): Promise<void> {
    this.client.close();
    await this.#outside.close();
  }

  async #startApiServer(): Promise<void> {
    const { node } = this;
    const child = node.start('apiserver', [
      ...[
        process.execPath,
        assetPath('dist/fimbria.js'),
        'apiserver',
        '--state',
        join(node.dir, 'apiserver'),
      ],
      ...['--socket', join(node.dir, 'apiserver.sock'), '--port', '6443'],
      ...['--kubeconfig-out', join(node.dir, 'kubeconfig')],
    ]);
    await waitUntil('the API server', START_TIMEOUT_MS, async because => {
      if (child.exitCode !== null) throw new Error(`start API server: ${tail(node.log('apiserver'))}`);
      try {
        return await this.client.serverVersion();
      } catch (error) {
        because((error as Error).message);
        return undefined;
      }
    });
    for (const name of ['default', 'kube-system'])
      await this.client
        .create<Namespace>({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
        .catch(error => {
          if (error.code !== 'ALREADY_EXISTS') throw error;
        });
    await this.client.create<Node>({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: node.name },
      spec: { podCIDR: POD_CIDR, podCIDRs: [POD_CIDR] },
      status: { addresses: [{ type: 'InternalIP', address: NODE_IP }] },
    });
  }
}

/** `eth0` with an address, and a host at its other end that the default route goes to. */
async function connectOutside(node: ClusterNode): Promise<HeldNetns> {
  const outside = await createHeldNetns();
  const addAddress = async (netns: string, name: string, address: string): Promise<void> => {
    const rtnl = Rtnetlink.open({ netns });
    try {
      if (netns === outside.path) {
        await rtnl.setLink('lo', { up: true });
        await rtnl.createVeth({ name, peer: { name: 'eth0', netns: node.netns } });
      }
      await rtnl.setLink(name, { up: true });
      const { ifindex } = (await rtnl.link(name))!;
      await rtnl.addAddress({ ifindex, address, prefixLength: 24 });
      const [dst, gateway] = netns === outside.path ? [POD_CIDR, NODE_IP] : ['default', OUTSIDE_IP];
      await rtnl.replaceRoute({ dst, gateway, ifindex, protocol: 'boot' });
    } finally {
      rtnl.close();
    }
  };
  await addAddress(outside.path, 'port0', OUTSIDE_IP);
  await addAddress(node.netns, 'eth0', NODE_IP);
  return outside;
}
