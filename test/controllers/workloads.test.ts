import test from 'ava';
import fc from 'fast-check';
import { isOfTemplate, REVISION } from '../../src/controllers/workloads/deployment.ts';
import { type Rollout, rolloutOf, type Share, sizes } from '../../src/controllers/workloads/rollout.ts';
import { WorkloadWorld } from './workload-world.ts';

type Step = (world: WorkloadWorld) => void;

const index = fc.nat({ max: 1000 });
/** How many writes a pass gets done; mostly all. */
const writes = fc.oneof({ weight: 3, arbitrary: fc.constant(99) }, fc.nat({ max: 3 }));
const setName = (world: WorkloadWorld, choice: number): string => {
  const names = [...world.sets.keys()];
  return names[choice % Math.max(1, names.length)] ?? '';
};

const controllers: fc.Arbitrary<Step> = fc.oneof(
  writes.map(
    (n): Step =>
      world =>
        world.deploymentPass(n),
  ),
  fc.tuple(index, writes).map(
    ([i, n]): Step =>
      world =>
        world.replicaSetPass(setName(world, i), n),
  ),
  index.map(
    (i): Step =>
      world =>
        world.replicaSetStatus(setName(world, i)),
  ),
);
const nodes: fc.Arbitrary<Step> = index.map(
  (i): Step =>
    world => {
      const pod = world.pick(i);
      if (!pod) return;
      if (pod.metadata.deletionTimestamp) world.end(pod);
      else if (pod.status?.phase === 'Pending') world.ready(pod);
    },
);
const resizing = fc.nat({ max: 8 }).map(
  (replicas): Step =>
    world =>
      world.specify({ replicas }),
);
const changing: fc.Arbitrary<Step> = fc.oneof(
  fc.nat({ max: 3 }).map(
    (image): Step =>
      world =>
        world.setImage(`${image}`),
  ),
  fc.boolean().map(
    (paused): Step =>
      world =>
        world.specify({ paused }),
  ),
);
const disturbances: fc.Arbitrary<Step> = fc.oneof(
  index.map(
    (i): Step =>
      world => {
        const pod = world.pick(i);
        if (pod) world.deletePod(pod);
      },
  ),
  index.map(
    (i): Step =>
      world => {
        const pod = world.pick(i);
        if (pod) world.fail(pod);
      },
  ),
  index.map(
    (i): Step =>
      world => {
        const pod = world.pick(i);
        if (pod) pod.metadata.labels = { ...pod.metadata.labels, app: 'taken-out' };
      },
  ),
  fc.constant<Step>(world => world.orphanAll()),
);

const strategy = fc.oneof(
  { weight: 5, arbitrary: fc.record({ maxSurge: fc.nat({ max: 3 }), maxUnavailable: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.constant('Recreate' as const) },
);
const start = fc.tuple(fc.nat({ max: 8 }), strategy);

function isAsWanted(world: WorkloadWorld): boolean {
  const { deployment, sets } = world;
  const replicas = deployment.spec.replicas ?? 1;
  return [...sets.values()].every(set => {
    const wanted = isOfTemplate(set, deployment) ? replicas : 0;
    return set.spec.replicas === wanted && world.active(set) === wanted;
  });
}

test('whatever people, nodes and accidents do, and wherever controllers die, all ends as it is specified', t => {
  const step = fc.oneof(
    { weight: 6, arbitrary: controllers },
    { weight: 3, arbitrary: nodes },
    { weight: 1, arbitrary: fc.oneof(resizing, changing) },
    { weight: 1, arbitrary: disturbances },
  );
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 120 }), ([replicas, rolling], steps) => {
      const world = new WorkloadWorld(replicas, rolling);
      for (const take of steps) take(world);
      world.specify({ paused: false });
      if (!world.settle() || !isAsWanted(world)) return false;
      const { status, metadata } = world.deployment;
      const wanted = world.deployment.spec.replicas ?? 1;
      const condition = (type: string) => status?.conditions?.find(one => one.type === type);
      const current = [...world.sets.values()].find(set => isOfTemplate(set, world.deployment));
      const revisions = [...world.sets.values()].map(set => Number(set.metadata.annotations?.[REVISION]));
      const revision = Math.max(...revisions);
      if (revision !== Number(current?.metadata.annotations?.[REVISION])) return false;
      if (revision !== Number(metadata.annotations?.[REVISION])) return false;
      return (
        status?.observedGeneration === metadata.generation &&
        (status?.updatedReplicas ?? 0) === wanted &&
        (status?.replicas ?? 0) === wanted &&
        (status?.availableReplicas ?? 0) === wanted &&
        condition('Available')?.status === 'True' &&
        condition('Progressing')?.reason === 'NewReplicaSetAvailable' &&
        [...world.sets.values()].filter(set => set.spec.replicas === 0).length <= 3
      );
    }),
    { numRuns: 400 },
  );
  t.pass();
});

const shares = fc
  .tuple(fc.nat({ max: 9 }), fc.nat({ max: 9 }))
  .map(([wanted, available]): Share => ({ wanted, available }));
const rollouts = fc
  .record({
    replicas: fc.nat({ max: 9 }),
    maxSurge: fc.nat({ max: 4 }),
    maxUnavailable: fc.nat({ max: 4 }),
  })
  .filter(({ maxSurge, maxUnavailable }) => maxSurge + maxUnavailable > 0)
  .map(
    (bounds): Rollout => ({
      ...bounds,
      maxUnavailable: Math.min(bounds.maxUnavailable, bounds.replicas),
      recreate: false,
      paused: false,
    }),
  );
const sum = (numbers: number[]): number => numbers.reduce((total, n) => total + n, 0);
const lasting = (share: Share, size: number): number => Math.min(share.wanted, share.available, size);

test('of any state, the next sizes keep both bounds, and where all is available they come nearer', t => {
  fc.assert(
    fc.property(rollouts, shares, fc.array(shares, { maxLength: 4 }), (rollout, current, old) => {
      const { replicas, maxSurge, maxUnavailable } = rollout;
      const next = sizes(rollout, current, old, false);
      const after = [next.current!, ...next.old];
      const before = [current, ...old];
      const total = sum(before.map(({ wanted }) => wanted));
      if (sum(after) > Math.max(total, replicas + maxSurge)) throw new Error('too many are asked for');
      const available = sum(before.map(share => lasting(share, share.wanted)));
      const left = sum(before.map((share, i) => lasting(share, after[i]!)));
      if (left < Math.min(available, replicas - maxUnavailable)) throw new Error(`only ${left} are left`);
      if (next.old.some((size, i) => size > old[i]!.wanted)) throw new Error('an old set grows');
      const isAtRest = before.every((share, i) => share.wanted === after[i]);
      const allAvailable = before.every(share => share.available >= share.wanted);
      const isDone = current.wanted === replicas && old.every(({ wanted }) => wanted === 0);
      if (allAvailable && isAtRest !== isDone) throw new Error('it stands still, or never ends');
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

test('a rollout that is paused follows a change of its size and does nothing else', t => {
  fc.assert(
    fc.property(
      rollouts,
      fc.option(shares, { nil: undefined }),
      fc.array(shares, { maxLength: 4 }),
      (bounds, current, old) => {
        const rollout = { ...bounds, paused: true };
        const { replicas, maxSurge } = rollout;
        const next = sizes(rollout, current, old, false);
        if (current === undefined) t.is(next.current, undefined);
        const total = sum([next.current ?? 0, ...next.old]);
        if (current === undefined && old.length === 0) t.is(total, 0);
        else t.true(total >= replicas && total <= replicas + maxSurge);
        const again = sizes(
          rollout,
          current && { ...current, wanted: next.current! },
          old.map((share, i) => ({ ...share, wanted: next.old[i]! })),
          false,
        );
        t.deepEqual(again, next);
      },
    ),
    { numRuns: 2000 },
  );
});

test('a rollout never asks for more than its surge allows, nor takes away what must stay', t => {
  const step = fc.oneof(
    { weight: 6, arbitrary: controllers },
    { weight: 4, arbitrary: nodes },
    { weight: 1, arbitrary: changing },
  );
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 150 }), ([replicas, rolling], steps) => {
      if (rolling === 'Recreate') return;
      const world = new WorkloadWorld(replicas, rolling);
      world.settle();
      world.setImage('new');
      for (const take of steps) {
        const asked = world.asked();
        const available = world.available();
        take(world);
        const { replicas: wanted, maxSurge, maxUnavailable } = rolloutOf(world.deployment);
        const [most, least] = [wanted + maxSurge, wanted - maxUnavailable];
        if (world.asked() > Math.max(asked, most)) throw new Error(`${world.asked()} asked for of ${most}`);
        if (world.available() < Math.min(available, least)) {
          throw new Error(`${world.available()} available of ${least}`);
        }
      }
    }),
    { numRuns: 600 },
  );
  t.pass();
});

test('a Deployment that recreates has no new Pod before the last old one has ended', t => {
  const step = fc.oneof({ weight: 3, arbitrary: controllers }, { weight: 3, arbitrary: nodes });
  fc.assert(
    fc.property(fc.nat({ max: 4 }), fc.array(step, { maxLength: 80 }), (replicas, steps) => {
      const world = new WorkloadWorld(replicas, 'Recreate');
      world.settle();
      world.setImage('new');
      for (const take of steps) {
        take(world);
        const images = [...world.pods.values()].map(pod => pod.spec.containers[0]!.image);
        if (new Set(images).size > 1) return false;
      }
      return world.settle() && isAsWanted(world);
    }),
    { numRuns: 200 },
  );
  t.pass();
});
