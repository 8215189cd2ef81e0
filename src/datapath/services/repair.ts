import type { Drift } from '../../base/reconcile.ts';
import type { TypedMap } from '../../maps/typed.ts';
import type { ServiceMaps, ServiceWrites } from './writes.ts';

const ofKey = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

/**
 * Compares a map, byte by byte, with what must be in it and writes what is missing or different.
 * @returns what was found, and the keys that do not belong there, as bytes
 */
function repairMap<K, V>(
  map: TypedMap<K, V>,
  wanted: readonly (readonly [K, V])[],
  say: (key: K) => string,
): { found: Drift[]; foreign: K[] } {
  const have = new Map<string, { key: Uint8Array; value: Uint8Array }>();
  for (const [key, value] of map.map.entries()) have.set(ofKey(key), { key, value });
  const found: Drift[] = [];
  const writes: (readonly [K, V])[] = [];
  const note = (key: K, what: Drift['what']): void =>
    void found.push({ key: say(key), what, atMs: Date.now() });
  for (const entry of wanted) {
    const [key, value] = entry;
    const name = ofKey(map.encodeKey(key));
    const actual = have.get(name);
    have.delete(name);
    if (actual && Buffer.compare(actual.value, map.encodeValue(value, key)) === 0) continue;
    note(key, actual ? 'changed' : 'missing');
    writes.push(entry);
  }
  map.updateBatch(writes);
  return { found, foreign: [...have.values()].map(({ key }) => map.decodeKey(key)) };
}

/**
 * Makes all service maps as expected, in the order of `ServiceWrites`; what does not belong there goes afterwards,
 * the other way round.
 * @param prune whether anything goes
 */
export function repairServices(maps: ServiceMaps, expected: ServiceWrites, prune: boolean): Drift[] {
  const backends = repairMap(maps.backends, expected.backends, id => `backend ${id}`);
  const reverseNat = repairMap(maps.reverseNat, expected.reverseNat, id => `reverse NAT ${id}`);
  const ranges = repairMap(maps.sourceRanges, expected.sourceRanges, k => `source range ${k.cidr}`);
  const maglev = repairMap(maps.maglev, expected.maglev, k => `maglev ${k.revNatIndex}`);
  const services = repairMap(
    maps.services,
    [...expected.slots, ...expected.masters],
    k => `service ${k.address}:${k.port} slot ${k.slot}`,
  );
  const found = [backends, reverseNat, ranges, maglev, services].flatMap(result => result.found);
  if (!prune) return found;
  const drop = <K>(foreign: readonly K[], say: (key: K) => string, remove: (key: K) => unknown): void => {
    for (const key of foreign) {
      remove(key);
      found.push({ key: say(key), what: 'foreign', atMs: Date.now() });
    }
  };
  const masters = services.foreign.sort((a, b) => a.slot - b.slot);
  drop(
    masters,
    k => `service ${k.address}:${k.port} slot ${k.slot}`,
    k => maps.services.delete(k),
  );
  drop(
    maglev.foreign,
    k => `maglev ${k.revNatIndex}`,
    k => maps.maglev.delete(k),
  );
  drop(
    ranges.foreign,
    k => `source range ${k.cidr}`,
    k => maps.sourceRanges.delete(k),
  );
  drop(
    reverseNat.foreign,
    id => `reverse NAT ${id}`,
    id => maps.reverseNat.delete(id),
  );
  drop(
    backends.foreign,
    id => `backend ${id}`,
    id => maps.backends.delete(id),
  );
  return found;
}
