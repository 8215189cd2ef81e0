import { codeOf, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient, Informer } from '../../cluster/index.ts';
import { EventRecorder } from '../../cluster/index.ts';
import { matchesLabels } from '../../model/selectors.ts';
import type { Deployment, Pod, ReplicaSet } from '../../model/types.ts';
import type { Informers } from '../informers.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { controllerOf, getFresh, keyOf, settleClaims, splitKey, uidOf } from '../objects.ts';
import { type DeploymentPlan, isOfTemplate, isQuiet, planDeployment, REVISION } from './deployment.ts';
import { deploymentStatus } from './deployment-status.ts';
import { writeStatus } from './status.ts';

/**
 * Rolls Deployments out over their ReplicaSets. As the controller of those: the watch says when to look, the server
 * itself what is to be done. A set is named after its template, so that it is never made twice.
 */
export class DeploymentController {
  readonly #client: ClusterClient;
  readonly #deployments: Informer<Deployment>;
  readonly #sets: Informer<ReplicaSet>;
  readonly #pods: Informer<Pod>;
  readonly #events: EventRecorder;
  readonly #queue: KeyedQueue;

  /** The informers are the caller's. */
  constructor(client: ClusterClient, informers: Informers, log: Logger) {
    const named = log.for('deployment-controller');
    this.#client = client;
    this.#deployments = informers.of<Deployment>('Deployment');
    this.#sets = informers.of<ReplicaSet>('ReplicaSet');
    this.#pods = informers.of<Pod>('Pod');
    this.#events = new EventRecorder(client, 'deployment-controller', named);
    this.#queue = new KeyedQueue({ run: key => this.#look(key), log: named });
    const deployment = (object: Deployment): void => this.#queue.add(keyOf(object));
    const set = (object: ReplicaSet): void => this.#setChanged(object);
    this.#deployments.on({ added: deployment, updated: deployment, deleted: deployment });
    this.#sets.on({
      added: set,
      updated: (object, old) => {
        set(object);
        if (controllerOf(old)?.uid !== controllerOf(object)?.uid) set(old);
      },
      deleted: set,
    });
    // Only one that recreates waits for Pods to end.
    this.#pods.on({ updated: pod => this.#podEnded(pod), deleted: pod => this.#podEnded(pod) });
  }

  close(): void {
    this.#queue.close();
  }

  #setChanged(set: ReplicaSet): void {
    const controller = controllerOf(set);
    if (controller !== undefined) {
      if (controller.kind === 'Deployment') this.#queue.add(`${set.metadata.namespace}/${controller.name}`);
      return;
    }
    for (const deployment of this.#deployments.list()) {
      if (deployment.metadata.namespace !== set.metadata.namespace) continue;
      if (matchesLabels(deployment.spec.selector, set.metadata.labels)) this.#queue.add(keyOf(deployment));
    }
  }

  #podEnded(pod: Pod): void {
    const { namespace = '' } = pod.metadata;
    const set = this.#sets.get(controllerOf(pod)?.name ?? '', namespace);
    const deployment = set && this.#deployments.get(controllerOf(set)?.name ?? '', namespace);
    if (deployment?.spec.strategy?.type === 'Recreate') this.#queue.add(keyOf(deployment));
  }

  async #look(key: string): Promise<number | undefined> {
    await Promise.all([this.#deployments.synced, this.#sets.synced, this.#pods.synced]);
    const { namespace, name } = splitKey(key);
    const seen = this.#deployments.get(name, namespace);
    if (!seen) return undefined;
    const plan = this.#plan(seen, this.#sets.list());
    if (!isQuiet(plan)) {
      // What it writes comes back by the watch and leads here again.
      await this.#act(key, namespace);
      return undefined;
    }
    const { status, recheckMs } = deploymentStatus(seen, plan, Date.now());
    await writeStatus(this.#client, seen, status);
    return recheckMs;
  }

  #plan(deployment: Deployment, sets: readonly ReplicaSet[]): DeploymentPlan {
    const ended = ['Succeeded', 'Failed'];
    const hasLivePods = (uid: string): boolean =>
      this.#pods
        .list()
        .some(pod => controllerOf(pod)?.uid === uid && !ended.includes(pod.status?.phase ?? ''));
    return planDeployment(deployment, sets, hasLivePods);
  }

  async #act(key: string, namespace: string): Promise<void> {
    const deployment = await getFresh<Deployment>(this.#client, 'Deployment', key);
    if (!deployment) return;
    const { items } = await this.#client.list<ReplicaSet>('ReplicaSet', { namespace });
    const plan = this.#plan(deployment, items);
    await settleClaims(this.#client, deployment, plan.claims);
    // The rest holds when they are its own.
    if (plan.claims.adopt.length > 0) return;
    if (plan.create) await this.#create(deployment, plan.create);
    await Promise.all(plan.change.map(change => this.#change(deployment, change)));
    if (plan.revision !== undefined) await this.#annotate(deployment, plan.revision);
    for (const set of plan.remove) {
      await this.#client.delete('ReplicaSet', set.metadata.name, { namespace, uid: uidOf(set) });
    }
  }

  async #create(deployment: Deployment, set: NonNullable<DeploymentPlan['create']>): Promise<void> {
    const name = set.metadata.name!;
    try {
      await this.#client.create<ReplicaSet>(set);
    } catch (error) {
      if (codeOf(error) === 'ALREADY_EXISTS') return this.#resolveCollision(deployment, name);
      // Its namespace is going, and the Deployment with it.
      if (codeOf(error) === 'FORBIDDEN') return;
      const message = `Failed to create new replica set "${name}": ${messageOf(error)}`;
      this.#events.record(deployment, { type: 'Warning', reason: 'ReplicaSetCreateError', message });
      throw error;
    }
    this.#sayScaled(deployment, name, 0, set.spec.replicas ?? 1);
  }

  /** Another's set has the name that a new one was to have: the next try has another. */
  async #resolveCollision(deployment: Deployment, name: string): Promise<void> {
    const { namespace } = deployment.metadata;
    const there = await getFresh<ReplicaSet>(this.#client, 'ReplicaSet', `${namespace}/${name}`);
    if (!there || (controllerOf(there)?.uid === uidOf(deployment) && isOfTemplate(there, deployment))) return;
    const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
    await writeStatus(this.#client, deployment, { ...deployment.status, collisionCount });
  }

  async #change(deployment: Deployment, change: DeploymentPlan['change'][number]): Promise<void> {
    const { set, replicas, annotations } = change;
    const { name, namespace, resourceVersion } = set.metadata;
    const patch = { metadata: { resourceVersion, annotations }, spec: { replicas } };
    await this.#client.patch('ReplicaSet', name, patch, { namespace: namespace! });
    this.#sayScaled(deployment, name, set.spec.replicas ?? 1, replicas);
  }

  async #annotate(deployment: Deployment, revision: string): Promise<void> {
    const { name, namespace, uid } = deployment.metadata;
    const patch = { metadata: { uid, annotations: { [REVISION]: revision } } };
    await this.#client.patch('Deployment', name, patch, { namespace: namespace! });
  }

  #sayScaled(deployment: Deployment, set: string, from: number, to: number): void {
    if (from === to) return;
    const message = `Scaled ${to > from ? 'up' : 'down'} replica set ${set} from ${from} to ${to}`;
    this.#events.record(deployment, { type: 'Normal', reason: 'ScalingReplicaSet', message });
  }
}
