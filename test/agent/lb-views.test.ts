import test from 'ava';
import {
  affinityRows,
  backendRows,
  maglevRows,
  revNatRows,
  sourceRangeRows,
} from '../../src/agent/lb-views.ts';
import { silent } from '../../src/base/log.ts';
import { ServiceTable } from '../../src/datapath/services/table.ts';
import type { LbFrontend } from '../../src/datapath/services/types.ts';
import { lb4AffinityKeyCodec } from '../../src/maps/abi.gen.ts';
import { affinityMap, MAGLEV_SIZE } from '../../src/maps/services.ts';
import { memoryMaps, ObservedMap } from '../service/memory.ts';

test('what the load balancer knows, with names in place of numbers', t => {
  const maps = memoryMaps();
  const table = new ServiceTable(maps, silent);
  t.teardown(() => table.close());
  const backends = [7, 8].map(n => ({ address: `10.244.1.${n}`, port: 8080 }));
  const web: LbFrontend = {
    address: '10.0.250.1',
    port: 80,
    l4Proto: 6,
    type: 'LoadBalancer',
    group: 'shop/web:http',
    external: { local: false, backends: [backends[0]!] },
    terminating: [backends[1]!],
    sourceRanges: ['192.168.0.0/16'],
    affinityTimeoutS: 60,
    maglev: true,
  };
  table.apply(new Map([['shop/web', [web]]]));
  t.deepEqual(backendRows(maps), [
    { id: 1, address: '10.244.1.7:8080/TCP', state: 'active' },
    { id: 2, address: '10.244.1.8:8080/TCP', state: 'terminating' },
  ]);
  t.deepEqual(revNatRows(maps), [{ id: 1, frontend: '10.0.250.1:80' }]);
  t.deepEqual(sourceRangeRows(maps), [{ revNat: 1, frontend: '10.0.250.1:80', cidr: '192.168.0.0/16' }]);
  const [{ table: places, ...row }] = maglevRows(maps) as [ReturnType<typeof maglevRows>[0]];
  t.is(places.length, MAGLEV_SIZE);
  t.deepEqual(row, {
    revNat: 1,
    frontend: '10.0.250.1:80',
    scope: 'external',
    shares: [{ backendId: 1, backend: '10.244.1.7:8080/TCP', places: MAGLEV_SIZE }],
  });
  const affinity = affinityMap(new ObservedMap(() => {}));
  const lastUsedNs = process.hrtime.bigint();
  affinity.set({ client: '192.168.10.1', revNatIndex: 1 }, { backendId: 1, lastUsedNs });
  affinity.set({ client: 'netns:4026531840', revNatIndex: 9 }, { backendId: 5, lastUsedNs });
  t.deepEqual(
    affinityRows(maps, affinity).map(({ lastUsedS: _, ...rest }) => rest),
    [
      {
        client: '192.168.10.1',
        revNat: 1,
        frontend: '10.0.250.1:80',
        backendId: 1,
        backend: '10.244.1.7:8080/TCP',
      },
      { client: 'netns:4026531840', revNat: 9, backendId: 5 },
    ],
  );
});

test('a client is in the map as programs write it: an address in network order, a cookie as a number', t => {
  const raw = new ObservedMap(() => {});
  affinityMap(raw).set({ client: '192.168.10.1', revNatIndex: 1 }, { backendId: 1, lastUsedNs: 0n });
  const [key] = [...raw.stored.keys()];
  t.is(key!.slice(0, 16), 'c0a80a0100000000');
  const cookie = lb4AffinityKeyCodec.write({ client: 7n, revNatIndex: 1, isNetnsCookie: 1 });
  t.is(affinityMap(raw).decodeKey(cookie).client, 'netns:7');
});
