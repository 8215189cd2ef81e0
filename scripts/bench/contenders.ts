import { join } from 'node:path';
import { packageRoot } from '../../src/base/paths.ts';
import type { BenchLab } from './labs.ts';
import { NetnsHost, netnsOf, type PluginRun } from './netns.ts';
import { pluginConfig, type Scratch } from './peers.ts';

/** The name of our own plugin among the contenders. */
export const OWN = 'fimbria';

/** One of the plugins that are compared, in a node of its own. */
export interface Contender {
  readonly name: string;
  readonly program: string;
  readonly config: string;
  readonly runner: NetnsHost;
  readonly pods: { container: string; netns: string; args?: string; address: string }[];
}

/** Ours on a node of the lab, `ptp` and `bridge` on nodes of their own. */
export async function contenders(
  lab: BenchLab,
  node: string,
  scratch: Scratch,
  plugins: string,
): Promise<Contender[]> {
  const holder = NetnsHost.start();
  const own: Contender = {
    name: OWN,
    program: join(packageRoot(), 'build/bin/fimbria-cni'),
    config: scratch.config('own', {
      cniVersion: '1.0.0',
      name: OWN,
      type: 'fimbria-cni',
      socket: lab.socket(node),
    }),
    runner: NetnsHost.start(netnsOf(lab.pid('node', node))),
    pods: [],
  };
  const others = ['ptp', 'bridge'].map(async (type, i): Promise<Contender> => {
    const more = type === 'bridge' ? { bridge: 'cni0', isGateway: true } : {};
    const config = pluginConfig(type, `10.8${i}.0.0/16`, join(scratch.dir, `scale-${type}`), more);
    const runner = NetnsHost.start(await holder.create());
    return {
      name: type,
      program: join(plugins, type),
      config: scratch.config(`scale-${type}`, config),
      runner,
      pods: [],
    };
  });
  return [own, ...(await Promise.all(others))];
}

function must(contender: Contender, run: PluginRun): PluginRun {
  if (run.status !== 0) throw new Error(`${contender.name}: ${run.output}`);
  return run;
}

/** Adds one more pod, in a namespace made before; milliseconds. */
export async function add(contender: Contender): Promise<number> {
  const { runner, program, config, pods, name } = contender;
  const netns = await runner.create();
  const i = pods.length;
  const container = `bench-${name}-${i}`;
  const args = name === OWN ? `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-${i}` : undefined;
  const call = { command: 'ADD' as const, program, config, container, netns, ...(args ? { args } : {}) };
  const run = must(contender, await runner.plugin(call));
  const { ips } = JSON.parse(run.output) as { ips: { address: string }[] };
  pods.push({ container, netns, address: ips[0]!.address.split('/')[0]!, ...(args ? { args } : {}) });
  return run.milliseconds;
}

/** Removes the pod that was added last; milliseconds. */
export async function remove(contender: Contender): Promise<number> {
  const { runner, program, config, pods } = contender;
  const { address: _, ...pod } = pods.pop()!;
  const run = must(contender, await runner.plugin({ command: 'DEL', program, config, ...pod }));
  await runner.release(pod.netns);
  return run.milliseconds;
}

/** Does one thing with each plugin in turn, so often; each turn begins with another one. */
export async function inTurns(
  all: readonly Contender[],
  times: number,
  work: (contender: Contender) => Promise<number>,
): Promise<Record<string, number[]>> {
  const values: Record<string, number[]> = Object.fromEntries(all.map(c => [c.name, []]));
  for (let turn = 0; turn < times; turn++) {
    for (let i = 0; i < all.length; i++) {
      const contender = all[(turn + i) % all.length]!;
      values[contender.name]!.push(await work(contender));
    }
  }
  return values;
}
