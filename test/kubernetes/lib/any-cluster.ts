import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { KUBECTLS, kubectlPath } from '../../../scripts/lib/kubectl.mjs';
import { packageRoot, packageVersion } from '../../../src/base/paths.ts';
import { type ClusterClient, createClient } from '../../../src/cluster/index.ts';
import { waitUntil } from '../../../src/lab/deadline.ts';
import type { KubeObject, Node, Pod } from '../../../src/model/types.ts';
import { collect, type Outcome } from '../../e2e/lab.ts';

/** How long a cluster may take to do what it is told, on a loaded machine. */
const PATIENCE_MS = 240_000;

/** Any Kubernetes, by its API alone: kubectl, our client and our command line. */
export class Cluster {
  /** Of an administrator, for programs on this machine. */
  readonly kubeconfig: string;
  readonly client: ClusterClient;
  /** The image of this checkout, as it is named on the nodes. */
  readonly image = `fimbria:${packageVersion()}`;

  readonly #kubectl: string;

  /** `kubectl`: the old one or the current one of those that `npm run setup` fetches. */
  constructor(kubeconfig: string, kubectl: 'old' | 'current' = 'current') {
    this.kubeconfig = kubeconfig;
    this.#kubectl = kubectlPath(KUBECTLS.find(one => one.name === kubectl)!);
    this.client = createClient(kubeconfig);
  }

  /** Starts kubectl as the administrator; the caller reads and ends it. */
  spawnKubectl(args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(this.#kubectl, args, {
      env: { ...process.env, KUBECONFIG: this.kubeconfig },
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
      env: { ...process.env, KUBECONFIG: this.kubeconfig },
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

  /** Waits until there are no Pods in the default namespace. */
  async podsGone(): Promise<void> {
    await this.until<Pod>('Pods to go', 'Pod', pods =>
      pods.every(pod => pod.metadata.namespace !== 'default'),
    );
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
    const { items: nodes } = await this.client.list<Node>('Node');
    await this.until<Pod>('agents to be ready', 'Pod', pods => {
      const agents = pods.filter(pod => pod.metadata.labels?.['k8s-app'] === 'cilium');
      return (
        agents.length === nodes.length && agents.every(pod => isReady(pod) && !gone.has(pod.metadata.uid))
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
    return parts.join('\n');
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
