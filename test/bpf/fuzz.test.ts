import test from 'ava';
import type { BpfMap } from '../../src/kernel/libbpf/index.ts';
import { run, type Tally } from './fuzz/campaign.ts';
import { Oracle } from './fuzz/oracle.ts';
import { policiesOf } from './fuzz/policies.ts';
import { Random } from './fuzz/random.ts';
import { allowance, PROGRAMS } from './fuzz/specification.ts';
import { CONFIGURATIONS, configurationName, type Loaded } from './harness.ts';
import { Programs } from './programs.ts';
import { PODS } from './world.ts';

/**
 * Random and malformed packets through every program in every configuration, each held beside the specification.
 *
 *   FIMBRIA_FUZZ_PACKETS  packets in all, a million when absent
 *   FIMBRIA_FUZZ_SEED     the seed of a run that is to be repeated, with the same number of packets; random when absent
 */

const PACKETS = numberOf('FIMBRIA_FUZZ_PACKETS') ?? 1_000_000;
const SEED = numberOf('FIMBRIA_FUZZ_SEED') ?? Math.floor(Math.random() * 2 ** 32);
/** So many packets for one program in one configuration meet whatever can come up. */
const ENOUGH_FOR_ALL = 15_000;

function numberOf(variable: string): number | undefined {
  const text = process.env[variable];
  if (text === undefined) return undefined;
  if (!/^\d{1,10}$/.test(text))
    throw new Error(`read ${variable}: "${text}" is no number; give one of at most ten digits`);
  return Number(text);
}

let programs: Programs;

test.before(async () => {
  programs = await Programs.create();
});

test.after.always(() => programs?.close());

/** Everything that a program may read and must not write. */
function contents(loaded: Loaded): string {
  const text = (map: BpfMap): string[] =>
    Array.from(map.entries(), ([key, value]) => `${key.toString('hex')} ${value.toString('hex')}`).sort();
  return JSON.stringify([
    ...['cilium_lxc', 'cilium_ipcache'].map(name => text(loaded.map(name))),
    ...loaded.policies.map(text),
  ]);
}

for (const configuration of CONFIGURATIONS) {
  for (const program of PROGRAMS) {
    test.serial(`${configurationName(configuration)}: ${program}`, t => {
      const random = new Random(SEED, `${configurationName(configuration)} ${program}`);
      const policies = policiesOf(random);
      const [built, probe] = ['cil', 'probe'].map(prefix =>
        programs.load(`${prefix}_${program}`, configuration),
      ) as [Loaded, Loaded];
      for (const loaded of [built, probe])
        loaded.setPolicy(PODS.fortified.endpointId, policies.get(PODS.fortified.endpointId)!);
      const before = [built, probe].map(contents);
      const packets = Math.ceil(PACKETS / CONFIGURATIONS.length / PROGRAMS.length);
      const tally: Tally = new Map();
      const oracle = new Oracle(configuration, policies);
      t.log(`FIMBRIA_FUZZ_SEED=${SEED} FIMBRIA_FUZZ_PACKETS=${PACKETS}`);
      run({ program, configuration, oracle, random, built, probe }, packets, tally);
      t.log([...tally].map(([what, times]) => `${what} ${times}`).join(', '));
      t.deepEqual([built, probe].map(contents), before, 'maps read the same');
      if (packets < ENOUGH_FOR_ALL) return;
      const { verdicts, reasons } = allowance(program, configuration);
      t.deepEqual(
        [...tally.keys()].sort(),
        [...verdicts, ...reasons].sort(),
        'all that may happen has happened',
      );
    });
  }
}
