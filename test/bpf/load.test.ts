import test from 'ava';
import { BpfObject } from '../../src/kernel/libbpf/index.ts';
import { Maps } from '../../src/maps/abi.gen.ts';
import { endpointMap, ipcacheMap, runtimeMap } from '../../src/maps/tables.ts';
import { builtObject, CONFIGURATIONS, command, configurationName, Loaded, rodata } from './harness.ts';
import { fillMaps } from './world.ts';

const PROGRAMS = {
  lxc: ['cil_from_container', 'cil_to_container'],
  host: ['cil_from_host', 'cil_to_host'],
  netdev: ['cil_from_netdev', 'cil_to_netdev'],
  overlay: ['cil_from_overlay', 'cil_to_overlay'],
} as const;
type ObjectName = keyof typeof PROGRAMS;
const OBJECTS = Object.keys(PROGRAMS) as ObjectName[];

/** Opens an object without pins and with this configuration. */
function open(name: ObjectName, configuration: (typeof CONFIGURATIONS)[number]): BpfObject {
  const object = BpfObject.open(builtObject(name));
  for (const map of object.maps) if (map.pinned) object.configureMap(map.name, { pinPath: null });
  object.setRodata(rodata(configuration));
  return object;
}

for (const configuration of CONFIGURATIONS) {
  for (const name of OBJECTS) {
    test.serial(`${name} loads at full size: ${configurationName(configuration)}`, t => {
      const object = open(name, configuration);
      try {
        t.notThrows(() => object.load());
        for (const programName of PROGRAMS[name]) {
          const program = object.program(programName);
          t.is(program.type, 'sched_cls');
          program.close();
        }
      } finally {
        object.close();
      }
    });
  }
}

test('every object declares the same maps and the programs that the agent attaches', t => {
  for (const name of OBJECTS) {
    const object = BpfObject.open(builtObject(name));
    t.deepEqual(object.programs.map(p => p.name).sort(), [...PROGRAMS[name]].sort());
    t.deepEqual(
      Object.fromEntries(object.maps.map(m => [m.name, { maxEntries: m.maxEntries, pinned: m.pinned }])),
      Object.fromEntries(
        Object.entries(Maps).map(([map, { maxEntries, pinned }]) => [map, { maxEntries, pinned }]),
      ),
    );
    object.close();
  }
});

test('an option that no object has is refused', t => {
  const object = BpfObject.open(builtObject('lxc'));
  t.throws(() => object.setRodata({ cfg_no_such_option: true }), { code: 'ENOENT' });
  object.close();
});

test('what a configuration switches off is gone from the program', t => {
  const sizes = CONFIGURATIONS.map(configuration => {
    const object = open('lxc', configuration);
    object.load();
    const program = object.program('cil_from_container');
    const { translatedBytes } = program.info();
    program.close();
    object.close();
    return { configuration, translatedBytes };
  });
  const size = (tunnel: boolean, endpointRoutes: boolean, hostRouting: boolean): number =>
    sizes.find(
      ({ configuration: c }) =>
        c.tunnel === tunnel && c.endpointRoutes === endpointRoutes && c.hostRouting === hostRouting,
    )!.translatedBytes;
  t.true(size(false, true, false) < size(false, false, false), 'the stack delivers: no delivery code');
  t.true(size(false, false, false) < size(true, false, false), 'no tunnel: no encapsulation code');
  t.true(size(false, true, false) < size(false, true, true), 'no host routing: no route lookup');
});

test('objects share their maps through pins, and bpftool prints fields by name', t => {
  // A mount namespace of its own: its bpffs and every pin in it go with the shell.
  const script = [
    'set -e',
    'mount -t bpf bpf /sys/fs/bpf',
    ...OBJECTS.map(name => `bpftool prog loadall ${builtObject(name)} /sys/fs/bpf/${name} 2>/dev/null`),
    'bpftool map update pinned /sys/fs/bpf/cilium_lxc key hex 0a 00 00 0a value hex ' +
      '07 00 00 00 e8 03 00 00 0a 00 02 00 02 00 00 00 0a 10 02 00 00 00 0a ff',
    'bpftool -j map dump pinned /sys/fs/bpf/cilium_lxc',
  ].join('\n');
  const [entry] = JSON.parse(command('unshare', ['--mount', 'sh', '-c', script]));
  t.deepEqual(entry.formatted.key, { ipv4: 0x0a00000a });
  t.deepEqual(
    { ...entry.formatted.value },
    {
      ifindex: 7,
      identity: 1000,
      endpoint_id: 10,
      flags: 2,
      mac: [2, 0, 0, 0, 10, 16],
      node_mac: [2, 0, 0, 0, 10, 255],
    },
  );
});

test('every map that can carries types, policy maps made at run time too', t => {
  const loaded = new Loaded(builtObject('lxc'), CONFIGURATIONS[0]!, '/proc/self/ns/net');
  try {
    fillMaps(loaded);
    const policy = loaded.setPolicy(99, [
      [{ direction: 'egress', identity: 256, l4Proto: 6, dport: 443 }, { deny: true }],
    ]);
    const dump = (id: number): { formatted: { key: unknown; value: unknown } }[] =>
      JSON.parse(command('bpftool', ['-j', 'map', 'dump', 'id', `${id}`]));
    const [rule] = dump(policy.id);
    t.like(rule!.formatted.key, { prefixlen: 96, egress: 1, identity: 256, l4_proto: 6 });
    t.like(rule!.formatted.value, { deny: 1, prefixlen: 96 });
    const named = { cilium_lxc: 'ifindex', cilium_ipcache: 'tunnel_endpoint', cilium_runtime: 'trace' };
    for (const [name, field] of Object.entries(named)) {
      const [first] = dump(loaded.map(name).id);
      t.true(Object.hasOwn(first!.formatted.value as object, field), `${name} shows ${field}`);
    }
  } finally {
    loaded.close();
  }
});

test('typed views read what they wrote to the kernel', t => {
  const loaded = new Loaded(builtObject('netdev'), CONFIGURATIONS[0]!, '/proc/self/ns/net');
  try {
    const entry = {
      ifindex: 7,
      identity: 1000,
      endpointId: 3,
      host: false,
      policyIngress: true,
      policyEgress: false,
      mac: '02:00:00:00:00:01',
      nodeMac: '02:00:00:00:00:02',
    };
    const endpoints = endpointMap(loaded.map('cilium_lxc'));
    endpoints.set('10.0.0.7', entry);
    t.deepEqual([...endpoints.entries()], [['10.0.0.7', entry]]);
    t.true(endpoints.delete('10.0.0.7'));
    t.false(endpoints.delete('10.0.0.7'));

    const ipcache = ipcacheMap(loaded.map('cilium_ipcache'));
    const record = {
      identity: 5,
      tunnelEndpoint: '192.168.10.101',
      ownPodCidr: false,
      cluster: true,
      neighbour: false,
    };
    ipcache.updateBatch([
      ['0.0.0.0/0', { ...record, identity: 2 }],
      ['10.0.1.0/24', record],
    ]);
    t.deepEqual(Object.fromEntries(ipcache.entries()), {
      '0.0.0.0/0': { ...record, identity: 2 },
      '10.0.1.0/24': record,
    });
    t.is(ipcache.deleteBatch(['10.0.1.0/24', '10.9.0.0/16']), 1);

    const runtime = runtimeMap(loaded.map('cilium_runtime'));
    t.deepEqual(runtime.get(0), { trace: false });
    runtime.set(0, { trace: true });
    t.deepEqual(runtime.get(0), { trace: true });
  } finally {
    loaded.close();
  }
});
