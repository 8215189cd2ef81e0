import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FimbriaError } from '../base/errors.ts';
import { packageRoot } from '../base/paths.ts';
import { type ClusterClient, createClient } from '../cluster/index.ts';
import { type AgentConfig, parseFlat, type Values } from '../config/index.ts';
import { mode, modeOf } from '../connectivity/mode.ts';
import type { Waiting } from '../connectivity/pods.ts';
import { readOutcomes } from '../connectivity/prober.ts';
import type { Outside, Stage } from '../connectivity/stage.ts';
import type { Mode, ProbeOutcome, Target } from '../connectivity/types.ts';
import { Rtnetlink } from '../kernel/rtnetlink.ts';
import type { CiliumNode } from '../model/types.ts';
import { spawnIn } from './exec.ts';
import { labPaths, OUTSIDE, OUTSIDE_IP } from './names.ts';
import { netnsOf } from './namespaces.ts';
import { HOST_DEVICE } from './network.ts';
import { findProcess } from './processes.ts';
import { requireLab } from './state.ts';
import { labUpgrade } from './upgrade.ts';
import { resolveValues } from './values.ts';

/** Values that were the lab's before the test, at its namespace: a killed run leaves another mode behind. */
const VALUES_NOTE = 'fimbria.io/values-before';

const ALL_MODES: readonly Mode[] = (['native', 'tunnel'] as const).flatMap(routing =>
  [true, false].flatMap(endpointRoutes =>
    (['Legacy', 'BPF'] as const).map(hostRouting => mode({ routing, endpointRoutes, hostRouting })),
  ),
);

/** What `--set` would have to say for a mode, over a configuration. Pure. */
export function setsOf({ routing, endpointRoutes, hostRouting }: Mode, config: AgentConfig): string[] {
  const [range, ...more] = config.clusterPoolIpv4Cidrs;
  const unsaid = config.ipv4NativeRoutingCidr === undefined && range !== undefined && more.length === 0;
  return [
    ...(routing === 'native' && unsaid ? [`ipv4NativeRoutingCIDR=${range}`] : []),
    `routingMode=${routing}`,
    `autoDirectNodeRoutes=${routing === 'native'}`,
    `endpointRoutes.enabled=${endpointRoutes}`,
    `bpf.hostLegacyRouting=${hostRouting === 'Legacy'}`,
  ];
}

/** Blocks and who has them. */
async function podRanges(client: ClusterClient): Promise<{ range: string; nodeIp: string }[]> {
  const { items } = await client.list<CiliumNode>('CiliumNode');
  return items.flatMap(({ spec }) => {
    const nodeIp = spec?.addresses?.find(({ type }) => type === 'InternalIP')?.ip;
    if (nodeIp === undefined) return [];
    const allocated = spec?.ipam?.pools?.allocated ?? [];
    const ranges = [...(spec?.ipam?.podCIDRs ?? []), ...allocated.flatMap(({ cidrs }) => cidrs ?? [])];
    return ranges.map(range => ({ range, nodeIp }));
  });
}

/** The lab's host outside: it answers, and knows ways to the pods while the test runs. */
class LabOutside {
  readonly #lab: string;
  readonly #client: ClusterClient;
  readonly #port: number;
  #server: ReturnType<typeof spawnIn> | undefined;
  #routes: { dst: string; gateway: string }[] = [];

  constructor(lab: string, client: ClusterClient, port: number) {
    this.#lab = lab;
    this.#client = client;
    this.#port = port;
  }

  /** Ready to answer, and to ask: unless programs masquerade, answers too, it is given ways to the pods, as a router would know. */
  async open(masquerade: boolean): Promise<Outside> {
    this.#startServer();
    if (!masquerade) await this.#learnRoutes();
    const destination = {
      kind: 'outside' as const,
      name: OUTSIDE,
      address: OUTSIDE_IP,
      port: this.#port,
      echoes: true,
    };
    if (masquerade) return { destination, silent: 'pods are masqueraded: outside has no way to them' };
    return { destination, probe: (targets, signal) => this.#probe(targets, signal) };
  }

  #startServer(): void {
    if (this.#server) return;
    // Its end of the pipe closes when we end, however that is.
    const command = ['fimbria', 'connectivity', 'serve', '--while-stdin', '--port', String(this.#port)];
    this.#server = spawnIn(this.#lab, OUTSIDE, command, ['pipe', 'ignore', 'inherit']);
  }

  async #probe(targets: readonly Target[], signal: AbortSignal): Promise<ProbeOutcome[]> {
    const command = ['fimbria', 'connectivity', 'probe', '--targets', JSON.stringify(targets)];
    const child = spawnIn(this.#lab, OUTSIDE, command, ['ignore', 'pipe', 'inherit']);
    const stop = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', stop);
    let text = '';
    child.stdout?.on('data', chunk => (text += chunk));
    await once(child, 'close');
    signal.removeEventListener('abort', stop);
    signal.throwIfAborted();
    return readOutcomes(text);
  }

  async #withNetlink<T>(work: (netlink: Rtnetlink, ifindex: number) => Promise<T>): Promise<T> {
    const pid = findProcess(this.#lab, 'outside')?.pid;
    if (pid === undefined)
      throw new FimbriaError({ code: 'ESRCH', op: 'enter', object: OUTSIDE, why: 'its namespace is gone' });
    const netlink = Rtnetlink.open({ netns: netnsOf(pid) });
    try {
      return await work(netlink, (await netlink.link(HOST_DEVICE))?.ifindex ?? 0);
    } finally {
      netlink.close();
    }
  }

  async #learnRoutes(): Promise<void> {
    const ranges = await podRanges(this.#client);
    await this.#withNetlink(async (netlink, ifindex) => {
      // A route that somebody else set stays theirs.
      const known = new Set((await netlink.routes()).map(({ dst }) => dst));
      for (const { range, nodeIp } of ranges.filter(r => !known.has(r.range))) {
        this.#routes.push({ dst: range, gateway: nodeIp });
        await netlink.replaceRoute({ dst: range, gateway: nodeIp, ifindex, protocol: 'static' });
      }
    });
  }

  /** Also takes back what a killed run left: static routes through a node. */
  async forget(nodeIps: readonly string[]): Promise<void> {
    await this.#withNetlink(async (netlink, ifindex) => {
      for (const { dst, gateway, protocol } of await netlink.routes({ ifindex })) {
        if (gateway === undefined || !nodeIps.includes(gateway) || protocol !== 'static') continue;
        await netlink.deleteRoute({ dst, gateway, ifindex, protocol });
      }
    });
  }

  async close(): Promise<void> {
    this.#server?.stdin?.end();
    this.#server = undefined;
    if (this.#routes.length === 0) return;
    const routes = this.#routes.splice(0);
    await this.#withNetlink(async (netlink, ifindex) => {
      for (const route of routes) await netlink.deleteRoute({ ...route, ifindex, protocol: 'static' });
    });
  }
}

/** A lab as the place of a connectivity test. The client is its own; `dispose` closes it. */
export function labStage(
  lab: string,
  options: { allModes: boolean; port: number },
): Stage & { dispose(): void } {
  requireLab(lab);
  const client = createClient(labPaths(lab).localKubeconfig);
  const outside = new LabOutside(lab, client, options.port);
  /** What the lab runs with at this moment: a run that was killed may have left something else than it found. */
  const running = (): { values: Values; config: AgentConfig } => {
    const { values } = requireLab(lab);
    const { flat } = resolveValues([], [], values);
    return { values, config: parseFlat(flat) };
  };
  let before: Values | undefined;
  const restore = async (values: Values, waiting: Waiting): Promise<void> => {
    waiting.progress('back to the values that the lab had');
    await labUpgrade(lab, { files: [], sets: [], reset: false, base: values }, waiting);
  };
  return {
    client,
    title: `lab ${lab}`,
    image: 'fimbria-lab/pause',
    program: [process.execPath, join(packageRoot(), 'dist', 'fimbria.js')],
    note: (): Record<string, string> =>
      options.allModes ? { [VALUES_NOTE]: JSON.stringify(running().values) } : {},
    modes: () => (options.allModes ? ALL_MODES : [modeOf(running().config)]),
    async recover(note, waiting) {
      await outside.forget(requireLab(lab).nodes.map(({ ip }) => ip));
      const left = note[VALUES_NOTE];
      if (left !== undefined) await restore(JSON.parse(left) as Values, waiting);
    },
    async enter(wanted, waiting) {
      if (!options.allModes) return;
      const { values, config } = running();
      before ??= values;
      await labUpgrade(lab, { files: [], sets: setsOf(wanted, config), reset: false }, waiting);
    },
    outside: () => {
      return outside.open(running().config.masquerade === 'bpf');
    },
    // The lab's runtime keeps what containers print: <namespace>_<pod>_<container>.log.
    logOf: async (namespace, pod) =>
      readFileSync(join(labPaths(lab).logs, `${namespace}_${pod}_prober.log`), 'utf8'),
    async close(waiting) {
      await outside.close();
      if (before !== undefined) await restore(before, waiting);
    },
    dispose: () => client.close(),
  };
}
