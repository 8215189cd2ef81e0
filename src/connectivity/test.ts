import { randomBytes } from 'node:crypto';
import { FimbriaError, messageOf } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { Node, Pod } from '../model/types.ts';
import { missing, plan } from './plan.ts';
import {
  createNamespace,
  deleteNamespace,
  findNamespace,
  type ProberPod,
  podManifest,
  untilPods,
  type Waiting,
} from './pods.ts';
import { readOutcomes } from './prober.ts';
import { type Stage, whyUntested } from './stage.ts';
import {
  type CheckResult,
  type ConnectivityReport,
  type Destination,
  type Mode,
  type ModeReport,
  type Place,
  type ProbeOutcome,
  SCENARIOS,
  type Target,
} from './types.ts';

/** Two are enough for every way there is; more only take longer. */
const USUAL_NODES = 2;

export interface ConnectivityOptions {
  readonly namespace: string;
  /** TCP and UDP port of the servers, on nodes too. */
  readonly port: number;
  /** Names of the nodes; the first two that are ready when absent. */
  readonly nodes?: readonly string[];
}

/** A node with its address. */
interface TestNode {
  readonly name: string;
  readonly ip: string;
}

const internalIp = (node: Node): string | undefined =>
  node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;

const isReady = ({ status }: Node): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;

/** The nodes that are meant. @throws FimbriaError NOT_FOUND, NOT_READY */
async function chooseNodes(client: ClusterClient, names: readonly string[] | undefined): Promise<TestNode[]> {
  const { items } = await client.list<Node>('Node');
  const known = items.map(({ metadata }) => metadata.name).sort();
  const unknown = names?.find(name => !known.includes(name));
  if (unknown !== undefined) {
    throw new FimbriaError({
      code: 'NOT_FOUND',
      op: 'use',
      object: `node ${unknown}`,
      why: 'there is no such node',
      hint: `there is: ${known.join(', ')}`,
    });
  }
  const ready = items.filter(isReady).flatMap(node => {
    const ip = internalIp(node);
    return ip === undefined ? [] : [{ name: node.metadata.name, ip }];
  });
  ready.sort((a, b) => (a.name < b.name ? -1 : 1));
  const chosen = names
    ? names.flatMap(name => ready.filter(node => node.name === name))
    : ready.slice(0, USUAL_NODES);
  if (chosen.length > 0 && chosen.length === (names?.length ?? chosen.length)) return chosen;
  throw new FimbriaError({
    code: 'NOT_READY',
    op: 'choose nodes',
    why: `of ${(names ?? known).join(', ') || 'no nodes'} ready with an address: ${ready.map(({ name }) => name).join(', ') || 'none'}`,
    hint: 'look at the agents: `fimbria status` on the node, `kubectl describe node`',
  });
}

/** One run of the test; `close` is called once, whatever happened. */
class Run {
  readonly #stage: Stage;
  readonly #options: ConnectivityOptions;
  readonly #nodes: readonly TestNode[];
  readonly #waiting: Waiting;
  #destinations: readonly Destination[] = [];
  /** In the names of Pods: logs of a lab outlive them. */
  readonly #id = randomBytes(3).toString('hex');
  #round = 0;

  constructor(stage: Stage, options: ConnectivityOptions, nodes: readonly TestNode[], waiting: Waiting) {
    this.#stage = stage;
    this.#options = options;
    this.#nodes = nodes;
    this.#waiting = waiting;
  }

  /** Both kinds of place that a node has. */
  #places(): { place: Place; node: TestNode; hostNetwork: boolean; suffix: string }[] {
    return this.#nodes.flatMap((node, i) => [
      {
        place: { kind: 'pod' as const, name: `pod on ${node.name}`, node: node.name },
        node,
        hostNetwork: false,
        suffix: `pod-${i}`,
      },
      {
        place: { kind: 'node' as const, name: `node ${node.name}`, node: node.name },
        node,
        hostNetwork: true,
        suffix: `node-${i}`,
      },
    ]);
  }

  #create(pod: Omit<ProberPod, 'image'>): Promise<Pod> {
    const { client, image } = this.#stage;
    return client.create<Pod>(podManifest(this.#options.namespace, { ...pod, image }));
  }

  async startServers(): Promise<void> {
    const { client, program } = this.#stage;
    const { namespace, port } = this.#options;
    const places = this.#places();
    const name = (suffix: string): string => `server-${suffix}`;
    this.#waiting.progress(`starting ${places.length} servers on ${this.#nodes.map(n => n.name).join(', ')}`);
    for (const { node, hostNetwork, suffix } of places) {
      const where = [...(hostNetwork ? ['--address', node.ip] : []), '--port', String(port)];
      const command = [...program, 'connectivity', 'serve', ...where];
      await this.#create({ name: name(suffix), node: node.name, hostNetwork, command });
    }
    const names = places.map(({ suffix }) => name(suffix));
    const pods = await untilPods(client, namespace, names, 'Running', this.#waiting);
    this.#destinations = places.map(({ place, node, hostNetwork }, i) => ({
      ...place,
      address: hostNetwork ? node.ip : (pods[i]?.status?.podIP ?? ''),
      port,
      echoes: true,
    }));
  }

  async tryMode(mode: Mode): Promise<ModeReport> {
    const { progress, signal } = this.#waiting;
    const outside = await this.#stage.outside(mode, signal);
    const beyond = 'none' in outside ? undefined : outside;
    const sources = this.#places().map(({ place }) => place);
    const destinations = beyond ? [...this.#destinations, beyond.destination] : this.#destinations;
    if (beyond?.probe) sources.push({ kind: 'outside', name: beyond.destination.name });
    const itineraries = plan(sources, destinations);
    const count = itineraries.flatMap(i => i.targets.flatMap(({ kinds }) => kinds)).length;
    progress(`trying ${count} ways from ${itineraries.length} places`);
    this.#round++;
    const all = await Promise.all(
      itineraries.map(async ({ source, targets }): Promise<CheckResult[]> => {
        const outcomes =
          source.kind === 'outside'
            ? ((await beyond?.probe?.(targets, signal)) ?? [])
            : await this.#probeFrom(source, targets);
        const results = completed(targets, outcomes).map(outcome => ({ from: source.name, ...outcome }));
        const bad = results.filter(({ ok }) => !ok);
        const words = bad.length === 0 ? `${results.length} ok` : `${bad.length} of ${results.length} FAILED`;
        progress(`from ${source.name}: ${words}`);
        return results;
      }),
    );
    const why = 'none' in outside ? outside.none : outside.silent;
    const untested = missing(itineraries).map(scenario => ({
      scenario,
      why: whyUntested(scenario, this.#nodes.length, why),
    }));
    return { mode, results: inOrder(all.flat()), untested };
  }

  async #probeFrom(source: Place, targets: readonly Target[]): Promise<ProbeOutcome[]> {
    const { client, program } = this.#stage;
    const { namespace } = this.#options;
    const at = this.#places().find(({ place }) => place.name === source.name);
    if (at === undefined) return [];
    const name = `client-${this.#id}-${this.#round}-${at.suffix}`;
    const command = [...program, 'connectivity', 'probe', '--targets', JSON.stringify(targets)];
    await this.#create({ name, node: at.node.name, hostNetwork: at.hostNetwork, command });
    await untilPods(client, namespace, [name], 'Succeeded', this.#waiting);
    const outcomes = readOutcomes(await this.#stage.logOf(namespace, name));
    await client.delete('Pod', name, { namespace });
    return outcomes;
  }
}

/** By scenario, as the table has them; within one, as they were tried. Pure. */
function inOrder(results: readonly CheckResult[]): CheckResult[] {
  return [...results].sort((a, b) => SCENARIOS.indexOf(a.scenario) - SCENARIOS.indexOf(b.scenario));
}

/** A probe without an outcome has failed: silence is no success. Pure. */
export function completed(targets: readonly Target[], outcomes: readonly ProbeOutcome[]): ProbeOutcome[] {
  return targets.flatMap(({ scenario, to, kinds }) =>
    kinds.map(
      kind =>
        outcomes.find(o => o.to === to && o.kind === kind) ?? {
          scenario,
          to,
          kind,
          ok: false,
          detail: 'the prober said nothing of it',
          durationMs: 0,
        },
    ),
  );
}

/**
 * Tries every way between pods, nodes and outside, in every mode of the stage. What it makes is gone when it returns, also when
 * it fails or is interrupted; what a killed run left is swept first. One run at a time per namespace.
 * @throws FimbriaError when the test could not be run; ways that fail are in the report
 */
export async function connectivityTest(
  stage: Stage,
  options: ConnectivityOptions,
  waiting: Waiting,
): Promise<ConnectivityReport> {
  const { client } = stage;
  const { namespace } = options;
  const { progress, signal } = waiting;
  const nodes = await chooseNodes(client, options.nodes);
  const left = await findNamespace(client, namespace);
  if (left !== undefined) {
    progress('sweeping what an earlier run left');
    await stage.recover?.(left.metadata.annotations ?? {}, waiting);
    await deleteNamespace(client, namespace, waiting);
  }
  const modes = stage.modes();
  const reports: ModeReport[] = [];
  let failure: unknown;
  try {
    await createNamespace(client, namespace, stage.note());
    const run = new Run(stage, options, nodes, waiting);
    await run.startServers();
    for (const [i, mode] of modes.entries()) {
      signal.throwIfAborted();
      if (modes.length > 1) progress(`mode ${i + 1} of ${modes.length}: ${mode.text}`);
      await stage.enter?.(mode, waiting);
      reports.push(await run.tryMode(mode));
    }
  } catch (error) {
    failure = error;
  }
  // An interrupted run cleans up all the same.
  const cleaning: Waiting = { progress, signal: new AbortController().signal };
  progress('cleaning up');
  try {
    await stage.close(cleaning);
    await deleteNamespace(client, namespace, cleaning);
  } catch (error) {
    if (failure === undefined) throw error;
    progress(`cleaning up failed, the next run sweeps: ${messageOf(error)}`);
  }
  if (failure !== undefined) throw failure;
  return {
    ok: reports.every(({ results }) => results.length > 0 && results.every(({ ok }) => ok)),
    nodes: nodes.map(({ name }) => name),
    modes: reports,
  };
}
