import { isNoisy, pairedRatios, type Summary, summarize } from './stats.ts';

/** Something that is measured once in every round. */
export interface Case {
  readonly key: string;
  readonly title: string;
  /** The case whose value of the same round this one's is divided by. */
  readonly baseline?: string;
  /** Takes one value. */
  readonly measure: () => Promise<number>;
}

/** What came of a case. */
export interface Outcome {
  readonly key: string;
  readonly title: string;
  readonly baseline?: string;
  readonly value: Summary;
  /** Of the paired ratios; absent for a baseline. */
  readonly ratio?: Summary;
  /** The spread stayed above what can be ranked, after the extra rounds too. */
  readonly noisy: boolean;
  readonly values: readonly number[];
}

type Values = Map<string, Map<number, number>>;

function outcomeOf(one: Case, values: Values): Outcome {
  const own = values.get(one.key)!;
  const value = summarize([...own.values()]);
  const same = { key: one.key, title: one.title, value, values: [...own.values()] };
  if (one.baseline === undefined) return { ...same, noisy: isNoisy(value) };
  const ratio = summarize(pairedRatios(own, values.get(one.baseline)!));
  return { ...same, baseline: one.baseline, ratio, noisy: isNoisy(ratio) };
}

/** The cases of a further round: those that are noisy, and what they are compared with. */
function repeated(cases: readonly Case[], values: Values): Case[] {
  const noisy = new Set(
    cases.filter(c => c.baseline !== undefined && outcomeOf(c, values).noisy).map(c => c.key),
  );
  for (const one of cases) if (noisy.has(one.key)) noisy.add(one.baseline!);
  return cases.filter(c => noisy.has(c.key));
}

/** How many rounds, and who is told about them. */
export interface RoundOptions {
  readonly rounds: number;
  /** At most so many more for what is noisy. */
  readonly extraRounds: number;
  readonly progress: (text: string) => void;
}

/**
 * Measures every case once per round, each round beginning with another one, so that what disturbs the machine for a
 * while disturbs all alike. Then more rounds of what was too noisy to rank, with its baselines.
 */
export async function interleave(cases: readonly Case[], options: RoundOptions): Promise<Outcome[]> {
  const values: Values = new Map(cases.map(c => [c.key, new Map()]));
  const run = async (round: number, some: readonly Case[]): Promise<void> => {
    const shift = some.length === 0 ? 0 : round % some.length;
    for (const one of [...some.slice(shift), ...some.slice(0, shift)])
      values.get(one.key)!.set(round, await one.measure());
  };
  for (let round = 0; round < options.rounds; round++) {
    options.progress(`round ${round + 1} of ${options.rounds}`);
    await run(round, cases);
  }
  for (let extra = 0; extra < options.extraRounds; extra++) {
    const again = repeated(cases, values);
    if (again.length === 0) break;
    const noisy = again.filter(c => c.baseline !== undefined).length;
    options.progress(
      `too noisy to rank: ${noisy} of ${cases.length}; more rounds for these, ${extra + 1} of at most ${options.extraRounds}`,
    );
    await run(options.rounds + extra, again);
  }
  return cases.map(one => outcomeOf(one, values));
}
