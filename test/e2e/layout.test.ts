import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { build } from 'esbuild';
import { packageRoot } from '../../src/base/paths.ts';
import { BpfMap, BpfObject, BpfProgram, TcFilter, tcxQuery } from '../../src/kernel/libbpf/index.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { withBadInstruction } from '../datapath/broken.ts';
import { compileVariant, OTHER_LAYOUT } from '../datapath/variants.ts';
import { collect, printed, TestLab } from './lab.ts';
import { type KillPoint, TestNode } from './node.ts';
import { lostOf, pingAll } from './traffic.ts';

/**
 * An agent is replaced by one of another version, whose maps have another layout, and the other way round, while pods
 * talk: whole, and killed anywhere in between. FIMBRIA_TEST_FULL=1 kills at every call, otherwise at every few.
 */
const lab = new TestLab('layout');
const full = process.env['FIMBRIA_TEST_FULL'] === '1';
const run = promisify(execFile);
const OBJECTS = ['lxc', 'host', 'netdev', 'overlay', 'sock'];
type Version = 'own' | 'other';

let folder: string;
let node: TestNode;
let address: { b: string; c: string };

/** Agent and objects as another version would have them, with codecs made from its headers. */
async function buildOther(): Promise<void> {
  await compileVariant(folder, OTHER_LAYOUT);
  for (const part of ['src', 'scripts', 'docs', 'package.json'])
    cpSync(join(packageRoot(), part), join(folder, part), { recursive: true });
  symlinkSync(join(packageRoot(), 'node_modules'), join(folder, 'node_modules'));
  await run(process.execPath, [join(folder, 'scripts/generate.mjs')]);
  await build({
    absWorkingDir: folder,
    entryPoints: ['src/agent/main.ts'],
    outfile: join(folder, 'fimbria-agent.js'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module';\nglobalThis.require ??= __createRequire(import.meta.url);",
    },
  });
}

test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fimbria-test-layout-'));
  await buildOther();
  learnSizes();
  await lab.up(
    'left,right',
    'routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.48.0.0/16',
    'endpointRoutes.enabled=true,ipam.operator.clusterPoolIPv4PodCIDRList=10.48.0.0/16',
  );
  node = new TestNode(lab.name, 'left');
  await lab.pod('a', 'left');
  address = { b: await lab.pod('b', 'left'), c: await lab.pod('c', 'right') };
});

test.after.always(async () => {
  await lab.down();
  rmSync(folder, { recursive: true, force: true });
});

let installed: Version = 'own';

/** What the node finds as its agent and objects from now on; only the node sees it. */
async function install(version: Version): Promise<void> {
  if (version === installed) return;
  const files = [
    ['dist/fimbria-agent.js', 'fimbria-agent.js'],
    ...OBJECTS.map(name => [`build/bpf/${name}.o`, `objects/${name}.o`]),
  ];
  const commands = files.map(([target, source]) => {
    const path = join(packageRoot(), target!);
    return version === 'other' ? `mount --bind ${join(folder, source!)} ${path}` : `umount ${path}`;
  });
  await lab.execMust('left', 'sh', '-c', commands.join(' && '));
  installed = version;
}

async function start(): Promise<void> {
  await node.launch();
  await node.ready(2);
}

/** Sizes of values by which a map of either version is known; by the kernel's own name. */
const sizes: Record<Version, Map<string, number>> = { own: new Map(), other: new Map() };

function learnSizes(): void {
  const objects = { own: join(packageRoot(), 'build/bpf/lxc.o'), other: join(folder, 'objects/lxc.o') };
  for (const version of ['own', 'other'] as const) {
    const object = BpfObject.open(objects[version]);
    for (const map of object.maps)
      if (map.type !== 'array_of_maps') sizes[version].set(map.name, map.valueSize);
    object.close();
  }
}

function versionsOf(maps: readonly BpfMap[]): Set<Version> {
  const versions = new Set<Version>();
  for (const map of maps) {
    const [own, other] = [sizes.own.get(map.name), sizes.other.get(map.name)];
    if (own !== other) versions.add(map.valueSize === own ? 'own' : 'other');
  }
  return versions;
}

/** The programs attached in the node: name, tag and of which version their maps are. */
async function attached(): Promise<{ name: string; tag: string; maps: Version[] }[]> {
  const rtnl = Rtnetlink.open({ netns: node.netns });
  const links = await rtnl.links();
  rtnl.close();
  const ids = links.flatMap(({ ifindex }) =>
    (['ingress', 'egress'] as const).flatMap(direction => {
      const filter = TcFilter.query({ ifindex, direction, netns: node.netns });
      const tcx = tcxQuery(ifindex, direction, node.netns).programs.map(p => p.programId);
      return filter ? [...tcx, filter.programId] : tcx;
    }),
  );
  return ids.map(id => {
    const program = BpfProgram.fromId(id);
    const maps = program.info().mapIds.map(mapId => BpfMap.fromId(mapId));
    const versions = [...versionsOf(maps)];
    for (const handle of [program, ...maps]) handle.close();
    return { name: program.name, tag: program.tag, maps: versions };
  });
}

/** Tags of the programs of a version, learnt where nothing else runs. */
const tags: Record<Version, Set<string>> = { own: new Set(), other: new Set() };

/** Every program attached has maps of one version, and its own. */
async function checkPrograms(t: ExecutionContext, where: string): Promise<void> {
  const programs = await attached();
  t.true(programs.length >= 8, where);
  for (const { name, tag, maps } of programs) {
    t.is(maps.length, 1, `${where}: ${name} has maps of ${maps}`);
    const other = maps[0] === 'own' ? 'other' : 'own';
    if (!tags[maps[0]!].has(tag))
      t.false(tags[other].has(tag), `${where}: ${name} of ${other} has maps of ${maps}`);
  }
}

/** After a start: all pins, all programs are of this version, and no pin is left over. */
async function checkVersion(t: ExecutionContext, version: Version, where: string): Promise<void> {
  const pins = join(node.bpffs, 'tc/globals');
  const names = readdirSync(pins).sort();
  t.deepEqual(
    names.filter(name => name.includes('_next_')),
    [],
    where,
  );
  const maps = names.map(name => BpfMap.fromPin(join(pins, name)));
  t.deepEqual([...versionsOf(maps)], [version], where);
  for (const [i, map] of maps.entries())
    if (/^cilium_policy_\d+$/.test(names[i]!))
      t.is(map.valueSize, sizes[version].get('cilium_policy')!, where);
  for (const map of maps) map.close();
  for (const program of await attached()) {
    t.deepEqual(program.maps, [version], `${where}: ${program.name}`);
    tags[version].add(program.tag);
  }
}

/** What must be the same under every version. */
async function known(): Promise<unknown> {
  const sorted = (list: readonly object[]): string[] => list.map(entry => JSON.stringify(entry)).sort();
  return {
    journal: node.journal(),
    endpoints: sorted(await node.api.bpf('endpoint')),
    ipcache: sorted(await node.api.bpf('ipcache')),
  };
}

const counts = async (): Promise<Map<string, bigint>> =>
  new Map(
    (await node.api.bpf('metrics')).map(row => [
      `${row.reason} ${row.direction} ${row.file}:${row.line}`,
      BigInt(row.packets),
    ]),
  );

function shrunk(before: Map<string, bigint>, after: Map<string, bigint>): string[] {
  return [...before].filter(([key, packets]) => (after.get(key) ?? 0n) < packets).map(([key]) => key);
}

/** Whether a client sees the events of packets on their way. */
async function monitors(): Promise<void> {
  const monitor = lab.spawn([
    'lab',
    'exec',
    'left',
    '--',
    'cilium',
    'monitor',
    '--type',
    'trace',
    '-o',
    'json',
  ]);
  const ended = collect(monitor);
  await printed(monitor, /"type":"trace".*"observationPoint":"to-endpoint"/);
  monitor.kill('SIGINT');
  await ended;
}

async function underPing(t: ExecutionContext, work: () => Promise<void>): Promise<void> {
  const end = await pingAll(lab, 'a', [address.b, address.c]);
  let pings: string[] = [];
  try {
    await work();
  } finally {
    pings = await end();
  }
  t.deepEqual(pings.map(lostOf), [0, 0], pings.map(p => p.slice(-300)).join('\n'));
}

test.serial(
  'an agent of another layout and back, while pods talk: nothing lost, not even counts',
  async t => {
    await checkVersion(t, 'own', 'at first');
    const before = await known();
    await underPing(t, async () => {
      for (const version of ['other', 'own'] as const) {
        const counted = await counts();
        await node.kill();
        await install(version);
        await start();
        await checkVersion(t, version, version);
        t.deepEqual(await known(), before, version);
        await monitors();
        const now = await counts();
        t.deepEqual(shrunk(counted, now), [], `${version}: no count is less`);
        t.true([...now.values()].reduce((a, b) => a + b) > [...counted.values()].reduce((a, b) => a + b));
      }
    });
  },
);

test.serial('programs of another layout that cannot be loaded: old programs, maps and pins stay', async t => {
  const overlay = join(folder, 'objects/overlay.o');
  const good = readFileSync(overlay);
  writeFileSync(overlay, withBadInstruction(good));
  const pins = join(node.bpffs, 'tc/globals');
  const ids = (): string[] =>
    readdirSync(pins).map(name => {
      const map = BpfMap.fromPin(join(pins, name));
      map.close();
      return `${name} ${map.id}`;
    });
  const before = [ids(), await attached()];
  await underPing(t, async () => {
    await node.kill();
    await install('other');
    const outcome = await lab.fimbria('lab', 'node', 'start', 'left');
    t.is(outcome.status, 1);
    t.regex(outcome.stderr + outcome.stdout, /overlay\.o.*unknown opcode ff|unknown opcode ff/s);
    t.deepEqual([ids(), await attached()], before);
    writeFileSync(overlay, good);
    await start();
    await checkVersion(t, 'other', 'mended');
  });
});

/** Calls of an agent that starts with maps of another layout, and how many lie between two kills. */
const WALKS: [KillPoint['thread'], string, number][] = [
  ['main', 'rename', 2],
  ['main', 'unlink', 1],
  ['main', 'bpf', 22],
  ['any', 'sendto', 15],
  ['any', 'bpf', 110],
];

test.serial(
  'killed anywhere on the way to another layout, the next start of either version converges',
  async t => {
    t.timeout(600_000);
    const before = await known();
    let current = installed;
    let kills = 0;
    await underPing(t, async () => {
      for (const [thread, syscall, stride] of WALKS) {
        for (let when = 1; ; when += full ? 1 : stride) {
          const next = current === 'own' ? 'other' : 'own';
          const where = `to ${next}, ${thread} ${syscall} ${when}`;
          const counted = await counts();
          await node.kill();
          await install(next);
          const died = await node.startAndDie({ thread, syscall, when });
          await checkPrograms(t, where);
          await node.kill();
          // On, or back to where it came from.
          if (died && kills % 2 === 1) await install(current);
          await start();
          current = installed;
          await checkVersion(t, current, where);
          t.deepEqual(await known(), before, where);
          t.deepEqual(shrunk(counted, await counts()), [], `${where}: no count is less`);
          if (!died) break;
          kills++;
        }
      }
      await node.kill();
      await install('own');
      await start();
    });
    t.log(`${kills} kills`);
    t.true(kills >= WALKS.length);
  },
);
