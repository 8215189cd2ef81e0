import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { join } from 'node:path';
import { FimbriaError } from '../base/errors.ts';
import { labCgroups, makeCgroup } from './cgroup.ts';
import { labPaths, OUTSIDE } from './names.ts';
import { enterNode, netnsOf } from './namespaces.ts';
import { type PauseOptions, pauseArguments, pauseProgram } from './pause.ts';
import { type LabProcess, labProcesses } from './processes.ts';
import { requireLab } from './state.ts';

const SIGNALS: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
const SIGNAL_NUMBERS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** The holder that TARGET names: a node, else `outside`, else a pod as NAME (in `default`) or NAMESPACE/NAME. */
export function resolveTarget(target: string, processes: readonly LabProcess[]): LabProcess {
  const pod = target.includes('/') ? target : `default/${target}`;
  const found =
    processes.find(p => p.role === 'node' && p.name === target) ??
    processes.find(p => p.role === 'outside' && target === OUTSIDE) ??
    processes.find(p => p.role === 'pod' && p.name === pod);
  if (found) return found;
  const known = processes.filter(p => ['node', 'outside', 'pod'].includes(p.role)).map(p => p.name);
  throw new FimbriaError({
    code: 'NOT_FOUND',
    op: 'enter',
    object: target,
    why: 'no node and no running pod has that name',
    hint: `there is: ${known.join(', ')}`,
  });
}

function enter(lab: string, target: LabProcess): Pick<PauseOptions, 'joinNet' | 'joinMount' | 'cgroup'> {
  if (target.role === 'node') return enterNode(lab, target.name ?? '', target.pid);
  const cgroups = labCgroups(lab);
  const cgroup =
    target.role === 'outside'
      ? cgroups.beside(OUTSIDE)
      : join(cgroups.node(target.options['node'] ?? ''), 'kubepods', `pod${target.options['uid']}`);
  return { joinNet: netnsOf(target.pid), cgroup: makeCgroup(cgroup) };
}

/**
 * Starts a command within a node, a pod or the outside host, with `fimbria` on PATH. The child is the caller's.
 * @throws FimbriaError NOT_FOUND when nothing of that name runs
 */
export function spawnIn(
  lab: string,
  targetName: string,
  command: readonly string[],
  stdio: StdioOptions,
): ChildProcess {
  requireLab(lab);
  const target = resolveTarget(targetName, labProcesses(lab));
  const paths = labPaths(lab);
  const at = enter(lab, target);
  const options: PauseOptions = {
    lab,
    role: 'exec',
    name: targetName,
    ...at,
    exec: true,
    command: [...command],
  };
  return spawn(pauseProgram(), pauseArguments(options), {
    stdio,
    env: {
      ...process.env,
      PATH: `${paths.bin}:${process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin'}`,
      FIMBRIA_LAB: lab,
      FIMBRIA_SOCK: '/run/fimbria/fimbria.sock',
      KUBECONFIG: paths.insideKubeconfig,
    },
  });
}

/**
 * `fimbria lab exec`: runs a command within a node, a pod or the outside host. Standard streams, working directory and
 * signals pass through.
 * @returns the command's exit status; 128 + N when signal N ended it
 */
export async function labExec(lab: string, targetName: string, command: readonly string[]): Promise<number> {
  const child = spawnIn(lab, targetName, command, 'inherit');
  // A terminal sends its signals to both of us; one sent to us alone is meant for the command.
  const forward = (name: NodeJS.Signals) => void child.kill(name);
  for (const name of SIGNALS) process.on(name, forward);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0)));
    });
  } finally {
    for (const name of SIGNALS) process.off(name, forward);
  }
}
