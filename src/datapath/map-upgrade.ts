import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { FimbriaError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { withUndo } from '../base/undo.ts';
import { BpfMap, type BpfObject } from '../kernel/libbpf/index.ts';
import { makeDirectories } from '../kernel/libbpf/pin.ts';
import { converter } from '../maps/convert.ts';
import { declaredLayout, LayoutReader, layoutChanges, type MapLayout, whyForeign } from '../maps/layout.ts';
import { setPolicySlot, setPolicySlots } from '../maps/tables.ts';
import { addCounters, copyEntries, type Transfer } from '../maps/transfer.ts';
import { type LayoutUpgrade, UPGRADES } from '../maps/upgrades.ts';
import { createPolicyMap, policyMapName, policyMapOwner } from './policy-maps.ts';

/** The map of maps, and the declared map that its inner maps look like. */
const OUTER = 'cilium_policy_maps';
const INNER = 'cilium_policy';
/** No endpoint's: holds an empty inner map, by which the kernel can tell what inner maps look like. */
const TEMPLATE_SLOT = 0;
/** What programs write; the agent writes everything else. */
const COUNTERS: ReadonlySet<string> = new Set(['cilium_metrics', 'cilium_events_lost']);

/** Name of a map's pin until all programs use it. */
const nextName = (name: string, map: BpfMap): string => `${name}_next_${map.id}`;

/** The name that a temporary pin is to get, undefined for other pins. Pure. */
export function nextOf(pinName: string): string | undefined {
  return /^(cilium_\w+)_next_\d+$/.exec(pinName)?.[1];
}

/** A pinned map as the kernel has it. */
interface Held {
  name: string;
  pin: string;
  map: BpfMap;
  layout: MapLayout;
}

/** With what keeps programs of these objects from using it; nothing does when `changes` is empty. */
interface Changed extends Held {
  changes: string[];
}

/**
 * Takes over the maps that an earlier, or later, version left pinned, when their layout is another one now. In order:
 *
 * 1. `plan`: recognises every pin by what the kernel says of it; changes nothing.
 * 2. `bind`: each object uses the maps whose layout is as declared; loading makes the others anew, unpinned.
 * 3. `fill`, when all objects are loaded: the new tables get everything that is in the old ones, and a temporary pin.
 * 4. The caller puts the new programs in place of the old; each meets only maps of its own layout.
 * 5. `finish`: what old programs counted is added up, each new map's pin replaces the old one's, and the old map goes.
 *
 * Killed in between, what runs goes on running with maps of its own, and the next `plan` begins with the pins as they
 * are: a table's temporary pin is swept and filled again, a counter's is added up, too. Not for concurrent use.
 */
export class MapUpgrade {
  readonly #root: string;
  readonly #log: Logger;
  readonly #upgrades: readonly LayoutUpgrade[];
  readonly #reader = new LayoutReader();
  /** Shared maps that are used as they are, by name. */
  readonly #kept = new Map<string, Held>();
  readonly #changed = new Map<string, Changed>();
  readonly #policies = new Map<number, Changed>();
  /** Counters to be added up, with the pin that goes then. */
  readonly #counted: (Held & { leftover: boolean })[] = [];
  readonly #stale: string[] = [];
  readonly #moves: { from: string; name: string }[] = [];
  readonly #closers: { close(): void }[] = [];

  /** What policy maps are to look like. */
  readonly #inner: MapLayout;

  private constructor(object: BpfObject, root: string, log: Logger, upgrades: readonly LayoutUpgrade[]) {
    this.#inner = declaredLayout(object, INNER);
    this.#root = root;
    this.#log = log;
    this.#upgrades = upgrades;
  }

  /**
   * Looks at what is pinned, with the object that declares every map. Reads only.
   * @param root `<bpf-root>/tc/globals`
   * @throws FimbriaError FOREIGN_MAP for a pin that is no layout of ours; MAP_LAYOUT for a field that nothing can be made of
   */
  static plan(
    object: BpfObject,
    root: string,
    log: Logger,
    upgrades: readonly LayoutUpgrade[] = UPGRADES,
  ): MapUpgrade {
    const plan = new MapUpgrade(object, root, log, upgrades);
    try {
      plan.#look(object);
      return plan;
    } catch (error) {
      plan.close();
      throw error;
    }
  }

  /** Before an object is loaded: it takes the maps of `loaded`, or those that are kept, and pins nothing. */
  bind(object: BpfObject, loaded?: BpfObject): void {
    for (const { name, pinned } of object.maps) {
      if (!pinned) continue;
      const shared = loaded?.map(name);
      const reuse = shared ?? this.#kept.get(name)?.map;
      object.configureMap(name, reuse ? { pinPath: null, reuse } : { pinPath: null });
      shared?.close();
    }
  }

  /**
   * Fills and pins the maps that loading has made. Blocks; some five microseconds an entry.
   * @throws FimbriaError of the kernel; the pins are then as they were
   */
  async fill(object: BpfObject): Promise<void> {
    makeDirectories(this.#root);
    await withUndo(
      async undo => {
        const pin = (map: BpfMap, name: string): void => {
          const path = join(this.#root, name);
          map.pin(path);
          undo.push(`pin of ${name}`, () => rmSync(path, { force: true }));
        };
        const pinNext = (map: BpfMap, name: string): void => {
          pin(map, nextName(name, map));
          this.#moves.push({ from: nextName(name, map), name });
        };
        const policies = new Map<number, BpfMap>();
        for (const [endpointId, old] of this.#policies) {
          const map = this.#own(createPolicyMap(object, endpointId));
          this.#tell(old, this.#copy(old, map, INNER));
          policies.set(endpointId, map);
          pinNext(map, old.name);
        }
        for (const { name, pinned } of object.maps) {
          if (!pinned || this.#kept.has(name)) continue;
          const map = this.#own(object.map(name));
          const old = this.#changed.get(name);
          if (name === OUTER) this.#fillSlots(object, map, old, policies);
          else if (old && COUNTERS.has(name)) this.#tell(old);
          else if (old) this.#tell(old, old.layout.keySize > 0 ? this.#copy(old, map, name) : undefined);
          if (old) pinNext(map, name);
          else pin(map, name);
        }
      },
      (what, error) => this.#log.warn(`could not remove ${what}`, { error }),
    );
    for (const name of this.#stale.splice(0)) rmSync(join(this.#root, name), { force: true });
  }

  /**
   * When no old program runs any more: adds up the counters, moves the pins, lets the old maps go. Repeatable.
   * @param map the shared map of a name, as the new programs use it
   */
  finish(map: (name: string) => BpfMap): void {
    for (const { leftover, ...old } of this.#counted.splice(0)) {
      const now = map(old.name);
      const layout = this.#reader.read(now);
      const by = converter(old.name, old.layout, layout, {
        upgrade: this.#upgradeOf(old.name, old.layout),
        mergeKeys: true,
      });
      const sum = addCounters(old, { map: now, layout }, by);
      if (sum.refused > 0) this.#warnRefused(old.name, sum);
      if (leftover) rmSync(old.pin, { force: true });
    }
    // The map of maps last: until then its slots and the pins of policy maps belong together.
    const order = (name: string): number => (name === OUTER ? 1 : 0);
    for (const { from, name } of this.#moves.splice(0).sort((a, b) => order(a.name) - order(b.name)))
      renameSync(join(this.#root, from), join(this.#root, name));
    this.close();
  }

  /** Drops handles; pins stay as they are. */
  close(): void {
    for (const handle of this.#closers.splice(0)) handle.close();
  }

  #look(object: BpfObject): void {
    const names = existsSync(this.#root) ? readdirSync(this.#root) : [];
    const leftovers = names.filter(name => nextOf(name) !== undefined);
    for (const { name, pinned } of object.maps) {
      if (!pinned) continue;
      const declared = declaredLayout(object, name);
      // A map of maps has no types of its own.
      const want = name === OUTER ? { ...declared, types: undefined, inner: this.#inner } : declared;
      const found = names.includes(name) ? this.#classify(this.#open(name, name), want) : undefined;
      const changed = found !== undefined && found.changes.length > 0;
      if (found) (changed ? this.#changed : this.#kept).set(name, found);
      if (!COUNTERS.has(name)) continue;
      if (changed) this.#counted.push({ ...found, leftover: false });
      for (const pinName of leftovers.filter(other => nextOf(other) === name))
        this.#adopt(this.#open(pinName, name), want);
    }
    for (const name of names) {
      const endpointId = policyMapOwner(name);
      if (endpointId === undefined) continue;
      const found = this.#classify(this.#open(name, name), this.#inner);
      if (found.changes.length > 0) this.#policies.set(endpointId, found);
      else found.map.close();
    }
    this.#stale.push(...leftovers.filter(name => !COUNTERS.has(nextOf(name)!)));
  }

  /** A counter of an upgrade that was cut short: used when it is as wanted and the pin is not, else added up. */
  #adopt(found: Held, want: MapLayout): void {
    const foreign = whyForeign({ ...found.layout, name: found.map.name }, { ...want, name: found.name });
    if (foreign !== undefined) {
      this.#log.warn('dropping counters of an upgrade that was cut short', { map: found.name, why: foreign });
      this.#stale.push(basename(found.pin));
      return;
    }
    if (!this.#kept.has(found.name) && layoutChanges(found.layout, want).length === 0) {
      this.#kept.set(found.name, found);
      this.#moves.push({ from: nextName(found.name, found.map), name: found.name });
    } else this.#counted.push({ ...found, leftover: true });
  }

  #open(pinName: string, name: string): Held {
    const pin = join(this.#root, pinName);
    const map = this.#own(BpfMap.fromPin(pin));
    const layout = this.#reader.read(map);
    if (name === OUTER) layout.inner = this.#innerLayout(map);
    return { name, pin, map, layout };
  }

  #innerLayout(outer: BpfMap): MapLayout | undefined {
    if (outer.type !== 'array_of_maps') return undefined;
    const id = outer.lookup(slotKey(TEMPLATE_SLOT));
    if (!id) return undefined;
    const inner = BpfMap.fromId(id.readUInt32LE());
    try {
      return this.#reader.read(inner);
    } finally {
      inner.close();
    }
  }

  #classify(found: Held, want: MapLayout): Changed {
    const changes = layoutChanges(found.layout, want);
    const foreign = whyForeign({ ...found.layout, name: found.map.name }, { ...want, name: found.name });
    if (foreign !== undefined)
      throw new FimbriaError({
        code: 'FOREIGN_MAP',
        op: 'take over',
        object: `map ${found.pin}`,
        why: `it is not one of ours: ${foreign}`,
        hint: 'remove the pin if nobody needs it, or choose another bpf-root',
      });
    // Throws where a field cannot become what it is to be: before anything was changed.
    if (changes.length > 0)
      converter(found.name, found.layout, want, { upgrade: this.#upgradeOf(found.name, found.layout) });
    return { ...found, changes };
  }

  #upgradeOf(name: string, old: MapLayout): LayoutUpgrade | undefined {
    return this.#upgrades.find(upgrade => upgrade.map === name && upgrade.appliesTo(old));
  }

  #copy(old: Omit<Held, 'pin'>, map: BpfMap, kind: string): Transfer {
    const layout = this.#reader.read(map);
    const by = converter(old.name, old.layout, layout, { upgrade: this.#upgradeOf(kind, old.layout) });
    return copyEntries(old, { map, layout }, by);
  }

  /** What was in a slot is in it again, as the endpoint's new policy map where it has one. */
  #fillSlots(
    object: BpfObject,
    outer: BpfMap,
    old: Changed | undefined,
    policies: ReadonlyMap<number, BpfMap>,
  ): void {
    const template = this.#own(object.map(INNER));
    setPolicySlot(outer, TEMPLATE_SLOT, template);
    if (!old) return;
    const slots: [number, BpfMap][] = [];
    let refused = 0;
    for (const [key, value] of old.map.entries()) {
      const slot = key.readUInt32LE();
      if (slot === TEMPLATE_SLOT) continue;
      if (slot >= outer.maxEntries) refused++;
      else slots.push([slot, policies.get(slot) ?? this.#innerOf(object, slot, value.readUInt32LE())]);
    }
    setPolicySlots(outer, slots);
    const examples = refused > 0 ? ['the map has become shorter'] : [];
    this.#tell(old, { copied: slots.length, refused, examples });
  }

  /** The map of a slot whose endpoint has no pinned one of another layout. */
  #innerOf(object: BpfObject, slot: number, mapId: number): BpfMap {
    const pin = join(this.#root, policyMapName(slot));
    if (existsSync(pin)) return this.#own(BpfMap.fromPin(pin));
    const map = this.#own(BpfMap.fromId(mapId));
    const layout = this.#reader.read(map);
    if (layoutChanges(layout, this.#inner).length === 0) return map;
    const made = this.#own(createPolicyMap(object, slot));
    this.#copy({ name: policyMapName(slot), map, layout }, made, INNER);
    return made;
  }

  #tell(old: Changed, transfer?: Transfer): void {
    this.#log.info('a map has another layout now', {
      map: old.name,
      changes: old.changes.join(', '),
      entries: transfer?.copied,
    });
    if (transfer && transfer.refused > 0) this.#warnRefused(old.name, transfer);
  }

  #warnRefused(map: string, { refused, examples }: Transfer): void {
    this.#log.warn('entries of the old layout cannot be taken over', {
      map,
      refused,
      examples: examples.join(', '),
    });
  }

  #own<T extends { close(): void }>(handle: T): T {
    this.#closers.push(handle);
    return handle;
  }
}

function slotKey(slot: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(slot);
  return bytes;
}
