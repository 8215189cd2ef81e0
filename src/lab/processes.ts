import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** What a process of a lab is for. `exec` is a process on its way to becoming something else. */
export type LabRole =
  | 'node'
  | 'underlay'
  | 'outside'
  | 'pod'
  | 'container'
  | 'exec'
  | 'agent'
  | 'operator'
  | 'apiserver'
  | 'controllers';

/** A living process that carries `--lab NAME`. */
export interface LabProcess {
  readonly pid: number;
  readonly role: LabRole;
  /** The node, or NAMESPACE/NAME of the pod, that it belongs to. */
  readonly name?: string;
  /** Its options by name, without the dashes. */
  readonly options: Readonly<Record<string, string>>;
}

const PROGRAMS: Record<string, LabRole> = {
  'fimbria-agent.js': 'agent',
  'fimbria-operator.js': 'operator',
};

/** `--key value` pairs up to a lone `--`. Options without a value are not needed here and get the next word. */
function optionsOf(args: readonly string[]): Record<string, string> {
  const options: Record<string, string> = {};
  for (let i = 0; i < args.length && args[i] !== '--'; i++) {
    const value = args[i + 1];
    const key = args[i];
    if (key?.startsWith('--') && value !== undefined && !value.startsWith('--'))
      options[key.slice(2)] = value;
  }
  return options;
}

function roleOfScript(args: readonly string[]): { role: LabRole; rest: readonly string[] } | undefined {
  const at = args.findIndex(
    (arg, i) => i > 0 && i < 8 && /^fimbria(-agent|-operator)?\.js$/.test(basename(arg)),
  );
  if (at < 0 || !basename(args[0] ?? '').startsWith('node')) return undefined;
  const rest = args.slice(at + 1);
  const role = PROGRAMS[basename(args[at] ?? '')];
  if (role) return { role, rest };
  if (rest[0] === 'apiserver') return { role: 'apiserver', rest };
  if (rest[0] === 'lab-controllers') return { role: 'controllers', rest };
  return undefined;
}

/**
 * Reads a command line: a process of ours in a lab, or undefined for everything else, the lab's own commands
 * (`fimbria lab down --lab NAME`) included. Pure.
 */
export function parseCommandLine(
  pid: number,
  args: readonly string[],
): (LabProcess & { lab: string }) | undefined {
  const pause = basename(args[0] ?? '') === 'fimbria-pause';
  const script = pause ? undefined : roleOfScript(args);
  const options = optionsOf(pause ? args.slice(1) : (script?.rest ?? []));
  const role = pause ? (options['role'] as LabRole | undefined) : script?.role;
  const lab = options['lab'];
  if (role === undefined || lab === undefined) return undefined;
  const name = pause ? options['name'] : options['node-name'];
  return { pid, role, lab, options, ...(name === undefined ? {} : { name }) };
}

/** A process's command line; undefined when it is gone or a zombie. */
function commandLine(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return text === '' ? undefined : text.replace(/\0$/, '').split('\0');
  } catch {
    return undefined;
  }
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .map(Number);
}

/** What the process with this pid is, where it belongs to a lab. */
export function processAt(pid: number): (LabProcess & { lab: string }) | undefined {
  return parseCommandLine(pid, commandLine(pid) ?? []);
}

/** Every living process of the lab called `name`, found by command line: no pid is ever remembered, so none can be stale. */
export function labProcesses(name: string): LabProcess[] {
  return pids().flatMap(pid => {
    const found = processAt(pid);
    return found?.lab === name ? [found] : [];
  });
}

/** The lab's only process with this role and, where given, this name. */
export function findProcess(lab: string, role: LabRole, name?: string): LabProcess | undefined {
  return labProcesses(lab).find(p => p.role === role && (name === undefined || p.name === name));
}

/** Whether the process exists and has not ended (a zombie has). */
export function isAlive(pid: number): boolean {
  return commandLine(pid) !== undefined;
}

/** Sends a signal; a process that is already gone is fine. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Waits until all are gone; returns those that are still alive at the deadline. */
export async function waitGone(waitFor: readonly number[], timeoutMs: number): Promise<number[]> {
  const deadline = performance.now() + timeoutMs;
  let alive = waitFor.filter(isAlive);
  while (alive.length > 0 && performance.now() < deadline) {
    await delay(20);
    alive = alive.filter(isAlive);
  }
  return alive;
}
