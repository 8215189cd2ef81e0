import test from 'ava';
import type { BpfMap } from '../../src/kernel/libbpf/index.ts';
import { answerTo } from './fuzz/answer.ts';
import { check, type Tally } from './fuzz/campaign.ts';
import { type Case, generate } from './fuzz/generate.ts';
import { Oracle } from './fuzz/oracle.ts';
import { policiesOf } from './fuzz/policies.ts';
import { Random } from './fuzz/random.ts';
import { FRONTENDS, NODE_PORT, SERVICES, ServiceModel } from './fuzz/services.ts';
import { differingTable, namesOf } from './fuzz/tables.ts';
import { brokenRefusal, brokenTranslation, reasonsOf, type TranslatingProgram } from './fuzz/translated.ts';
import {
  CONFIGURATIONS,
  type Configuration,
  configurationName,
  ipNumber,
  Loaded,
  Namespace,
  NODE_IPV4,
  Probes,
} from './harness.ts';
import { putService } from './services.ts';
import { ELSEWHERE, fillMaps, furnish, NODE, PODS } from './world.ts';

/**
 * Random and malformed packets to services, their backends and the world, and answers to what became of them, each held
 * beside the specification: verdict, frame, mark, tunnel key, counters, events, and what the maps hold afterwards. Where
 * the specification leaves a choice (which backend, which port) what was chosen is checked for being allowed. Seed and
 * number of packets as in fuzz.test.ts.
 */

const PACKETS = Number(process.env['FIMBRIA_FUZZ_PACKETS'] ?? 1_000_000);
const SEED = Number(process.env['FIMBRIA_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const BATCH = 512;
const BATCHES_OF_A_LIFE = 6;
/** Room for all that the packets of one life leave behind, so that nothing goes for want of it. */
const FLOW_ENTRIES = 32_768;
const OBJECTS: Record<TranslatingProgram, 'lxc' | 'host' | 'netdev' | 'overlay'> = {
  from_container: 'lxc',
  to_container: 'lxc',
  from_host: 'host',
  from_netdev: 'netdev',
  to_netdev: 'netdev',
  from_overlay: 'overlay',
};
const PROGRAMS = Object.keys(OBJECTS) as TranslatingProgram[];
/** All lifetimes are multiples of half a step, so that packets are on one side of each whatever the machine's pace. */
const STEP_S = 20;
const STEADY_S = 9;

let namespace: Namespace;
const probes = new Probes();
const paths = new Map<string, string>();
const objects = new Map<string, Loaded>();
test.before(async () => {
  namespace = await Namespace.create();
  furnish(namespace);
  for (const name of new Set(Object.values(OBJECTS))) paths.set(name, probes.compile(`${name}_probe`));
});
test.after.always(() => {
  for (const loaded of objects.values()) loaded.close();
  namespace?.close();
  probes.close();
});

/** An object with its maps, for all of its programs. */
function load(name: string, c: Configuration): Loaded {
  const key = `${name} ${configurationName(c)}`;
  const known = objects.get(key);
  if (known) return known;
  const more = { cfg_node_port: true, cfg_pod_lb: true, cfg_masquerade: true, cfg_dsr: !c.tunnel };
  // Their probes contain the programs as they are, which the kernel then need not verify twice.
  const programs = PROGRAMS.map(program => `probe_${program}`);
  const options = { more, flowEntries: FLOW_ENTRIES, programs };
  const loaded = new Loaded(paths.get(name)!, c, namespace.path, options);
  objects.set(key, loaded);
  fillMaps(loaded);
  for (const service of SERVICES) putService(loaded, service);
  return loaded;
}

/** A packet where this program meets it; half of them to a service, some to the world or a translated port. */
function packetFor(program: TranslatingProgram, random: Random, prepared: boolean): Case {
  const made = generate(program === 'to_netdev' ? 'from_container' : program, random, prepared);
  if (program === 'to_netdev') made.ifindex = NODE.ifindex;
  const { frame } = made;
  if (frame.length < 38 || frame.readUInt16BE(12) !== 0x0800 || random.oneIn(3)) return made;
  const at = 14 + (frame[14]! & 0xf) * 4;
  const target = random.pick([...FRONTENDS, NODE_IPV4, ELSEWHERE.world, ELSEWHERE.world, '169.254.42.1']);
  frame.writeUInt32BE(ipNumber(target), 30);
  if (random.oneIn(4))
    frame.writeUInt32BE(ipNumber(random.pick([ELSEWHERE.world, '198.19.7.7', NODE_IPV4])), 26);
  if (at + 4 <= frame.length) {
    frame.writeUInt16BE(target === NODE_IPV4 ? random.pick([NODE_PORT, 40_000]) : 80, at + 2);
    if (random.oneIn(2)) frame.writeUInt16BE(40_000 + random.below(8), at);
  }
  // SYN, its answer, data, goodbyes.
  if (frame[23] === 6 && at + 14 <= frame.length && !random.oneIn(3))
    frame[at + 13] = random.pick([0x02, 0x02, 0x12, 0x10, 0x18, 0x11, 0x04]);
  // A node with a backend is told in whose name to answer.
  if (program === 'from_netdev' && !made.cutTo && random.oneIn(8)) {
    const option = Buffer.of(0x9a, random.oneIn(8) ? 7 : 8, 0x1f, 0x90, 10, 0, 250, random.below(4));
    frame.writeUInt32BE(ipNumber(random.pick(Object.values(PODS)).ip), 30);
    if ((frame[14]! & 0xf) <= 13) {
      // Nobody makes large packets of those with options.
      made.gsoSize = 0;
      frame[14]! += 2;
      frame.writeUInt16BE((frame.readUInt16BE(16) + 8) & 0xffff, 16);
      made.frame = Buffer.concat([frame.subarray(0, 34), option, frame.subarray(34)]);
    }
  }
  return made;
}

const text = (map: BpfMap): string[] =>
  Array.from(map.entries(), ([key, value]) => `${key.toString('hex')} ${value.toString('hex')}`).sort();
/** What nothing but user space writes. */
const READ_ONLY = ['cilium_lxc', 'cilium_ipcache', 'cilium_lb4_services_v2', 'cilium_lb4_backends_v3'];
const contents = (loaded: Loaded): string => JSON.stringify(READ_ONLY.map(name => text(loaded.map(name))));
const monotonicS = (): number => Number(process.hrtime.bigint() / 1_000_000_000n);

/** Packets of which another program has said that they are as they must leave. */
const isMarked = (mark: number): boolean => (mark & 0xf00) === 0x300 || (mark & 0xf00) === 0x400;

/** Runs so many packets. @returns how many of them left with another address */
function run(
  program: TranslatingProgram,
  configuration: Configuration,
  loaded: Loaded,
  random: Random,
  due: number,
  tally: Tally,
): number {
  const policies = policiesOf(random);
  loaded.setPolicy(PODS.fortified.endpointId, policies.get(PODS.fortified.endpointId)!);
  const oracle = new Oracle(configuration, policies, new ServiceModel(SERVICES));
  const { tables } = oracle;
  const affinity = loaded.map('cilium_lb4_affinity');
  const allowed = {
    verdicts: ['pass' as const, 'drop' as const, 'redirect' as const],
    reasons: [...reasonsOf(program, configuration)],
  };
  let translated = 0;
  for (let done = 0; done < due; ) {
    const bornS = monotonicS();
    loaded.forgetFlows();
    affinity.deleteBatch([...affinity.keys()]);
    tables.forget();
    tables.nowS = 0;
    let earlier: Case[] = [];
    for (let batch = 0; batch < BATCHES_OF_A_LIFE; batch++) {
      const cases = Array.from({ length: BATCH }, () => {
        const about = earlier.length > 0 && random.oneIn(3) ? random.pick(earlier) : undefined;
        const prepared = batch % 2 === 0;
        const answer = about && answerTo(about, program === 'to_netdev' ? 'from_netdev' : program, random);
        return answer ?? packetFor(program, random, prepared);
      });
      earlier = [];
      let next = 0;
      let names: ReturnType<typeof namesOf> | undefined;
      const wrong = check(
        {
          ...{ program, configuration, oracle, random, built: loaded, probe: loaded, allowed },
          clockOffsetS: tables.nowS,
          seen: frame => ({
            frame,
            translationOf: key => {
              names ??= namesOf(loaded);
              return names.get(key);
            },
          }),
          broken: (meeting, { bytes, verdict }, { told }) => {
            const one = cases[next++]!;
            if (verdict === 'drop') return undefined;
            if (told) return brokenRefusal(meeting.bytes, bytes);
            const passed = verdict === 'pass' && !isMarked(one.mark);
            const wasIpv4 = meeting.bytes.length >= 34;
            if (wasIpv4 && !bytes.subarray(26, 34).equals(meeting.bytes.subarray(26, 34))) translated++;
            const frame = Buffer.from(bytes);
            if (frame.length >= 60 && !one.cutTo && frame.length === one.frame.length)
              earlier.push({ ...one, frame });
            return brokenTranslation(program, meeting.bytes, bytes, passed);
          },
        },
        cases,
        true,
        batch % 4 !== 3,
        tally,
      );
      // A machine that was held up has let flows die in the middle of a batch.
      if (monotonicS() - bornS > STEADY_S) break;
      const isLast = batch + 1 === BATCHES_OF_A_LIFE;
      const clock = { fromS: bornS, toS: monotonicS() };
      const table = isLast && !wrong ? differingTable(loaded, tables, clock) : undefined;
      if (wrong || table) throw new Error(wrong ?? table);
      done += BATCH;
      if (random.oneIn(2)) tables.nowS += STEP_S * random.pick([1, 2, 3, 400]);
    }
  }
  return translated;
}

for (const configuration of CONFIGURATIONS) {
  for (const program of PROGRAMS) {
    test.serial(`${configurationName(configuration)}: ${program}`, t => {
      t.timeout(300_000);
      t.log(`FIMBRIA_FUZZ_SEED=${SEED}`);
      const random = new Random(SEED, `services ${configurationName(configuration)} ${program}`);
      const loaded = load(OBJECTS[program], configuration);
      const before = contents(loaded);
      const due = PACKETS / CONFIGURATIONS.length / PROGRAMS.length;
      const tally: Tally = new Map();
      const translated = run(program, configuration, loaded, random, due, tally);
      t.log([...tally].map(([what, times]) => `${what} ${times}`).join(', '), `translated ${translated}`);
      if (['from_container', 'from_netdev', 'to_netdev'].includes(program))
        t.true(translated > due / 200, 'enough were translated');
      t.is(contents(loaded), before, 'maps read the same');
    });
  }
}
