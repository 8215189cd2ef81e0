import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { codeOf, FimbriaError } from '../base/errors.ts';
import { labCgroups, makeCgroup, removeCgroup } from './cgroup.ts';
import { type CniCall, type CniConfig, type CniResult, cniAdd, cniDelete, readCniConfig } from './cni.ts';
import { labPaths } from './names.ts';
import { enterNode, netnsOf, nodePid } from './namespaces.ts';
import { startDetached } from './pause.ts';
import { isAlive, type LabProcess, labProcesses, processAt, signal, waitGone } from './processes.ts';
import { writeFileAtomically } from './state.ts';

/** See controllers/runtime.ts, whose interfaces these shapes satisfy. */
interface PodRef {
  readonly node: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly hostNetwork: boolean;
}
interface Sandbox {
  readonly pod: PodRef;
  readonly containerId: string;
  readonly ips: readonly string[];
  readonly createdAtMs: number;
}
interface Container {
  readonly name: string;
  readonly containerId: string;
  readonly startedAtMs: number;
}

/** What is on disk of a sandbox: written before it is begun, and again when it is complete. */
interface SandboxRecord {
  readonly pod: PodRef;
  readonly containerId: string;
  readonly createdAtMs: number;
  readonly ips: string[];
  readonly complete: boolean;
  /** The configuration that it was set up with, and the plugins' answer: DEL gets both. */
  readonly config?: CniConfig;
  readonly result?: CniResult;
}

const NOT_INITIALIZED = 'Network plugin returns error: cni plugin not initialized';
const LONGEST_LAST_LINE = 4096;

const podName = (pod: PodRef): string => `${pod.namespace}/${pod.name}`;

/** Runs pods as network namespaces held by `fimbria-pause`, and their commands under its supervision. */
export class LabRuntime {
  readonly #lab: string;

  constructor(lab: string) {
    this.#lab = lab;
  }

  networkNotReady(node: string): string | undefined {
    try {
      return readCniConfig(labPaths(this.#lab).node(node).cni) ? undefined : NOT_INITIALIZED;
    } catch (error) {
      return `Network plugin returns error: ${error instanceof Error ? error.message : error}`;
    }
  }

  networkAway(node: string): Promise<string | undefined> {
    return new Promise(resolve => {
      const socket = connect(labPaths(this.#lab).node(node).socket);
      socket.once('connect', () => {
        socket.destroy();
        resolve(undefined);
      });
      socket.once('error', error => resolve(`Network plugin returns error: agent is away: ${error.message}`));
    });
  }

  async recover(): Promise<{ sandbox: Sandbox; containers: Container[] }[]> {
    const { pods } = labPaths(this.#lab);
    if (!existsSync(pods)) return [];
    const processes = labProcesses(this.#lab);
    return readdirSync(pods).flatMap(uid => {
      const record = this.#readRecord(uid);
      if (!record) return [];
      const containers = processes
        .filter(p => p.role === 'container' && p.options['uid'] === uid)
        .map(p => this.#containerOf(p));
      return [{ sandbox: record, containers }];
    });
  }

  #containerOf(found: LabProcess): Container {
    return {
      name: found.name?.split('/').at(-1) ?? '',
      containerId: found.options['container-id'] ?? '',
      startedAtMs: statSync(`/proc/${found.pid}`).ctimeMs,
    };
  }

  async createSandbox(pod: PodRef, containerId: string): Promise<Sandbox> {
    // What an earlier attempt could not take back.
    const left = this.#readRecord(pod.uid);
    if (left) await this.removeSandbox(left, 0);
    const begun = { pod, containerId, createdAtMs: Date.now(), ips: [], complete: false };
    this.#writeRecord(begun);
    try {
      const holder = await this.#startHolder(pod, containerId);
      const record = pod.hostNetwork
        ? { ...begun, ips: this.#nodeIps(pod.node) }
        : await this.#plug(begun, holder);
      this.#writeRecord({ ...record, complete: true });
      return record;
    } catch (error) {
      // What cannot be taken back now stays on record, and with it the attempt: DEL is called again.
      await this.removeSandbox(begun, 0).catch(() => {});
      throw error;
    }
  }

  async #startHolder(pod: PodRef, containerId: string): Promise<number> {
    const lab = this.#lab;
    const pid = await startDetached({
      lab,
      role: 'pod',
      name: podName(pod),
      labels: { node: pod.node, uid: pod.uid, 'container-id': containerId },
      cgroup: makeCgroup(this.#cgroup(pod)),
      ...(pod.hostNetwork ? { joinNet: netnsOf(this.#nodePid(pod.node)) } : { newNet: true }),
    });
    this.#pids.set(containerId, pid);
    return pid;
  }

  async #plug(begun: SandboxRecord, holder: number): Promise<SandboxRecord> {
    const config = readCniConfig(labPaths(this.#lab).node(begun.pod.node).cni);
    if (!config)
      throw new FimbriaError({
        code: 'NOT_READY',
        op: 'set up',
        object: 'network',
        why: 'cni plugin not initialized',
      });
    const record = { ...begun, config };
    this.#writeRecord(record);
    const result = await cniAdd(config, this.#call(record, netnsOf(holder)));
    return {
      ...record,
      result,
      ips: (result.ips ?? []).map(({ address }) => address.split('/')[0] ?? address),
    };
  }

  alive(sandbox: Sandbox): boolean {
    const record = this.#readRecord(sandbox.pod.uid);
    return (
      record?.complete === true &&
      record.containerId === sandbox.containerId &&
      this.#holder(sandbox) !== undefined
    );
  }

  async removeSandbox(sandbox: Sandbox, graceMs: number): Promise<void> {
    const { pod } = sandbox;
    const record = this.#readRecord(pod.uid);
    await this.#stopContainers(pod, graceMs);
    const holder = this.#holder(sandbox);
    if (record?.config) {
      const call = this.#call(record, holder === undefined ? '' : netnsOf(holder));
      await cniDelete(record.config, call, record.result);
    }
    if (holder !== undefined) signal(holder, 'SIGKILL');
    this.#pids.delete(sandbox.containerId);
    await removeCgroup(this.#cgroup(pod));
    rmSync(join(labPaths(this.#lab).pods, pod.uid), { recursive: true, force: true });
  }

  async startContainer(
    sandbox: Sandbox,
    spec: {
      name: string;
      command: readonly string[];
      env: Readonly<Record<string, string>>;
      workingDir?: string;
    },
  ): Promise<Container> {
    const { pod } = sandbox;
    const holder = this.#holder(sandbox);
    if (holder === undefined)
      throw new FimbriaError({
        code: 'ESRCH',
        op: 'start',
        object: `container ${spec.name}`,
        why: 'its sandbox is gone',
      });
    const containerId = randomBytes(32).toString('hex');
    const cwd = spec.workingDir !== undefined && existsSync(spec.workingDir) ? spec.workingDir : '/';
    await startDetached(
      {
        lab: this.#lab,
        role: 'container',
        name: `${podName(pod)}/${spec.name}`,
        labels: { node: pod.node, uid: pod.uid, 'container-id': containerId },
        joinNet: netnsOf(holder),
        cgroup: makeCgroup(this.#cgroup(pod)),
        statusFile: this.#file(pod, `${containerId}.status`),
        command: [...spec.command],
      },
      {
        log: this.#log(pod, spec.name),
        cwd,
        env: { PATH: process.env['PATH'], HOSTNAME: pod.name, HOME: '/root', ...spec.env },
      },
    );
    return { name: spec.name, containerId, startedAtMs: Date.now() };
  }

  exitOf(
    sandbox: Sandbox,
    container: Container,
  ): { exitCode: number; signal?: number; finishedAtMs: number; message?: string } | undefined {
    const { pod } = sandbox;
    const path = this.#file(pod, `${container.containerId}.status`);
    let exitCode = 137;
    let killedBy: number | undefined = 9;
    let finishedAtMs = Date.now();
    if (existsSync(path)) {
      const [how, number] = readFileSync(path, 'utf8').trim().split(' ');
      killedBy = how === 'signal' ? Number(number) : undefined;
      exitCode = how === 'signal' ? 128 + Number(number) : Number(number);
      finishedAtMs = statSync(path).mtimeMs;
    } else if (this.#supervisor(container.containerId, pod.uid) !== undefined || existsSync(path))
      return undefined;
    const message = exitCode === 0 ? undefined : this.#lastLine(this.#log(pod, container.name));
    return {
      exitCode,
      finishedAtMs,
      ...(killedBy === undefined ? {} : { signal: killedBy }),
      ...(message ? { message } : {}),
    };
  }

  #lastLine(path: string): string | undefined {
    if (!existsSync(path)) return undefined;
    const fd = openSync(path, 'r');
    try {
      const { size } = fstatSync(fd);
      const tail = Buffer.alloc(Math.min(size, LONGEST_LAST_LINE));
      readSync(fd, tail, 0, tail.length, size - tail.length);
      return tail.toString().trim().split('\n').at(-1);
    } finally {
      closeSync(fd);
    }
  }

  async #stopContainers(pod: PodRef, graceMs: number): Promise<void> {
    const supervisors = labProcesses(this.#lab)
      .filter(p => p.role === 'container' && p.options['uid'] === pod.uid)
      .map(p => p.pid);
    for (const pid of supervisors) signal(pid, 'SIGTERM');
    for (const pid of await waitGone(supervisors, graceMs)) signal(pid, 'SIGKILL');
  }

  /** Pids seen before, by container id: looking at one is cheaper than at the whole of /proc. */
  readonly #pids = new Map<string, number>();

  #find(role: 'pod' | 'container', containerId: string, uid: string): number | undefined {
    const isIt = (p: LabProcess | undefined) => p?.role === role && p.options['container-id'] === containerId;
    const known = this.#pids.get(containerId);
    if (known !== undefined && isAlive(known) && isIt(processAt(known))) return known;
    this.#pids.delete(containerId);
    const found = labProcesses(this.#lab).find(p => isIt(p) && p.options['uid'] === uid);
    if (found) this.#pids.set(containerId, found.pid);
    return found?.pid;
  }

  #holder(sandbox: Sandbox): number | undefined {
    return this.#find('pod', sandbox.containerId, sandbox.pod.uid);
  }

  #supervisor(containerId: string, uid: string): number | undefined {
    return this.#find('container', containerId, uid);
  }

  /** As `#pids`, by node. */
  readonly #nodePids = new Map<string, number>();

  #nodePid(node: string): number {
    const known = this.#nodePids.get(node);
    const at = known === undefined ? undefined : processAt(known);
    if (at?.role === 'node' && at.lab === this.#lab && at.name === node) return at.pid;
    const pid = nodePid(this.#lab, node);
    if (pid === undefined)
      throw new FimbriaError({
        code: 'ESRCH',
        op: 'enter',
        object: `node ${node}`,
        why: 'its namespaces are gone',
      });
    this.#nodePids.set(node, pid);
    return pid;
  }

  #nodeIps(node: string): string[] {
    const state = JSON.parse(readFileSync(labPaths(this.#lab).state, 'utf8')) as {
      nodes: { name: string; ip: string }[];
    };
    return state.nodes.filter(n => n.name === node).map(n => n.ip);
  }

  #call(record: SandboxRecord, netns: string): CniCall {
    const { pod, containerId } = record;
    return {
      lab: this.#lab,
      node: pod.node,
      enter: enterNode(this.#lab, pod.node, this.#nodePid(pod.node)),
      containerId,
      netns,
      args: {
        IgnoreUnknown: '1',
        K8S_POD_NAMESPACE: pod.namespace,
        K8S_POD_NAME: pod.name,
        K8S_POD_INFRA_CONTAINER_ID: containerId,
        K8S_POD_UID: pod.uid,
      },
    };
  }

  #cgroup(pod: PodRef): string {
    return join(labCgroups(this.#lab).node(pod.node), 'kubepods', `pod${pod.uid}`);
  }

  #file(pod: PodRef, name: string): string {
    const dir = join(labPaths(this.#lab).pods, pod.uid);
    mkdirSync(dir, { recursive: true });
    return join(dir, name);
  }

  /** Outlives the pod, so that what a command said before it ended can be read. */
  #log(pod: PodRef, container: string): string {
    const { logs } = labPaths(this.#lab);
    mkdirSync(logs, { recursive: true });
    return join(logs, `${pod.namespace}_${pod.name}_${container}.log`);
  }

  #writeRecord(record: SandboxRecord): void {
    writeFileAtomically(this.#file(record.pod, 'sandbox.json'), JSON.stringify(record));
  }

  #readRecord(uid: string): SandboxRecord | undefined {
    try {
      return JSON.parse(
        readFileSync(join(labPaths(this.#lab).pods, uid, 'sandbox.json'), 'utf8'),
      ) as SandboxRecord;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}
