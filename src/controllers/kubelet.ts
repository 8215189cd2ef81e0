import type { Logger } from '../base/log.ts';
import type { ClusterClient, Informer } from '../cluster/index.ts';
import { EventRecorder } from '../cluster/index.ts';
import type { Pod } from '../model/types.ts';
import { NODE_GRACE_MS } from './node-lifecycle.ts';
import { type NodeIdentity, NodeReporter } from './node-object.ts';
import { PodWorker, type WorkerContext } from './pod-worker.ts';
import type { PodRef, PodRuntime, RecoveredSandbox } from './runtime.ts';
import type { Semaphore } from './semaphore.ts';

/** How often a node looks whether its network has become ready, in ms. */
const REPORT_EVERY_MS = 500;

export interface KubeletOptions {
  client: ClusterClient;
  runtime: PodRuntime;
  node: NodeIdentity;
  /** Pods of all nodes; the caller's. */
  pods: Informer<Pod>;
  slots: Semaphore;
  version: string;
  log: Logger;
  /** How long the node's network may not answer before the node counts as not ready, in ms. */
  awayGraceMs?: number;
}

/** Stands in for the kubelet of one node: registers it, and carries the Pods bound to it through their lives. */
export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #context: WorkerContext;
  readonly #reporter: NodeReporter;
  /** By the pod's uid. */
  readonly #workers = new Map<string, PodWorker>();
  /** Since when the network does not answer, and why, once that has lasted too long. */
  #away: { sinceMs?: number; because?: string } = {};
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: KubeletOptions) {
    const log = options.log.for(`kubelet-${options.node.name}`);
    const { client, runtime, node, slots } = options;
    this.#options = options;
    this.#context = {
      client,
      runtime,
      slots,
      log,
      hostIp: node.ip,
      events: new EventRecorder(client, 'kubelet', log, node.name),
    };
    const notReady = () => {
      const why = runtime.networkNotReady(node.name) ?? this.#away.because;
      return (
        why &&
        `container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:${why}`
      );
    };
    this.#reporter = new NodeReporter(client, node, notReady, options.version, log);
  }

  /**
   * Registers the node, takes up the sandboxes that an earlier process left, and begins.
   * @param recovered sandboxes of this node
   */
  async start(recovered: readonly RecoveredSandbox[]): Promise<void> {
    await this.#reporter.register();
    await this.#options.pods.synced;
    if (this.#closed) return;
    for (const one of recovered) {
      const { pod: ref } = one.sandbox;
      const pod = this.#options.pods.get(ref.name, ref.namespace);
      this.#startWorker(ref, one).update(pod?.metadata.uid === ref.uid ? pod : undefined);
    }
    this.#options.pods.on({
      added: pod => this.#seen(pod),
      updated: pod => this.#seen(pod),
      deleted: pod => this.#workers.get(pod.metadata.uid ?? '')?.update(undefined),
    });
    this.#reportLater();
  }

  /** Stops looking after the pods; they live on. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const worker of this.#workers.values()) worker.close();
  }

  #reportLater(): void {
    this.#timer = setTimeout(async () => {
      await this.#noticeAway();
      await this.#reporter.report();
      if (!this.#closed) this.#reportLater();
    }, REPORT_EVERY_MS);
  }

  async #noticeAway(): Promise<void> {
    const { runtime, node, awayGraceMs = NODE_GRACE_MS } = this.#options;
    const why = await runtime.networkAway(node.name);
    if (why === undefined) {
      this.#away = {};
      return;
    }
    const nowMs = performance.now();
    const { sinceMs = nowMs } = this.#away;
    this.#away = nowMs - sinceMs < awayGraceMs ? { sinceMs } : { sinceMs, because: why };
  }

  #seen(pod: Pod): void {
    const { name, namespace = 'default', uid = '' } = pod.metadata;
    const node = this.#options.node.name;
    if (pod.spec.nodeName !== node || this.#closed) return;
    const ref: PodRef = { node, namespace, name, uid, hostNetwork: pod.spec.hostNetwork === true };
    const worker = this.#workers.get(uid) ?? this.#startWorker(ref);
    worker.update(pod);
  }

  #startWorker(ref: PodRef, recovered?: RecoveredSandbox): PodWorker {
    const worker = new PodWorker(this.#context, ref, () => this.#workers.delete(ref.uid), recovered);
    this.#workers.set(ref.uid, worker);
    return worker;
  }
}
