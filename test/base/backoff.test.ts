import test from 'ava';
import fc from 'fast-check';
import { Backoff } from '../../src/base/backoff.ts';

test('doubles up to the limit', t => {
  const backoff = new Backoff({ baseMs: 100, maxMs: 1000, random: () => 1 });
  t.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => backoff.next()),
    [100, 200, 400, 800, 1000, 1000],
  );
  backoff.reset();
  t.is(backoff.next(), 100);
});

test('every delay is between half and the whole of its step, also after very many attempts', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (attempts, random) => {
        const backoff = new Backoff({ baseMs: 10, maxMs: 3000, random: () => random });
        for (let attempt = 0; attempt < attempts; attempt++) backoff.next();
        const whole = Math.min(3000, 10 * 2 ** attempts);
        const delay = backoff.next();
        return delay >= whole / 2 && delay <= whole;
      },
    ),
    { numRuns: 50 },
  );
  t.pass();
});
