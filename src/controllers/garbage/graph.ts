import type { Kind } from '../../model/kinds.ts';
import { kindOf } from '../../model/kinds.ts';
import type { KubeObject, OwnerReference } from '../../model/types.ts';
import { uidOf } from '../objects.ts';

/** Finalizers that a deletion with a propagation policy puts on an object, for the collector to take off. */
export const ORPHAN = 'orphan';
export const FOREGROUND = 'foregroundDeletion';

/** Who owns whom, by uid. Owners that are not there are known too: as those that somebody names. */
export class OwnerGraph {
  readonly #objects = new Map<string, KubeObject>();
  readonly #dependents = new Map<string, Set<string>>();

  /** Takes an object as it is now. Returns owners that it had before or has now. */
  put(object: KubeObject): string[] {
    const uid = uidOf(object);
    const before = this.remove(uid);
    this.#objects.set(uid, object);
    const now = ownersOf(object).map(owner => owner.uid);
    for (const owner of now) {
      const dependents = this.#dependents.get(owner) ?? new Set();
      this.#dependents.set(owner, dependents.add(uid));
    }
    return [...before, ...now];
  }

  /** Returns the owners that it had. */
  remove(uid: string): string[] {
    const object = this.#objects.get(uid);
    this.#objects.delete(uid);
    const owners = object ? ownersOf(object).map(owner => owner.uid) : [];
    for (const owner of owners) {
      const dependents = this.#dependents.get(owner);
      dependents?.delete(uid);
      if (dependents?.size === 0) this.#dependents.delete(owner);
    }
    return owners;
  }

  get(uid: string): KubeObject | undefined {
    return this.#objects.get(uid);
  }

  dependents(uid: string): KubeObject[] {
    return [...(this.#dependents.get(uid) ?? [])].map(dependent => this.#objects.get(dependent)!);
  }
}

export function ownersOf({ metadata }: KubeObject): OwnerReference[] {
  return metadata.ownerReferences ?? [];
}

export function hasFinalizer({ metadata }: KubeObject, finalizer: string): boolean {
  return metadata.deletionTimestamp !== undefined && (metadata.finalizers ?? []).includes(finalizer);
}

/** What is to be done about one object. */
export type GarbageStep =
  | { do: 'nothing' }
  /** Its dependents forget it, then it goes. */
  | { do: 'orphan'; dependents: KubeObject[] }
  /** Nobody keeps it any more. */
  | { do: 'finish'; finalizer: typeof ORPHAN | typeof FOREGROUND }
  /** No owner is left that would keep it. `absent` are owners that must be looked for before. */
  | { do: 'delete'; policy: 'Background' | 'Foreground' | 'Orphan'; absent: OwnerReference[] }
  /** Some owners are gone or going, others stay: it forgets those. `absent` as above. */
  | { do: 'forget'; owners: OwnerReference[]; absent: OwnerReference[] };

/** Whether a dependent keeps an owner that is deleted in the foreground. */
function blocks(dependent: KubeObject, ownerUid: string): boolean {
  return ownersOf(dependent).some(owner => owner.uid === ownerUid && owner.blockOwnerDeletion === true);
}

type OwnerState = 'solid' | 'absent' | 'going';

function stateOf(graph: OwnerGraph, dependent: KubeObject, owner: OwnerReference): OwnerState {
  const kind: Kind | undefined = kindOf(owner);
  // Of a kind that nobody here knows nothing can be said.
  if (!kind) return 'solid';
  const object = graph.get(owner.uid);
  // Owners are without namespace or in the dependent's own.
  const reachable =
    object !== undefined && (!kind.namespaced || object.metadata.namespace === dependent.metadata.namespace);
  if (!reachable) return 'absent';
  return hasFinalizer(object, FOREGROUND) ? 'going' : 'solid';
}

/** Decides about one object. Pure. */
export function garbageStep(graph: OwnerGraph, uid: string): GarbageStep {
  const object = graph.get(uid);
  if (!object) return { do: 'nothing' };
  const dependents = graph.dependents(uid);
  if (hasFinalizer(object, ORPHAN)) {
    return dependents.length > 0 ? { do: 'orphan', dependents } : { do: 'finish', finalizer: ORPHAN };
  }
  if (hasFinalizer(object, FOREGROUND)) {
    const kept = dependents.some(dependent => blocks(dependent, uid));
    return kept ? { do: 'nothing' } : { do: 'finish', finalizer: FOREGROUND };
  }
  return dependentStep(graph, object, dependents);
}

function dependentStep(
  graph: OwnerGraph,
  object: KubeObject,
  dependents: readonly KubeObject[],
): GarbageStep {
  const owners = ownersOf(object);
  if (owners.length === 0 || object.metadata.deletionTimestamp !== undefined) return { do: 'nothing' };
  const states = owners.map(owner => stateOf(graph, object, owner));
  const inState = (state: OwnerState): OwnerReference[] => owners.filter((_, i) => states[i] === state);
  const absent = inState('absent');
  const going = inState('going');
  if (absent.length + going.length === 0) return { do: 'nothing' };
  if (inState('solid').length > 0) return { do: 'forget', owners: [...absent, ...going], absent };
  const finalizers = object.metadata.finalizers ?? [];
  if (finalizers.includes(ORPHAN)) return { do: 'delete', policy: 'Orphan', absent };
  // An owner that waits for what it owns also waits for what that owns.
  const waits = going.length > 0 && dependents.length > 0;
  return { do: 'delete', policy: waits ? 'Foreground' : 'Background', absent };
}
