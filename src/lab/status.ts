import { ApiClient } from '../api/client.ts';
import { messageOf } from '../base/errors.ts';
import { daemonPid } from './daemons.ts';
import { labPaths } from './names.ts';
import { labProcesses } from './processes.ts';
import { type LabState, requireLab } from './state.ts';

/** `running` says that the process is there; `ready` that it also answers that it is well. */
export type DaemonState = 'ready' | 'running' | 'stopped';

/** What `fimbria lab status -o json` prints. A pid is null where the process is not running. */
export interface LabStatus {
  name: string;
  kubeconfig: string;
  nodes: {
    name: string;
    ip: string;
    agent: { pid: number | null; state: DaemonState; socket: string; message?: string };
  }[];
  operator: { pid: number | null; state: DaemonState };
  apiserver: { pid: number | null; state: DaemonState; url: string };
  processes: { pid: number; role: string; name?: string }[];
}

async function agentStatus(
  lab: string,
  node: LabState['nodes'][number],
): Promise<LabStatus['nodes'][number]> {
  const { socket } = labPaths(lab).node(node.name);
  const pid = daemonPid(lab, { role: 'agent', node: node.name }) ?? null;
  const base = { name: node.name, ip: node.ip };
  if (pid === null) return { ...base, agent: { pid, state: 'stopped', socket } };
  try {
    const { cilium } = await new ApiClient(socket, { timeoutMs: 5000 }).healthz({ brief: true });
    if (cilium?.state === 'Ok') return { ...base, agent: { pid, state: 'ready', socket } };
    return { ...base, agent: { pid, state: 'running', socket, message: cilium?.msg ?? '' } };
  } catch (error) {
    return { ...base, agent: { pid, state: 'running', socket, message: messageOf(error) } };
  }
}

/** How a lab is: its daemons and every process of it. Changes nothing. @throws FimbriaError NOT_FOUND */
export async function labStatus(name: string): Promise<LabStatus> {
  const lab = requireLab(name);
  const state = (pid: number | undefined): DaemonState => (pid === undefined ? 'stopped' : 'running');
  const operator = daemonPid(name, { role: 'operator' });
  const apiserver = daemonPid(name, { role: 'apiserver' });
  return {
    name,
    kubeconfig: labPaths(name).kubeconfig,
    nodes: await Promise.all(lab.nodes.map(node => agentStatus(name, node))),
    operator: { pid: operator ?? null, state: state(operator) },
    apiserver: {
      pid: apiserver ?? null,
      state: state(apiserver),
      url: `https://127.0.0.1:${lab.apiserverPort}`,
    },
    processes: labProcesses(name).map(({ pid, role, name: of }) => ({
      pid,
      role,
      ...(of === undefined ? {} : { name: of }),
    })),
  };
}
