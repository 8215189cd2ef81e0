import { timestamp } from '../../base/time.ts';
import type { Condition, Pod, ReplicaSet, ReplicaSetStatus } from '../../model/types.ts';
import { type Claims, claim, isLeaving, uidOf } from '../objects.ts';
import { positive, setCondition } from './status.ts';

/** What a ReplicaSet lacks or has too much of. `claims` comes first: the numbers hold for what it owns already. */
export interface ReplicaSetPlan {
  claims: Claims<Pod>;
  create: number;
  /** Whom to delete. */
  remove: Pod[];
}

const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

function conditionOf(pod: Pod, type: string): Condition | undefined {
  return pod.status?.conditions?.find(condition => condition.type === type);
}

const isReady = (pod: Pod): boolean => conditionOf(pod, 'Ready')?.status === 'True';

/** Neither ended nor about to: the Pods that count. */
export function isActive(pod: Pod): boolean {
  return !['Succeeded', 'Failed'].includes(pod.status?.phase ?? '') && !isLeaving(pod);
}

/** When a Pod became ready, in ms since the epoch; undefined while it is not. */
function readySinceMs(pod: Pod): number | undefined {
  if (!isReady(pod)) return undefined;
  return Date.parse(conditionOf(pod, 'Ready')?.lastTransitionTime ?? '') || 0;
}

/** Numbers by which Pods are compared, the first that differs decides: who has less goes first. */
function worth(pod: Pod, podsBeside: number): number[] {
  const { spec, status, metadata } = pod;
  const restarts = (status?.containerStatuses ?? []).map(container => container.restartCount ?? 0);
  return [
    spec.nodeName ? 1 : 0,
    ['Pending', 'Unknown', 'Running'].indexOf(status?.phase ?? 'Pending'),
    isReady(pod) ? 1 : 0,
    Number(metadata.annotations?.[DELETION_COST]) || 0,
    -podsBeside,
    -(readySinceMs(pod) ?? 0),
    -Math.max(0, ...restarts),
    -(Date.parse(metadata.creationTimestamp ?? '') || 0),
  ];
}

/**
 * Pods in the order in which a ReplicaSet gives them up: without a node before those on one, not running, not ready,
 * cheaper by annotation, crowded on one node, ready or created later. Equals go by uid, so that every look agrees. Pure.
 */
export function inOrderOfRemoval(pods: readonly Pod[]): Pod[] {
  const onNode = new Map<string, number>();
  for (const { spec } of pods) onNode.set(spec.nodeName ?? '', (onNode.get(spec.nodeName ?? '') ?? 0) + 1);
  const ranked = pods.map(pod => ({ pod, worth: worth(pod, onNode.get(pod.spec.nodeName ?? '') ?? 0) }));
  ranked.sort((a, b) => {
    const at = a.worth.findIndex((value, i) => value !== b.worth[i]);
    if (at >= 0) return a.worth[at]! - b.worth[at]!;
    return uidOf(a.pod) < uidOf(b.pod) ? -1 : 1;
  });
  return ranked.map(({ pod }) => pod);
}

/** Decides what to do for a ReplicaSet. Pure. @param pods of any namespace and owner */
export function planReplicaSet(set: ReplicaSet, pods: readonly Pod[]): ReplicaSetPlan {
  const claims = claim(set, set.spec.selector, pods.filter(isActive));
  const missing = isLeaving(set) ? 0 : (set.spec.replicas ?? 1) - claims.own.length;
  return {
    claims,
    create: Math.max(0, missing),
    remove: missing < 0 ? inOrderOfRemoval(claims.own).slice(0, -missing) : [],
  };
}

export function isQuiet({ claims, create, remove }: ReplicaSetPlan): boolean {
  return claims.adopt.length + claims.release.length + create + remove.length === 0;
}

/**
 * A ReplicaSet's status from its Pods. Pure.
 * @param failure why the latest attempt to create or delete failed
 * @returns and after how many ms a Pod will have been ready for long enough, where one is not yet
 */
export function replicaSetStatus(
  set: ReplicaSet,
  pods: readonly Pod[],
  failure: { reason: string; message: string } | undefined,
  nowMs: number,
): { status: ReplicaSetStatus; recheckMs?: number } {
  const { own } = claim(set, set.spec.selector, pods.filter(isActive));
  const wanted = Object.entries(set.spec.template?.metadata?.labels ?? {});
  const labelled = own.filter(pod => wanted.every(([key, value]) => pod.metadata.labels?.[key] === value));
  const minReadyMs = (set.spec.minReadySeconds ?? 0) * 1000;
  const availableAtMs = own
    .map(readySinceMs)
    .filter(sinceMs => sinceMs !== undefined)
    .map(sinceMs => sinceMs + minReadyMs);
  // One that is due later than it can be became ready before the clock was set back.
  const pending = availableAtMs.filter(atMs => atMs > nowMs && atMs - nowMs <= minReadyMs);
  const conditions = setCondition(
    set.status?.conditions,
    'ReplicaFailure',
    failure && { status: 'True', ...failure },
    timestamp(nowMs),
  );
  const status: ReplicaSetStatus = {
    replicas: own.length,
    ...positive({
      fullyLabeledReplicas: labelled.length,
      readyReplicas: availableAtMs.length,
      availableReplicas: availableAtMs.length - pending.length,
      observedGeneration: set.metadata.generation ?? 0,
    }),
    ...(conditions.length > 0 && { conditions }),
  };
  return pending.length === 0 ? { status } : { status, recheckMs: Math.min(...pending) - nowMs };
}
