import test from 'ava';
import fc from 'fast-check';
import { silent } from '../../src/base/log.ts';
import { maglevTable } from '../../src/datapath/services/maglev.ts';
import { placeBackends } from '../../src/datapath/services/slots.ts';
import { ServiceTable } from '../../src/datapath/services/table.ts';
import { frontendKey, type LbBackend, type LbFrontend } from '../../src/datapath/services/types.ts';
import type { ServiceMaps } from '../../src/datapath/services/writes.ts';
import { memoryMaps, read } from './memory.ts';

const backend = (n: number): LbBackend => ({ address: `10.0.0.${n}`, port: 8080 });
const name = (b: LbBackend): string => `${b.address}:${b.port}`;

/** Frontends of one owner; each owner has addresses of its own. */
const owned = (owner: number): fc.Arbitrary<LbFrontend[]> => {
  const backends = fc
    .uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 8 })
    .map(all => all.map(backend));
  const frontend = fc.record({
    n: fc.integer({ min: 0, max: 3 }),
    external: backends,
    internal: fc.option(backends, { nil: undefined }),
    leaving: backends,
    affinity: fc.boolean(),
    ranges: fc.option(fc.subarray(['10.0.0.0/8', '192.168.0.0/16', '0.0.0.0/0']), { nil: undefined }),
    maglev: fc.boolean(),
    group: fc.integer({ min: 0, max: 1 }),
  });
  return fc.uniqueArray(frontend, { maxLength: 4, selector: f => f.n }).map(all =>
    all.map(
      ({ n, external, internal, leaving, affinity, ranges, maglev, group }): LbFrontend => ({
        address: `10.96.${owner}.${n}`,
        port: 80,
        l4Proto: 6,
        type: 'LoadBalancer',
        group: `${owner} ${group}`,
        external: { local: false, backends: external },
        ...(internal ? { internal: { local: true, backends: internal } } : {}),
        terminating: leaving,
        ...(affinity ? { affinityTimeoutS: 10 } : {}),
        ...(ranges ? { sourceRanges: ranges } : {}),
        maglev,
      }),
    ),
  );
};

const steps = fc.array(
  fc.dictionary(fc.constantFrom('0', '1', '2'), fc.nat()).chain(owners =>
    fc.record({
      changes: fc.record(
        Object.fromEntries(Object.keys(owners).map(owner => [owner, owned(Number(owner))])),
      ) as fc.Arbitrary<Record<string, LbFrontend[]>>,
      collect: fc.boolean(),
      restart: fc.boolean(),
    }),
  ),
  { maxLength: 12 },
);

const sorted = (list: readonly LbBackend[]): string[] => [...new Set(list.map(name))].sort();

/** All that is in the maps is what the owners want, and nothing else. */
function whole(maps: ServiceMaps, wanted: ReadonlyMap<string, readonly LbFrontend[]>): string[] {
  const faults: string[] = [];
  const all = [...wanted.values()].flat();
  for (const frontend of all) {
    for (const isInside of [false, true]) {
      const set = (isInside && frontend.internal) || frontend.external;
      const have = read(maps, frontend, isInside)?.sort();
      if (have?.join() !== sorted(set.backends).join())
        faults.push(`${frontendKey(frontend)}: ${have} instead of ${sorted(set.backends)}`);
    }
  }
  const masters = [...maps.services.entries()].filter(([k]) => k.slot === 0 && k.scope === 0);
  if (masters.length !== all.length) faults.push(`${masters.length} frontends instead of ${all.length}`);
  if ([...maps.reverseNat.entries()].length !== all.length) faults.push('reverse NAT entries are left over');
  const used = new Set([...maps.services.entries()].filter(([k]) => k.slot > 0).map(([, v]) => v.backendId));
  const leaving = [...maps.backends.entries()].filter(([id, b]) => !used.has(id) && b.state === 0);
  if (leaving.length > 0) faults.push('backends are left over');
  const slots = [...maps.services.entries()].filter(([k]) => k.slot > 0).length;
  const expected = all.flatMap(f => [f.external, ...(f.internal ? [f.internal] : [])]);
  if (slots !== expected.reduce((sum, set) => sum + sorted(set.backends).length, 0))
    faults.push('slots are left over');
  const ranges = all.reduce((sum, f) => sum + new Set(f.sourceRanges).size, 0);
  if ([...maps.sourceRanges.entries()].length !== ranges) faults.push('source ranges are left over');
  return faults;
}

test('between any two writes a reader finds a backend that is wanted, and in the end just what is wanted', t => {
  t.timeout(600_000);
  fc.assert(
    fc.property(steps, all => {
      /** What may be met while one call works: by frontend what was wanted before, and is now. */
      let allowed = new Map<string, { frontend: LbFrontend; before?: LbFrontend; after?: LbFrontend }>();
      const look = (): void => {
        for (const { frontend, before, after } of allowed.values()) {
          for (const isInside of [false, true]) {
            const found = read(maps, frontend, isInside);
            if (found === undefined) {
              // Gone, or not yet there; never in between.
              if (before && after) throw new Error(`${frontendKey(frontend)} is not there`);
              continue;
            }
            const names = [before, after].flatMap(f =>
              f ? sorted(((isInside && f.internal) || f.external).backends) : [],
            );
            // While policies change, the other scope's are met by those inside.
            if (isInside) for (const f of [before, after]) if (f) names.push(...sorted(f.external.backends));
            for (const one of found)
              if (!names.includes(one)) throw new Error(`${frontendKey(frontend)}: ${one}`);
            const hasAlways = [before, after].every(
              f => !f || ((isInside && f.internal) || f.external).backends.length > 0,
            );
            const hasExternal = [before, after].every(f => !f || f.external.backends.length > 0);
            if (found.length === 0 && hasAlways && hasExternal)
              throw new Error(`${frontendKey(frontend)} has no backend for a moment`);
          }
        }
      };
      const maps = memoryMaps(() => look());
      let table = new ServiceTable(maps, silent);
      table.allowPrune();
      const wanted = new Map<string, readonly LbFrontend[]>();
      for (const { changes, collect, restart } of all) {
        allowed = new Map();
        for (const [owner, frontends] of Object.entries(changes)) {
          for (const before of wanted.get(owner) ?? [])
            allowed.set(frontendKey(before), { frontend: before, before });
          for (const after of frontends) {
            const known = allowed.get(frontendKey(after));
            allowed.set(frontendKey(after), { frontend: after, ...known, after });
          }
        }
        table.apply(new Map(Object.entries(changes)));
        for (const [owner, frontends] of Object.entries(changes)) wanted.set(owner, frontends);
        allowed = new Map(
          [...wanted.values()].flat().map(f => [frontendKey(f), { frontend: f, before: f, after: f }]),
        );
        if (collect) table.collect();
        if (!restart) continue;
        const numbers = [...maps.services.entries()]
          .filter(([k]) => k.slot === 0 && k.scope === 0)
          .map(([k, v]) => [frontendKey(k), v.revNatIndex]);
        table.close();
        table = new ServiceTable(maps, silent);
        table.apply(wanted);
        table.allowPrune();
        table.collect();
        for (const [key, id] of numbers) {
          const now = [...maps.services.entries()].find(
            ([k]) => k.slot === 0 && k.scope === 0 && frontendKey(k) === key,
          );
          if (now && now[1].revNatIndex !== id) throw new Error(`${key} has another number after a restart`);
        }
      }
      table.collect();
      table.close();
      const faults = whole(maps, wanted);
      if (faults.length > 0) throw new Error(faults.join('\n'));
    }),
    { numRuns: 100 },
  );
  t.pass();
});

test('what somebody else does to the maps is found and taken back', async t => {
  const maps = memoryMaps();
  const table = new ServiceTable(maps, silent);
  const frontend: LbFrontend = {
    address: '10.96.0.1',
    port: 80,
    l4Proto: 6,
    type: 'ClusterIP',
    group: 'a',
    external: { local: false, backends: [backend(1), backend(2)] },
    terminating: [],
  };
  const wanted = new Map([['a', [frontend]]]);
  table.apply(wanted);
  table.allowPrune();
  t.deepEqual(await table.resync(), []);
  const [master] = [...maps.services.entries()].find(([k]) => k.slot === 0)!;
  maps.services.delete(master);
  maps.backends.delete(1);
  maps.backends.set(99, { address: '10.0.0.9', port: 1, l4Proto: 6, state: 0 });
  t.deepEqual((await table.resync()).map(d => `${d.key} ${d.what}`).sort(), [
    'backend 1 missing',
    'backend 99 foreign',
    'service 10.96.0.1:80 slot 0 missing',
  ]);
  t.deepEqual(whole(maps, wanted), []);
  table.close();
});

test('who does not fit is refused as a whole and named; the others are in', t => {
  const maps = memoryMaps(() => {}, 8);
  const table = new ServiceTable(maps, silent);
  const of = (n: number, count: number): LbFrontend[] => [
    {
      address: `10.96.0.${n}`,
      port: 80,
      l4Proto: 6,
      type: 'ClusterIP',
      group: `${n}`,
      external: { local: false, backends: Array.from({ length: count }, (_, i) => backend(i + 1)) },
      terminating: [],
    },
  ];
  t.throws(
    () =>
      table.apply(
        new Map([
          ['a', of(1, 3)],
          ['big', of(2, 7)],
          ['b', of(3, 2)],
        ]),
      ),
    {
      code: 'MAP_FULL',
      message: /service big: there is room for 8/,
    },
  );
  t.deepEqual(
    table.refused.map(r => r.owner),
    ['big'],
  );
  t.deepEqual(
    whole(
      maps,
      new Map([
        ['a', of(1, 3)],
        ['b', of(3, 2)],
      ]),
    ),
    [],
  );
  table.apply(new Map([['a', []]]));
  table.apply(new Map([['big', of(2, 3)]]));
  t.deepEqual(table.refused, []);
  table.close();
});

test('places: who stays keeps its place, and there are no holes', t => {
  const ids = fc.uniqueArray(fc.integer({ min: 1, max: 30 }), { maxLength: 20 });
  fc.assert(
    fc.property(ids, ids, (before, wanted) => {
      const now = placeBackends(before, wanted);
      if ([...now].sort().join() !== [...wanted].sort().join()) return false;
      const moved = now.filter((id, i) => before.includes(id) && before[i] !== id).length;
      const left = before.filter(id => !wanted.includes(id)).length;
      return moved <= left;
    }),
  );
  t.pass();
});

test('maglev: even shares, the same on every node, and few places change with one backend', t => {
  const all = Array.from({ length: 10 }, (_, i) => ({ ...backend(i + 1), id: i + 1 }));
  const table = maglevTable(all);
  const counts = all.map(({ id }) => table.filter(x => x === id).length);
  t.true(Math.max(...counts) - Math.min(...counts) <= 2, `${counts}`);
  // Other numbers on another node, in another order.
  const elsewhere = maglevTable(all.map(b => ({ ...b, id: 100 + b.id })).reverse());
  t.deepEqual(
    [...elsewhere],
    [...table].map(id => id + 100),
  );
  const less = maglevTable(all.slice(1));
  const changed = [...less].filter((id, i) => table[i] !== 1 && table[i] !== id).length;
  t.true(changed < 0.2 * less.length, `${changed}`);
  t.deepEqual([...new Set(maglevTable([]))], [0]);
});
