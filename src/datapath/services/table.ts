import { FimbriaError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Drift } from '../../base/reconcile.ts';
import { LbBackendState, LbScope, LbServiceFlag, type ServiceSlotKey } from '../../maps/services.ts';
import { Ids } from './ids.ts';
import { maglevTable } from './maglev.ts';
import { adoptServices, type HeldFrontend, type HeldScope } from './read.ts';
import { repairServices } from './repair.ts';
import { placeBackends } from './slots.ts';
import { frontendKey, type LbBackend, type LbBackendSet, type LbFrontend } from './types.ts';
import { Garbage, type ServiceMaps, ServiceWrites } from './writes.ts';

/** As long as no program holds what it read from a map, many times over. */
const GRACE_MS = 200;
/** `count` of a master has 16 bits. */
const MOST_SLOTS = 0xffff;

const TYPE_FLAGS = {
  ClusterIP: LbServiceFlag.LB_F_CLUSTER_IP,
  NodePort: LbServiceFlag.LB_F_NODE_PORT,
  ExternalIPs: LbServiceFlag.LB_F_EXTERNAL_IP,
  LoadBalancer: LbServiceFlag.LB_F_LOAD_BALANCER,
  HostPort: LbServiceFlag.LB_F_HOST_PORT,
} as const;

/** A backend with its number, which is its group's own. */
interface HeldBackend extends LbBackend {
  id: number;
  l4Proto: number;
  state: number;
}

/** All that an owner, a Service for instance, has put in. */
interface Owned {
  frontends: readonly LbFrontend[];
  groups: Set<string>;
}

/** What a full table said no to. */
export interface Refused {
  owner: string;
  why: string;
}

const scopesOf = ({ external, internal }: LbFrontend): [LbBackendSet, LbBackendSet | undefined] => [
  external,
  internal,
];

const nameOf = ({ address, port }: LbBackend): string => `${address}:${port}`;

/**
 * The service maps' one writer. Each owner's frontends are given as a whole; what differs from before is written in
 * the order that `ServiceWrites` has. Numbers of frontends and backends stay the same over a restart, since they are
 * read from the maps. Synchronous: a call returns when the kernel has it.
 */
export class ServiceTable {
  readonly name = 'service entries';
  readonly #maps: ServiceMaps;
  readonly #log: Logger;
  readonly #onDrift: (table: string, found: readonly Drift[]) => void;
  readonly #owners = new Map<string, Owned>();
  readonly #frontends = new Map<string, HeldFrontend & { owner?: string; spec?: LbFrontend }>();
  readonly #groups = new Map<string, Map<string, HeldBackend>>();
  readonly #backendsById = new Map<number, HeldBackend>();
  readonly #backendIds = new Ids();
  readonly #revNats = new Ids(0xffff);
  /** Backends that were in the maps and that no owner has named yet. */
  readonly #adopted: Map<number, Omit<HeldBackend, 'id'>>;
  #garbage = new Garbage();
  #garbageTimer: NodeJS.Timeout | undefined;
  #prune = false;
  #unsure = false;
  /** The next collection looks for what does not belong into the maps. */
  #sweep = false;
  #repaired = 0;
  #refused: Refused[] = [];

  /** Reads what an earlier run has left in the maps; changes nothing. */
  constructor(
    maps: ServiceMaps,
    log: Logger,
    onDrift: (table: string, found: readonly Drift[]) => void = () => {},
  ) {
    this.#maps = maps;
    this.#log = log;
    this.#onDrift = onDrift;
    const adopted = adoptServices(maps);
    for (const [key, held] of adopted.frontends) {
      this.#frontends.set(key, held);
      this.#revNats.claim(held.revNatIndex);
    }
    this.#adopted = adopted.backends;
    for (const id of adopted.backends.keys()) this.#backendIds.claim(id);
  }

  /** How many slots, masters included, and how many backends the maps hold. */
  get entries(): { services: number; backends: number; reverseNat: number } {
    let services = 0;
    for (const { scopes } of this.#frontends.values())
      for (const scope of scopes) services += scope ? scope.ids.length + 1 : 0;
    return {
      services,
      backends: this.#backendIds.size,
      reverseNat: this.#revNats.size,
    };
  }

  /** Owners whose frontends did not fit, at their last `apply`. */
  get refused(): readonly Refused[] {
    return this.#refused;
  }

  /** The number that `service list` shows: the reverse NAT index. */
  idOf(frontend: Pick<LbFrontend, 'address' | 'port' | 'l4Proto'>): number | undefined {
    return this.#frontends.get(frontendKey(frontend))?.revNatIndex;
  }

  /** All frontends that owners have put in, with their numbers. */
  *list(): IterableIterator<{ owner: string; id: number; frontend: LbFrontend }> {
    for (const { owner, spec, revNatIndex } of this.#frontends.values())
      if (owner !== undefined && spec) yield { owner, id: revNatIndex, frontend: spec };
  }

  /**
   * Makes owners' frontends as given; none takes an owner away. No two owners may name the same frontend at a time.
   * @throws FimbriaError MAP_FULL when some did not fit (the others are in), or the kernel's; then the next call or
   *   `resync` puts it right
   */
  apply(changes: ReadonlyMap<string, readonly LbFrontend[]>): void {
    const writes = new ServiceWrites();
    this.#refused = this.#refused.filter(({ owner }) => !changes.has(owner));
    const gone: { key: string; owner: string }[] = [];
    for (const [owner, frontends] of changes) {
      const before = this.#owners.get(owner);
      const keep = new Set(frontends.map(frontendKey));
      for (const old of before?.frontends ?? [])
        if (!keep.has(frontendKey(old))) gone.push({ key: frontendKey(old), owner });
      if (!this.#hasRoom(owner, frontends, before)) continue;
      this.#put(owner, frontends, before, writes);
    }
    for (const { key, owner } of gone) if (this.#frontends.get(key)?.owner === owner) this.#drop(key, writes);
    this.#write(writes);
    this.#collectLater();
    const refused = this.#refused.find(({ owner }) => changes.has(owner));
    if (refused)
      throw new FimbriaError({
        code: 'MAP_FULL',
        op: 'write',
        object: `service ${refused.owner}`,
        why: refused.why,
        hint: 'raise bpf.lbMapMax',
      });
  }

  /** All owners were put in since the start: what no owner has named goes, now and from now on. */
  allowPrune(): void {
    if (this.#prune) return;
    this.#prune = true;
    const writes = new ServiceWrites();
    for (const [key, { owner }] of this.#frontends) if (owner === undefined) this.#drop(key, writes);
    for (const id of this.#adopted.keys()) {
      this.#garbage.backends.push(id);
      this.#backendIds.free(id);
    }
    this.#adopted.clear();
    // An earlier run may have ended before it could delete what it had taken out of use.
    this.#sweep = true;
    this.#write(writes);
    this.#collectLater();
  }

  /** Compares everything with the maps and repairs it. Returns what had drifted. */
  async resync(): Promise<Drift[]> {
    const expected = this.#expected();
    const found = repairServices(this.#maps, expected, this.#prune && this.#garbage.isEmpty);
    const expectedOnly = this.#unsure;
    this.#unsure = false;
    if (expectedOnly || !this.#prune || found.length === 0) return [];
    this.#repaired += found.length;
    this.#onDrift(this.name, found);
    return found;
  }

  get repaired(): number {
    return this.#repaired;
  }

  /** Deletes what nobody refers to any more, if no reader can hold it. For tests at once. */
  collect(): void {
    clearTimeout(this.#garbageTimer);
    this.#garbageTimer = undefined;
    const garbage = this.#garbage;
    this.#garbage = new Garbage();
    // What was taken into use again meanwhile stays.
    garbage.slots = garbage.slots.filter(key => !this.#isUsed(key));
    garbage.maglev = garbage.maglev.filter(({ revNatIndex }) => !this.#revNats.has(revNatIndex));
    garbage.backends = garbage.backends.filter(id => !this.#backendIds.has(id));
    garbage.reverseNat = garbage.reverseNat.filter(id => !this.#revNats.has(id));
    const ranges = new Set<string>();
    if (garbage.sourceRanges.length > 0)
      for (const { revNatIndex, spec } of this.#frontends.values())
        for (const cidr of spec?.sourceRanges ?? []) ranges.add(`${revNatIndex} ${cidr}`);
    garbage.sourceRanges = garbage.sourceRanges.filter(k => !ranges.has(`${k.revNatIndex} ${k.cidr}`));
    garbage.delete(this.#maps);
    if (!this.#sweep) return;
    this.#sweep = false;
    repairServices(this.#maps, this.#expected(), true);
  }

  close(): void {
    clearTimeout(this.#garbageTimer);
  }

  #hasRoom(owner: string, frontends: readonly LbFrontend[], before: Owned | undefined): boolean {
    const size = (list: readonly LbFrontend[]): { slots: number; backends: number } => {
      const groups = new Map<string, Set<string>>();
      let slots = 0;
      for (const frontend of list) {
        const names = groups.get(frontend.group) ?? new Set();
        groups.set(frontend.group, names);
        for (const set of scopesOf(frontend)) {
          if (!set) continue;
          slots += Math.min(set.backends.length, MOST_SLOTS) + 1;
          for (const backend of set.backends) names.add(nameOf(backend));
        }
      }
      return { slots, backends: [...groups.values()].reduce((sum, names) => sum + names.size, 0) };
    };
    const { services, backends, reverseNat } = this.#counted();
    const [was, will] = [size(before?.frontends ?? []), size(frontends)];
    const full = [
      ['frontends and slots', services + will.slots - was.slots, this.#maps.services.maxEntries],
      ['backends', backends + will.backends - was.backends, this.#maps.backends.maxEntries],
      [
        'frontends',
        reverseNat + frontends.length - (before?.frontends.length ?? 0),
        this.#maps.reverseNat.maxEntries,
      ],
    ].find(([, need, room]) => (need as number) > (room as number));
    if (!full || will.slots < was.slots) {
      this.#slotCount = services + will.slots - was.slots;
      return true;
    }
    this.#refused.push({ owner, why: `there is room for ${full[2]} ${full[0]}, ${full[1]} are wanted` });
    return false;
  }

  /** Slots that are in the maps; counted once and then kept. */
  #slotCount: number | undefined;

  #counted(): { services: number; backends: number; reverseNat: number } {
    this.#slotCount ??= this.entries.services;
    return { services: this.#slotCount, backends: this.#backendIds.size, reverseNat: this.#revNats.size };
  }

  #put(
    owner: string,
    frontends: readonly LbFrontend[],
    before: Owned | undefined,
    writes: ServiceWrites,
  ): void {
    const byGroup = new Map<string, LbFrontend[]>();
    for (const frontend of frontends) {
      const list = byGroup.get(frontend.group);
      if (list) list.push(frontend);
      else byGroup.set(frontend.group, [frontend]);
    }
    for (const [group, list] of byGroup) this.#putBackends(group, list, writes);
    for (const frontend of frontends) this.#putFrontend(owner, frontend, writes);
    // Last: until here slots may name what goes.
    for (const group of before?.groups ?? [])
      if (!byGroup.has(group)) this.#retire(group, this.#groups.get(group)?.values() ?? [], true);
    for (const [group, list] of byGroup) this.#retireUnnamed(group, list);
    if (frontends.length > 0) this.#owners.set(owner, { frontends, groups: new Set(byGroup.keys()) });
    else this.#owners.delete(owner);
  }

  /** Every backend that frontends of the group name gets a number and its entry. */
  #putBackends(group: string, frontends: readonly LbFrontend[], writes: ServiceWrites): void {
    const held = this.#groups.get(group) ?? new Map<string, HeldBackend>();
    this.#groups.set(group, held);
    const put = (backend: LbBackend, l4Proto: number, state: number): void => {
      const name = nameOf(backend);
      const known = held.get(name);
      if (known && known.state === state) return;
      const id = known?.id ?? this.#adopt(backend, l4Proto, frontends) ?? this.#backendIds.take();
      const now = { address: backend.address, port: backend.port, id, l4Proto, state };
      held.set(name, now);
      this.#backendsById.set(id, now);
      const { address, port } = now;
      writes.backends.push([id, { address, port, l4Proto, state }]);
    };
    const active = new Set<string>();
    for (const { external, internal, l4Proto } of frontends)
      for (const set of [external, ...(internal ? [internal] : [])])
        for (const backend of set.backends) {
          active.add(nameOf(backend));
          put(backend, l4Proto, LbBackendState.LB_BACKEND_ACTIVE);
        }
    for (const { terminating, l4Proto } of frontends)
      for (const backend of terminating)
        if (!active.has(nameOf(backend))) put(backend, l4Proto, LbBackendState.LB_BACKEND_TERMINATING);
  }

  /** The number that a backend had in an earlier run, by the slots of its frontends; of one without slot by address. */
  #adopt(backend: LbBackend, l4Proto: number, frontends: readonly LbFrontend[]): number | undefined {
    if (this.#adopted.size === 0) return undefined;
    const isIt = (id: number): boolean => {
      const known = this.#adopted.get(id);
      return known?.address === backend.address && known.port === backend.port && known.l4Proto === l4Proto;
    };
    for (const frontend of frontends) {
      for (const scope of this.#frontends.get(frontendKey(frontend))?.scopes ?? []) {
        const id = scope?.ids.find(isIt);
        if (id !== undefined) {
          this.#adopted.delete(id);
          return id;
        }
      }
    }
    return undefined;
  }

  #putFrontend(owner: string, spec: LbFrontend, writes: ServiceWrites): void {
    const key = frontendKey(spec);
    const before = this.#frontends.get(key);
    const revNatIndex = before?.revNatIndex ?? this.#revNats.take();
    const { address, port, l4Proto } = spec;
    if (!before) writes.reverseNat.push([revNatIndex, { address, port }]);
    const ranges = new Set(spec.sourceRanges);
    for (const cidr of ranges) writes.sourceRanges.push([{ revNatIndex, cidr }, true]);
    for (const cidr of before?.spec?.sourceRanges ?? [])
      if (!ranges.has(cidr)) this.#garbage.sourceRanges.push({ revNatIndex, cidr });
    const held = this.#groups.get(spec.group)!;
    // The internal scope first: the external master says that there is one.
    const scopes = scopesOf(spec).map(
      (set, scope) => set && this.#placed(set, spec, before?.scopes[scope], held),
    ) as HeldFrontend['scopes'];
    for (const scope of [LbScope.LB_SCOPE_INTERNAL, LbScope.LB_SCOPE_EXTERNAL]) {
      const now = scopes[scope];
      const old = before?.scopes[scope];
      if (now) this.#writeScope({ address, port, l4Proto, scope }, revNatIndex, old, now, writes);
      else if (old) this.#collectScope({ address, port, l4Proto, scope }, revNatIndex, old, true);
    }
    this.#frontends.set(key, { owner, spec, at: { address, port, l4Proto }, revNatIndex, scopes });
  }

  #placed(
    { local, backends }: LbBackendSet,
    spec: LbFrontend,
    before: HeldScope | undefined,
    held: ReadonlyMap<string, HeldBackend>,
  ): HeldScope {
    const wanted = [...new Set(backends.slice(0, MOST_SLOTS).map(b => held.get(nameOf(b))!.id))];
    const flags =
      TYPE_FLAGS[spec.type] |
      (spec.affinityTimeoutS ? LbServiceFlag.LB_F_AFFINITY : 0) |
      (spec.sourceRanges ? LbServiceFlag.LB_F_SOURCE_RANGES : 0) |
      (spec.maglev ? LbServiceFlag.LB_F_MAGLEV : 0) |
      (spec.dsr ? LbServiceFlag.LB_F_DSR : 0) |
      (spec.internal ? LbServiceFlag.LB_F_TWO_SCOPES : 0) |
      (local ? LbServiceFlag.LB_F_LOCAL : 0);
    return {
      ids: placeBackends(before?.ids ?? [], wanted),
      flags,
      affinityTimeoutS: spec.affinityTimeoutS ?? 0,
    };
  }

  #writeScope(
    at: Omit<ServiceSlotKey, 'slot'>,
    revNatIndex: number,
    before: HeldScope | undefined,
    now: HeldScope,
    writes: ServiceWrites,
  ): void {
    const slotOf = (slot: number): ServiceSlotKey => ({ ...at, slot });
    const blank = { revNatIndex, affinityTimeoutS: 0, count: 0, flags: 0 };
    for (const [i, backendId] of now.ids.entries())
      if (before?.ids[i] !== backendId) writes.slots.push([slotOf(i + 1), { ...blank, backendId }]);
    for (let i = now.ids.length; i < (before?.ids.length ?? 0); i++) this.#garbage.slots.push(slotOf(i + 1));
    const isSame =
      before?.flags === now.flags &&
      before.affinityTimeoutS === now.affinityTimeoutS &&
      before.ids.length === now.ids.length;
    if (!isSame) {
      const { flags, affinityTimeoutS, ids } = now;
      writes.masters.push([
        slotOf(0),
        { backendId: 0, revNatIndex, affinityTimeoutS, flags, count: ids.length },
      ]);
    }
    if (!(now.flags & LbServiceFlag.LB_F_MAGLEV)) return;
    if (isSame && now.ids.every((id, i) => before!.ids[i] === id)) return;
    const members = now.ids.map(id => this.#backendsById.get(id)!);
    writes.maglev.push([{ revNatIndex, scope: at.scope }, maglevTable(members)]);
  }

  #collectScope(
    at: Omit<ServiceSlotKey, 'slot'>,
    revNatIndex: number,
    { ids, flags }: HeldScope,
    withMaster: boolean,
  ): void {
    for (let slot = withMaster ? 0 : 1; slot <= ids.length; slot++) this.#garbage.slots.push({ ...at, slot });
    if (flags & LbServiceFlag.LB_F_MAGLEV) this.#garbage.maglev.push({ revNatIndex, scope: at.scope });
  }

  #drop(key: string, writes: ServiceWrites): void {
    const held = this.#frontends.get(key)!;
    const { address, l4Proto, port } = held.at;
    const { revNatIndex, scopes } = held;
    for (const scope of [LbScope.LB_SCOPE_EXTERNAL, LbScope.LB_SCOPE_INTERNAL]) {
      const old = scopes[scope];
      if (!old) continue;
      const isExternal = scope === LbScope.LB_SCOPE_EXTERNAL;
      if (isExternal) writes.goneMasters.push({ address, port, l4Proto, scope, slot: 0 });
      this.#collectScope({ address, port, l4Proto, scope }, revNatIndex, old, !isExternal);
    }
    for (const cidr of held.spec?.sourceRanges ?? []) this.#garbage.sourceRanges.push({ revNatIndex, cidr });
    this.#garbage.reverseNat.push(revNatIndex);
    this.#revNats.free(revNatIndex);
    this.#frontends.delete(key);
  }

  #retireUnnamed(group: string, frontends: readonly LbFrontend[]): void {
    const held = this.#groups.get(group)!;
    const named = new Set<string>();
    for (const { external, internal, terminating } of frontends)
      for (const list of [external.backends, internal?.backends ?? [], terminating])
        for (const backend of list) named.add(nameOf(backend));
    const unnamed = [...held.values()].filter(backend => !named.has(nameOf(backend)));
    this.#retire(group, unnamed, false);
  }

  #retire(group: string, backends: Iterable<HeldBackend>, whole: boolean): void {
    const held = this.#groups.get(group);
    for (const backend of [...backends]) {
      held?.delete(nameOf(backend));
      this.#backendsById.delete(backend.id);
      this.#backendIds.free(backend.id);
      this.#garbage.backends.push(backend.id);
    }
    if (whole) this.#groups.delete(group);
  }

  #isUsed({ address, port, l4Proto, scope, slot }: ServiceSlotKey): boolean {
    const held = this.#frontends.get(frontendKey({ address, port, l4Proto }))?.scopes[scope];
    return held !== undefined && slot <= held.ids.length;
  }

  #write(writes: ServiceWrites): void {
    try {
      writes.write(this.#maps);
    } catch (error) {
      // Some of it is written: the next pass compares everything.
      this.#unsure = true;
      throw error;
    }
  }

  #collectLater(): void {
    if ((this.#garbage.isEmpty && !this.#sweep) || this.#garbageTimer) return;
    this.#garbageTimer = setTimeout(() => {
      try {
        this.collect();
      } catch (error) {
        this.#log.warn('could not delete service entries that nobody needs', { error });
      }
    }, GRACE_MS);
    this.#garbageTimer.unref();
  }

  /** Everything that must be in the maps now, as writes into empty ones. */
  #expected(): ServiceWrites {
    const all = new ServiceWrites();
    for (const { id, address, port, l4Proto, state } of this.#backendsById.values())
      all.backends.push([id, { address, port, l4Proto, state }]);
    for (const [id, record] of this.#adopted) all.backends.push([id, record]);
    for (const { at, revNatIndex, scopes, spec } of this.#frontends.values()) {
      all.reverseNat.push([revNatIndex, { address: at.address, port: at.port }]);
      for (const cidr of spec?.sourceRanges ?? []) all.sourceRanges.push([{ revNatIndex, cidr }, true]);
      for (const scope of [LbScope.LB_SCOPE_INTERNAL, LbScope.LB_SCOPE_EXTERNAL]) {
        const now = scopes[scope];
        if (now) this.#writeScope({ ...at, scope }, revNatIndex, undefined, now, all);
      }
    }
    return all;
  }
}
