import test from 'ava';
import fc from 'fast-check';
import { delta } from '../../src/base/delta.ts';

const table = fc
  .dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.integer({ min: 0, max: 2 }))
  .map(object => new Map(Object.entries(object)));

test('applying the difference makes the actual table the desired one, and touches nothing else', t => {
  fc.assert(
    fc.property(table, table, (desired, actual) => {
      const difference = delta(desired, actual, (a, b) => a === b);
      const result = new Map(actual);
      for (const [key] of difference.remove) result.delete(key);
      for (const [key, value] of [...difference.add, ...difference.update]) result.set(key, value);
      const sorted = (map: Map<string, number>): string => JSON.stringify([...map].sort());
      const changes = difference.add.length + difference.update.length + difference.remove.length;
      return sorted(result) === sorted(desired) && (changes === 0) === (sorted(actual) === sorted(desired));
    }),
  );
  t.pass();
});

test('an update carries both values', t => {
  const { update } = delta(new Map([['k', 1]]), new Map([['k', 'one']]), () => false);
  t.deepEqual(update, [['k', 1, 'one']]);
});
