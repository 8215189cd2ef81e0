import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { FimbriaError } from '../../src/base/errors.ts';
import { createLogger, silent } from '../../src/base/log.ts';
import { KeyedQueue } from '../../src/controllers/keyed-queue.ts';

test('whatever is added when: every key is seen after its last addition, and never twice at once', async t => {
  const step = fc.record({ key: fc.constantFrom('a', 'b', 'c'), turns: fc.nat({ max: 3 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 3 }),
      async (steps, parallel) => {
        let now = 0;
        const added = new Map<string, number>();
        const seen = new Map<string, number>();
        const running = new Set<string>();
        let overlaps = 0;
        let most = 0;
        let failures = 3;
        let isOver = false;
        const settled = (): boolean => [...added].every(([key, at]) => (seen.get(key) ?? 0) >= at);
        await new Promise<void>(done => {
          const queue = new KeyedQueue({
            log: silent,
            parallel,
            run: async key => {
              const began = ++now;
              if (running.has(key)) overlaps++;
              running.add(key);
              most = Math.max(most, running.size);
              await turn();
              running.delete(key);
              if (failures-- > 0) throw new Error('not yet');
              seen.set(key, began);
              if (isOver && settled()) done();
              return undefined;
            },
          });
          void (async () => {
            for (const { key, turns } of steps) {
              added.set(key, ++now);
              queue.add(key);
              for (let i = 0; i < turns; i++) await turn();
            }
            isOver = true;
            if (settled()) done();
          })();
        });
        t.is(overlaps, 0);
        t.true(most <= parallel);
      },
    ),
    { numRuns: 60 },
  );
});

test('a look that asks for it comes again by itself; none begins after the end', async t => {
  let looks = 0;
  let closed = false;
  await new Promise<void>(done => {
    const queue = new KeyedQueue({
      log: silent,
      run: async () => {
        t.false(closed);
        looks++;
        if (looks < 3) return 1;
        queue.add('a');
        queue.close();
        closed = true;
        done();
        return 1;
      },
    });
    queue.add('a');
  });
  for (let i = 0; i < 20; i++) await turn();
  t.is(looks, 3);
});

test('the same failure is said once, a lost race not at all', async t => {
  const lines: string[] = [];
  let looks = 0;
  await new Promise<void>(done => {
    const queue = new KeyedQueue({
      log: createLogger('info', line => lines.push(line)),
      run: async () => {
        looks++;
        if (looks <= 2) throw new FimbriaError({ code: 'CONFLICT', op: 'write', why: 'somebody was faster' });
        if (looks <= 4) throw new Error('the server is away');
        done();
        return undefined;
      },
    });
    queue.add('a');
  });
  t.is(lines.length, 1);
  t.regex(lines[0]!, /the server is away/);
});
