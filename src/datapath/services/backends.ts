import { type BackendRecord, LbBackendState } from '../../maps/services.ts';
import { Ids } from './ids.ts';
import { type LbBackend, type LbFrontend, nameOf, scopesOf } from './types.ts';
import type { Garbage, ServiceWrites } from './writes.ts';

/** A backend with its number, which is its group's own. */
export interface HeldBackend extends LbBackend {
  id: number;
  l4Proto: number;
  state: number;
}

/**
 * Numbers of backends, by group. What an earlier run left keeps its number when a group names it again. Writes nothing
 * itself: what is to be written, and what goes, it adds to the lists that it is given.
 */
export class Backends {
  readonly #groups = new Map<string, Map<string, HeldBackend>>();
  readonly #byId = new Map<number, HeldBackend>();
  readonly #ids = new Ids();
  /** Backends that were in the map and that no group has named yet. */
  readonly #adopted: Map<number, BackendRecord>;
  #retired = 0;
  /** Told of each backend that goes, before the maps know. */
  onRetired: (backend: HeldBackend) => void = () => {};

  /** @param adopted what is in the map; is kept, and changed */
  constructor(adopted: Map<number, BackendRecord>) {
    this.#adopted = adopted;
    for (const id of adopted.keys()) this.#ids.claim(id);
  }

  /** Entries that the map has, those of an earlier run included. */
  get size(): number {
    return this.#ids.size;
  }

  /** Backends that have gone since the start. */
  get retired(): number {
    return this.#retired;
  }

  /** Whether the number is in use. */
  has(id: number): boolean {
    return this.#ids.has(id);
  }

  get(id: number): HeldBackend {
    return this.#byId.get(id)!;
  }

  /** The number of a backend that `put` has given one. */
  idOf(group: string, backend: LbBackend): number {
    return this.#groups.get(group)!.get(nameOf(backend))!.id;
  }

  /** Every entry that must be in the map. */
  *entries(): IterableIterator<[number, BackendRecord]> {
    for (const { id, address, port, l4Proto, state } of this.#byId.values())
      yield [id, { address, port, l4Proto, state }];
    yield* this.#adopted;
  }

  /**
   * Every backend that frontends of the group name gets a number and its entry.
   * @param heldBy numbers that a frontend's slots had until now
   */
  put(
    group: string,
    frontends: readonly LbFrontend[],
    heldBy: (frontend: LbFrontend) => Iterable<number>,
    writes: ServiceWrites,
  ): void {
    const held = this.#groups.get(group) ?? new Map<string, HeldBackend>();
    this.#groups.set(group, held);
    const put = (backend: LbBackend, l4Proto: number, state: number): void => {
      const name = nameOf(backend);
      const known = held.get(name);
      if (known && known.state === state) return;
      const { address, port } = backend;
      const id = known?.id ?? this.#adopt(backend, l4Proto, frontends, heldBy) ?? this.#ids.take();
      const now = { address, port, id, l4Proto, state };
      held.set(name, now);
      this.#byId.set(id, now);
      writes.backends.push([id, { address, port, l4Proto, state }]);
    };
    const active = new Set<string>();
    for (const frontend of frontends)
      for (const { backends } of scopesOf(frontend))
        for (const backend of backends) {
          active.add(nameOf(backend));
          put(backend, frontend.l4Proto, LbBackendState.LB_BACKEND_ACTIVE);
        }
    for (const { terminating, l4Proto } of frontends)
      for (const backend of terminating)
        if (!active.has(nameOf(backend))) put(backend, l4Proto, LbBackendState.LB_BACKEND_TERMINATING);
  }

  /** Backends of the group that none of its frontends names go. */
  retireUnnamed(group: string, frontends: readonly LbFrontend[], garbage: Garbage): void {
    const named = new Set<string>();
    for (const frontend of frontends)
      for (const list of [...scopesOf(frontend).map(set => set.backends), frontend.terminating])
        for (const backend of list) named.add(nameOf(backend));
    for (const [name, backend] of this.#groups.get(group)!)
      if (!named.has(name)) this.#retire(group, backend, garbage);
  }

  /** The group and all its backends go. */
  retireGroup(group: string, garbage: Garbage): void {
    for (const backend of this.#groups.get(group)?.values() ?? []) this.#retire(group, backend, garbage);
    this.#groups.delete(group);
  }

  /** All groups were put: what an earlier run left and none has named goes. */
  retireAdopted(garbage: Garbage): void {
    this.#retired += this.#adopted.size;
    for (const id of this.#adopted.keys()) {
      garbage.backends.push(id);
      this.#ids.free(id);
    }
    this.#adopted.clear();
  }

  #retire(group: string, backend: HeldBackend, garbage: Garbage): void {
    this.#groups.get(group)!.delete(nameOf(backend));
    this.#byId.delete(backend.id);
    this.#ids.free(backend.id);
    garbage.backends.push(backend.id);
    this.#retired++;
    this.onRetired(backend);
  }

  /** The number that a backend had in an earlier run, by the slots of its frontends. */
  #adopt(
    backend: LbBackend,
    l4Proto: number,
    frontends: readonly LbFrontend[],
    heldBy: (frontend: LbFrontend) => Iterable<number>,
  ): number | undefined {
    if (this.#adopted.size === 0) return undefined;
    for (const frontend of frontends)
      for (const id of heldBy(frontend)) {
        const known = this.#adopted.get(id);
        if (known?.address !== backend.address || known.port !== backend.port) continue;
        if (known.l4Proto !== l4Proto) continue;
        this.#adopted.delete(id);
        return id;
      }
    return undefined;
  }
}
