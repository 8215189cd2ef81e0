import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { KUBECTLS, kubectlPath } from '../../../scripts/lib/kubectl.mjs';
import { packageRoot, packageVersion } from '../../../src/base/paths.ts';
import { type ClusterClient, createClient } from '../../../src/cluster/index.ts';
import { waitUntil } from '../../../src/lab/deadline.ts';
import type { KubeObject, Node, Pod } from '../../../src/model/types.ts';
import { collect, type Outcome } from '../../e2e/lab.ts';
import { agentImage } from './agent-image.ts';
import { Containerd } from './containerd.ts';
import { ControlPlane } from './control-plane.ts';
import { ENDPOINT_SLICES } from './endpoint-slices.ts';
import { Kubelet } from './kubelet.ts';
import { ClusterNode, tail } from './node.ts';
import { joinUnderlay, makeUnderlay, OUTSIDE_HOST } from './underlay.ts';

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
  /** The image of this checkout, as it is named on the nodes. */
  readonly image = `fimbria:${packageVersion()}`;
  readonly client: ClusterClient;
  readonly #members: Map<string, Member>;

  private constructor(plane: ControlPlane, outside: ClusterNode, members: readonly Member[]) {
    this.plane = plane;
    this.outside = outside;
    this.#members = new Map(members.map(member => [member.name, member]));
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
      await makeUnderlay(control);
      await joinUnderlay(control, outside, OUTSIDE_HOST);
      const machines: { name: string; ip: string; node: ClusterNode }[] = [];
      for (const [index, name] of names.entries()) {
        const ip = `192.168.10.${FIRST_NODE_OCTET + index}`;
        const node = await machine(name);
        await joinUnderlay(control, node, ip);
        machines.push({ name, ip, node });
      }
      const [plane, ...runtimes] = await Promise.all([
        ControlPlane.start(control, names),
        ...machines.map(({ node }) => startRuntime(node)),
      ]);
      const members = machines.map((one, index) => startKubelet(plane, one, runtimes[index]!));
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

  /** Takes a machine away, with all that is on it and without a word to anybody. */
  async destroy(name: string): Promise<void> {
    const { containerd, node } = this.member(name);
    this.#members.delete(name);
    containerd.close();
    await node.remove();
  }

  /** A new machine under an old name, or a new one's; the API server must know the name from the beginning. */
  async join(name: string, ip: string): Promise<void> {
    const node = await ClusterNode.create(name);
    await joinUnderlay(this.plane.node, node, ip);
    const containerd = await startRuntime(node);
    this.#members.set(name, startKubelet(this.plane, { name, ip, node }, containerd));
  }

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  member(name: string): Member {
    return this.#members.get(name)!;
  }

  /** Starts kubectl as the administrator; the caller reads and ends it. */
  spawnKubectl(args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(kubectlPath(KUBECTLS[0]!), args, {
      env: { ...process.env, KUBECONFIG: this.plane.kubeconfig },
    });
  }

  /** Runs kubectl to its end. */
  tryKubectl(args: readonly string[], input?: string): Promise<Outcome> {
    const child = this.spawnKubectl(args);
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

  /** Installs Fimbria with these values (`k=v`), as its README tells; returns when it works. */
  async install(values: readonly string[] = []): Promise<string> {
    return this.fimbria('install', ...values.flatMap(value => ['--set', value]));
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

  /** Waits until `probe` has nothing more to say. @throws FimbriaError TIMEOUT with what it said last */
  async settles(what: string, probe: () => Promise<string | undefined>): Promise<void> {
    await waitUntil(what, PATIENCE_MS, async because => {
      const complaint = await probe();
      if (complaint !== undefined) because(complaint);
      return complaint === undefined || undefined;
    });
  }

  /** The Pods of the agents, by name of their node. */
  async agents(): Promise<Pod[]> {
    const options = { namespace: 'kube-system', labelSelector: 'k8s-app=cilium' };
    const { items } = await this.client.list<Pod>('Pod', options);
    return items.sort((a, b) => (a.spec.nodeName! < b.spec.nodeName! ? -1 : 1));
  }

  /** Waits until every node has an agent that is ready and none of `old`. */
  async agentsReady(old: readonly Pod[] = []): Promise<void> {
    const gone = new Set(old.map(pod => pod.metadata.uid));
    await this.until<Pod>('agents to be ready', 'Pod', pods => {
      const agents = pods.filter(pod => pod.metadata.labels?.['k8s-app'] === 'cilium');
      return (
        agents.length === this.members.length &&
        agents.every(pod => isReady(pod) && !gone.has(pod.metadata.uid))
      );
    });
  }

  /** Runs a command beside a node's agent, as the aliases of the documents do. */
  async agent(node: string, ...command: string[]): Promise<string> {
    const agent = (await this.agents()).find(pod => pod.spec.nodeName === node);
    const { name } = agent!.metadata;
    return this.kubectl('-n', 'kube-system', 'exec', name, '-c', 'cilium-agent', '--', ...command);
  }

  /** What helps to see why a test failed. */
  async diagnosis(): Promise<string> {
    const ask = async (lines: number, ...args: string[]): Promise<string> => {
      const { stdout, stderr } = await this.tryKubectl(args);
      const all = `${stdout}${stderr}`.trim().split('\n');
      const shown = all.length > lines ? [`(${all.length - lines} lines before)`, ...all.slice(-lines)] : all;
      return [`$ kubectl ${args.join(' ')}`, ...shown].join('\n');
    };
    const agentLogs = ['logs', '-l', 'k8s-app=cilium', '-c', 'cilium-agent', '--tail=15'];
    const parts = await Promise.all([
      ask(10, 'get', 'nodes', '-o', 'wide'),
      ask(30, 'get', 'pods', '-A', '-o', 'wide'),
      ask(20, 'get', 'events', '-A', '--sort-by=.lastTimestamp', '--field-selector', 'type=Warning'),
      ask(30, '-n', 'kube-system', ...agentLogs),
    ]);
    const logs = this.members.map(m => `${m.name} kubelet:\n${tail(m.node.log('kubelet'), 5)}`);
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

function startKubelet(
  plane: ControlPlane,
  { name, ip, node }: { name: string; ip: string; node: ClusterNode },
  containerd: Containerd,
): Member {
  const kubelet = new Kubelet(node, containerd, { ip, kubeconfig: plane.kubeconfigFor(name) });
  kubelet.start();
  return { name, ip, node, containerd, kubelet };
}
