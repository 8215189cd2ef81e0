import test from 'ava';
import fc from 'fast-check';
import { Gather } from '../../src/base/gather.ts';

/** Rounds that end when the test says so. */
function held(most = 100, lingerMs = 0) {
  const rounds: { items: number[]; end(error?: Error): void }[] = [];
  const begun: (() => void)[] = [];
  const gather = new Gather<number>(
    items =>
      new Promise((resolve, reject) => {
        rounds.push({ items: [...items], end: error => (error ? reject(error) : resolve()) });
        begun.shift()?.();
      }),
    { lingerMs, most },
  );
  const next = (): Promise<void> => new Promise(resolve => begun.push(resolve));
  return { gather, rounds, next };
}

test('what comes while a round is at work is done together, in the next one', async t => {
  const { gather, rounds, next } = held();
  let begun = next();
  const first = gather.add(1);
  await begun;
  const others = [2, 3, 4].map(n => gather.add(n));
  begun = next();
  rounds[0]!.end();
  await first;
  await begun;
  t.deepEqual(
    rounds.map(r => r.items),
    [[1], [2, 3, 4]],
  );
  rounds[1]!.end();
  await t.notThrowsAsync(Promise.all(others));
});

test('a round that fails, fails for what is in it, and the next one is begun', async t => {
  const { gather, rounds, next } = held(2);
  let begun = next();
  const [a, b, c] = [gather.add(1), gather.add(2), gather.add(3)];
  await begun;
  begun = next();
  rounds[0]!.end(new Error('busy'));
  await t.throwsAsync(a, { message: 'busy' });
  await t.throwsAsync(b, { message: 'busy' });
  await begun;
  t.deepEqual(rounds[1]!.items, [3]);
  rounds[1]!.end();
  await t.notThrowsAsync(c);
});

test('a full round waits no longer', async t => {
  const gather = new Gather<number>(async () => {}, { lingerMs: 1_000_000, most: 3 });
  await t.notThrowsAsync(Promise.all([1, 2, 3].map(n => gather.add(n))));
});

test('everything is done once, in order, by one round at a time of bounded size', async t => {
  const bursts = fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(bursts, fc.integer({ min: 1, max: 7 }), async (sizes, most) => {
      const seen: number[] = [];
      let atWork = 0;
      const gather = new Gather<number>(
        async items => {
          t.is(++atWork, 1);
          t.true(items.length > 0 && items.length <= most);
          await new Promise(resolve => setImmediate(resolve));
          seen.push(...items);
          atWork--;
        },
        { lingerMs: 0, most },
      );
      const all: Promise<void>[] = [];
      let count = 0;
      for (const size of sizes) {
        for (let i = 0; i < size; i++) all.push(gather.add(count++));
        await new Promise(resolve => setImmediate(resolve));
      }
      await Promise.all(all);
      t.deepEqual(
        seen,
        Array.from({ length: count }, (_, i) => i),
      );
    }),
    { numRuns: 50 },
  );
});
