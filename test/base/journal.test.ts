import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { Journal } from '../../src/base/journal.ts';

function withFile<T>(body: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-journal-'));
  try {
    return body(join(folder, 'journal'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function snapshot(path: string): Record<string, unknown> {
  const journal = new Journal(path, { fsync: false });
  const entries = Object.fromEntries(journal.entries(''));
  journal.close();
  return entries;
}

const operations = fc.array(
  fc.record({
    key: fc.constantFrom('a', 'b', 'c/1', 'c/2'),
    value: fc.option(fc.jsonValue(), { nil: undefined }),
  }),
  { maxLength: 60 },
);

test('what was put is there after reopening, what was deleted is not', t => {
  fc.assert(
    fc.property(operations, history =>
      withFile(path => {
        const model = new Map<string, unknown>();
        const journal = new Journal(path, { fsync: false });
        for (const { key, value } of history) {
          if (value === undefined) {
            t.is(journal.delete(key), model.delete(key));
          } else {
            journal.put(key, value);
            model.set(key, JSON.parse(JSON.stringify(value)));
          }
        }
        journal.close();
        t.deepEqual(snapshot(path), Object.fromEntries(model));
      }),
    ),
    { numRuns: 60 },
  );
});

test('a file cut at any byte gives a state that existed, and can be written on', t => {
  withFile(path => {
    const states: string[] = [JSON.stringify({})];
    const journal = new Journal(path, { fsync: false });
    for (let i = 0; i < 12; i++) {
      if (i % 4 === 3) journal.delete('k1');
      else journal.put(`k${i % 3}`, { i, text: 'ünïcode' });
      states.push(JSON.stringify(Object.fromEntries(journal.entries(''))));
    }
    journal.close();
    const whole = readFileSync(path);
    for (let cut = 0; cut <= whole.length; cut++) {
      writeFileSync(path, whole);
      truncateSync(path, cut);
      const torn = new Journal(path, { fsync: false });
      t.true(states.includes(JSON.stringify(Object.fromEntries(torn.entries('')))), `cut at ${cut}`);
      torn.put('after', cut);
      torn.close();
      t.is(snapshot(path)['after'], cut);
    }
  });
});

test('a flipped byte ends the replay there', t => {
  withFile(path => {
    const journal = new Journal(path, { fsync: false });
    journal.put('a', 1);
    journal.put('b', 2);
    journal.close();
    const bytes = readFileSync(path);
    bytes[bytes.length - 3]! ^= 1;
    writeFileSync(path, bytes);
    const damaged = new Journal(path, { fsync: false });
    t.is(damaged.get('a'), 1);
    t.is(damaged.get('b'), undefined);
    t.true(damaged.lostBytes > 0);
    damaged.close();
  });
});

test('rubbish in place of a journal is cut off, not trusted', t => {
  withFile(path => {
    appendFileSync(path, 'not a journal\n{"k":"a","v":1}\n');
    t.deepEqual(snapshot(path), {});
  });
});

test('many rewrites of few keys keep the file small', t => {
  withFile(path => {
    const journal = new Journal(path, { fsync: false });
    for (let i = 0; i < 5_000; i++) journal.put(`k${i % 5}`, i);
    journal.close();
    t.true(readFileSync(path, 'utf8').split('\n').length < 600);
    t.deepEqual(snapshot(path), { k0: 4995, k1: 4996, k2: 4997, k3: 4998, k4: 4999 });
  });
});

test('entries are found by prefix', t => {
  withFile(path => {
    const journal = new Journal(path, { fsync: false });
    journal.put('endpoint/1', 'x');
    journal.put('route/1', 'y');
    t.deepEqual(journal.entries('endpoint/'), [['endpoint/1', 'x']]);
    t.throws(() => journal.put('endpoint/2', undefined), { instanceOf: TypeError });
    journal.close();
  });
});

test('on a full disk a record is refused whole, what was written stays, and room makes it go on', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'fimbria-journal-full-'));
  const source = new URL('../../src/base/journal.ts', import.meta.url).href;
  const script = `
    import { rmSync, writeFileSync } from 'node:fs';
    const { Journal } = await import(${JSON.stringify(source)});
    const path = ${JSON.stringify(join(dir, 'journal'))}, ballast = ${JSON.stringify(join(dir, 'ballast'))};
    writeFileSync(ballast, Buffer.alloc(20_000));
    const journal = new Journal(path, { fsync: false });
    let count = 0, message = '';
    try { for (;; count++) journal.put('key/' + count, 'v'.repeat(50)); } catch (error) { message = error.message; }
    rmSync(ballast);
    journal.put('after', count);
    journal.close();
    const again = new Journal(path, { fsync: false });
    console.log(JSON.stringify({ count, message, kept: again.entries('key/').length, after: again.get('after'), lost: again.lostBytes }));
  `;
  const shell = 'mount -t tmpfs -o size=32k none "$0" && exec "$1" --import=tsx --input-type=module -e "$2"';
  const { stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', shell, dir, process.execPath, script], {
    encoding: 'utf8',
  });
  rmSync(dir, { recursive: true });
  t.is(stderr, '');
  const { count, message, kept, after, lost } = JSON.parse(stdout);
  t.true(count > 10);
  t.regex(message, /write .*journal: no space left; free some space there/);
  t.deepEqual({ kept, after, lost }, { kept: count, after: count, lost: 0 });
});
