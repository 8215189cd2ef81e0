import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createLogger, type Logger, silent } from '../../src/base/log.ts';
import { packageRoot } from '../../src/base/paths.ts';
import { createPolicyMap } from '../../src/datapath/policy-maps.ts';
import { Programs } from '../../src/datapath/programs.ts';
import { datapathRemains } from '../../src/datapath/remains.ts';
import { BpfMap, type MapCreateOptions, possibleCpus } from '../../src/kernel/libbpf/index.ts';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { EndpointFlag } from '../../src/maps/abi.gen.ts';
import { readFields, writeFields } from '../../src/maps/convert.ts';
import { policyMap, setPolicySlot } from '../../src/maps/tables.ts';
import type { Fields, LayoutUpgrade } from '../../src/maps/upgrades.ts';
import { ethernet, ipv4, PROTO, tcp } from '../bpf/packet.ts';
import { type Scratch, scratch } from '../native/support.ts';
import { withBadInstruction } from './broken.ts';
import { compileVariant, type Edit, OTHER_LAYOUT } from './variants.ts';

/**
 * Maps of one layout, taken over by programs of another; each test has a bpffs of its own. What programs do meanwhile
 * to packets is in test/e2e/layout.test.ts.
 */
const OWN = join(packageRoot(), 'build/bpf');
const OPTIONS = {
  tunnel: false,
  endpointRoutes: true,
  hostRouting: true,
  overlayIfindex: 0,
  nodeIpv4: '192.0.2.1',
  directIfindex: 0,
  routeMtu: 1450,
};
let objects: Scratch;
let other: string;

/** The same sizes, but two numbers have changed places. */
const SWAPPED: Edit[] = [['ipcache_info', /(\t__u32 identity;.*\n)(\t__be32 tunnel_endpoint;.*\n)/, '$2$1']];
const NARROW: Edit[] = [
  ['ipcache_info', /__u32 identity;/, '__u16 identity;\n\t__u16 reserved9;'],
  ['cilium_ipcache', /max_entries, \d+/, 'max_entries, 2'],
];
const WIDE_KEY: Edit[] = [
  ['ipcache_key', /\t__be32 ipv4;/, '\t__u16 cluster_id;\n\t__u16 reserved;\n\t__be32 ipv4;'],
  ['cilium_lxc', /BPF_MAP_TYPE_HASH/, 'BPF_MAP_TYPE_LRU_HASH'],
];

test.before(async () => {
  objects = await scratch();
  other = await compileVariant(join(objects.directory, 'other'), OTHER_LAYOUT);
});
test.after.always(() => objects.close());

/** A bpffs, and what loads programs with it; everything is given back when the test ends. */
async function node(t: ExecutionContext): Promise<{
  load(folder: string, o?: { log?: Logger; upgrades?: LayoutUpgrade[] }): Promise<Programs>;
  pins(): Record<string, number>;
  folder: string;
}> {
  const place = await scratch();
  const folder = join(place.bpffs, 'tc/globals');
  const loaded: Programs[] = [];
  t.teardown(async () => {
    for (const programs of loaded) programs.close();
    await place.close();
  });
  return {
    folder,
    load: async (from, o = {}) => {
      const programs = await Programs.load(place.bpffs, OPTIONS, { log: silent, ...o, folder: from });
      loaded.push(programs);
      return programs;
    },
    pins: () =>
      Object.fromEntries(
        readdirSync(folder)
          .sort()
          .map(name => [name, idOf(join(folder, name))]),
      ),
  };
}

function idOf(pin: string): number {
  const map = BpfMap.fromPin(pin);
  map.close();
  return map.id;
}

/** Writes an entry, fields by name in whatever layout the map has. */
function put(map: BpfMap, key: Fields, value: Fields | Fields[]): void {
  const types = map.types()!;
  const [keyBytes, one] = [Buffer.alloc(map.keySize), (map.valueSize + 7) & ~7];
  writeFields(types.key, keyBytes, key);
  const values = Array.isArray(value) ? value : [value];
  const stride = Array.isArray(value) ? one : map.valueSize;
  const bytes = Buffer.alloc(stride * values.length);
  for (const [cpu, fields] of values.entries())
    writeFields(types.value, bytes.subarray(cpu * stride), fields);
  map.update(keyBytes, bytes);
}

const plain = (fields: Fields): Fields =>
  Object.fromEntries(
    Object.entries(fields)
      .filter(([name]) => !name.startsWith('reserved'))
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, v]) => [name, v instanceof Uint8Array ? [...v].join('.') : v]),
  ) as Fields;

/** Everything in a map, without what is reserved; of per-CPU maps the value of every CPU. */
function dump(map: BpfMap): unknown[] {
  const types = map.types()!;
  const stride = map.type.startsWith('percpu') ? (map.valueSize + 7) & ~7 : map.valueSize;
  return [...map.entries()]
    .map(([key, bytes]) => {
      const values = [];
      for (let at = 0; at < bytes.length; at += stride)
        values.push(plain(readFields(types.value, bytes.subarray(at, at + map.valueSize))));
      return { key: plain(readFields(types.key, key)), value: values.length > 1 ? values : values[0] };
    })
    .sort((a, b) => JSON.stringify(a.key).localeCompare(JSON.stringify(b.key)));
}

const ENDPOINT = {
  ifindex: 7,
  identity: 1000,
  endpoint_id: 9,
  flags: 6,
  mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
  node_mac: Uint8Array.of(2, 0, 0, 0, 0, 2),
};
const REMOTE = { identity: 70_000, tunnel_endpoint: 0xc0a80a65, flags: 2 };

function fill(programs: Programs): void {
  put(programs.map('cilium_lxc'), { ipv4: 0x0a000001 }, ENDPOINT);
  put(programs.map('cilium_lxc'), { ipv4: 0x0a000002 }, { ...ENDPOINT, endpoint_id: 10 });
  for (let i = 0; i < 3000; i++)
    put(programs.map('cilium_ipcache'), { prefixlen: 32, ipv4: 0x0a010000 + i }, { ...REMOTE, identity: i });
  put(programs.map('cilium_ipcache'), { prefixlen: 24, ipv4: 0x0a000100 }, REMOTE);
  put(programs.map('cilium_runtime'), { '': 0 }, { trace: 1 });
  const flow = { saddr: 0x0a000001, daddr: 0x0a000002, sport: 40_000, dport: 80, l4_proto: 6 };
  for (const name of ['cilium_ct4_global', 'cilium_ct_any4_global'])
    put(programs.map(name), flow, { expires_s: 8000, backend_id: 7, nat_address: 0x0a600001, packets: 3n });
  put(programs.map('cilium_snat_v4_external'), flow, { address: 0xc0a80a64, port: 40_001, created_s: 99 });
}

const COUNT_KEY = { reason: 133, direction: 1, source_line: 300, source_file: 2 };
const count = (programs: { map(name: string): BpfMap }, key: Fields, packets: bigint): void =>
  put(
    programs.map('cilium_metrics'),
    key,
    Array.from({ length: possibleCpus() }, (_, cpu) => ({ packets: packets + BigInt(cpu), bytes: 60n })),
  );
const TABLES = [
  'cilium_lxc',
  'cilium_ipcache',
  'cilium_runtime',
  'cilium_ct4_global',
  'cilium_snat_v4_external',
  'cilium_ct_any4_global',
  'cilium_metrics',
];
/** What OTHER_LAYOUT makes another layout of. */
const CHANGED = [...TABLES, 'cilium_policy_maps', 'cilium_events'];
const dumps = (programs: Programs): unknown[][] => TABLES.map(name => dump(programs.map(name)));
/** For comparisons; without a field that only the other layout has. */
const texts = (lists: unknown[][]): string[][] =>
  lists.map(list =>
    list.map(entry =>
      JSON.stringify(entry, (name, v) =>
        name === 'generation' ? undefined : typeof v === 'bigint' ? `${v}` : v,
      ),
    ),
  );

test('another layout: everything is there before the pins move, and the way back is the same', async t => {
  const { load, pins } = await node(t);
  const a = await load(OWN);
  a.finish();
  fill(a);
  count(a, COUNT_KEY, 5n);
  const before = pins();
  const tables = texts(dumps(a));
  a.close();

  const b = await load(other);
  const between = pins();
  for (const [name, id] of Object.entries(before)) t.is(between[name], id, `${name} is as it was`);
  t.deepEqual(texts(dumps(b).slice(0, -1)), tables.slice(0, -1));
  b.finish();
  t.deepEqual(texts(dumps(b)), tables);
  const after = pins();
  t.deepEqual(Object.keys(after), Object.keys(before), 'no temporary pin stays');
  for (const [name, id] of Object.entries(after)) {
    t.is(id, b.map(name).id, `${name} is the new one`);
    if (!CHANGED.includes(name)) {
      t.is(id, before[name]!, `${name} is the same and stays`);
      continue;
    }
    t.not(id, before[name]);
    t.throws(() => BpfMap.fromId(before[name]!), { code: 'ENOENT' }, `the old ${name} is gone`);
  }
  b.close();

  const back = await load(OWN);
  back.finish();
  t.deepEqual(texts(dumps(back)), tables);
  back.close();
  const ids = pins();
  (await load(OWN)).finish();
  t.deepEqual(pins(), ids, 'nothing to do: nothing done');
});

test('counters: what old and new programs count while both run is added up, on every CPU', async t => {
  const { load, folder } = await node(t);
  const a = await load(OWN);
  a.finish();
  count(a, COUNT_KEY, 5n);
  const b = await load(other);
  const old = { map: (name: string) => BpfMap.fromPin(join(folder, name)) };
  count(b, COUNT_KEY, 100n);
  count(old, COUNT_KEY, 7n);
  count(old, { ...COUNT_KEY, reason: 0 }, 1n);
  b.finish();
  const cpus = (packets: number, bytes: number, each = 1): unknown =>
    Array.from({ length: possibleCpus() }, (_, cpu) => ({
      packets: BigInt(packets + each * cpu),
      bytes: BigInt(bytes),
    }));
  const value = (list: unknown): unknown => (possibleCpus() > 1 ? list : (list as unknown[])[0]);
  const key = { source_line: 300, source_file: 2, direction: 1 };
  t.deepEqual(dump(b.map('cilium_metrics')), [
    { key: { ...key, reason: 0 }, value: value(cpus(1, 60)) },
    { key: { ...key, reason: 133 }, value: value(cpus(107, 120, 2)) },
  ]);
});

test('an upgrade that was cut short: what its programs counted is kept, its tables are made again', async t => {
  const { load, pins } = await node(t);
  const a = await load(OWN);
  a.finish();
  fill(a);
  count(a, COUNT_KEY, 1n);
  const tables = dumps(a).slice(0, 3);
  const names = Object.keys(pins());
  const first = await load(other);
  count(first, COUNT_KEY, 10n);
  const ids = { metrics: first.map('cilium_metrics').id, lxc: first.map('cilium_lxc').id };
  first.close();

  const second = await load(other);
  t.is(second.map('cilium_metrics').id, ids.metrics, 'they count on in the same map');
  t.not(second.map('cilium_lxc').id, ids.lxc);
  t.is(Object.keys(pins()).filter(name => name.startsWith('cilium_lxc')).length, 2, 'the stale pin is swept');
  second.close();

  const back = await load(OWN);
  back.finish();
  t.deepEqual(Object.keys(pins()), names);
  t.deepEqual(dumps(back).slice(0, 3), tables);
  const [{ value }] = dump(back.map('cilium_metrics')) as [{ value: { packets: bigint }[] }];
  t.is([value].flat()[0]!.packets, 11n, 'and go back, too');
});

test('what an upgrade that was cut short left is part of what cleanup takes away', async t => {
  const { load, pins, folder } = await node(t);
  (await load(OWN)).finish();
  await load(other);
  const netns = await createHeldNetns();
  const rtnl = Rtnetlink.open({ netns: netns.fd });
  t.teardown(() => {
    rtnl.close();
    netns.close();
  });
  const remains = await datapathRemains(rtnl, join(folder, '../..'), new Map());
  const maps = remains.filter(remain => remain.what.startsWith('map pin '));
  t.deepEqual(maps.map(map => map.what.slice(`map pin ${folder}/`.length)).sort(), Object.keys(pins()));
  for (const map of maps) await map.remove();
  t.deepEqual(pins(), {});
});

test('policy maps: pinned ones, their slots, and slots of no pin', async t => {
  const { load, folder, pins } = await node(t);
  const a = await load(OWN);
  a.finish();
  const rule = { direction: 'ingress', identity: 77, l4Proto: 6, dport: 443 } as const;
  const slots = a.map('cilium_policy_maps');
  for (const id of [5, 300, 4000]) {
    const map = createPolicyMap(a.lxc, id);
    policyMap(map).set({ ...rule, identity: id }, { deny: true });
    if (id !== 4000) map.pin(join(folder, `cilium_policy_${id}`));
    if (id !== 5) setPolicySlot(slots, id, map);
    map.close();
  }
  const before = pins();
  a.close();

  const check = (programs: Programs): void => {
    const declared = programs.lxc.maps.find(map => map.name === 'cilium_policy')!;
    const outer = programs.map('cilium_policy_maps');
    const inSlots = new Map([...outer.entries()].map(([k, v]) => [k.readUInt32LE(), v.readUInt32LE()]));
    t.deepEqual([...inSlots.keys()], [0, 300, 4000]);
    t.is(inSlots.get(300), pins()['cilium_policy_300']);
    for (const map of [
      BpfMap.fromPin(join(folder, 'cilium_policy_5')),
      ...[...inSlots.values()].map(BpfMap.fromId),
    ]) {
      t.is(map.valueSize, declared.valueSize);
      const entries = dump(map) as { key: Fields; value: Fields }[];
      if (map.id === inSlots.get(0)) t.deepEqual(entries, []);
      else
        t.like(entries, [
          { key: { prefixlen: 96, l4_proto: 6, dport: 443 }, value: { deny: 1, prefixlen: 96 } },
        ]);
      map.close();
    }
  };
  const b = await load(other);
  b.finish();
  check(b);
  t.deepEqual(Object.keys(pins()), Object.keys(before));
  b.close();
  const back = await load(OWN);
  back.finish();
  check(back);
  const ids = pins();
  back.close();
  const again = await load(OWN);
  again.finish();
  t.deepEqual(pins(), ids);

  // A map of maps that does not say what is in it, as the first version made them.
  again.map('cilium_policy_maps').delete(Buffer.alloc(4));
  const rebuilt = await load(OWN);
  rebuilt.finish();
  check(rebuilt);
  t.is(pins()['cilium_policy_300'], ids['cilium_policy_300']);
});

test('a policy is enforced by the programs of both layouts, each with its own maps', async t => {
  const { load, folder } = await node(t);
  const a = await load(OWN);
  a.finish();
  const LOOPBACK = 1;
  put(
    a.map('cilium_lxc'),
    { ipv4: 0x0a000009 },
    { ...ENDPOINT, ifindex: LOOPBACK, flags: EndpointFlag.ENDPOINT_F_POLICY_INGRESS },
  );
  put(a.map('cilium_ipcache'), { prefixlen: 24, ipv4: 0x0a000100 }, { ...REMOTE, identity: 300 });
  const policy = createPolicyMap(a.lxc, ENDPOINT.endpoint_id);
  policyMap(policy).set(
    { direction: 'ingress', identity: 300, l4Proto: PROTO.tcp, dport: 443 },
    { deny: false },
  );
  policy.pin(join(folder, `cilium_policy_${ENDPOINT.endpoint_id}`));
  setPolicySlot(a.map('cilium_policy_maps'), ENDPOINT.endpoint_id, policy);
  policy.close();

  const passes = (programs: Programs, src: string, dport: number): boolean => {
    const macs = { dst: '02:00:00:00:00:01', src: '02:00:00:00:00:02' };
    const data = ethernet(macs, ipv4({ src, dst: '10.0.0.9', proto: PROTO.tcp }, tcp(4000, dport)));
    return programs.get('cil_to_container').testRun({ data, ifindex: LOOPBACK }).retval === 0;
  };
  const check = (programs: Programs, when: string): void => {
    t.true(passes(programs, '10.0.1.7', 443), `${when}: allowed`);
    t.false(passes(programs, '10.0.1.7', 80), `${when}: another port`);
    t.false(passes(programs, '10.0.2.7', 443), `${when}: another identity`);
  };
  check(a, 'own');
  const b = await load(other);
  check(b, 'other, before the pins move');
  check(a, 'own, beside the other');
  b.finish();
  check(b, 'other');
  check(a, 'own, whose pins are gone');
  const back = await load(OWN);
  check(back, 'own again');
});

test('the same sizes are not the same layout: fields that changed places are moved', async t => {
  const swapped = await compileVariant(join(objects.directory, 'swapped'), SWAPPED);
  const { load } = await node(t);
  const a = await load(OWN);
  a.finish();
  fill(a);
  const b = await load(swapped);
  t.deepEqual(dump(b.map('cilium_ipcache')), dump(a.map('cilium_ipcache')));
  t.not(b.map('cilium_ipcache').id, a.map('cilium_ipcache').id);
  t.is(b.map('cilium_lxc').id, a.map('cilium_lxc').id);
});

test('a wider key of a trie, another type of map', async t => {
  const wide = await compileVariant(join(objects.directory, 'wide'), WIDE_KEY);
  const { load } = await node(t);
  const a = await load(OWN);
  a.finish();
  put(a.map('cilium_ipcache'), { prefixlen: 0, ipv4: 0 }, REMOTE);
  put(a.map('cilium_ipcache'), { prefixlen: 24, ipv4: 0x0a000100 }, REMOTE);
  put(a.map('cilium_lxc'), { ipv4: 0x0a000001 }, ENDPOINT);
  const b = await load(wide);
  b.finish();
  const keys = (dump(b.map('cilium_ipcache')) as { key: Fields }[]).map(e => e.key);
  t.deepEqual(keys, [
    { prefixlen: 0, cluster_id: 0, ipv4: 0 },
    { prefixlen: 56, cluster_id: 0, ipv4: 0x0a000100 },
  ]);
  t.is(b.map('cilium_lxc').type, 'lru_hash');
  t.deepEqual(dump(b.map('cilium_lxc')), dump(a.map('cilium_lxc')));
  b.close();
  const back = await load(OWN);
  t.deepEqual(dump(back.map('cilium_ipcache')), dump(a.map('cilium_ipcache')));
});

test('entries that the new layout cannot say are told, the others are there', async t => {
  const narrow = await compileVariant(join(objects.directory, 'narrow'), NARROW);
  const { load } = await node(t);
  const a = await load(OWN);
  a.finish();
  for (const [ipv4, identity] of [70_000, 1, 2, 3].entries())
    put(a.map('cilium_ipcache'), { prefixlen: 32, ipv4 }, { ...REMOTE, identity });
  const lines: string[] = [];
  const b = await load(narrow, { log: createLogger('warn', line => lines.push(line)) });
  t.is(dump(b.map('cilium_ipcache')).length, 2);
  t.is(lines.length, 1);
  t.regex(lines[0]!, /entries of the old layout cannot be taken over" map=cilium_ipcache refused=2/);
  t.regex(lines[0]!, /2000000000000000: value identity is 70000, too much for __u16, .*: the map is full/);
});

test('an upgrade function fills what is new', async t => {
  const { load } = await node(t);
  const a = await load(OWN);
  a.finish();
  put(a.map('cilium_lxc'), { ipv4: 0x0a000001 }, ENDPOINT);
  const upgrade: LayoutUpgrade = {
    map: 'cilium_lxc',
    appliesTo: old => !old.types!.value!.fields.some(f => f.name === 'generation'),
    value: ({ value }) => ({ generation: (value['endpoint_id'] as number) + 1 }),
  };
  const b = await load(other, { upgrades: [upgrade] });
  const generation = (programs: Programs): unknown =>
    (dump(programs.map('cilium_lxc')) as { value: Fields }[])[0]!.value['generation'];
  t.is(generation(b), ENDPOINT.endpoint_id + 1);
  b.finish();
  put(b.map('cilium_lxc'), { ipv4: 0x0a000001 }, { ...ENDPOINT, generation: 3 });
  b.close();
  const next = await load(await compileVariant(join(objects.directory, 'next'), OTHER_LAYOUT.slice(0, 2)), {
    upgrades: [upgrade],
  });
  t.is(generation(next), 3, 'not where the old layout has it');
});

const FOREIGN: [string, MapCreateOptions, RegExp][] = [
  [
    'cilium_lxc',
    { type: 'ringbuf', name: 'cilium_lxc', keySize: 0, valueSize: 0, maxEntries: 4096 },
    /^take over map \S+\/tc\/globals\/cilium_lxc: it is not one of ours: its type is ringbuf, not hash; remove the pin/,
  ],
  [
    'cilium_lxc',
    { type: 'hash', name: 'other', keySize: 4, valueSize: 24, maxEntries: 65535 },
    /the kernel calls it other, not cilium_lxc/,
  ],
  [
    'cilium_lxc',
    { type: 'hash', name: 'cilium_lxc', keySize: 4, valueSize: 24, maxEntries: 65535 },
    /the kernel knows no types of it/,
  ],
  [
    'cilium_events',
    { type: 'hash', name: 'cilium_events', keySize: 4, valueSize: 4, maxEntries: 4 },
    /its type is hash, not ringbuf/,
  ],
  [
    'cilium_policy_7',
    { type: 'hash', name: 'cilium_policy_7', keySize: 4, valueSize: 4, maxEntries: 4 },
    /cilium_policy_7: it is not one of ours: the kernel knows no types of it/,
  ],
];

test('a map of others at our pin is refused, and nothing is changed', async t => {
  const { load, pins, folder } = await node(t);
  const a = await load(OWN);
  a.finish();
  const struct = { object: a.lxc, map: 'cilium_ipcache' };
  const cases = [
    ...FOREIGN,
    [
      'cilium_lxc',
      { type: 'hash', name: 'cilium_lxc', keySize: 8, valueSize: 12, maxEntries: 9, btfFrom: struct },
      /its key is a ipcache_key, not a endpoint_key/,
    ] as (typeof FOREIGN)[number],
  ];
  for (const [name, options, why] of cases) {
    const pin = join(folder, name);
    rmSync(pin, { force: true });
    const map = BpfMap.create(options);
    map.pin(pin);
    map.close();
    const before = pins();
    for (const objectsOf of [OWN, other])
      await t.throwsAsync(load(objectsOf), { code: 'FOREIGN_MAP', message: why });
    t.deepEqual(pins(), before);
    rmSync(pin);
  }
  rmSync(join(folder, 'cilium_runtime'));
  a.get('cil_from_host').pin(join(folder, 'cilium_runtime'));
  await t.throwsAsync(load(OWN), { code: 'EINVAL', message: /cilium_runtime: the pin holds something else/ });
});

test('programs that cannot be loaded leave pins and maps as they are', async t => {
  const { load, pins } = await node(t);
  const bad = await compileVariant(join(objects.directory, 'bad'), OTHER_LAYOUT);
  const overlay = join(bad, 'overlay.o');
  writeFileSync(overlay, withBadInstruction(readFileSync(overlay)));
  const a = await load(OWN);
  a.finish();
  fill(a);
  const before = [pins(), dumps(a)];
  await t.throwsAsync(load(bad), { code: 'BPF_LOAD', message: /overlay\.o/ });
  t.deepEqual([pins(), dumps(a)], before);
  const b = await load(other);
  b.finish();
  t.is(dump(b.map('cilium_ipcache')).length, 3001);
});

test('on a node without pins a failed load leaves none', async t => {
  const { load, folder } = await node(t);
  const bad = await compileVariant(join(objects.directory, 'bad2'), []);
  const overlay = join(bad, 'overlay.o');
  writeFileSync(overlay, withBadInstruction(readFileSync(overlay)));
  await t.throwsAsync(load(bad), { code: 'BPF_LOAD' });
  t.throws(() => readdirSync(folder), { code: 'ENOENT' });
});
