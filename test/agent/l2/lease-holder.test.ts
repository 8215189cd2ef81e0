import test from 'ava';
import fc from 'fast-check';
import { LeaseHolder } from '../../../src/agent/l2/lease-holder.ts';
import { silent } from '../../../src/base/log.ts';
import { choices } from '../../e2e/random.ts';
import { type Fate, LeaseServer, Process, World } from '../../operator/simulation.ts';

const TIMINGS = { leaseMs: 15_000, deadlineMs: 5_000, renewMs: 2_000 };
/** As the announcer's entries: they end so long before the lease. */
const MARGIN_MS = 500;

/** A node: its agents come and go, what the last one wrote into its map stays until it runs out. */
class Node {
  readonly name: string;
  process: Process;
  holder: LeaseHolder;
  #validUntilMs = 0;
  readonly #start: () => Process;

  constructor(name: string, start: () => Process) {
    this.name = name;
    this.#start = start;
    this.process = start();
    this.holder = this.#stand();
  }

  /** Whether it answers for the address: by its clock, whoever lives. */
  get answers(): boolean {
    return this.process.clock.nowMs() < this.#validUntilMs;
  }

  #stand(): LeaseHolder {
    const { client, clock } = this.process;
    return new LeaseHolder({
      client: { ...client, delete: async () => true },
      name: 'lease',
      namespace: 'kube-system',
      identity: this.name,
      timings: TIMINGS,
      log: silent,
      clock,
      onHeld: untilMs => {
        this.#validUntilMs = untilMs - MARGIN_MS;
      },
      onGiveBack: async () => {
        this.#validUntilMs = 0;
      },
    });
  }

  /** The agent is gone at once, and another is started. */
  kill(): void {
    this.process.dead = true;
    this.process = this.#start();
    this.holder = this.#stand();
  }

  /** Its link went, and came back: what it holds it gives back first. */
  giveBack(): void {
    const { holder, process } = this;
    void holder.end('give back').then(() => {
      if (this.process === process) this.holder = this.#stand();
    });
  }
}

const happening = fc.record({
  atMs: fc.nat(200_000),
  who: fc.nat(2),
  what: fc.constantFrom('kill', 'give back', 'hold up', 'server away', 'server back'),
  forMs: fc.nat(30_000),
});

function fates(seed: number): () => Fate {
  const { number } = choices(seed);
  const wayMs = (): number => (number(10) === 0 ? number(40_000) : number(50));
  return () => ({
    thereMs: wayMs(),
    backMs: wayMs(),
    lost: (['request', 'answer'] as const)[number(20)] ?? 'no',
  });
}

test('never do two nodes answer for one address, whatever is late, lost or killed; in the end one does', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { maxLength: 12 }), fc.nat(), async (happenings, seed) => {
      const world = new World();
      const server = new LeaseServer();
      const random = fates(seed);
      let calm = false;
      const next = (): Fate => (calm ? { thereMs: 5, backMs: 5, lost: 'no' } : random());
      // Clocks of machines differ by less than a hundredth.
      const rates = [0.99, 1, 1.01];
      const nodes = rates.map((rate, i) => new Node(`n${i}`, () => new Process(world, server, rate, next)));
      const look = (): void => {
        const answering = nodes.filter(node => node.answers).map(({ name }) => name);
        if (answering.length > 1) throw new Error(`${answering} answer at ${world.nowMs}`);
      };
      for (const { atMs, who, what, forMs } of happenings)
        world.after(atMs, () => {
          const node = nodes[who]!;
          if (what === 'kill') node.kill();
          else if (what === 'give back') node.giveBack();
          else if (what === 'hold up') node.process.holdUp(forMs);
          else server.away = what === 'server away';
        });
      await world.run(240_000, look);
      calm = true;
      server.away = false;
      await world.run(320_000, look);
      const answering = nodes.filter(node => node.answers).length;
      for (const node of nodes) node.process.dead = true;
      if (answering !== 1) throw new Error(`${answering} answer in the end`);
    }),
    { numRuns: process.env['FIMBRIA_TEST_FULL'] ? 2_000 : 60, includeErrorInReport: true },
  );
  t.pass();
});
