import { arch, cpus, release, totalmem } from 'node:os';
import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { timestamp } from '../base/time.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { Condition, Node } from '../model/types.ts';

/** A node that a kubelet stand-in answers for. */
export interface NodeIdentity {
  readonly name: string;
  readonly ip: string;
}

const GO_ARCH: Record<string, string> = { x64: 'amd64' };
const MOST_PODS = '10000';

/** The labels that a kubelet gives its own Node. */
function ownLabels(name: string): Record<string, string> {
  const architecture = GO_ARCH[arch()] ?? arch();
  return {
    'beta.kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'kubernetes.io/hostname': name,
    'kubernetes.io/os': 'linux',
  };
}

/** A Node's conditions as its kubelet reports them. Pure. @param notReady see PodRuntime.networkNotReady */
export function nodeConditions(
  notReady: string | undefined,
  before: readonly Condition[],
  nowMs: number,
): Condition[] {
  const now = timestamp(nowMs);
  const wanted = [
    {
      type: 'MemoryPressure',
      status: 'False' as const,
      reason: 'KubeletHasSufficientMemory',
      message: 'kubelet has sufficient memory available',
    },
    {
      type: 'DiskPressure',
      status: 'False' as const,
      reason: 'KubeletHasNoDiskPressure',
      message: 'kubelet has no disk pressure',
    },
    {
      type: 'PIDPressure',
      status: 'False' as const,
      reason: 'KubeletHasSufficientPID',
      message: 'kubelet has sufficient PID available',
    },
    notReady === undefined
      ? {
          type: 'Ready',
          status: 'True' as const,
          reason: 'KubeletReady',
          message: 'kubelet is posting ready status',
        }
      : { type: 'Ready', status: 'False' as const, reason: 'KubeletNotReady', message: notReady },
  ];
  return wanted.map(want => {
    const old = before.find(c => c.type === want.type);
    const since = old?.status === want.status ? (old.lastTransitionTime ?? now) : now;
    return { ...want, lastHeartbeatTime: now, lastTransitionTime: since };
  });
}

/** Registers one node and keeps its Ready condition true to what `networkNotReady` says. */
export class NodeReporter {
  readonly #client: ClusterClient;
  readonly #node: NodeIdentity;
  readonly #networkNotReady: () => string | undefined;
  readonly #version: string;
  readonly #log: Logger;
  #reported: string | undefined | null = null;

  constructor(
    client: ClusterClient,
    node: NodeIdentity,
    networkNotReady: () => string | undefined,
    version: string,
    log: Logger,
  ) {
    this.#client = client;
    this.#node = node;
    this.#networkNotReady = networkNotReady;
    this.#version = version;
    this.#log = log;
  }

  /** Creates the Node unless it is there; labels that somebody else gave it stay. */
  async register(): Promise<void> {
    const { name } = this.#node;
    const labels = ownLabels(name);
    try {
      await this.#client.create<Node>({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name, labels },
        spec: {},
      });
    } catch (error) {
      if (codeOf(error) !== 'ALREADY_EXISTS') throw error;
      await this.#client.patch('Node', name, { metadata: { labels } });
    }
    await this.report();
  }

  /** Writes the status if readiness has changed since the last time. Failures are logged and met again next time. */
  async report(): Promise<void> {
    const notReady = this.#networkNotReady();
    if (notReady === this.#reported) return;
    try {
      await this.#write(notReady);
      this.#reported = notReady;
    } catch (error) {
      this.#log.warn('reporting a node failed', { node: this.#node.name, error: messageOf(error) });
    }
  }

  async #write(notReady: string | undefined): Promise<void> {
    const { name, ip } = this.#node;
    const old = await this.#client.get<Node>('Node', name);
    const resources = {
      cpu: String(cpus().length),
      memory: `${Math.floor(totalmem() / 1024)}Ki`,
      pods: MOST_PODS,
    };
    const status: Node['status'] = {
      addresses: [
        { type: 'InternalIP', address: ip },
        { type: 'Hostname', address: name },
      ],
      capacity: resources,
      allocatable: resources,
      conditions: nodeConditions(notReady, old.status?.conditions ?? [], Date.now()),
      nodeInfo: {
        architecture: GO_ARCH[arch()] ?? arch(),
        operatingSystem: 'linux',
        osImage: 'Fimbria lab',
        kernelVersion: release(),
        kubeletVersion: `v${this.#version}-fimbria`,
        kubeProxyVersion: '',
        containerRuntimeVersion: `fimbria://${this.#version}`,
        machineID: '',
        systemUUID: '',
        bootID: '',
      },
    };
    await this.#client.patch('Node', name, { status }, { subresource: 'status' });
  }
}
