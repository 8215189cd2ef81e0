import test from 'ava';
import { silent } from '../../src/base/log.ts';
import { Reconciler } from '../../src/base/reconcile.ts';
import { endpointTarget, ipcacheTarget, type LocalEntry } from '../../src/datapath/tables.ts';
import { BpfMap, MAP_FLAGS } from '../../src/kernel/libbpf/index.ts';
import {
  endpointInfoCodec,
  endpointKeyCodec,
  ipcacheInfoCodec,
  ipcacheKeyCodec,
} from '../../src/maps/abi.gen.ts';

const ROOM = 4;

function smallMap(name: 'cilium_lxc' | 'cilium_ipcache'): BpfMap {
  const lxc = name === 'cilium_lxc';
  return BpfMap.create({
    type: lxc ? 'hash' : 'lpm_trie',
    name,
    keySize: (lxc ? endpointKeyCodec : ipcacheKeyCodec).size,
    valueSize: (lxc ? endpointInfoCodec : ipcacheInfoCodec).size,
    maxEntries: ROOM,
    flags: lxc ? 0 : MAP_FLAGS.NO_PREALLOC,
  });
}

const pod = (id: number): LocalEntry => ({
  host: false,
  id,
  ifindex: id,
  identity: 5,
  mac: '02:00:00:00:00:01',
  hostMac: '02:00:00:00:00:02',
});

test('a full cilium_lxc: one clear error for the pod that has no room, the others stay, and it fits when one went', async t => {
  const map = smallMap('cilium_lxc');
  t.teardown(() => map.close());
  const table = new Reconciler(endpointTarget({ map: () => map }), silent);
  const address = (n: number): string => `10.0.0.${n}`;
  for (let n = 0; n < ROOM; n++) {
    table.set(address(n), pod(n + 1));
    await table.commit([address(n)]);
  }
  t.is(table.entries, ROOM);

  table.set(address(9), pod(9));
  await t.throwsAsync(table.commit([address(9)]), {
    code: 'MAP_FULL',
    message: 'write map cilium_lxc: all its entries are in use; move pods to other nodes',
  });
  t.is(table.entries, ROOM, 'what was refused is not counted');
  // What the undo of an ADD does: nothing is left of it, neither wanted nor there.
  table.remove(address(9));
  await table.commit([address(9)]);
  await table.resync();
  t.is([...map.entries()].length, ROOM);

  table.remove(address(0));
  table.set(address(9), pod(9));
  await table.commit();
  t.is(table.entries, ROOM);
  t.true((await endpointTarget({ map: () => map }).read()).has(address(9)), 'what goes made room first');
});

test('a full cilium_ipcache: keeps what it has, says so, takes changes that need no room, fills up by itself', async t => {
  const map = smallMap('cilium_ipcache');
  t.teardown(() => map.close());
  const table = new Reconciler(ipcacheTarget({ map: () => map }), silent);
  const prefix = (n: number): string => `10.0.0.${n}/32`;
  const read = async (): Promise<string[]> =>
    [...(await ipcacheTarget({ map: () => map }).read()).keys()].sort();
  table.allowPrune();
  table.replace(
    new Map(Array.from({ length: ROOM + 2 }, (_, n) => [prefix(n), { identity: 5 }])),
    () => true,
    (a, b) => a.identity === b.identity,
  );
  const full = {
    code: 'MAP_FULL',
    message: /write map cilium_ipcache: all its entries are in use; what is in it stays/,
  };
  await t.throwsAsync(table.commit(), full);
  await t.throwsAsync(table.resync(), full);
  t.is(table.entries, ROOM);
  const kept = Array.from({ length: ROOM }, (_, n) => prefix(n));
  t.deepEqual(await read(), kept);

  // A local pod's change or end is not held up by what others wait for.
  table.set(prefix(1), { identity: 7 });
  await t.notThrowsAsync(table.commit([prefix(1)]));
  table.remove(prefix(0));
  await t.notThrowsAsync(table.commit([prefix(0)]));
  t.is(table.entries, ROOM - 1);

  // The next try takes as many as fit now.
  await t.throwsAsync(table.commit(), full);
  t.is(table.entries, ROOM);
  table.remove(prefix(2));
  await table.commit();
  t.is(table.entries, ROOM);
  t.is((await read()).length, ROOM);
  t.deepEqual(await table.resync(), [], 'nothing of this is drift');
});
