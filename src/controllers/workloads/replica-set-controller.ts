import { codeOf, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient, Informer } from '../../cluster/index.ts';
import { EventRecorder } from '../../cluster/index.ts';
import { formatLabelSelector, matchesLabels } from '../../model/selectors.ts';
import type { NewObject, Pod, ReplicaSet } from '../../model/types.ts';
import type { Informers } from '../informers.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import {
  controllerOf,
  controllerReference,
  getFresh,
  isLeaving,
  keyOf,
  settleClaims,
  splitKey,
  uidOf,
} from '../objects.ts';
import { Semaphore } from '../semaphore.ts';
import { isQuiet, planReplicaSet, type ReplicaSetPlan, replicaSetStatus } from './replica-set.ts';
import { writeStatus } from './status.ts';

/** Requests of one set at once. */
const AT_ONCE = 32;

type Failure = { reason: string; message: string };

/**
 * Keeps as many Pods as each ReplicaSet asks for. The watch says when to look; Pods are created and deleted only by
 * what the server itself says at that moment, so that a watch that lags never makes one too many.
 */
export class ReplicaSetController {
  readonly #client: ClusterClient;
  readonly #sets: Informer<ReplicaSet>;
  readonly #pods: Informer<Pod>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;
  /** Why the latest attempt failed, by uid. */
  readonly #failures = new Map<string, Failure>();

  /** The informers are the caller's. */
  constructor(client: ClusterClient, informers: Informers, log: Logger) {
    const named = log.for('replicaset-controller');
    this.#client = client;
    this.#sets = informers.of<ReplicaSet>('ReplicaSet');
    this.#pods = informers.of<Pod>('Pod');
    this.#events = new EventRecorder(client, 'replicaset-controller', named);
    this.#queue = new KeyedQueue({ run: key => this.#look(key), log: named });
    const set = (object: ReplicaSet): void => this.#queue.add(keyOf(object));
    const pod = (object: Pod): void => this.#podChanged(object);
    this.#sets.on({
      added: set,
      updated: set,
      deleted: object => {
        this.#failures.delete(uidOf(object));
        // Pods that matched may now belong to another set of the same selector.
        set(object);
      },
    });
    this.#pods.on({
      added: pod,
      updated: (object, old) => {
        pod(object);
        if (controllerOf(old)?.uid !== controllerOf(object)?.uid) pod(old);
      },
      deleted: pod,
    });
  }

  close(): void {
    this.#queue.close();
  }

  #podChanged(pod: Pod): void {
    const controller = controllerOf(pod);
    if (controller !== undefined) {
      if (controller.kind === 'ReplicaSet') this.#queue.add(`${pod.metadata.namespace}/${controller.name}`);
      return;
    }
    for (const set of this.#sets.list()) {
      if (set.metadata.namespace !== pod.metadata.namespace) continue;
      if (matchesLabels(set.spec.selector, pod.metadata.labels)) this.#queue.add(keyOf(set));
    }
  }

  async #look(key: string): Promise<number | undefined> {
    await Promise.all([this.#sets.synced, this.#pods.synced]);
    const { namespace, name } = splitKey(key);
    const seen = this.#sets.get(name, namespace);
    if (!seen) return undefined;
    const pods = this.#pods.list();
    const failed = isQuiet(planReplicaSet(seen, pods))
      ? undefined
      : await this.#act(key, pods).then(
          () => undefined,
          error => ({ error }),
        );
    const set = this.#sets.get(name, namespace);
    if (!set) return undefined;
    const failure = this.#failures.get(uidOf(set));
    const { status, recheckMs } = replicaSetStatus(set, this.#pods.list(), failure, Date.now());
    await writeStatus(this.#client, set, status);
    if (failed) throw failed.error;
    return recheckMs;
  }

  async #act(key: string, seen: readonly Pod[]): Promise<void> {
    const set = await getFresh<ReplicaSet>(this.#client, 'ReplicaSet', key);
    if (!set || isLeaving(set)) return;
    const { namespace } = splitKey(key);
    const labelSelector = formatLabelSelector(set.spec.selector);
    const { items } = await this.#client.list<Pod>('Pod', { namespace, labelSelector });
    const fresh = planReplicaSet(set, items);
    // What does not match any more is not in that list. Letting go names the version, so a late look is harmless.
    const { release } = planReplicaSet(set, seen).claims;
    const claims = { ...fresh.claims, release };
    await settleClaims(this.#client, set, claims);
    // Counted anew by what the watch brings of it.
    if (claims.adopt.length > 0) return;
    await this.#scale(set, fresh);
  }

  async #scale(set: ReplicaSet, plan: ReplicaSetPlan): Promise<void> {
    let failure: Failure | undefined;
    try {
      await this.#create(set, plan.create);
      const slots = new Semaphore(AT_ONCE);
      await Promise.all(plan.remove.map(pod => slots.run(() => this.#delete(set, pod))));
    } catch (error) {
      const reason = plan.create > 0 ? 'FailedCreate' : 'FailedDelete';
      failure = { reason, message: messageOf(error) };
      // A namespace that is going takes no more; the set goes with it.
      if (codeOf(error) !== 'FORBIDDEN') {
        this.#events.record(set, { type: 'Warning', ...failure });
        throw error;
      }
    } finally {
      if (failure) this.#failures.set(uidOf(set), failure);
      else this.#failures.delete(uidOf(set));
    }
  }

  /** In batches that double, so that a template which nobody takes is refused once and not a thousand times. */
  async #create(set: ReplicaSet, count: number): Promise<void> {
    for (let done = 0, batch = 1; done < count; done += batch, batch = Math.min(AT_ONCE, 2 * batch)) {
      const attempts = Array.from({ length: Math.min(batch, count - done) }, () => this.#createOne(set));
      const failed = (await Promise.allSettled(attempts)).find(result => result.status === 'rejected');
      if (failed) throw failed.reason;
    }
  }

  async #createOne(set: ReplicaSet): Promise<void> {
    const { metadata = {}, spec } = set.spec.template!;
    const pod: NewObject<Pod> = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        generateName: `${set.metadata.name}-`,
        namespace: set.metadata.namespace!,
        ...(metadata.labels && { labels: metadata.labels }),
        ...(metadata.annotations && { annotations: metadata.annotations }),
        ...(metadata.finalizers && { finalizers: metadata.finalizers }),
        ownerReferences: [controllerReference(set)],
      },
      spec,
    };
    const { metadata: made } = await this.#client.create<Pod>(pod);
    this.#events.record(set, {
      type: 'Normal',
      reason: 'SuccessfulCreate',
      message: `Created pod: ${made.name}`,
    });
  }

  async #delete(set: ReplicaSet, pod: Pod): Promise<void> {
    const { name, namespace } = pod.metadata;
    const there = await this.#client.delete('Pod', name, { namespace: namespace!, uid: uidOf(pod) });
    if (!there) return;
    this.#events.record(set, {
      type: 'Normal',
      reason: 'SuccessfulDelete',
      message: `Deleted pod: ${name}`,
    });
  }
}
