import { mkdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { ApiClient } from '../api/client.ts';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { assetPath } from '../base/paths.ts';
import { createClient } from '../cluster/index.ts';
import type { Lease } from '../model/types.ts';
import { labCgroups, makeCgroup } from './cgroup.ts';
import type { LabContext } from './context.ts';
import { waitUntil } from './deadline.ts';
import { type LabNode, labPaths } from './names.ts';
import { enterNode, netnsOf, nodePid } from './namespaces.ts';
import { type PauseOptions, startDetached } from './pause.ts';
import { findProcess, signal, waitGone } from './processes.ts';
import { type LabState, requireLab } from './state.ts';

/** A program of the lab that runs beside or in the nodes. */
export type Daemon = { role: 'apiserver' | 'controllers' | 'operator' } | { role: 'agent'; node: string };

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;

const nameOf = (daemon: Daemon): string => (daemon.role === 'agent' ? `agent-${daemon.node}` : daemon.role);
const textOf = (daemon: Daemon): string =>
  daemon.role === 'agent' ? `agent of ${daemon.node}` : daemon.role;

/** The daemon's process, or undefined when it is not running. */
export function daemonPid(lab: string, daemon: Daemon): number | undefined {
  return findProcess(lab, daemon.role, daemon.role === 'agent' ? daemon.node : undefined)?.pid;
}

const LOG_LINES_SHOWN = 20;

/** The end of a daemon's log: `lab up` takes the file away with the rest when it fails. */
function logTail(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').trim().split('\n').slice(-LOG_LINES_SHOWN);
  } catch {
    return [];
  }
}

/** What a daemon that does not answer yet is busy with: the message that its log ends with. */
function lastWord(path: string): string | undefined {
  const line = logTail(path).at(-1);
  const message = /msg=("(?:[^"\\]|\\.)*")/.exec(line ?? '')?.[1];
  return message === undefined ? line || undefined : (JSON.parse(message) as string);
}

/** A TCP port on 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

/** Starts a node program; it becomes its own process and outlives us. */
async function launch(lab: string, daemon: Daemon, script: string, args: string[]): Promise<void> {
  const enter: Pick<PauseOptions, 'joinNet' | 'joinMount' | 'cgroup'> =
    daemon.role === 'agent'
      ? enterAgentNode(lab, daemon.node)
      : { cgroup: makeCgroup(labCgroups(lab).beside('control')) };
  mkdirSync(labPaths(lab).logs, { recursive: true });
  const command = [process.execPath, assetPath(`dist/${script}`), ...args];
  await startDetached(
    { lab, role: 'exec', name: nameOf(daemon), ...enter, exec: true, command },
    { log: labPaths(lab).log(nameOf(daemon)) },
  );
}

function enterAgentNode(lab: string, node: string): Pick<PauseOptions, 'joinNet' | 'joinMount' | 'cgroup'> {
  const pid = nodePid(lab, node);
  if (pid === undefined) {
    throw new FimbriaError({
      code: 'ESRCH',
      op: 'enter',
      object: `node ${node}`,
      why: 'its namespaces are gone',
      hint: `take the lab down: fimbria lab down --lab ${lab}`,
    });
  }
  return enterNode(lab, node, pid);
}

/** Waits until `probe` is satisfied, or says how the daemon's log ends when it ends. */
async function waitReady(
  lab: string,
  daemon: Daemon,
  context: LabContext,
  probe: () => Promise<string | undefined>,
): Promise<void> {
  const log = labPaths(lab).log(nameOf(daemon));
  const ended = () => {
    const tail = logTail(log);
    for (const line of tail) context.progress(`| ${line}`);
    const said = tail.findLast(line => /error|fimbria-/i.test(line)) ?? tail.at(-1) ?? 'nothing';
    const why = `it ended before it was ready; it said: ${said}`;
    return new FimbriaError({ code: 'EXITED', op: 'start', object: textOf(daemon), why });
  };
  let missing = 0;
  await waitUntil(
    textOf(daemon),
    START_TIMEOUT_MS,
    async because => {
      context.signal.throwIfAborted();
      // Once is no proof: a look at /proc while it becomes its own program may miss it.
      missing = daemonPid(lab, daemon) === undefined ? missing + 1 : 0;
      if (missing >= 3) throw ended();
      try {
        const why = await probe();
        if (why === undefined) return true;
        because(why);
      } catch (error) {
        because(lastWord(log) ?? messageOf(error));
      }
      return undefined;
    },
    context.progress,
  );
}

/**
 * Starts the API server and returns when it answers. Nodes and pods reach it as on a cluster: it listens in the first
 * node, which is the control plane's for that, and the Service `default/kubernetes` leads there.
 */
export async function startApiServer(
  { name: lab, apiserverPort: port, nodes }: Pick<LabState, 'name' | 'apiserverPort' | 'nodes'>,
  context: LabContext,
): Promise<void> {
  const paths = labPaths(lab);
  const daemon: Daemon = { role: 'apiserver' };
  const [first] = nodes;
  const holder = first && nodePid(lab, first.name);
  await launch(lab, daemon, 'fimbria.js', [
    ...['apiserver', '--lab', lab, '--state', paths.apiserverDir, '--socket', paths.apiserverSocket],
    ...['--port', String(port), '--kubeconfig-out', paths.kubeconfig],
    ...(first && holder ? ['--advertise-address', first.ip, '--advertise-netns', netnsOf(holder)] : []),
  ]);
  const client = createClient({ server: `unix://${paths.apiserverSocket}` });
  try {
    await waitReady(lab, daemon, context, async () => {
      await client.serverVersion();
      return undefined;
    });
  } finally {
    client.close();
  }
}

/** Starts the API server at the port it had unless it runs; returns when it answers. */
export async function ensureApiServer(lab: string, context: LabContext): Promise<void> {
  const state = requireLab(lab);
  if (daemonPid(lab, { role: 'apiserver' }) === undefined) await startApiServer(state, context);
}

/** Starts the controllers unless they run. What they do is seen in the cluster; there is nothing else to wait for. */
export async function ensureControllers(lab: string): Promise<void> {
  if (daemonPid(lab, { role: 'controllers' }) === undefined) await startControllersProcess(lab);
}

/** Starts the controllers. They are ready when the nodes they register are there; `lab up` waits for those. */
export async function startControllersProcess(lab: string): Promise<void> {
  await launch(lab, { role: 'controllers' }, 'fimbria.js', ['lab-controllers', '--lab', lab]);
}

/** The lease that an operator renews while it leads. */
const OPERATOR_LEASE = { name: 'cilium-operator-resource-lock', namespace: 'kube-system' } as const;

/** Starts the operator and returns when it leads. */
export async function startOperator(lab: string, context: LabContext): Promise<void> {
  const { localKubeconfig, configDir } = labPaths(lab);
  const args = ['--lab', lab, '--kubeconfig', localKubeconfig, '--config-dir', configDir];
  await waitOperator(lab, context, () => launch(lab, { role: 'operator' }, 'fimbria-operator.js', args));
}

/** Starts the operator unless it runs; returns when it leads. */
export async function ensureOperator(lab: string, context: LabContext): Promise<void> {
  if (daemonPid(lab, { role: 'operator' }) === undefined) await startOperator(lab, context);
  // One that was started by somebody else a moment ago may not lead yet; its next renewal says that it does.
  else await waitOperator(lab, context, async () => {});
}

/** Returns when an operator has taken or renewed the lease since `begin` was called. */
async function waitOperator(lab: string, context: LabContext, begin: () => Promise<void>): Promise<void> {
  const client = createClient(labPaths(lab).localKubeconfig);
  const lease = () => client.get<Lease>('Lease', OPERATOR_LEASE.name, OPERATOR_LEASE.namespace);
  try {
    // Only another time than before says that this one renewed it, whatever the clock does meanwhile.
    const before = (await lease().catch(() => undefined))?.spec?.renewTime;
    await begin();
    await waitReady(lab, { role: 'operator' }, context, async () => {
      const { spec } = await lease();
      return spec?.holderIdentity && spec.renewTime !== before ? undefined : 'it does not lead yet';
    });
  } finally {
    client.close();
  }
}

/** Starts a node's agent unless it runs; returns when it is ready. */
export async function startAgent(lab: string, name: string, context: LabContext): Promise<void> {
  const { nodes } = requireLab(lab);
  const node = nodes.find(n => n.name === name);
  if (!node)
    throw new FimbriaError({
      code: 'NOT_FOUND',
      op: 'start',
      object: `agent of ${name}`,
      why: 'there is no such node',
    });
  if (daemonPid(lab, { role: 'agent', node: name }) === undefined) await launchAgent(lab, node);
  await waitAgent(lab, node, nodes.length, context);
}

/** Starts a node's agent without waiting for it. */
export async function launchAgent(lab: string, node: LabNode): Promise<void> {
  const { localKubeconfig, configDir, masqueradeList } = labPaths(lab);
  await launch(lab, { role: 'agent', node: node.name }, 'fimbria-agent.js', [
    ...['--lab', lab, '--node-name', node.name, '--kubeconfig', localKubeconfig, '--config-dir', configDir],
    ...['--ip-masq-agent-config-path', masqueradeList],
  ]);
}

/** Returns when the node's agent says that it is well and knows `nodeCount` nodes. */
export async function waitAgent(
  lab: string,
  node: LabNode,
  nodeCount: number,
  context: LabContext,
): Promise<void> {
  const api = new ApiClient(labPaths(lab).node(node.name).socket, { timeoutMs: 5000 });
  await waitReady(lab, { role: 'agent', node: node.name }, context, async () => {
    const { cilium } = await api.healthz({ brief: true });
    if (cilium?.state !== 'Ok') return cilium?.msg || `its state is ${cilium?.state}`;
    const known = (await api.nodes()).length;
    return known >= nodeCount ? undefined : `it knows ${known} of ${nodeCount} nodes`;
  });
}

/**
 * Ends a daemon: `SIGTERM` lets it end in its own way, `SIGKILL` does not. One that is not running is fine.
 * @throws FimbriaError TIMEOUT when it does not end
 */
export async function stopDaemon(lab: string, daemon: Daemon, how: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const pid = daemonPid(lab, daemon);
  if (pid === undefined) return;
  signal(pid, how);
  const left = await waitGone([pid], STOP_TIMEOUT_MS);
  if (left.length === 0) return;
  throw new FimbriaError({
    code: 'TIMEOUT',
    op: 'stop',
    object: textOf(daemon),
    why: `pid ${pid} has not ended after ${STOP_TIMEOUT_MS / 1000} s`,
    hint: 'use kill',
  });
}
