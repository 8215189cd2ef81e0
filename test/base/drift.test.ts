import test from 'ava';
import { DriftLedger } from '../../src/base/drift.ts';
import { createLogger, silent } from '../../src/base/log.ts';
import type { Drift } from '../../src/base/reconcile.ts';

const missing = (...keys: string[]): Drift[] => keys.map(key => ({ key, what: 'missing', atMs: 0 }));

test('what one pass repaired is one line; the first table is the cause, the rest follows from it', t => {
  const lines: string[] = [];
  const ledger = new DriftLedger(createLogger('info', line => lines.push(line)));
  ledger.note('devices', missing('cilium_host'));
  ledger.note('routes', missing('10.0.0.0/24', '10.0.1.0/24'));
  ledger.endOfPass();
  ledger.endOfPass();
  t.is(lines.length, 1);
  t.regex(lines[0]!, /devices cilium_host missing.*others=2/);
  t.deepEqual(
    ledger.summary.map(s => [s.table, s.repaired]),
    [
      ['devices', 1],
      ['routes', 2],
    ],
  );
});

test('a quarrel slows passes down, is told once, and is over some time after the last repair', t => {
  let now = 0;
  const lines: string[] = [];
  const ledger = new DriftLedger(
    createLogger('info', line => lines.push(line)),
    () => now,
  );
  const delays: number[] = [];
  for (let i = 0; i < 12; i++) {
    delays.push(ledger.delayMs);
    now += ledger.delayMs;
    ledger.note('routes', missing('10.0.0.0/24'));
    ledger.endOfPass();
  }
  t.deepEqual(delays.slice(0, 6), [50, 50, 100, 200, 400, 800]);
  t.is(delays.at(-1), 30_000);
  t.is(lines.filter(l => l.includes('somebody keeps changing')).length, 1);
  t.is(lines.length, 5, 'four repairs and the quarrel');
  t.regex(ledger.quarrels.join(), /routes 10\.0\.0\.0\/24 was changed by somebody else 12 times/);
  now += 121_000;
  t.deepEqual(ledger.quarrels, []);
  t.is(ledger.delayMs, 50);
});

test('consequences of other repairs are no quarrel', t => {
  const ledger = new DriftLedger(silent, () => 0);
  for (let i = 0; i < 9; i++) {
    ledger.note('devices', missing(`device ${i}`));
    ledger.note('routes', missing('10.0.0.0/24'));
    ledger.endOfPass();
  }
  t.deepEqual(ledger.quarrels, []);
});

test('a table of half a million entries that was lost is one line, costs no more room, and asks for a pass', t => {
  const lines: string[] = [];
  const ledger = new DriftLedger(
    createLogger('info', line => lines.push(line)),
    () => 0,
  );
  const all = Array.from({ length: 500_000 }, (_, n) => missing(`${n}`)[0]!);
  for (let pass = 0; pass < 6; pass++) {
    ledger.note('ipcache', all);
    ledger.endOfPass();
    t.true(ledger.delayMs > 0);
  }
  t.is(lines.filter(line => line.includes('repaired what somebody else changed')).length, 6);
  t.is(lines.length, 7, 'and one word of the quarrel');
  t.regex(lines.join('\n'), /others=499999/);
  t.is(ledger.quarrels.length, 17);
  t.is(ledger.quarrels.at(-1), 'so were 1008 others');
  t.is(ledger.summary[0]!.repaired, 3_000_000);
});
