import { timestamp } from '../../src/base/time.ts';
import { controllerOf, controllerReference, isLeaving, uidOf } from '../../src/controllers/objects.ts';
import {
  type DeploymentPlan,
  isQuiet,
  planDeployment,
  REVISION,
} from '../../src/controllers/workloads/deployment.ts';
import { deploymentStatus } from '../../src/controllers/workloads/deployment-status.ts';
import { isActive, planReplicaSet, replicaSetStatus } from '../../src/controllers/workloads/replica-set.ts';
import type { Deployment, Pod, ReplicaSet } from '../../src/model/types.ts';

/** A cluster of one Deployment in memory, whose controllers may die between any two of their writes. */
export class WorkloadWorld {
  deployment: Deployment;
  sets = new Map<string, ReplicaSet>();
  pods = new Map<string, Pod>();
  #next = 0;
  #nowMs = Date.UTC(2026, 0, 1);

  constructor(replicas: number, rollingUpdate: { maxSurge: number; maxUnavailable: number } | 'Recreate') {
    this.deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'default', uid: 'deployment', generation: 1 },
      spec: {
        replicas,
        selector: { matchLabels: { app: 'web' } },
        strategy:
          rollingUpdate === 'Recreate' ? { type: 'Recreate' } : { type: 'RollingUpdate', rollingUpdate },
        template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: '0' }] } },
        revisionHistoryLimit: 2,
        progressDeadlineSeconds: 600,
      },
    };
  }

  // What people do.

  specify(change: Partial<Deployment['spec']>): void {
    const { metadata, spec } = this.deployment;
    const generation = (metadata.generation ?? 0) + 1;
    this.deployment = {
      ...this.deployment,
      metadata: { ...metadata, generation },
      spec: { ...spec, ...change },
    };
  }

  setImage(image: string): void {
    const { template } = this.deployment.spec;
    this.specify({ template: { ...template, spec: { containers: [{ name: 'c', image }] } } });
  }

  /** One of the Pods, by a number as large as one likes. */
  pick(choice: number): Pod | undefined {
    const pods = [...this.pods.values()];
    return pods[choice % Math.max(1, pods.length)];
  }

  /** Every object loses what says whose it is: a Deployment made anew finds them so. */
  orphanAll(): void {
    for (const set of this.sets.values()) delete set.metadata.ownerReferences;
    for (const pod of this.pods.values()) delete pod.metadata.ownerReferences;
  }

  // What controllers do. `writes` is how many they get done before they die.

  deploymentPass(writes = Number.POSITIVE_INFINITY): void {
    const sets = [...this.sets.values()];
    const plan = planDeployment(this.deployment, sets, uid =>
      [...this.pods.values()].some(pod => controllerOf(pod)?.uid === uid && pod.status?.phase !== 'Failed'),
    );
    for (const write of this.#writesOf(plan).slice(0, writes)) write();
    if (!isQuiet(plan) || writes === 0) return;
    const { status } = deploymentStatus(this.deployment, plan, this.#nowMs);
    this.deployment = { ...this.deployment, status };
  }

  #writesOf(plan: DeploymentPlan): (() => void)[] {
    const { claims, create, change, revision, remove } = plan;
    const writes = [
      ...claims.adopt.map(set => () => {
        set.metadata.ownerReferences = [controllerReference(this.deployment)];
      }),
      ...claims.release.map(set => () => {
        delete set.metadata.ownerReferences;
      }),
    ];
    if (claims.adopt.length > 0) return writes;
    if (create) {
      writes.push(() => {
        const name = create.metadata.name!;
        if (this.sets.has(name)) throw new Error(`${name} is made twice`);
        this.#next++;
        const metadata = {
          ...create.metadata,
          name,
          uid: `set-${this.#next}`,
          creationTimestamp: this.#tick(),
          generation: 1,
        };
        this.sets.set(name, { ...create, metadata } as ReplicaSet);
      });
    }
    for (const { set, replicas, annotations } of change) {
      writes.push(() => {
        set.metadata.annotations = { ...set.metadata.annotations, ...annotations };
        if (set.spec.replicas !== replicas) set.metadata.generation = (set.metadata.generation ?? 0) + 1;
        set.spec.replicas = replicas;
      });
    }
    if (revision !== undefined) {
      writes.push(() => {
        const annotations = { ...this.deployment.metadata.annotations, [REVISION]: revision };
        this.deployment = { ...this.deployment, metadata: { ...this.deployment.metadata, annotations } };
      });
    }
    for (const set of remove) writes.push(() => void this.sets.delete(set.metadata.name));
    return writes;
  }

  replicaSetPass(name: string, writes = Number.POSITIVE_INFINITY): void {
    const set = this.sets.get(name);
    if (!set) return;
    const { claims, create, remove } = planReplicaSet(set, [...this.pods.values()]);
    const todo: (() => void)[] = [
      ...claims.adopt.map(pod => () => {
        pod.metadata.ownerReferences = [controllerReference(set)];
      }),
      ...claims.release.map(pod => () => {
        delete pod.metadata.ownerReferences;
      }),
    ];
    if (claims.adopt.length === 0) {
      todo.push(...Array.from({ length: create }, () => () => this.#createPod(set)));
      todo.push(...remove.map(pod => () => this.deletePod(pod)));
    }
    for (const write of todo.slice(0, writes)) write();
  }

  replicaSetStatus(name: string): void {
    const set = this.sets.get(name);
    if (!set) return;
    set.status = replicaSetStatus(set, [...this.pods.values()], undefined, this.#nowMs).status;
  }

  #createPod(set: ReplicaSet): void {
    this.#next++;
    const name = `${set.metadata.name}-${this.#next}`;
    this.pods.set(name, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'default',
        uid: name,
        labels: { ...set.spec.template!.metadata!.labels },
        ownerReferences: [controllerReference(set)],
        creationTimestamp: this.#tick(),
      },
      spec: set.spec.template!.spec,
      status: { phase: 'Pending' },
    });
  }

  // What nodes do.

  deletePod(pod: Pod): void {
    pod.metadata.deletionTimestamp ??= this.#tick();
  }

  ready(pod: Pod): void {
    const conditions = [{ type: 'Ready', status: 'True' as const, lastTransitionTime: this.#tick() }];
    pod.status = { phase: 'Running', conditions };
  }

  fail(pod: Pod): void {
    pod.status = { phase: 'Failed' };
  }

  end(pod: Pod): void {
    if (isLeaving(pod)) this.pods.delete(pod.metadata.name);
  }

  /** Everybody does everything there is to do until nothing changes any more. Returns whether it came to that. */
  settle(): boolean {
    let before = '';
    for (let round = 0; round < 500; round++) {
      this.deploymentPass();
      for (const name of [...this.sets.keys()]) {
        this.replicaSetPass(name);
        this.replicaSetStatus(name);
      }
      for (const pod of [...this.pods.values()]) {
        if (isLeaving(pod)) this.end(pod);
        else if (pod.status?.phase === 'Pending') this.ready(pod);
      }
      this.deploymentPass();
      const now = JSON.stringify([this.deployment, [...this.sets], [...this.pods]]);
      if (now === before) return true;
      before = now;
    }
    return false;
  }

  // What is seen.

  asked(): number {
    return [...this.sets.values()].reduce((sum, { spec }) => sum + (spec.replicas ?? 0), 0);
  }

  available(): number {
    return [...this.pods.values()].filter(pod => isActive(pod) && pod.status?.phase === 'Running').length;
  }

  active(set: ReplicaSet): number {
    return [...this.pods.values()].filter(pod => isActive(pod) && controllerOf(pod)?.uid === uidOf(set))
      .length;
  }

  #tick(): string {
    this.#nowMs += 1000;
    return timestamp(this.#nowMs);
  }
}
