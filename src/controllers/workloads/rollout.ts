import type { Deployment } from '../../model/types.ts';

/** One ReplicaSet as a rollout sees it. */
export interface Share {
  /** Pods that are asked for. */
  readonly wanted: number;
  /** Pods that have been ready for long enough, as last reported. */
  readonly available: number;
}

/** How a Deployment wants its Pods replaced; both bounds in Pods. */
export interface Rollout {
  readonly replicas: number;
  /** How many more than `replicas` there may be. */
  readonly maxSurge: number;
  /** How many of `replicas` may be missing. */
  readonly maxUnavailable: number;
  readonly recreate: boolean;
  readonly paused: boolean;
}

function resolve(value: number | string | undefined, replicas: number, round: (n: number) => number): number {
  if (typeof value === 'number') return value;
  return round((Number.parseInt(value ?? '25%', 10) / 100) * replicas);
}

/** A Deployment's rollout, percentages resolved: a surge rounds up, what may be missing down. Pure. */
export function rolloutOf({ spec }: Deployment): Rollout {
  const replicas = spec.replicas ?? 1;
  const { maxSurge, maxUnavailable } = spec.strategy?.rollingUpdate ?? {};
  const surge = resolve(maxSurge, replicas, Math.ceil);
  // Neither more nor less would never end.
  const missing = resolve(maxUnavailable, replicas, Math.floor) || (surge === 0 ? 1 : 0);
  return {
    replicas,
    maxSurge: surge,
    maxUnavailable: Math.min(missing, replicas),
    recreate: spec.strategy?.type === 'Recreate',
    paused: spec.paused === true,
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/**
 * How many Pods each ReplicaSet of a Deployment shall ask for now. Of one state only: repeated as Pods become available
 * it ends with all Pods in the new set. At no time more than replicas + maxSurge are asked for (unless there were more
 * before), and none is taken away that must stay available.
 * @param current the set of the present template; undefined while there is none
 * @param old the others, oldest first
 * @param oldPodsLive whether Pods of old sets have not ended yet (for Recreate)
 * @returns `current` undefined where no set of the present template shall be made yet
 */
export function sizes(
  rollout: Rollout,
  current: Share | undefined,
  old: readonly Share[],
  oldPodsLive: boolean,
): { current: number | undefined; old: number[] } {
  if (rollout.paused) return pausedSizes(rollout, current, old);
  if (rollout.recreate) {
    const wait = oldPodsLive || old.some(({ wanted }) => wanted > 0);
    return { current: wait ? current?.wanted : rollout.replicas, old: old.map(() => 0) };
  }
  const target = grown(rollout, current?.wanted ?? 0, sum(old.map(({ wanted }) => wanted)));
  // A report may be older than the size: a set never has more available than it asks for.
  const ready = Math.min(current?.available ?? 0, current?.wanted ?? 0, target);
  return { current: target, old: shrunk(old, ready - (rollout.replicas - rollout.maxUnavailable)) };
}

function grown({ replicas, maxSurge }: Rollout, wanted: number, others: number): number {
  if (wanted >= replicas) return replicas;
  const room = replicas + maxSurge - wanted - others;
  return wanted + Math.max(0, Math.min(room, replicas - wanted));
}

/** Takes from the old sets what can go: first Pods that are of no use, then as many as others are available for. */
function shrunk(old: readonly Share[], spareWithout: number): number[] {
  const healthy = old.map(({ wanted, available }) => Math.min(wanted, available));
  const left = old.map(({ wanted }) => wanted);
  let budget = sum(left) + spareWithout;
  let spare = sum(healthy) + spareWithout;
  for (const [i, { wanted }] of old.entries()) {
    const useless = Math.max(0, Math.min(budget, wanted - healthy[i]!));
    left[i]! -= useless;
    budget -= useless;
  }
  for (const i of old.keys()) {
    const spared = Math.max(0, Math.min(spare, left[i]!));
    left[i]! -= spared;
    spare -= spared;
  }
  return left;
}

/** A rollout that is paused goes neither on nor back; only a change of `replicas` is followed. */
function pausedSizes(
  { replicas, maxSurge }: Rollout,
  current: Share | undefined,
  old: readonly Share[],
): { current: number | undefined; old: number[] } {
  // The present set counts as the newest.
  const all = [...old, ...(current ? [current] : [])].map(({ wanted }) => wanted);
  const isAlone = (): boolean => all.filter(wanted => wanted > 0).length <= 1;
  let excess = sum(all) - replicas - maxSurge;
  if (!isAlone()) {
    for (const i of all.keys()) {
      const less = Math.max(0, Math.min(excess, all[i]!));
      all[i]! -= less;
      excess -= less;
    }
  }
  const only = all.findIndex(wanted => wanted > 0);
  if (all.length > 0 && isAlone()) all[only >= 0 ? only : all.length - 1] = replicas;
  else if (all.length > 0) all[all.length - 1]! += Math.max(0, replicas - sum(all));
  return { current: current && all.at(-1), old: all.slice(0, old.length) };
}
