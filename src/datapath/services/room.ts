import { MOST_SLOTS } from './scopes.ts';
import { type LbFrontend, nameOf, scopesOf } from './types.ts';

/** Entries by map; `slots` has masters in it. */
export interface ServiceEntries {
  slots: number;
  backends: number;
  frontends: number;
}

const SAID = { slots: 'frontends and slots', backends: 'backends', frontends: 'frontends' } as const;

/** How many entries an owner's frontends are. Pure. */
export function entriesOf(frontends: readonly LbFrontend[]): ServiceEntries {
  const groups = new Map<string, Set<string>>();
  let slots = 0;
  for (const frontend of frontends) {
    const names = groups.get(frontend.group) ?? new Set();
    groups.set(frontend.group, names);
    for (const { backends } of scopesOf(frontend)) {
      slots += Math.min(backends.length, MOST_SLOTS) + 1;
      for (const backend of backends) names.add(nameOf(backend));
    }
    for (const backend of frontend.terminating) names.add(nameOf(backend));
  }
  const backends = [...groups.values()].reduce((sum, names) => sum + names.size, 0);
  return { slots, backends, frontends: frontends.length };
}

/** What is used when one state of an owner has become another. Pure. */
export function afterChange(
  used: ServiceEntries,
  before: ServiceEntries,
  after: ServiceEntries,
): ServiceEntries {
  return {
    slots: used.slots + after.slots - before.slots,
    backends: used.backends + after.backends - before.backends,
    frontends: used.frontends + after.frontends - before.frontends,
  };
}

/**
 * What keeps a change from fitting, in words; undefined when it fits. What makes more room than it takes fits always.
 * @param used entries that there are
 * @param room entries that there can be
 */
export function lackOfRoom(
  used: ServiceEntries,
  room: ServiceEntries,
  before: ServiceEntries,
  after: ServiceEntries,
): string | undefined {
  if (after.slots < before.slots) return undefined;
  const need = afterChange(used, before, after);
  for (const what of ['slots', 'backends', 'frontends'] as const)
    if (need[what] > room[what])
      return `there is room for ${room[what]} ${SAID[what]}, ${need[what]} are wanted`;
  return undefined;
}
