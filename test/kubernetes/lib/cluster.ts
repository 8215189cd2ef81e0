import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { KUBECTLS, kubectlPath } from '../../../scripts/lib/kubectl.mjs';
import { packageRoot } from '../../../src/base/paths.ts';
import { type ClusterClient, createClient } from '../../../src/cluster/index.ts';
import { Rtnetlink } from '../../../src/kernel/rtnetlink.ts';
import { waitUntil } from '../../../src/lab/deadline.ts';
import { connectUnderlay } from '../../../src/lab/network.ts';
import type { KubeObject, Node, Pod } from '../../../src/model/types.ts';
import { collect, type Outcome } from '../../e2e/lab.ts';
import { agentImage } from './agent-image.ts';
import { Containerd } from './containerd.ts';
import { API_HOST, API_PORT, ControlPlane } from './control-plane.ts';
import { ENDPOINT_SLICES } from './endpoint-slices.ts';
import { Kubelet } from './kubelet.ts';
import { ClusterNode, tail } from './node.ts';

/** How long a cluster may take to do what it is told, on a loaded machine. */
const PATIENCE_MS = 240_000;
const FIRST_NODE_OCTET = 101;

/** One machine of the cluster with what Kubernetes runs on it. */
export interface Member {
  readonly name: string;
  readonly ip: string;
  readonly node: ClusterNode;
  readonly containerd: Containerd;
  readonly kubelet: Kubelet;
}

/**
 * A Kubernetes of the test's own: a control plane, nodes with containerd and kubelet, and a host outside, on an underlay
 * of their own (192.168.10.0/24: nodes from .101, outside .1, the API .10). Everything ends with this process.
 */
export class TestCluster {
  readonly plane: ControlPlane;
  readonly outside: ClusterNode;
  readonly members: readonly Member[];
  readonly client: ClusterClient;

  private constructor(plane: ControlPlane, outside: ClusterNode, members: readonly Member[]) {
    this.plane = plane;
    this.outside = outside;
    this.members = members;
    this.client = createClient(plane.kubeconfig);
  }

  /** Brings it up with every node registered, and none Ready: there is no network yet. */
  static async up(names: readonly string[] = ['w1', 'w2']): Promise<TestCluster> {
    const made: ClusterNode[] = [];
    try {
      const machine = async (name: string): Promise<ClusterNode> => {
        const node = await ClusterNode.create(name);
        made.push(node);
        return node;
      };
      const control = await machine('control');
      const outside = await machine('outside');
      const hosts: { name: string; ip: string; pid: number; node: ClusterNode }[] = [];
      for (const [index, name] of names.entries()) {
        const node = await machine(name);
        hosts.push({ name, ip: `192.168.10.${FIRST_NODE_OCTET + index}`, pid: node.pid, node });
      }
      await connectUnderlay(control.pid, outside.pid, hosts);
      await addControlAddress(control);
      const [plane, ...runtimes] = await Promise.all([
        ControlPlane.start(control, names),
        ...hosts.map(host => startRuntime(host.node)),
      ]);
      const members = hosts.map(({ name, ip, node }, index): Member => {
        const containerd = runtimes[index]!;
        const kubelet = new Kubelet(node, containerd, { ip, kubeconfig: plane.kubeconfigFor(name) });
        kubelet.start();
        return { name, ip, node, containerd, kubelet };
      });
      const cluster = new TestCluster(plane, outside, members);
      await cluster.apply(ENDPOINT_SLICES);
      await cluster.until<Node>('all nodes to register', 'Node', nodes => nodes.length === names.length);
      return cluster;
    } catch (error) {
      await Promise.all(made.map(node => node.remove()));
      throw error;
    }
  }

  async down(): Promise<void> {
    this.client.close();
    this.plane.close();
    for (const { containerd } of this.members) containerd.close();
    await Promise.all([...this.members.map(m => m.node), this.outside, this.plane.node].map(n => n.remove()));
  }

  member(name: string): Member {
    return this.members.find(member => member.name === name)!;
  }

  /** Runs kubectl as the administrator. */
  tryKubectl(args: readonly string[], input?: string): Promise<Outcome> {
    const child = spawn(kubectlPath(KUBECTLS[0]!), args, {
      env: { ...process.env, KUBECONFIG: this.plane.kubeconfig },
    });
    child.stdin.on('error', () => {});
    if (input !== undefined) child.stdin.write(input);
    return collect(child);
  }

  /** As `tryKubectl`, throwing with what it said when it fails; returns what it printed. */
  async kubectl(...args: string[]): Promise<string> {
    return this.#must(args);
  }

  async #must(args: readonly string[], input?: string): Promise<string> {
    const { status, stdout, stderr } = await this.tryKubectl(args, input);
    if (status === 0) return stdout;
    throw new Error(`kubectl ${args.join(' ')}: exit status ${status}: ${stderr}${stdout}`);
  }

  /** `kubectl apply` of YAML or of objects. */
  async apply(what: string | object | readonly object[]): Promise<string> {
    const text = typeof what === 'string' ? what : JSON.stringify(list(what));
    return this.#must(['apply', '-f', '-'], text);
  }

  /** Runs the CLI of this checkout as an administrator would. */
  async fimbria(...args: string[]): Promise<string> {
    const child = spawn(process.execPath, [join(packageRoot(), 'dist/fimbria.js'), ...args], {
      env: { ...process.env, KUBECONFIG: this.plane.kubeconfig },
    });
    const { status, stdout, stderr } = await collect(child);
    if (status === 0) return stdout;
    throw new Error(`fimbria ${args.join(' ')}: exit status ${status}: ${stderr}${stdout}`);
  }

  /** Installs Fimbria with these values (`k=v`) beside those that a cluster without kube-proxy needs. */
  async install(values: readonly string[] = []): Promise<void> {
    const all = [`k8sServiceHost=${API_HOST}`, `k8sServicePort=${API_PORT}`, ...values];
    const sets = all.flatMap(value => ['--set', value]);
    const text = await this.fimbria('manifests', '--kube-version', '1.20', ...sets);
    await this.apply(text);
  }

  /** Waits until every node is Ready and has no taint of ours. */
  async nodesReady(): Promise<void> {
    await this.until<Node>('nodes to be Ready', 'Node', nodes =>
      nodes.every(
        node =>
          node.status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') &&
          !node.spec?.taints?.length,
      ),
    );
  }

  /** Resolves with the objects of a kind when they are as wanted. @throws FimbriaError TIMEOUT */
  async until<T extends KubeObject>(
    what: string,
    kind: string,
    wanted: (objects: T[]) => unknown,
    timeoutMs = PATIENCE_MS,
  ): Promise<T[]> {
    const informer = this.client.informer<T>(kind);
    try {
      await informer.synced;
      return await waitUntil(what, timeoutMs, () => (wanted(informer.list()) ? informer.list() : undefined));
    } finally {
      informer.close();
    }
  }

  /** Waits until `count` Pods with a label `app` run and are ready, and none is on its way out. */
  async pods(app: string, count: number, namespace = 'default'): Promise<Pod[]> {
    const ours = (pods: Pod[]): Pod[] =>
      pods.filter(p => p.metadata.namespace === namespace && p.metadata.labels?.['app'] === app);
    const pods = await this.until<Pod>(`${count} Pods of ${app}`, 'Pod', all => {
      const found = ours(all);
      return found.length === count && found.every(isReady);
    });
    return ours(pods);
  }

  /** What helps to see why a test failed. */
  async diagnosis(): Promise<string> {
    const ask = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await this.tryKubectl(args);
      return `$ kubectl ${args.join(' ')}\n${stdout}${stderr}`;
    };
    const parts = await Promise.all([
      ask('get', 'nodes', '-o', 'wide'),
      ask('get', 'pods', '-A', '-o', 'wide'),
      ask('get', 'events', '-A', '--field-selector', 'type=Warning'),
      ask('-n', 'kube-system', 'logs', '-l', 'k8s-app=cilium', '-c', 'cilium-agent', '--tail=40'),
    ]);
    const logs = this.members.map(m => `${m.name} kubelet:\n${tail(m.node.log('kubelet'), 10)}`);
    return [...parts, ...logs].join('\n');
  }
}

export function isReady(pod: Pod): boolean {
  return (
    pod.metadata.deletionTimestamp === undefined &&
    (pod.status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') ?? false)
  );
}

function list(what: object | readonly object[]): object {
  return Array.isArray(what) ? { apiVersion: 'v1', kind: 'List', items: what } : what;
}

async function startRuntime(node: ClusterNode): Promise<Containerd> {
  const containerd = await Containerd.start(node);
  await containerd.importImage(await agentImage());
  return containerd;
}

async function addControlAddress(control: ClusterNode): Promise<void> {
  const netlink = Rtnetlink.open({ netns: control.netns });
  try {
    const bridge = await netlink.link('br0');
    await netlink.addAddress({ ifindex: bridge!.ifindex, address: API_HOST, prefixLength: 24 });
  } finally {
    netlink.close();
  }
}
