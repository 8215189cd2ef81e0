import { timestamp } from '../base/time.ts';
import type { Kind } from '../model/kinds.ts';
import type { AnyObject, Pod } from '../model/types.ts';

/** What a client may ask of a deletion. */
export interface DeleteRequest {
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  preconditions?: { uid?: string; resourceVersion?: string };
}

/** What a deletion comes to: the object goes now, is marked and stays for a while, or is on its way already. */
export type DeletePlan = { action: 'remove' } | { action: 'mark'; object: AnyObject } | { action: 'nothing' };

const DEFAULT_POD_GRACE_SECONDS = 30;
const PROPAGATION_FINALIZERS = { Orphan: 'orphan', Foreground: 'foregroundDeletion', Background: undefined };

/** Decides what deleting `old` means. Pure. */
export function planDelete(kind: Kind, old: AnyObject, request: DeleteRequest, now: Date): DeletePlan {
  const grace = graceSeconds(kind, old, request);
  const finalizers = finalizersAfter(old, request);
  if (kind.kind === 'Namespace') return planNamespace(old, now);
  if (grace === 0 && finalizers.length === 0) return { action: 'remove' };
  const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = old.metadata;
  if (deletionTimestamp !== undefined && grace >= deletionGracePeriodSeconds) return { action: 'nothing' };
  return { action: 'mark', object: marked(old, now, grace, finalizers) };
}

function marked(old: AnyObject, now: Date, grace: number, finalizers: string[]): AnyObject {
  const metadata = {
    ...old.metadata,
    deletionTimestamp: timestamp(new Date(now.getTime() + grace * 1000)),
    deletionGracePeriodSeconds: grace,
  };
  if (old.metadata.generation !== undefined) metadata.generation = old.metadata.generation + 1;
  if (finalizers.length > 0) metadata.finalizers = finalizers;
  return { ...old, metadata };
}

// Its contents go first; the namespace lifecycle takes the rest.
function planNamespace(old: AnyObject, now: Date): DeletePlan {
  if (old.metadata.deletionTimestamp !== undefined) return { action: 'nothing' };
  const metadata = { ...old.metadata, deletionTimestamp: timestamp(now) };
  const status = { ...(old['status'] as object), phase: 'Terminating' };
  return { action: 'mark', object: { ...old, metadata, status } };
}

/** Only a Pod on a node needs time: somebody there must take it down. */
function graceSeconds(kind: Kind, old: AnyObject, request: DeleteRequest): number {
  if (kind.kind !== 'Pod') return 0;
  const { spec, status } = old as unknown as Pod;
  const over = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  if (!spec.nodeName || over) return 0;
  const asked = request.gracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? DEFAULT_POD_GRACE_SECONDS;
  return Math.max(0, asked);
}

function finalizersAfter(old: AnyObject, { propagationPolicy }: DeleteRequest): string[] {
  const present = old.metadata.finalizers ?? [];
  if (propagationPolicy === undefined) return present;
  const others = present.filter(name => !Object.values(PROPAGATION_FINALIZERS).includes(name as never));
  const added = PROPAGATION_FINALIZERS[propagationPolicy];
  return added === undefined ? others : [...others, added];
}
