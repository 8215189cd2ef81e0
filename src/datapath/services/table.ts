import { FimbriaError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Drift } from '../../base/reconcile.ts';
import { LbScope, type ServiceSlotKey } from '../../maps/services.ts';
import { Backends, type HeldBackend } from './backends.ts';
import { Ids } from './ids.ts';
import { adoptServices, type HeldFrontend } from './read.ts';
import { repairServices } from './repair.ts';
import { afterChange, entriesOf, lackOfRoom, type ServiceEntries } from './room.ts';
import { collectScope, placedScope, SCOPES, writeScope } from './scopes.ts';
import { frontendKey, type LbFrontend } from './types.ts';
import { Garbage, type ServiceMaps, ServiceWrites } from './writes.ts';

/** As long as no program holds what it read from a map, many times over. */
const GRACE_MS = 200;

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
  readonly #backends: Backends;
  readonly #revNats = new Ids(0xffff);
  /** Slots that are in the maps, masters included. */
  #slots = 0;
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
      this.#hold(key, held);
      this.#revNats.claim(held.revNatIndex);
    }
    this.#backends = new Backends(adopted.backends);
  }

  /** How many entries the maps hold, by map. */
  get entries(): ServiceEntries {
    return { slots: this.#slots, backends: this.#backends.size, frontends: this.#revNats.size };
  }

  /** How many entries the maps can hold, by map. */
  get room(): ServiceEntries {
    const { services, backends, reverseNat } = this.#maps;
    return {
      slots: services.maxEntries,
      backends: backends.maxEntries,
      frontends: reverseNat.maxEntries,
    };
  }

  /** Numbers of backends that are in use, those of an earlier run included, and how many have gone since the start. */
  get backends(): Pick<Backends, 'has' | 'retired'> {
    return this.#backends;
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
    let used = this.entries;
    for (const [owner, frontends] of changes) {
      const before = this.#owners.get(owner);
      const keep = new Set(frontends.map(frontendKey));
      for (const old of before?.frontends ?? [])
        if (!keep.has(frontendKey(old))) gone.push({ key: frontendKey(old), owner });
      const [was, will] = [entriesOf(before?.frontends ?? []), entriesOf(frontends)];
      const why = lackOfRoom(used, this.room, was, will);
      if (why !== undefined) {
        this.#refused.push({ owner, why });
        continue;
      }
      used = afterChange(used, was, will);
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
    this.#backends.retireAdopted(this.#garbage);
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
    garbage.backends = garbage.backends.filter(id => !this.#backends.has(id));
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

  /** Tells of each backend that its group has lost, active or going, while `apply` is under way. One listener. */
  onRetired(told: (backend: Readonly<HeldBackend>) => void): void {
    this.#backends.onRetired = told;
  }

  close(): void {
    clearTimeout(this.#garbageTimer);
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
    const heldBy = (frontend: LbFrontend): number[] =>
      (this.#frontends.get(frontendKey(frontend))?.scopes ?? []).flatMap(scope => scope?.ids ?? []);
    for (const [group, list] of byGroup) this.#backends.put(group, list, heldBy, writes);
    for (const frontend of frontends) this.#putFrontend(owner, frontend, writes);
    // Last: until here slots may name what goes.
    for (const group of before?.groups ?? [])
      if (!byGroup.has(group)) this.#backends.retireGroup(group, this.#garbage);
    for (const [group, list] of byGroup) this.#backends.retireUnnamed(group, list, this.#garbage);
    if (frontends.length > 0) this.#owners.set(owner, { frontends, groups: new Set(byGroup.keys()) });
    else this.#owners.delete(owner);
  }

  #putFrontend(owner: string, spec: LbFrontend, writes: ServiceWrites): void {
    const key = frontendKey(spec);
    const before = this.#frontends.get(key);
    const revNatIndex = before?.revNatIndex ?? this.#revNats.take();
    const { address, port, l4Proto, group } = spec;
    if (!before) writes.reverseNat.push([revNatIndex, { address, port }]);
    const ranges = new Set(spec.sourceRanges);
    for (const cidr of ranges) writes.sourceRanges.push([{ revNatIndex, cidr }, true]);
    for (const cidr of before?.spec?.sourceRanges ?? [])
      if (!ranges.has(cidr)) this.#garbage.sourceRanges.push({ revNatIndex, cidr });
    const scopes = [spec.external, spec.internal].map(
      (set, scope) =>
        set && placedScope(set, spec, before?.scopes[scope], backend => this.#backends.idOf(group, backend)),
    ) as HeldFrontend['scopes'];
    const backendOf = this.#backends.get.bind(this.#backends);
    for (const scope of SCOPES) {
      const at = { address, port, l4Proto, scope };
      const [old, now] = [before?.scopes[scope], scopes[scope]];
      if (now) writeScope(at, revNatIndex, old, now, backendOf, writes, this.#garbage);
      else if (old) collectScope(at, revNatIndex, old, true, this.#garbage);
    }
    this.#hold(key, { owner, spec, at: { address, port, l4Proto }, revNatIndex, scopes });
  }

  #drop(key: string, writes: ServiceWrites): void {
    const { at, revNatIndex, scopes, spec } = this.#frontends.get(key)!;
    for (const scope of SCOPES) {
      const old = scopes[scope];
      if (!old) continue;
      const isExternal = scope === LbScope.LB_SCOPE_EXTERNAL;
      if (isExternal) writes.goneMasters.push({ ...at, scope, slot: 0 });
      collectScope({ ...at, scope }, revNatIndex, old, !isExternal, this.#garbage);
    }
    for (const cidr of spec?.sourceRanges ?? []) this.#garbage.sourceRanges.push({ revNatIndex, cidr });
    this.#garbage.reverseNat.push(revNatIndex);
    this.#revNats.free(revNatIndex);
    this.#hold(key, undefined);
  }

  /** What the maps have of a frontend, noted and counted. */
  #hold(key: string, now: (HeldFrontend & { owner?: string; spec?: LbFrontend }) | undefined): void {
    const slots = (held: HeldFrontend | undefined): number =>
      (held?.scopes ?? []).reduce((sum, scope) => sum + (scope ? scope.ids.length + 1 : 0), 0);
    this.#slots += slots(now) - slots(this.#frontends.get(key));
    if (now) this.#frontends.set(key, now);
    else this.#frontends.delete(key);
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
    for (const entry of this.#backends.entries()) all.backends.push(entry);
    const backendOf = this.#backends.get.bind(this.#backends);
    for (const { at, revNatIndex, scopes, spec } of this.#frontends.values()) {
      all.reverseNat.push([revNatIndex, { address: at.address, port: at.port }]);
      for (const cidr of spec?.sourceRanges ?? []) all.sourceRanges.push([{ revNatIndex, cidr }, true]);
      for (const scope of SCOPES) {
        const now = scopes[scope];
        if (now) writeScope({ ...at, scope }, revNatIndex, undefined, now, backendOf, all, new Garbage());
      }
    }
    return all;
  }
}
