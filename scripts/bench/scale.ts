import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { signal, waitGone } from '../../src/lab/processes.ts';
import { add, type Contender, contenders, inTurns, OWN, remove } from './contenders.ts';
import { SETTLE_MS } from './ipcache.ts';
import { BenchLab, type Place } from './labs.ts';
import type { Scratch } from './peers.ts';
import { interleave, type Outcome, type RoundOptions } from './rounds.ts';
import { type Summary, summarize } from './stats.ts';
import { type SliceOptions, slice } from './traffic.ts';

const NODE = 'node-0';

/** One point of the curve over the pods of a node. */
export interface ScalePoint {
  readonly pods: number;
  /** Milliseconds of the ADDs that led from the point before to this one, by plugin. */
  readonly add: Record<string, Summary>;
  /** Milliseconds of the DELs that led back, by plugin. */
  readonly del: Record<string, Summary>;
  /** Pods a second, one after another. */
  readonly podsPerSecond: Record<string, number>;
  /** The agent's memory once it holds them, and after a restart. */
  readonly memoryMb: number;
  readonly restartedMemoryMb: number;
  /** After kill -9, until a probe packet crossed the datapath with all of them restored. */
  readonly readyMs: Summary;
  readonly roundTrip: Outcome[];
}

export interface ScaleResult {
  /** A node that never had an agent, until the first pod was added. */
  readonly cleanReadyMs: number;
  readonly firstAddMs: number;
  readonly idleMemoryMb: number;
  /** An ADD while the agent is away: how long until it was told so, and what. */
  readonly away: { readonly milliseconds: number; readonly code: number };
  /** Milliseconds over all ADDs and all DELs, by plugin. */
  readonly add: Record<string, Summary>;
  readonly del: Record<string, Summary>;
  readonly podsPerSecond: Record<string, number>;
  readonly points: ScalePoint[];
}

/** How much is measured, and with which values the lab runs. */
export interface ScaleOptions extends RoundOptions {
  readonly sizes: readonly number[];
  readonly values: readonly string[];
  readonly slice: SliceOptions;
  readonly plugins: string;
  /** How often the agent is killed and started at each size. */
  readonly restarts: number;
}

/** The cluster's Pod objects, so that an ADD looks up labels and identity as it does in life. */
async function createPodObjects(lab: BenchLab, scratch: Scratch, count: number): Promise<void> {
  // Without the kubelet's stand-in: the pods are ours to set up.
  const controllers = lab.pid('controllers');
  signal(controllers, 'SIGTERM');
  await waitGone([controllers], 10_000);
  const pods = Array.from({ length: count }, (_, i) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `pod-${i}`, namespace: 'default', labels: { app: 'bench' } },
    spec: { nodeName: NODE, containers: [{ name: 'main', image: 'none' }] },
  }));
  const path = join(scratch.dir, 'pods.json');
  writeFileSync(path, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: pods }));
  await lab.run('apply', '-f', path);
}

const mapValues = <T, U>(record: Record<string, T>, f: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value)]));

type Milliseconds = Record<string, number[]>;

/** Appends what each plugin took to what it took before. */
function collect(all: Milliseconds, more: Milliseconds): void {
  for (const [name, values] of Object.entries(more)) all[name] = [...(all[name] ?? []), ...values];
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Round trips between two pods of each plugin, while the node holds all the others. */
function roundTrip(all: readonly Contender[], options: ScaleOptions): Promise<Outcome[]> {
  const ends = (c: Contender): [Place, Place] => {
    const place = (i: number): Place => ({
      netns: c.pods.at(i)!.netns,
      address: c.pods.at(i)!.address,
      cgroup: '',
    });
    return [place(0), place(-1)];
  };
  const cases = all.map(c => ({
    key: c.name,
    title: c.name,
    ...(c.name === 'ptp' ? {} : { baseline: 'ptp' }),
    measure: () => slice('rr', ...ends(c), options.slice),
  }));
  return interleave(cases, { ...options, progress: () => {} });
}

/** Kills the agent and starts it, so often. */
async function restart(
  lab: BenchLab,
  times: number,
): Promise<{ readyMs: Summary; restartedMemoryMb: number }> {
  const ready: number[] = [];
  for (let i = 0; i < times; i++) {
    const pid = lab.pid('agent', NODE);
    signal(pid, 'SIGKILL');
    await waitGone([pid], 10_000);
    await lab.run('lab', 'node', 'start', NODE);
    ready.push(lab.readyAfterMs(NODE));
  }
  await delay(SETTLE_MS);
  return { readyMs: summarize(ready), restartedMemoryMb: lab.agentMemoryMb(NODE) };
}

async function askWithoutAgent(lab: BenchLab, own: Contender): Promise<ScaleResult['away']> {
  await lab.run('lab', 'node', 'stop', NODE);
  const { runner, program, config } = own;
  const netns = await runner.create();
  const run = await runner.plugin({ command: 'ADD', program, config, container: 'bench-away', netns });
  await runner.release(netns);
  const { code = 0 } = JSON.parse(run.output || '{}') as { code?: number };
  return { milliseconds: run.milliseconds, code };
}

/** Fills a node with pods and empties it again, beside `ptp` and `bridge`, and restarts its agent on the way. */
export async function scaleCurve(scratch: Scratch, options: ScaleOptions): Promise<ScaleResult> {
  const lab = new BenchLab('scale');
  await lab.up(1, [...options.values, 'ipam.operator.clusterPoolIPv4MaskSize=22']);
  const cleanReadyMs = lab.readyAfterMs(NODE);
  const all = await contenders(lab, NODE, scratch, options.plugins);
  await createPodObjects(lab, scratch, Math.max(...options.sizes));
  const idleMemoryMb = lab.agentMemoryMb(NODE);
  const climbed: Omit<ScalePoint, 'del'>[] = [];
  const added: Milliseconds = {};
  const removed: Milliseconds = {};
  for (const pods of options.sizes) {
    options.progress(`${pods} pods on one node`);
    const milliseconds = await inTurns(all, pods - all[0]!.pods.length, add);
    collect(added, milliseconds);
    climbed.push({
      pods,
      add: mapValues(milliseconds, summarize),
      podsPerSecond: mapValues(milliseconds, values => 1000 / mean(values)),
      memoryMb: lab.agentMemoryMb(NODE),
      roundTrip: await roundTrip(all, options),
      ...(await restart(lab, options.restarts)),
    });
  }
  const points: ScalePoint[] = [];
  for (const [i, point] of [...climbed.entries()].reverse()) {
    options.progress(`back from ${point.pods} pods`);
    const fewer = climbed[i - 1]?.pods ?? 0;
    const milliseconds = await inTurns(all, point.pods - fewer, remove);
    collect(removed, milliseconds);
    points.unshift({ ...point, del: mapValues(milliseconds, summarize) });
  }
  const away = await askWithoutAgent(lab, all[0]!);
  for (const { runner } of all) await runner.end();
  await lab.down();
  return {
    cleanReadyMs,
    firstAddMs: added[OWN]![0]!,
    idleMemoryMb,
    away,
    add: mapValues(added, summarize),
    del: mapValues(removed, summarize),
    podsPerSecond: mapValues(added, values => 1000 / mean(values)),
    points,
  };
}
