import test from 'ava';
import fc from 'fast-check';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import { LeaderElection, type Term, TIMINGS } from '../../src/cluster/leader.ts';
import type { ClusterClient } from '../../src/cluster/types.ts';
import type { Lease } from '../../src/model/types.ts';
import { writesWhile } from '../../src/operator/guard.ts';
import { choices } from '../e2e/random.ts';
import { type Fate, LeaseServer, Process, World } from './simulation.ts';

/** How long a write of an operator may be under way; what the real one is given. */
const WRITE_MS = TIMINGS.leaseMs - TIMINGS.deadlineMs;

/** One candidate after another of one process, as the operator does it. */
class Candidate {
  readonly name: string;
  readonly process: Process;
  readonly stop = new AbortController();
  term: Term | undefined;
  terms = 0;

  /** How long what was begun in a term goes on after it. */
  readonly #writeMs: number;

  constructor(name: string, process: Process, writeMs = 0) {
    this.name = name;
    this.process = process;
    this.#writeMs = writeMs;
    void this.#run();
  }

  get mayWrite(): boolean {
    return !this.process.dead && (this.term?.mayWrite() ?? false);
  }

  async #run(): Promise<void> {
    const { client, clock } = this.process;
    const election = new LeaderElection({ client, clock, identity: this.name, log: silent });
    while (!this.stop.signal.aborted) {
      const term = await election.acquire(this.stop.signal).catch(() => undefined);
      if (term === undefined) return;
      this.terms++;
      this.term = term;
      if (!term.signal.aborted) {
        await new Promise(resolve => term.signal.addEventListener('abort', resolve, { once: true }));
      }
      this.term = undefined;
      // As the operator: only when its last write has ended.
      await clock.delay(this.#writeMs);
      await term.release();
    }
  }
}

/** Most requests are quick; some take longer than a lease, some are lost, on one way or the other. */
function fates(seed: number): () => Fate {
  const { number } = choices(seed);
  const wayMs = (): number => (number(10) === 0 ? number(40_000) : number(50));
  return () => ({
    thereMs: wayMs(),
    backMs: wayMs(),
    lost: (['request', 'answer'] as const)[number(20)] ?? 'no',
  });
}

const happening = fc.record({
  atMs: fc.nat(240_000),
  who: fc.nat(2),
  what: fc.constantFrom('kill', 'stop', 'hold up', 'server away', 'server back'),
  forMs: fc.nat(40_000),
});

test('never two that may write, whatever gets lost, late, stopped or killed; and when all is well again, one leads', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(happening, { maxLength: 12 }),
      fc.nat(),
      fc.array(fc.double({ min: 0.97, max: 1.03, noNaN: true }), { minLength: 3, maxLength: 3 }),
      async (happenings, seed, rates) => {
        const world = new World();
        const server = new LeaseServer();
        let calm = false;
        const random = fates(seed);
        const next = (): Fate => (calm ? { thereMs: 5, backMs: 5, lost: 'no' } : random());
        let started = 0;
        const start = (rate: number): Candidate =>
          new Candidate(`operator-${started++}`, new Process(world, server, rate, next), WRITE_MS);
        const candidates = rates.map(start);
        /** Until when a write that somebody has begun may still be under way. */
        const writing = new Map<Candidate, number>();
        const look = (): void => {
          const writers = candidates.filter(candidate => candidate.mayWrite);
          if (writers.length > 1) throw new Error(`${writers.map(w => w.name)} may write at ${world.nowMs}`);
          for (const [other, untilMs] of writing) {
            const [writer] = writers;
            if (writer === undefined || writer === other) continue;
            // 3 % of clocks that do not run alike, twice.
            if (world.nowMs < untilMs - 1_000)
              throw new Error(`${other.name} is still writing when ${writer.name} begins at ${world.nowMs}`);
          }
          for (const writer of writers) writing.set(writer, world.nowMs + WRITE_MS);
        };
        for (const { atMs, who, what, forMs } of happenings) {
          world.after(atMs, () => {
            const candidate = candidates[who]!;
            if (what === 'server away') server.away = true;
            else if (what === 'server back') server.away = false;
            else if (what === 'hold up') candidate.process.holdUp(forMs);
            else {
              if (what === 'kill') candidate.process.dead = true;
              else candidate.stop.abort();
              // As a Deployment does.
              candidates[who] = start(rates[who]!);
            }
          });
        }
        await world.run(300_000, look);
        calm = true;
        server.away = false;
        // What is still held up or on its way, then a lease's time, then the longest pause between two looks.
        await world.run(400_000, look);
        const leading = candidates.filter(candidate => candidate.mayWrite);
        for (const candidate of candidates) candidate.stop.abort();
        await world.run(420_000, () => {});
        if (leading.length !== 1) throw new Error(`${leading.length} lead in the end`);
      },
    ),
    { numRuns: process.env['FIMBRIA_TEST_FULL'] ? 2_000 : 60, includeErrorInReport: true },
  );
  t.pass();
});

/** A world in which the first answer to a renewal is late, and nothing else goes wrong. */
test('a renewal counts from when it was asked for, not from when its answer came', async t => {
  const world = new World();
  const server = new LeaseServer();
  let asked = 0;
  // Taking it is a look and a creation; the third request is the first renewal: there at once, and its answer after 2.9 s.
  // From then on nothing gets through.
  const process = new Process(world, server, 1, () => {
    asked++;
    if (asked === 3) return { thereMs: 0, backMs: 2_900, lost: 'no' };
    return { thereMs: 0, backMs: 0, lost: asked > 3 ? 'request' : 'no' };
  });
  const candidate = new Candidate('one', process);
  const lastMs: number[] = [];
  await world.run(60_000, () => {
    if (candidate.mayWrite) lastMs[0] = world.nowMs;
  });
  candidate.stop.abort();
  // Renewed at 2 s: others may take it from 17 s on. It stops at 12 s, not at 14.9 s.
  t.is(candidate.terms, 1);
  t.true(lastMs[0]! < 2_000 + TIMINGS.deadlineMs);
});

test('whoever stops gives the lease back, and the next one leads at its next look', async t => {
  const world = new World();
  const server = new LeaseServer();
  const well = (): Fate => ({ thereMs: 1, backMs: 1, lost: 'no' });
  const one = new Candidate('one', new Process(world, server, 1, well));
  await world.run(5_000, () => {});
  const two = new Candidate('two', new Process(world, server, 1, well));
  await world.run(10_000, () => {});
  t.deepEqual([one.mayWrite, two.mayWrite], [true, false]);
  one.stop.abort();
  await world.run(10_000 + TIMINGS.renewMs + 100, () => {});
  t.deepEqual([one.mayWrite, two.mayWrite], [false, true]);
  two.process.dead = true;
});

test('one request renews the lease', async t => {
  const world = new World();
  const server = new LeaseServer();
  let requests = 0;
  const process = new Process(world, server, 1, () => {
    requests++;
    return { thereMs: 1, backMs: 1, lost: 'no' };
  });
  const candidate = new Candidate('one', process);
  await world.run(1_000, () => {});
  const before = requests;
  await world.run(61_000, () => {});
  t.is(requests - before, 30);
  t.true(candidate.mayWrite);
  process.dead = true;
});

test('a write is refused before it begins when the term is over', async t => {
  const written: string[] = [];
  let leading = true;
  const client = {
    config: { server: 'unix:///x' },
    get: async () => ({ kind: 'Lease' }),
    ...Object.fromEntries(
      ['create', 'update', 'patch', 'delete', 'createSubresource', 'raw'].map(op => [
        op,
        async () => written.push(op),
      ]),
    ),
  } as unknown as ClusterClient;
  const guarded = writesWhile(client, () => leading);
  const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'a' } } as Lease;
  const writes = [
    () => guarded.create(lease),
    () => guarded.update(lease),
    () => guarded.patch('Lease', 'a', {}),
    () => guarded.delete('Lease', 'a'),
    () => guarded.createSubresource('Pod', 'a', 'binding', {}),
    () => guarded.raw('create', 'lease a', { method: 'POST', path: '/x' }),
  ];
  for (const write of writes) await write();
  leading = false;
  for (const write of writes) {
    const error = await t.throwsAsync(write(), { instanceOf: FimbriaError });
    t.is(error?.code, 'NOT_LEADING');
  }
  t.deepEqual(written, ['create', 'update', 'patch', 'delete', 'createSubresource', 'raw']);
  t.truthy(await guarded.get('Lease', 'a'));
});
