import { isDeepStrictEqual } from 'node:util';
import type { Deployment, NewObject, PodTemplate, ReplicaSet } from '../../model/types.ts';
import { type Claims, claim, controllerReference, hashText, isLeaving, uidOf } from '../objects.ts';
import { rolloutOf, type Share, sizes } from './rollout.ts';

const HASH_LABEL = 'pod-template-hash';
export const REVISION = 'deployment.kubernetes.io/revision';
/** Annotations of a Deployment that are about itself. */
const NOT_COPIED = ['kubectl.kubernetes.io/last-applied-configuration', REVISION];
const DEFAULT_HISTORY = 10;

/** What to do for a Deployment, in this order. `claims` comes first: the rest holds for what it owns already. */
export interface DeploymentPlan {
  claims: Claims<ReplicaSet>;
  /** A set for the present template. Where its name is taken by another's, the collision count has to grow. */
  create: NewObject<ReplicaSet> | undefined;
  /** Sets of another size, or with other annotations, than they have. */
  change: { set: ReplicaSet; replicas: number; annotations: Record<string, string> }[];
  /** Old sets beyond the history that is kept. */
  remove: ReplicaSet[];
  /** The Deployment's revision, where its annotation says another. */
  revision: string | undefined;
  /** The set of the present template, and the others, oldest first. */
  current: ReplicaSet | undefined;
  old: ReplicaSet[];
}

function withoutHash(template: PodTemplate | undefined): unknown {
  const { [HASH_LABEL]: _hash, ...labels } = template?.metadata?.labels ?? {};
  return { ...template, metadata: { ...template?.metadata, labels } };
}

/** Whether a ReplicaSet is the one of the Deployment's present template. Pure. */
export function isOfTemplate(set: ReplicaSet, { spec }: Deployment): boolean {
  return isDeepStrictEqual(withoutHash(set.spec.template), withoutHash(spec.template));
}

/** JSON with keys in order, so that equal values are equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Tells Pods of different templates apart; `collisions` makes another one of the same template. Pure. */
export function templateHash(template: PodTemplate, collisions: number): string {
  return hashText(canonical(template) + (collisions === 0 ? '' : `#${collisions}`));
}

const byAge = (a: ReplicaSet, b: ReplicaSet): number => {
  const [x, y] = [a, b].map(({ metadata }) => `${metadata.creationTimestamp} ${metadata.name}`);
  return x! < y! ? -1 : 1;
};

function revisionOf({ metadata }: ReplicaSet | Deployment): number {
  return Number.parseInt(metadata.annotations?.[REVISION] ?? '', 10) || 0;
}

/** Whether a set's status is of its present size. */
function isReported({ metadata, status }: ReplicaSet): boolean {
  return (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
}

function share({ spec, status }: ReplicaSet): Share {
  return { wanted: spec.replicas ?? 1, available: status?.availableReplicas ?? 0 };
}

function newSet(deployment: Deployment, replicas: number, annotations: Record<string, string>) {
  const { metadata, spec, status } = deployment;
  const hash = templateHash(spec.template, status?.collisionCount ?? 0);
  const labels = { ...spec.template.metadata?.labels, [HASH_LABEL]: hash };
  const set: NewObject<ReplicaSet> = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${metadata.name}-${hash}`,
      namespace: metadata.namespace!,
      labels,
      annotations,
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      replicas,
      ...(spec.minReadySeconds !== undefined && { minReadySeconds: spec.minReadySeconds }),
      selector: {
        ...spec.selector,
        matchLabels: { ...spec.selector.matchLabels, [HASH_LABEL]: hash },
      },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  };
  return set;
}

function annotationsFor(deployment: Deployment, revision: number): Record<string, string> {
  const copied = Object.entries(deployment.metadata.annotations ?? {}).filter(
    ([key]) => !NOT_COPIED.includes(key),
  );
  return { ...Object.fromEntries(copied), [REVISION]: String(revision) };
}

/**
 * Decides what to do for a Deployment. Pure.
 * @param sets ReplicaSets of any namespace and owner
 * @param hasLivePods whether Pods of the set with this uid have not ended, those about to be deleted included
 */
export function planDeployment(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  hasLivePods: (setUid: string) => boolean,
): DeploymentPlan {
  const claims = claim(deployment, deployment.spec.selector, sets);
  const own = claims.own.sort(byAge);
  const current = own.find(set => isOfTemplate(set, deployment));
  const old = own.filter(set => set !== current);
  const nothing = { claims, create: undefined, change: [], remove: [], revision: undefined, current, old };
  if (isLeaving(deployment)) return nothing;

  const rollout = rolloutOf(deployment);
  const oldPodsLive = rollout.recreate && old.some(set => hasLivePods(uidOf(set)));
  const wanted = sizes(rollout, current && share(current), old.map(share), oldPodsLive);
  // What a set reported of another size of its own says nothing of how many can be spared now.
  const hasReported = rollout.recreate || own.every(isReported);
  // Going back to an old template makes its set the newest revision again.
  const revision = Math.max(current ? revisionOf(current) : 0, 1 + Math.max(0, ...old.map(revisionOf)));
  const annotations = annotationsFor(deployment, revision);
  const change: DeploymentPlan['change'] = [];
  if (current && wanted.current !== undefined) {
    const { metadata, spec } = current;
    const same = Object.entries(annotations).every(([key, value]) => metadata.annotations?.[key] === value);
    if (!same || spec.replicas !== wanted.current) {
      change.push({ set: current, replicas: wanted.current, annotations });
    }
  }
  for (const [i, set] of old.entries()) {
    const replicas = wanted.old[i]!;
    if (hasReported && !isLeaving(set) && set.spec.replicas !== replicas)
      change.push({ set, replicas, annotations: {} });
  }
  const makes = !current && wanted.current !== undefined;
  const exists = current !== undefined || makes;
  return {
    ...nothing,
    create: makes ? newSet(deployment, wanted.current!, annotations) : undefined,
    change,
    remove: current && isComplete(deployment, current) ? beyondHistory(deployment, old) : [],
    revision: exists && revisionOf(deployment) !== revision ? String(revision) : undefined,
  };
}

/** Whether all Pods are of the present template and available. Pure. */
function isComplete({ spec }: Deployment, { status, spec: set }: ReplicaSet): boolean {
  const replicas = spec.replicas ?? 1;
  return set.replicas === replicas && (status?.availableReplicas ?? 0) === replicas;
}

function beyondHistory({ spec }: Deployment, old: readonly ReplicaSet[]): ReplicaSet[] {
  const idle = old.filter(
    set => !isLeaving(set) && set.spec.replicas === 0 && (set.status?.replicas ?? 0) === 0 && isReported(set),
  );
  const byRevision = idle.sort((a, b) => revisionOf(a) - revisionOf(b));
  return byRevision.slice(0, Math.max(0, byRevision.length - (spec.revisionHistoryLimit ?? DEFAULT_HISTORY)));
}

/** Whether a plan writes nothing. */
export function isQuiet({ claims, create, change, remove, revision }: DeploymentPlan): boolean {
  const writes = claims.adopt.length + claims.release.length + change.length + remove.length;
  return writes === 0 && create === undefined && revision === undefined;
}
