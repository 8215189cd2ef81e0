import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { ApiClient } from '../../src/api/client.ts';
import { codeOf } from '../../src/base/errors.ts';
import { assetPath } from '../../src/base/paths.ts';
import { createClient } from '../../src/cluster/index.ts';
import { hostIfname } from '../../src/endpoint/add.ts';
import type { Endpoint } from '../../src/endpoint/types.ts';
import { createHeldNetns, icmpEcho } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { waitAgent } from '../../src/lab/daemons.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { labPaths } from '../../src/lab/names.ts';
import { enterNode, netnsOf, nodePid } from '../../src/lab/namespaces.ts';
import { startDetached } from '../../src/lab/pause.ts';
import { findProcess, waitGone } from '../../src/lab/processes.ts';
import type { CiliumEndpoint } from '../../src/model/types.ts';
import { netconf, type Outcome as PluginOutcome, runPlugin } from '../cni/support.ts';
import { collect, printed, type TestLab } from './lab.ts';

/** Where an agent dies: at the N-th call of its main thread, or of the first thread to get there. */
export interface KillPoint {
  thread: 'main' | 'any';
  syscall: string;
  when: number;
}

/** A pod as a container runtime sees it: a container's id and a network namespace. */
export interface TestPod {
  id: string;
  netns: string;
  /** Ends the namespace; nothing else holds it. */
  end(): void;
}

/** For what comes after an answer. */
const PATIENCE_MS = 20_000;

const quiet = { progress: () => {}, signal: new AbortController().signal };

/** A pod whose namespace this process holds: it is gone with it, however it ends. */
export async function testPod(id: string): Promise<TestPod> {
  const netns = await createHeldNetns();
  return { id, netns: netns.path, end: () => netns.close() };
}

/** Whether `address` answers a packet from a namespace. */
export async function answers(address: string, netns: string): Promise<boolean> {
  try {
    await icmpEcho({ address, netns, timeoutMs: 5_000 });
    return true;
  } catch (error) {
    if (['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(codeOf(error) ?? '')) return false;
    throw error;
  }
}

/**
 * One node of a lab, seen from beside its agent: starts the agent, kills it at a system call, drives it as a container
 * runtime does, and says where journal, kernel, cluster and agent disagree.
 */
export class TestNode {
  readonly lab: string;
  readonly name: string;
  readonly api: ApiClient;
  readonly #run: string;
  readonly #holder: number;

  constructor(lab: string, name: string) {
    this.lab = lab;
    this.name = name;
    const paths = labPaths(lab).node(name);
    this.api = new ApiClient(paths.socket, { timeoutMs: 20_000 });
    this.#holder = nodePid(lab, name)!;
    // As the node sees it: a test may have mounted something there.
    this.#run = `/proc/${this.#holder}/root/run/fimbria`;
  }

  get agentPid(): number | undefined {
    return findProcess(this.lab, 'agent', this.name)?.pid;
  }

  /**
   * Starts the agent without waiting for it, and returns the pid of what runs it. One thread carries out its netlink requests, so that a system call's
   * number is a place in its work.
   */
  async launch(
    at?: KillPoint,
    env: Record<string, string> = {},
    more: readonly string[] = [],
  ): Promise<number> {
    const { localKubeconfig, configDir } = labPaths(this.lab);
    const agent = [process.execPath, assetPath('dist/fimbria-agent.js'), '--lab', this.lab];
    const flags = [
      '--node-name',
      this.name,
      '--kubeconfig',
      localKubeconfig,
      '--config-dir',
      configDir,
      ...more,
    ];
    const variables = Object.entries({ UV_THREADPOOL_SIZE: '1', ...env }).map(pair => pair.join('='));
    const traced = at ? ['/usr/bin/strace', ...injection(at)] : [];
    return startDetached(
      {
        lab: this.lab,
        role: 'exec',
        name: `agent-${this.name}`,
        ...enterNode(this.lab, this.name, this.#holder),
        exec: true,
        command: ['/usr/bin/env', ...variables, ...traced, ...agent, ...flags],
      },
      { log: labPaths(this.lab).log(`agent-${this.name}`) },
    );
  }

  /** Starts the agent unless it runs, and waits until it is ready. */
  async start(): Promise<void> {
    if (this.agentPid === undefined) await this.launch();
    await this.ready();
  }

  async ready(nodes = 1): Promise<void> {
    await waitAgent(this.lab, { name: this.name, ip: '' }, nodes, quiet);
  }

  /** The node's network namespace. */
  get netns(): string {
    return netnsOf(this.#holder);
  }

  /** Where the node's bpffs is seen from outside. */
  get bpffs(): string {
    return `/proc/${this.#holder}/root/sys/fs/bpf`;
  }

  /** Starts the agent to die at a system call. False when it became ready without getting there. */
  async startAndDie(at: KillPoint): Promise<boolean> {
    const tracer = await this.launch(at);
    return await waitUntil('the agent to die or to be ready', 60_000, async () => {
      if (!isAlive(tracer)) return true;
      const status = await this.api.healthz({ brief: true }).catch(() => undefined);
      return status?.cilium?.state === 'Ok' ? false : undefined;
    });
  }

  async kill(): Promise<void> {
    const pid = this.agentPid;
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    await waitGone([pid], 20_000);
  }

  /** Lets the agent die at a system call of what `work` makes it do. False when it never got there. */
  async dieDuring(at: KillPoint, work: () => Promise<unknown>): Promise<boolean> {
    const pid = this.agentPid!;
    const strace = spawn('strace', ['-p', `${pid}`, ...injection(at)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ended = collect(strace);
    await printed(strace, /attached/);
    // What follows an answer, the deletion of the device, is part of the work: the next answer comes after it.
    const died = await work()
      .then(() => this.api.healthz({ brief: true }))
      .then(
        () => false,
        () => true,
      );
    if (died) await waitGone([pid], 20_000);
    else strace.kill('SIGTERM');
    await ended;
    return died;
  }

  /** One call of the plugin. Rejects when the agent went away. */
  cni(command: 'ADD' | 'DEL', pod: Pick<TestPod, 'id' | 'netns'>): Promise<{ status: number; body: string }> {
    const body = JSON.stringify({ cniVersion: '1.0.0', name: 'fimbria', type: 'fimbria-cni' });
    return new Promise((resolve, reject) => {
      const call = request(
        {
          socketPath: this.api.socketPath,
          path: '/v1/cni',
          method: 'POST',
          agent: false,
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            'x-cni-command': command,
            'x-cni-containerid': pod.id,
            'x-cni-netns': pod.netns,
            'x-cni-ifname': 'eth0',
            'x-cni-args': `K8S_POD_NAME=${pod.id};K8S_POD_NAMESPACE=default`,
          },
        },
        response => {
          let text = '';
          response.on('data', chunk => (text += chunk));
          response.on('error', reject);
          response.on('end', () => resolve({ status: response.statusCode!, body: text }));
        },
      );
      call.on('error', reject);
      call.end(body);
    });
  }

  /** One run of the plugin, as a container runtime makes it. */
  plugin(command: 'ADD' | 'DEL', pod: Pick<TestPod, 'id' | 'netns'>): Promise<PluginOutcome> {
    return runPlugin({
      command,
      env: {
        CNI_CONTAINERID: pod.id,
        CNI_NETNS: pod.netns,
        CNI_ARGS: `K8S_POD_NAME=${pod.id};K8S_POD_NAMESPACE=default`,
      },
      stdin: netconf(this.api.socketPath),
    });
  }

  /** Waits until the DELs that were queued while no agent answered are done. */
  async drained(): Promise<void> {
    const queue = join(this.#run, 'deleteQueue');
    await waitUntil('the delete queue to be empty', PATIENCE_MS, because => {
      const waiting = readdirSync(queue).filter(name => name !== 'lock');
      because(`${waiting}`);
      return waiting.length === 0 || undefined;
    });
  }

  /** Endpoints in the journal, the health endpoint included. */
  journal(): Endpoint[] {
    const entries = new Map<string, Endpoint>();
    for (const line of readFileSync(join(this.#run, 'state', 'journal'), 'utf8').split('\n')) {
      if (!line) continue;
      const { k, v } = JSON.parse(line.slice(9));
      if (!k.startsWith('endpoint/')) continue;
      if (v === undefined) entries.delete(k);
      else entries.set(k, v);
    }
    return [...entries.values()];
  }

  /** Names on the node's bpffs and in its folder below /run. */
  files(): string[] {
    const names = [this.bpffs, this.#run].flatMap(root =>
      (readdirSync(root, { recursive: true }) as string[]).map(name => name),
    );
    return names.sort();
  }

  /** Devices and routes of the node, as text. */
  async network(): Promise<{ devices: string[]; routes: string[] }> {
    const rtnl = Rtnetlink.open({ netns: this.netns });
    try {
      const links = await rtnl.links();
      const name = new Map(links.map(l => [l.ifindex, l.name]));
      const routes = await rtnl.routes({ table: 254 });
      return {
        devices: links.map(l => l.name).sort(),
        routes: routes.map(r => `${r.dst} ${r.gateway ?? ''} ${name.get(r.ifindex ?? 0)}`).sort(),
      };
    } finally {
      rtnl.close();
    }
  }

  /** Everything that pods may leave behind, for a comparison of before and after. */
  async everything(): Promise<object> {
    return {
      files: this.files(),
      ...(await this.network()),
      journal: this.journal().map(e => e.ipv4),
      ipam: (await this.api.healthz()).ipam.ipv4,
      endpoints: (await this.api.bpf('endpoint')).map(e => e.ip).sort(),
      ipcache: (await this.api.bpf('ipcache')).map(e => e.prefix).sort(),
      mounts: readFileSync(`/proc/${this.#holder}/mountinfo`, 'utf8').split('\n').length,
    };
  }

  /**
   * Where what is known of these pods differs between journal, agent, kernel and cluster; empty when nowhere. What an
   * answer promises is looked at at once; what may follow it is waited for.
   */
  async disagreements(pods: readonly Pick<TestPod, 'id'>[]): Promise<string[]> {
    const known = this.journal();
    const own = known.filter(e => e.podName);
    const wrong: string[] = [];
    const same = (what: string, have: unknown[], want: unknown[]): void => {
      const [a, b] = [have, want].map(list => JSON.stringify(list.map(String).sort()));
      if (a !== b) wrong.push(`${what}: ${a}, not ${b}`);
    };
    same(
      'journal',
      own.map(e => e.containerId),
      pods.map(p => p.id),
    );
    const entry = (e: { id: number; ifindex: number; identity: number; mac: string }): string =>
      [e.id, e.ifindex, e.identity, e.mac].join();
    const table = await this.api.bpf('endpoint');
    same(
      'cilium_lxc',
      table.filter(e => !e.host).map(e => `${e.ip},${entry(e)}`),
      known.map(e => `${e.ipv4},${entry(e)}`),
    );
    const config = (await this.api.config()).status.addressing.ipv4;
    const prefix = config['alloc-range'].split('.').slice(0, 3).join('.');
    const local = (await this.api.bpf('ipcache')).filter(
      e => e.prefix.startsWith(`${prefix}.`) && e.prefix.endsWith('/32') && e.prefix !== `${config.ip}/32`,
    );
    same(
      'cilium_ipcache',
      local.map(e => `${e.prefix},${e.identity}`),
      known.map(e => `${e.ipv4}/32,${e.identity}`),
    );
    if ((await this.api.config()).flat['enable-endpoint-routes'] === 'true') {
      const { routes } = await this.network();
      same(
        'routes',
        routes.filter(r => / lxc/.test(r)),
        known.map(e => `${e.ipv4}/32  ${e.hostIfname}`),
      );
    }
    same('addresses', (await this.api.healthz()).ipam.ipv4, [config.ip, ...known.map(e => e.ipv4)]);
    const models = (await this.api.endpoints()).map(e => e.id);
    same('ids', [...new Set(models)], models);
    wrong.push(...(await this.#left(pods, known)), ...(await this.#published(own)));
    return wrong;
  }

  /** Programs, policy map and device go after a DEL was answered: waits for their end. */
  async #left(pods: readonly Pick<TestPod, 'id'>[], known: readonly Endpoint[]): Promise<string[]> {
    const want = {
      devices: pods.map(p => hostIfname(p.id, 'eth0')).sort(),
      policyMaps: known.map(e => `${e.id}`).sort(),
    };
    let said = '';
    const settled = async (): Promise<true | undefined> => {
      const have = {
        devices: (await this.network()).devices.filter(d => /^lxc[0-9a-f]/.test(d)),
        policyMaps: this.files()
          .flatMap(f => /cilium_policy_(\d+)$/.exec(f)?.[1] ?? [])
          .sort(),
      };
      said = `${JSON.stringify(have)}, not ${JSON.stringify(want)}`;
      return JSON.stringify(have) === JSON.stringify(want) || undefined;
    };
    return await waitUntil('devices and policy maps to go', PATIENCE_MS, settled).then(
      () => [],
      () => [said],
    );
  }

  /** CiliumEndpoints follow by a controller: waits for them. */
  async #published(endpoints: readonly Endpoint[]): Promise<string[]> {
    const client = createClient(labPaths(this.lab).localKubeconfig);
    const text = (name: string, id?: number, ip?: string, identity?: number): string =>
      [name, id, ip, identity].join();
    const want = endpoints.map(e => text(e.podName!, e.id, e.ipv4, e.identity)).sort();
    let said = '';
    try {
      await waitUntil('CiliumEndpoints', PATIENCE_MS, async () => {
        const { items } = await client.list<CiliumEndpoint>('CiliumEndpoint', {});
        const have = items.map(({ metadata, status }) =>
          text(metadata.name, status?.id, status?.networking?.addressing?.[0]?.ipv4, status?.identity?.id),
        );
        said = `CiliumEndpoints: ${have.sort()}, not ${want}`;
        return `${have}` === `${want}` || undefined;
      });
      return [];
    } catch {
      return [said];
    } finally {
      client.close();
    }
  }

  /** Whether a packet of the pod crosses the datapath to the node, and back; needs no agent. */
  async talks(pod: TestPod): Promise<boolean> {
    const rtnl = Rtnetlink.open({ netns: pod.netns });
    const routes = await rtnl.routes({ table: 254 }).finally(() => rtnl.close());
    const router = routes.find(r => r.dst === 'default')?.gateway;
    return router !== undefined && (await answers(router, pod.netns));
  }
}

/**
 * The node of a lab whose pods are containers only, no objects of the API server: an operator would take them for gone and
 * remove what the agent tells of them, so it ends when the node has its block.
 */
export async function nodeOfBarePods(lab: TestLab, name: string): Promise<TestNode> {
  await lab.must('lab', 'operator', 'stop');
  return new TestNode(lab.name, name);
}

function injection({ thread, syscall, when }: KillPoint): string[] {
  const inject = ['-e', `trace=${syscall}`, '-e', `inject=${syscall}:signal=KILL:when=${when}`];
  return thread === 'any' ? ['-f', ...inject] : inject;
}

function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}
