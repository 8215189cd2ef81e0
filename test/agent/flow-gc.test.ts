import test from 'ava';
import { FlowGc, flowClockS, nextIntervalMs } from '../../src/agent/flow-gc.ts';
import { BpfMap } from '../../src/kernel/libbpf/index.ts';
import { ctEntryCodec, ctKeyCodec, natEntryCodec, natKeyCodec } from '../../src/maps/abi.gen.ts';
import { ctMap, type FlowTuple } from '../../src/maps/flows.ts';

const ROOM = 4096;

function flowMap(name: string): BpfMap {
  const nat = name === 'cilium_snat_v4_external';
  return BpfMap.create({
    type: 'lru_hash',
    name,
    keySize: (nat ? natKeyCodec : ctKeyCodec).size,
    valueSize: (nat ? natEntryCodec : ctEntryCodec).size,
    maxEntries: ROOM,
  });
}

test('a sweep takes what has run out, and nothing else', async t => {
  const maps = new Map<string, BpfMap>();
  const map = (name: string): BpfMap => {
    const known = maps.get(name) ?? flowMap(name);
    maps.set(name, known);
    return known;
  };
  t.teardown(() => {
    for (const m of maps.values()) m.close();
  });
  const tuple = (n: number): FlowTuple => ({
    saddr: '10.0.0.1',
    daddr: '10.0.0.2',
    sport: 1024 + n,
    dport: 80,
    l4Proto: 6,
    direction: 0,
  });
  const table = ctMap(map('cilium_ct4_global'));
  const nowS = flowClockS();
  for (let n = 0; n < 2000; n++)
    table.set(tuple(n), {
      packets: 1n,
      bytes: 60n,
      expiresS: n % 2 === 0 ? nowS - 1 : nowS + 8000,
      revNatIndex: 0,
      backendId: 0,
      sourceIdentity: 0,
      natAddress: '0.0.0.0',
      natPort: 0,
      flags: 0,
      txTcpFlags: 0,
      rxTcpFlags: 0,
    });
  let aheadS = 0;
  const gc = new FlowGc(map, () => aheadS);
  await gc.sweep();
  t.like(gc.results.get('tcp'), { alive: 1000, deleted: 1000 });
  t.is(table.get(tuple(0)), undefined);
  t.truthy(table.get(tuple(1)));
  t.like(gc.results.get('any'), { alive: 0, deleted: 0 });
  // Two hours and some later.
  aheadS = 8001;
  await gc.sweep();
  t.like(gc.results.get('tcp'), { alive: 0, deleted: 1000 });
});

test('the next sweep comes sooner where much has run out, later where nothing has, within bounds', t => {
  t.is(nextIntervalMs(60_000, 0.5), 30_000);
  t.is(nextIntervalMs(60_000, 0.1), 60_000);
  t.is(nextIntervalMs(60_000, 0), 90_000);
  t.is(nextIntervalMs(10_000, 1), 10_000);
  t.is(nextIntervalMs(30 * 60_000, 0), 30 * 60_000);
});
