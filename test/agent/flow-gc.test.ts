import test, { type ExecutionContext } from 'ava';
import { FlowGc, flowClockS, nextIntervalMs } from '../../src/agent/flow-gc.ts';
import { BpfMap } from '../../src/kernel/libbpf/index.ts';
import {
  CtDirection,
  ctEntryCodec,
  ctKeyCodec,
  NatDirection,
  natEntryCodec,
  natKeyCodec,
} from '../../src/maps/abi.gen.ts';
import {
  type CtRecord,
  ctMap,
  type FlowTuple,
  type NatRecord,
  natMap,
  natTwin,
} from '../../src/maps/flows.ts';

const ROOM = 4096;

/** Maps of the kernel under the names of the datapath's, made when first asked for. */
function flowMaps(t: ExecutionContext): (name: string) => BpfMap {
  const maps = new Map<string, BpfMap>();
  t.teardown(() => {
    for (const map of maps.values()) map.close();
  });
  return name => {
    const nat = name === 'cilium_snat_v4_external';
    const known =
      maps.get(name) ??
      BpfMap.create({
        type: 'lru_hash',
        name,
        keySize: (nat ? natKeyCodec : ctKeyCodec).size,
        valueSize: (nat ? natEntryCodec : ctEntryCodec).size,
        maxEntries: ROOM,
      });
    maps.set(name, known);
    return known;
  };
}

const CT: CtRecord = {
  packets: 1n,
  bytes: 60n,
  expiresS: 0,
  revNatIndex: 0,
  backendId: 0,
  sourceIdentity: 0,
  natAddress: '0.0.0.0',
  natPort: 0,
  flags: 0,
  txTcpFlags: 0,
  rxTcpFlags: 0,
};

test('a sweep takes what has run out, and nothing else', async t => {
  const map = flowMaps(t);
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
    table.set(tuple(n), { ...CT, expiresS: n % 2 === 0 ? nowS - 1 : nowS + 8000 });
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

/** A client outside that a service has led to a backend elsewhere: what programs leave behind of it. */
function nodePortFlow(map: (name: string) => BpfMap, l4Proto: number, sport: number, backendId: number) {
  const expiresS = flowClockS() + 1000;
  const [client, backend] = ['192.168.10.1', `10.244.1.${backendId}`];
  const asked = { saddr: client, sport, daddr: '192.168.10.100', dport: 30_001, l4Proto };
  const sent = { saddr: client, sport, daddr: backend, dport: 8080, l4Proto };
  const ct = ctMap(map(l4Proto === 6 ? 'cilium_ct4_global' : 'cilium_ct_any4_global'));
  const nat = natMap(map('cilium_snat_v4_external'));
  const keys = {
    asked: { ...asked, direction: CtDirection.CT_SERVICE },
    sent: { ...sent, direction: CtDirection.CT_EGRESS },
    out: { ...sent, direction: NatDirection.NAT_OUT },
  };
  ct.set(keys.asked, { ...CT, expiresS, revNatIndex: 4, backendId, natAddress: backend, natPort: 8080 });
  ct.set(keys.sent, { ...CT, expiresS, revNatIndex: 4, natAddress: asked.daddr, natPort: asked.dport });
  const forth: NatRecord = {
    address: '192.168.10.100',
    port: sport,
    flags: 0,
    expiresS,
    createdS: expiresS - 1000,
    txTcpFlags: 0,
    rxTcpFlags: 0,
  };
  nat.set(keys.out, forth);
  nat.set(natTwin(keys.out, forth), { ...forth, address: client, port: sport });
  const back = natTwin(keys.out, forth);
  return {
    keys,
    back,
    nat,
    there: () =>
      [ct.get(keys.asked), ct.get(keys.sent), nat.get(keys.out), nat.get(back)].map(e => e !== undefined),
  };
}

test('flows to a backend that is gone go with it, translations too; those to others stay', async t => {
  const map = flowMaps(t);
  const backends = { ids: new Set([7, 8]), retired: 0, has: (id: number) => backends.ids.has(id) };
  const gc = new FlowGc(map, () => 0, backends);
  const flows = [6, 17].flatMap(l4Proto => [
    { backend: 7, flow: nodePortFlow(map, l4Proto, 40_000, 7) },
    { backend: 8, flow: nodePortFlow(map, l4Proto, 40_001, 8) },
  ]);
  const whole = [true, true, true, true];
  await gc.sweepIfDue();
  for (const { flow } of flows) t.deepEqual(flow.there(), whole);
  t.like(gc.results.get('nat'), { alive: 8, deleted: 0, inwards: { alive: 4, deleted: 0 } });
  await gc.sweepIfDue();
  t.is(gc.runs, 1, 'it is not time yet');
  backends.ids.delete(7);
  backends.retired++;
  await gc.sweepIfDue();
  t.is(gc.runs, 2, 'a backend went');
  for (const { backend, flow } of flows)
    t.deepEqual(flow.there(), backend === 7 ? [false, false, false, false] : whole);
  t.like(gc.results.get('tcp'), { alive: 3, deleted: 1 });
});

test('half a translation goes when the way back is gone; the way back alone stays, and so does who is whole', async t => {
  const map = flowMaps(t);
  const gc = new FlowGc(map, () => 0);
  const [whole, without, alone] = [1, 2, 3].map(n => nodePortFlow(map, 17, 50_000 + n, 7)) as [
    ReturnType<typeof nodePortFlow>,
    ReturnType<typeof nodePortFlow>,
    ReturnType<typeof nodePortFlow>,
  ];
  without.nat.delete(without.back);
  alone.nat.delete(alone.keys.out);
  await gc.sweep();
  t.deepEqual(whole.there(), [true, true, true, true]);
  t.deepEqual(without.there(), [true, true, false, false]);
  t.deepEqual(alone.there(), [true, true, false, true], 'replies still come by it');
  t.like(gc.results.get('nat'), { alive: 3, deleted: 1, inwards: { alive: 2, deleted: 0 } });
  t.deepEqual(gc.flush('nat'), [{ map: 'cilium_snat_v4_external', entries: 3 }]);
  t.deepEqual(
    gc.flush('ct').map(({ entries }) => entries),
    [0, 6],
  );
  t.deepEqual(whole.there(), [false, false, false, false]);
});

test('the next sweep comes sooner where much has changed, later where nothing has, within bounds', t => {
  t.is(nextIntervalMs(60_000, 0.5, 500), 30_000);
  t.is(nextIntervalMs(60_000, 0.1, 500), 60_000);
  t.is(nextIntervalMs(60_000, 0, 500), 90_000);
  t.is(nextIntervalMs(10_000, 1, 500), 10_000);
  t.is(nextIntervalMs(30 * 60_000, 0, 10_000), 30 * 60_000);
  t.is(nextIntervalMs(60_000, 0, 1), 60_000, 'what costs nothing is looked at once a minute');
});
