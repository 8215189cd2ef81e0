import { timestamp } from '../../base/time.ts';
import type { Condition, Deployment, DeploymentStatus, ReplicaSet } from '../../model/types.ts';
import type { DeploymentPlan } from './deployment.ts';
import { rolloutOf } from './rollout.ts';
import { positive, setCondition } from './status.ts';

type Said = Pick<Condition, 'status' | 'reason' | 'message'>;

const COMPLETE = 'NewReplicaSetAvailable';
const PAUSED = 'DeploymentPaused';
const RESUMED = 'DeploymentResumed';
const EXCEEDED = 'ProgressDeadlineExceeded';

const total = (sets: readonly ReplicaSet[], count: (set: ReplicaSet) => number | undefined): number =>
  sets.reduce((sum, set) => sum + (count(set) ?? 0), 0);

/**
 * A Deployment's status, with the conditions that `kubectl rollout status` reads. Pure.
 * @returns and after how many ms its rollout will have taken too long, where it is under way
 */
export function deploymentStatus(
  deployment: Deployment,
  { current, old }: Pick<DeploymentPlan, 'current' | 'old'>,
  nowMs: number,
): { status: DeploymentStatus; recheckMs?: number } {
  const before = deployment.status ?? {};
  const sets = current ? [...old, current] : old;
  const available = total(sets, set => set.status?.availableReplicas);
  const status: DeploymentStatus = positive({
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: total(sets, set => set.status?.replicas),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: total(sets, set => set.status?.readyReplicas),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, total(sets, set => set.spec.replicas) - available),
    collisionCount: before.collisionCount ?? 0,
  });
  const { replicas, maxUnavailable } = rolloutOf(deployment);
  const enough = available >= replicas - maxUnavailable;
  const now = timestamp(nowMs);
  const availability: Said = enough
    ? {
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      };
  const failure = sets.flatMap(set => set.status?.conditions ?? []).find(c => c.type === 'ReplicaFailure');
  const conditions = setCondition(
    setCondition(before.conditions, 'Available', availability, now),
    'ReplicaFailure',
    failure && {
      status: 'True',
      reason: failure.reason ?? '',
      message: failure.message ?? '',
    },
    now,
  );
  const { said, renew } = progress(deployment, current, status, nowMs);
  status.conditions = setCondition(conditions, 'Progressing', said, now, renew);
  const recheckMs = deadlineMs(deployment, status.conditions);
  return recheckMs === undefined ? { status } : { status, recheckMs: Math.max(1, recheckMs - nowMs) };
}

/** When a rollout under way will have taken too long, in ms since the epoch. */
function deadlineMs({ spec }: Deployment, conditions: readonly Condition[] = []): number | undefined {
  const progressing = conditions.find(({ type }) => type === 'Progressing');
  if (progressing?.status !== 'True' || progressing.reason === COMPLETE || spec.paused) return undefined;
  if (spec.progressDeadlineSeconds === undefined) return undefined;
  // Times are whole seconds: one more, so that it is over by any reading of them.
  return Date.parse(progressing.lastUpdateTime ?? '') + (spec.progressDeadlineSeconds + 1) * 1000;
}

/** What the condition Progressing says, and whether it is news though it says the same. */
function progress(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  status: DeploymentStatus,
  nowMs: number,
): { said: Said | undefined; renew: boolean } {
  const before = deployment.status?.conditions?.find(({ type }) => type === 'Progressing');
  const stay = { said: before && pickSaid(before), renew: false };
  const { spec } = deployment;
  if (spec.paused) {
    const message = 'Deployment is paused';
    return { said: { status: 'Unknown', reason: PAUSED, message }, renew: false };
  }
  if (current === undefined) return stay;
  const { name } = current.metadata;
  const news = (reason: string, message: string, renew = false) => ({
    said: { status: 'True' as const, reason, message },
    renew,
  });
  const replicas = spec.replicas ?? 1;
  const updated = status.updatedReplicas ?? 0;
  const counts = [updated, status.replicas ?? 0, status.availableReplicas ?? 0];
  if (counts.every(count => count === replicas)) {
    return news(COMPLETE, `ReplicaSet "${name}" has successfully progressed.`);
  }
  if (before?.reason === PAUSED) return news(RESUMED, 'Deployment is resumed', true);
  // What was said of another set says nothing of this one, least of all that it took too long.
  const isOfThis = before?.reason === RESUMED || before?.message?.includes(`"${name}"`);
  if (!isOfThis) return news('FoundNewReplicaSet', `Found new replica set "${name}"`, true);
  // All Pods are of the present template, and it was complete once: scaling and failing Pods are no rollout.
  if (before?.reason === COMPLETE && (status.replicas ?? 0) === updated) return stay;
  if (hasProgressed(deployment.status ?? {}, status) || before?.reason === COMPLETE) {
    return news('ReplicaSetUpdated', `ReplicaSet "${name}" is progressing.`, true);
  }
  if ((deadlineMs(deployment, before && [before]) ?? Number.POSITIVE_INFINITY) <= nowMs) {
    const message = `ReplicaSet "${name}" has timed out progressing.`;
    return { said: { status: 'False', reason: EXCEEDED, message }, renew: false };
  }
  return stay;
}

function hasProgressed(before: DeploymentStatus, now: DeploymentStatus): boolean {
  const outdated = ({ replicas = 0, updatedReplicas = 0 }: DeploymentStatus): number =>
    replicas - updatedReplicas;
  return (
    (now.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    outdated(now) < outdated(before) ||
    (now.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  );
}

function pickSaid({ status, reason = '', message = '' }: Condition): Said {
  return { status, reason, message };
}
