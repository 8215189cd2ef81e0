import { codeOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient } from '../../cluster/index.ts';
import { kindOf } from '../../model/kinds.ts';
import type { KubeObject, OwnerReference } from '../../model/types.ts';
import { type Informers, OWNING_KINDS } from '../informers.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { getFresh, keyOf, uidOf, writeOwners } from '../objects.ts';
import { FOREGROUND, type GarbageStep, garbageStep, ORPHAN, OwnerGraph, ownersOf } from './graph.ts';

const NAMES = OWNING_KINDS.map(({ kind }) => kind);
/** An owner that the server has and the watch has not brought: looked at again when it does, or then. */
const UNSEEN_MS = 1000;
const MOST_REMEMBERED = 10_000;

/**
 * Deletes what nobody owns any more, as Kubernetes' collector does: in the background, in the foreground, or not at all
 * where dependents are to be orphaned. What the watch says is looked up before anything is deleted.
 */
export class GarbageCollector {
  readonly #client: ClusterClient;
  readonly #informers: Informers;
  readonly #graph = new OwnerGraph();
  readonly #queue: KeyedQueue;
  /** Uids that are gone for ever: none comes back. */
  readonly #gone = new Set<string>();

  /** The informers are the caller's. */
  constructor(client: ClusterClient, informers: Informers, log: Logger) {
    this.#client = client;
    this.#informers = informers;
    this.#queue = new KeyedQueue({ run: uid => this.#look(uid), log: log.for('garbage-collector') });
    for (const kind of NAMES) {
      informers.of(kind).on({
        added: object => this.#changed(object),
        updated: (object, old) => {
          if (metaOf(object) !== metaOf(old)) this.#changed(object);
        },
        deleted: object => this.#deleted(object),
      });
    }
  }

  close(): void {
    this.#queue.close();
  }

  #changed(object: KubeObject): void {
    const owners = this.#graph.put(object);
    // Whoever is deleted in the foreground waits for its dependents, and these for it.
    this.#add([uidOf(object), ...owners, ...this.#graph.dependents(uidOf(object)).map(uidOf)]);
  }

  #deleted(object: KubeObject): void {
    const uid = uidOf(object);
    const owners = this.#graph.remove(uid);
    this.#rememberGone(uid);
    this.#add([...owners, ...this.#graph.dependents(uid).map(uidOf)]);
  }

  /** Most objects own nothing and are owned by nobody. */
  #add(uids: readonly string[]): void {
    for (const uid of uids) if (garbageStep(this.#graph, uid).do !== 'nothing') this.#queue.add(uid);
  }

  #rememberGone(uid: string): void {
    this.#gone.add(uid);
    if (this.#gone.size <= MOST_REMEMBERED) return;
    const [oldest] = this.#gone;
    this.#gone.delete(oldest!);
  }

  async #look(uid: string): Promise<number | undefined> {
    await this.#informers.synced(NAMES);
    const object = this.#graph.get(uid);
    const step = garbageStep(this.#graph, uid);
    if (!object || step.do === 'nothing') return undefined;
    if (step.do === 'orphan') return this.#orphan(object, step.dependents);
    if (step.do === 'finish') return this.#finish(object, step.finalizer);
    for (const owner of step.absent) if (!(await this.#isGone(object, owner))) return UNSEEN_MS;
    return step.do === 'forget' ? this.#forget(object, step.owners) : this.#delete(object, step);
  }

  async #isGone(dependent: KubeObject, { apiVersion, kind, name, uid }: OwnerReference): Promise<boolean> {
    if (this.#gone.has(uid)) return true;
    const known = kindOf({ apiVersion, kind })!;
    const namespace = known.namespaced ? (dependent.metadata.namespace ?? '') : '';
    const there = await getFresh(this.#client, known.kind, `${namespace}/${name}`);
    if (there && uidOf(there) === uid) return false;
    this.#rememberGone(uid);
    return true;
  }

  /** The object as the server has it, where its owners are those that the decision was made of. */
  async #unchanged(object: KubeObject): Promise<KubeObject | undefined> {
    const there = await getFresh(this.#client, object.kind, keyOf(object));
    const same = there && uidOf(there) === uidOf(object) && metaOf(there) === metaOf(object);
    return same ? there : undefined;
  }

  async #delete(
    object: KubeObject,
    { policy }: Extract<GarbageStep, { do: 'delete' }>,
  ): Promise<number | undefined> {
    const there = await this.#unchanged(object);
    if (!there) return UNSEEN_MS;
    const { name, namespace } = object.metadata;
    await this.#client.delete(object.kind, name, {
      ...(namespace !== undefined && { namespace }),
      uid: uidOf(object),
      propagationPolicy: policy,
    });
    return undefined;
  }

  async #forget(object: KubeObject, owners: readonly OwnerReference[]): Promise<number | undefined> {
    const there = await this.#unchanged(object);
    if (!there) return UNSEEN_MS;
    const uids = owners.map(owner => owner.uid);
    await writeOwners(
      this.#client,
      there,
      ownersOf(there).filter(owner => !uids.includes(owner.uid)),
    );
    return undefined;
  }

  /** Makes dependents forget their owner. They come back by the watch, and their owner with them. */
  async #orphan(owner: KubeObject, dependents: readonly KubeObject[]): Promise<undefined> {
    await Promise.all(
      dependents.map(async dependent => {
        const there = await getFresh(this.#client, dependent.kind, keyOf(dependent));
        if (!there || uidOf(there) !== uidOf(dependent)) return;
        const others = ownersOf(there).filter(({ uid }) => uid !== uidOf(owner));
        if (others.length < ownersOf(there).length) await writeOwners(this.#client, there, others);
      }),
    );
  }

  /** Lets an object go that waited for its dependents, after a look at the server for any that the watch lacks. */
  async #finish(object: KubeObject, finalizer: string): Promise<number | undefined> {
    const dependents = await this.#listDependents(object);
    if (finalizer === ORPHAN && dependents.length > 0) {
      await this.#orphan(object, dependents);
      return UNSEEN_MS;
    }
    const isBlocking = (dependent: KubeObject): boolean =>
      ownersOf(dependent).some(({ uid, blockOwnerDeletion }) => uid === uidOf(object) && blockOwnerDeletion);
    if (finalizer === FOREGROUND && dependents.some(isBlocking)) return UNSEEN_MS;
    const there = await getFresh(this.#client, object.kind, keyOf(object));
    if (!there || uidOf(there) !== uidOf(object)) return undefined;
    const { name, namespace, resourceVersion, finalizers = [] } = there.metadata;
    const patch = { metadata: { resourceVersion, finalizers: finalizers.filter(one => one !== finalizer) } };
    try {
      await this.#client.patch(object.kind, name, patch, namespace === undefined ? {} : { namespace });
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
    }
    return undefined;
  }

  async #listDependents(owner: KubeObject): Promise<KubeObject[]> {
    const { namespace } = owner.metadata;
    const kinds = OWNING_KINDS.filter(kind => namespace === undefined || kind.namespaced);
    const lists = await Promise.all(
      kinds.map(({ kind }) => this.#client.list(kind, namespace === undefined ? {} : { namespace })),
    );
    return lists
      .flatMap(({ items }) => items)
      .filter(object => ownersOf(object).some(({ uid }) => uid === uidOf(owner)));
  }
}

/** What the collector's decisions are made of. */
function metaOf({ metadata }: KubeObject): string {
  return JSON.stringify([metadata.ownerReferences, metadata.finalizers, metadata.deletionTimestamp]);
}
