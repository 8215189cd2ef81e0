import test from 'ava';
import { table } from '../../scripts/bench/report.ts';
import { interleave } from '../../scripts/bench/rounds.ts';
import { isNoisy, median, pairedRatios, quantile, summarize } from '../../scripts/bench/stats.ts';

test('quantiles lie between neighbours in proportion', t => {
  t.is(median([3, 1, 2]), 2);
  t.is(median([4, 1, 2, 3]), 2.5);
  t.is(quantile([0, 10], 0.99), 9.9);
  t.is(quantile([7], 0.9), 7);
  t.true(Number.isNaN(median([])));
});

test('a summary tells middle, ends and spread', t => {
  const { count, p50, min, max, spread } = summarize([10, 11, 9, 10, 100]);
  t.deepEqual([count, p50, min, max], [5, 10, 9, 100]);
  t.is(spread, 0.1);
});

test('values without spread are not noisy; no values are', t => {
  t.false(isNoisy(summarize([5, 5, 5])));
  t.true(isNoisy(summarize([1, 2, 3])));
  t.true(isNoisy(summarize([])));
});

test('ratios pair what was taken in the same round', t => {
  const values = new Map([
    [0, 10],
    [1, 30],
    [7, 99],
  ]);
  const baseline = new Map([
    [0, 5],
    [1, 10],
    [2, 1],
  ]);
  t.deepEqual(pairedRatios(values, baseline), [2, 3]);
});

const quiet = () => {};

test('a machine that grows slower for all leaves the ratios alone', async t => {
  let clock = 1;
  const measured: string[] = [];
  const at = (key: string, cost: number) => ({
    key,
    title: key,
    ...(key === 'base' ? {} : { baseline: 'base' }),
    measure: async () => {
      measured.push(key);
      // The third of a round is the last to see this speed.
      return cost * Math.ceil(clock++ / 3);
    },
  });
  const cases = [at('base', 10), at('one', 11), at('two', 20)];
  const [base, one, two] = await interleave(cases, { rounds: 4, extraRounds: 9, progress: quiet });
  t.is(measured.length, 12);
  t.deepEqual(measured.slice(3, 6), ['one', 'two', 'base'], 'each round begins with another one');
  t.true(base!.noisy);
  t.is(one!.ratio!.p50, 1.1);
  t.is(two!.ratio!.p50, 2);
  t.false(one!.noisy || two!.noisy);
});

test('what is too noisy is measured again with its baseline, the rest is not', async t => {
  const counts: Record<string, number> = { base: 0, steady: 0, wild: 0 };
  const at = (key: string, value: (n: number) => number) => ({
    key,
    title: key,
    ...(key === 'base' ? {} : { baseline: 'base' }),
    measure: async () => value(counts[key]!++),
  });
  const cases = [
    at('base', () => 1),
    at('steady', () => 2),
    at('wild', n => (n < 4 ? [1, 2, 3, 4][n]! : 2.5)),
  ];
  const told: string[] = [];
  const outcomes = await interleave(cases, { rounds: 4, extraRounds: 30, progress: text => told.push(text) });
  t.is(counts['steady'], 4);
  t.is(counts['wild'], counts['base']);
  t.true(counts['wild']! > 4 && counts['wild']! < 34, 'until it is quiet enough, not longer');
  t.false(outcomes[2]!.noisy);
  t.regex(told.at(-1)!, /too noisy to rank: 1 of 3/);
});

test('what stays noisy is said to be', async t => {
  let n = 0;
  const wild = { key: 'wild', title: 'wild', baseline: 'base', measure: async () => ++n % 7 };
  const base = { key: 'base', title: 'base', measure: async () => 1 };
  const [, outcome] = await interleave([base, wild], { rounds: 3, extraRounds: 2, progress: quiet });
  t.true(outcome!.noisy);
  t.is(outcome!.value.count, 5);
});

test('tables are as wide as their cells', t => {
  t.is(
    table(
      ['', 'µs'],
      [
        ['bare veth', '9.0'],
        ['x', '10.25'],
      ],
    ),
    '                µs\n  bare veth    9.0\n  x          10.25\n',
  );
});
