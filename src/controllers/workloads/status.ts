import { isDeepStrictEqual } from 'node:util';
import type { ClusterClient } from '../../cluster/index.ts';
import type { Condition, KubeObject } from '../../model/types.ts';

/** Counts without those that are 0, as Kubernetes leaves them out. */
export function positive<T extends Record<string, number>>(counts: T): Partial<T> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)) as Partial<T>;
}

/**
 * Conditions with one of them as it is now, or without it. One that says the same as before keeps its times. Pure.
 * @param renew sets the time of the last update all the same
 */
export function setCondition(
  before: readonly Condition[] = [],
  type: string,
  now: Pick<Condition, 'status' | 'reason' | 'message'> | undefined,
  time: string,
  renew = false,
): Condition[] {
  const others = before.filter(condition => condition.type !== type);
  if (now === undefined) return others;
  const old = before.find(condition => condition.type === type);
  const same = old?.status === now.status && old?.reason === now.reason;
  if (old && same && old.message === now.message && !renew) return [...before];
  const lastTransitionTime = (old?.status === now.status ? old?.lastTransitionTime : undefined) ?? time;
  return [...others, { type, ...now, lastUpdateTime: time, lastTransitionTime }];
}

/** Writes the status of an object that was read in this version (else CONFLICT). Nothing where it is so already. */
export async function writeStatus<T extends KubeObject & { status?: unknown }>(
  client: ClusterClient,
  object: T,
  status: T['status'],
): Promise<void> {
  if (isDeepStrictEqual(object.status, status)) return;
  await client.update({ ...object, status }, { subresource: 'status' });
}
