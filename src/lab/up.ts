import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, FimbriaError } from '../base/errors.ts';
import { assetPath } from '../base/paths.ts';
import { type ClusterClient, createClient, formatKubeconfig } from '../cluster/index.ts';
import type { Namespace, Node } from '../model/types.ts';
import { labCgroups } from './cgroup.ts';
import type { LabContext } from './context.ts';
import {
  freePort,
  launchAgent,
  startApiServer,
  startControllersProcess,
  startOperator,
  waitAgent,
} from './daemons.ts';
import { waitUntil } from './deadline.ts';
import { takeDown } from './down.ts';
import { makeMountPoints } from './mountpoints.ts';
import { checkLabName, type LabNode, labPaths } from './names.ts';
import { NODE_DIRECTORIES, startNode, startOutside, startUnderlay } from './namespaces.ts';
import { connectUnderlay } from './network.ts';
import { labProcesses } from './processes.ts';
import { type LabState, readState, withLock, writeFileAtomically, writeState } from './state.ts';
import { checkRoom, type LabValues, publishConfig, writeConfig } from './values.ts';

const NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
const NODES_READY_TIMEOUT_MS = 60_000;

/** What everything needs that was built; looked for before anything is changed. */
const BUILT = [
  'build/bin/fimbria-pause',
  'build/bin/fimbria-cni',
  'dist/fimbria.js',
  'dist/fimbria-agent.js',
  'dist/fimbria-operator.js',
];

function refuseIfThere(name: string): void {
  const state = readState(name);
  const left =
    labProcesses(name).length > 0 || existsSync(labPaths(name).dir) || existsSync(labCgroups(name).dir);
  if (!state && !left) return;
  throw new FimbriaError({
    code: 'ALREADY_EXISTS',
    op: 'start',
    object: `lab ${name}`,
    why: state?.phase === 'running' ? 'it is running' : 'an earlier start was cut short',
    hint: `take it down first: fimbria lab down --lab ${name}`,
  });
}

/** The commands that `lab exec` has on PATH: this very program under its three names. */
function writeCommands(lab: string): void {
  const { bin } = labPaths(lab);
  mkdirSync(bin, { recursive: true });
  const script = `#!/bin/sh\nexec '${process.execPath}' '${assetPath('dist/fimbria.js')}' "$@"\n`;
  for (const name of ['fimbria', 'cilium', 'cilium-dbg'])
    writeFileSync(join(bin, name), script, { mode: 0o755 });
}

async function startHolders(lab: string, nodes: readonly LabNode[]): Promise<void> {
  const [underlay, outside, ...pids] = await Promise.all([
    startUnderlay(lab),
    startOutside(lab),
    ...nodes.map(node => startNode(lab, node)),
  ]);
  const hosts = nodes.map((node, i) => ({ ...node, pid: pids[i] ?? 0 }));
  await connectUnderlay(underlay, outside, hosts);
}

async function createNamespaces(client: ClusterClient): Promise<void> {
  for (const name of NAMESPACES) {
    try {
      await client.create<Namespace>({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    } catch (error) {
      if (codeOf(error) !== 'ALREADY_EXISTS') throw error;
    }
  }
}

/** Returns when every node is registered and says that it can run pods. */
async function waitNodesReady(
  client: ClusterClient,
  nodes: readonly LabNode[],
  context: LabContext,
): Promise<void> {
  await waitUntil(
    'nodes to be Ready',
    NODES_READY_TIMEOUT_MS,
    async because => {
      context.signal.throwIfAborted();
      const { items } = await client.list<Node>('Node');
      const ready = items.filter(n =>
        n.status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True'),
      );
      because(`${ready.length} of ${nodes.length} are`);
      return ready.length >= nodes.length ? true : undefined;
    },
    context.progress,
  );
}

async function bringUp(lab: LabState, flat: LabValues['flat'], context: LabContext): Promise<void> {
  const { name, nodes } = lab;
  const paths = labPaths(name);
  const say = (line: string) => {
    context.signal.throwIfAborted();
    context.progress(line);
  };
  mkdirSync(paths.dir, { recursive: true, mode: 0o755 });
  writeState(lab);
  say(`namespaces: ${nodes.map(n => n.name).join(', ')}, outside and the network between them`);
  await makeMountPoints(Object.values(NODE_DIRECTORIES));
  writeConfig(name, { flat, values: lab.values });
  writeCommands(name);
  writeFileAtomically(
    paths.localKubeconfig,
    formatKubeconfig(`fimbria-lab-${name}`, { server: `unix://${paths.apiserverSocket}` }),
  );
  await startHolders(name, nodes);
  say('API server');
  await startApiServer(lab, context);
  const client = createClient(paths.localKubeconfig);
  try {
    await createNamespaces(client);
    await publishConfig(client, flat);
    say('controllers and operator');
    await startControllersProcess(name);
    await startOperator(name, context);
    say(`agents: ${nodes.length}`);
    await Promise.all(nodes.map(node => launchAgent(name, node)));
    await Promise.all(
      nodes.map(async node => {
        await waitAgent(name, node, nodes.length, context);
        context.progress(`agent of ${node.name} is ready`);
      }),
    );
    await waitNodesReady(client, nodes, context);
  } finally {
    client.close();
  }
  writeState({ ...lab, phase: 'running' });
}

/**
 * `fimbria lab up`: starts a lab and returns when pods can be added. What fails or is interrupted is taken back.
 * @throws FimbriaError ALREADY_EXISTS when there is one of that name, running or not
 */
export async function labUp(
  name: string,
  nodes: readonly LabNode[],
  { values, flat }: LabValues,
  context: LabContext,
): Promise<void> {
  checkLabName(name);
  checkRoom(flat, nodes.length);
  for (const asset of BUILT) assetPath(asset);
  await withLock(
    name,
    async () => {
      refuseIfThere(name);
      const lab: LabState = { name, phase: 'starting', nodes, values, apiserverPort: await freePort() };
      try {
        await bringUp(lab, flat, context);
      } catch (error) {
        context.progress('taking back what was started');
        await takeDown(name);
        if (context.signal.aborted)
          throw new FimbriaError({
            code: 'INTERRUPTED',
            op: 'start',
            object: `lab ${name}`,
            why: 'interrupted',
          });
        throw error;
      }
    },
    1000,
  );
}
