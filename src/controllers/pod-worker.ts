import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient, EventRecorder } from '../cluster/index.ts';
import type { Pod } from '../model/types.ts';
import { podStatus } from './pod-status.ts';
import {
  type ContainerFacts,
  commandOf,
  nextStep,
  type PodFacts,
  type PodStep,
  restartDelayMs,
  setupDelayMs,
} from './pod-step.ts';
import type { PodRef, PodRuntime, RecoveredSandbox, Sandbox } from './runtime.ts';
import type { Semaphore } from './semaphore.ts';

/** A look at what nobody reports (a namespace that vanished, a command that ended), in ms. */
const POLL_MS = 1000;
const API_RETRY_MS = 1000;
/** A container that ran this long begins its restarts anew, in ms. */
const STABLE_MS = 600_000;
const DEFAULT_GRACE_SECONDS = 30;

/** What the workers of one node share. */
export interface WorkerContext {
  readonly client: ClusterClient;
  readonly runtime: PodRuntime;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly hostIp: string;
  /** Bounds how many set-ups and removals run at once on the machine. */
  readonly slots: Semaphore;
}

/**
 * Carries one pod through its life: one step at a time, each decided by `nextStep` from what is known now.
 * Ends, and calls `onForgotten`, when nothing of the pod is left.
 */
export class PodWorker {
  readonly #context: WorkerContext;
  readonly #ref: PodRef;
  #pod: Pod | undefined;
  /** The object as last seen: Events may come when it is gone. */
  #lastPod: Pod | undefined;
  #sandbox: Sandbox | undefined;
  #failures = 0;
  #nextAttemptMs = 0;
  #setupError: string | undefined;
  #containers: Record<string, ContainerFacts> = {};
  #writtenStatus = '';
  #wake = new AbortController();
  #closed = false;

  constructor(context: WorkerContext, ref: PodRef, onForgotten: () => void, recovered?: RecoveredSandbox) {
    this.#context = context;
    this.#ref = ref;
    if (recovered) {
      this.#sandbox = recovered.sandbox;
      for (const started of recovered.containers) {
        this.#containers[started.name] = { ...started, restarts: 0, nextStartMs: 0 };
      }
    }
    setImmediate(() => void this.#run().then(onForgotten));
  }

  /** The object as the server has it now; undefined when it is gone, or is another one of the same name. */
  update(pod: Pod | undefined): void {
    if (pod && !this.#lastPod) this.#rememberRestarts(pod);
    this.#pod = pod;
    this.#lastPod = pod ?? this.#lastPod;
    this.#wake.abort();
  }

  /** Leaves the pod as it is; a later worker takes it up again. */
  close(): void {
    this.#closed = true;
    this.#wake.abort();
  }

  /** A restarted kubelet counts on from what it once reported. */
  #rememberRestarts(pod: Pod): void {
    for (const status of pod.status?.containerStatuses ?? []) {
      const known = this.#containers[status.name];
      this.#containers[status.name] = { nextStartMs: 0, ...known, restarts: status.restartCount };
    }
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      this.#wake = new AbortController();
      this.#noticeExits();
      const facts = this.#facts();
      const step = nextStep(facts, Date.now());
      if (step.do === 'forget') return;
      try {
        await this.#writeStatus(facts);
        await this.#take(step);
      } catch (error) {
        this.#context.log.warn('a step of a pod failed', {
          pod: `${this.#ref.namespace}/${this.#ref.name}`,
          step: step.do,
          error: messageOf(error),
        });
        await this.#sleep(API_RETRY_MS);
      }
    }
  }

  #facts(): PodFacts {
    const sandbox = this.#sandbox;
    const networkNotReady = this.#context.runtime.networkNotReady(this.#ref.node);
    return {
      pod: this.#pod,
      failures: this.#failures,
      nextAttemptMs: this.#nextAttemptMs,
      containers: this.#containers,
      ...(networkNotReady === undefined ? {} : { networkNotReady }),
      ...(this.#setupError === undefined ? {} : { setupError: this.#setupError }),
      ...(sandbox ? { sandbox: { ...sandbox, alive: this.#context.runtime.alive(sandbox) } } : {}),
    };
  }

  #noticeExits(): void {
    if (!this.#sandbox) return;
    for (const [name, known] of Object.entries(this.#containers)) {
      if (known.containerId === undefined || known.startedAtMs === undefined || known.exit) continue;
      const started = { name, containerId: known.containerId, startedAtMs: known.startedAtMs };
      const exit = this.#context.runtime.exitOf(this.#sandbox, started);
      if (!exit) continue;
      const steady = exit.finishedAtMs - known.startedAtMs > STABLE_MS;
      const nextStartMs = exit.finishedAtMs + restartDelayMs(steady ? 1 : known.restarts + 1);
      this.#containers[name] = { ...known, exit, nextStartMs };
    }
  }

  async #sleep(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#wake.signal }).catch(() => {});
  }

  async #take(step: Exclude<PodStep, { do: 'forget' }>): Promise<void> {
    switch (step.do) {
      case 'wait':
        return this.#sleep(
          Math.max(1, Math.min(POLL_MS, (step.untilMs ?? Number.MAX_SAFE_INTEGER) - Date.now())),
        );
      case 'create-sandbox':
        return this.#context.slots.run(() => this.#create());
      case 'remove-sandbox':
        return this.#context.slots.run(() => this.#remove());
      case 'start':
        return this.#start(step.container);
      case 'finish':
        return this.#finish();
    }
  }

  async #create(): Promise<void> {
    const containerId = randomBytes(32).toString('hex');
    try {
      this.#sandbox = await this.#context.runtime.createSandbox(this.#ref, containerId);
      this.#failures = 0;
      this.#setupError = undefined;
    } catch (error) {
      const message = `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "${containerId}": ${messageOf(error)}`;
      this.#failed();
      this.#setupError = message;
      this.#event('Warning', 'FailedCreatePodSandBox', message, messageOf(error));
    }
  }

  async #remove(): Promise<void> {
    const sandbox = this.#sandbox;
    if (!sandbox) return;
    const leaving = this.#pod?.metadata.deletionTimestamp !== undefined || !this.#pod;
    if (leaving && this.#failures === 0) {
      for (const name of Object.keys(this.#containers))
        this.#event('Normal', 'Killing', `Stopping container ${name}`);
    } else if (!leaving) {
      this.#event('Normal', 'SandboxChanged', 'Pod sandbox changed, it will be killed and re-created.');
    }
    const seconds = this.#lastPod?.metadata.deletionGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
    try {
      await this.#context.runtime.removeSandbox(sandbox, seconds * 1000);
    } catch (error) {
      this.#failed();
      const message = `error killing pod: failed to "KillPodSandbox": ${messageOf(error)}`;
      this.#event('Warning', 'FailedKillPod', message);
      return;
    }
    this.#sandbox = undefined;
    this.#failures = 0;
    this.#nextAttemptMs = 0;
    if (leaving) return;
    // What ended stays ended (a completed pod keeps its exit codes); what ran starts again in the next sandbox.
    for (const [name, known] of Object.entries(this.#containers)) {
      if (!known.exit) this.#containers[name] = { restarts: known.restarts + 1, nextStartMs: 0 };
    }
  }

  async #start(name: string): Promise<void> {
    const container = this.#pod?.spec.containers.find(c => c.name === name);
    if (!container || !this.#sandbox) return;
    const before = this.#containers[name];
    const runs =
      before === undefined ? 0 : before.exit || before.startError ? before.restarts + 1 : before.restarts;
    const env = Object.fromEntries((container.env ?? []).map(({ name: key, value }) => [key, value ?? '']));
    const workingDir = container['workingDir'];
    try {
      const started = await this.#context.runtime.startContainer(this.#sandbox, {
        name,
        command: commandOf(container),
        env,
        ...(typeof workingDir === 'string' ? { workingDir } : {}),
      });
      this.#containers[name] = { ...started, restarts: runs, nextStartMs: 0 };
      this.#event('Normal', 'Started', `Started container ${name}`);
    } catch (error) {
      const startError = messageOf(error);
      this.#containers[name] = {
        restarts: runs,
        nextStartMs: Date.now() + restartDelayMs(runs + 2),
        startError,
      };
      this.#event('Warning', 'Failed', `Error: ${startError}`);
    }
  }

  async #finish(): Promise<void> {
    const { name, namespace, uid } = this.#ref;
    await this.#context.client.delete('Pod', name, { namespace, uid, gracePeriodSeconds: 0 }).catch(error => {
      if (!['CONFLICT', 'NOT_FOUND'].includes(codeOf(error) ?? '')) throw error;
    });
    // The watch says when it is gone; until then (a finalizer may hold it) there is nothing more to do.
    this.#nextAttemptMs = Date.now() + API_RETRY_MS;
  }

  #failed(): void {
    this.#failures += 1;
    this.#nextAttemptMs = Date.now() + setupDelayMs(this.#failures);
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string, key?: string): void {
    if (!this.#lastPod) return;
    this.#context.events.record(this.#lastPod, {
      type,
      reason,
      message,
      ...(key === undefined ? {} : { key }),
    });
  }

  async #writeStatus(facts: PodFacts): Promise<void> {
    const { pod } = facts;
    if (!pod || ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '')) return;
    if (pod.metadata.deletionTimestamp !== undefined) return;
    const status = podStatus(pod, facts, this.#context.hostIp, Date.now());
    const text = JSON.stringify(status);
    if (text === this.#writtenStatus) return;
    const patch = { status: { podIP: null, podIPs: null, ...status } };
    const { name, namespace } = this.#ref;
    try {
      const written = await this.#context.client.patch<Pod>('Pod', name, patch, {
        namespace,
        subresource: 'status',
      });
      // Transition times stay as they were written first: the next status is made from this one.
      if (this.#pod === pod) this.#pod = written;
      this.#writtenStatus = JSON.stringify(podStatus(written, facts, this.#context.hostIp, Date.now()));
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
    }
  }
}
