import type { Container, Pod } from '../model/types.ts';
import type { ContainerExit } from './runtime.ts';

/** What is known of one container of a pod. Containers without a command have no `running` and no `exit`. */
export interface ContainerFacts {
  readonly containerId?: string;
  readonly startedAtMs?: number;
  /** How the latest run ended; undefined while it runs or has not begun. */
  readonly exit?: ContainerExit;
  /** Runs after the first. */
  readonly restarts: number;
  /** Not before this time, in ms since the epoch. */
  readonly nextStartMs: number;
  /** Why the latest start itself failed. */
  readonly startError?: string;
}

/** What the kubelet stand-in knows of one pod: the input of its decisions. Immutable. */
export interface PodFacts {
  /** The object as the server has it; undefined once it is gone. */
  readonly pod: Pod | undefined;
  /** See PodRuntime.networkNotReady. */
  readonly networkNotReady?: string;
  readonly sandbox?: { containerId: string; alive: boolean; ips: readonly string[]; createdAtMs: number };
  /** Failed attempts in a row to set the sandbox up, or to remove it. */
  readonly failures: number;
  readonly nextAttemptMs: number;
  /** The message of the latest failed set-up. */
  readonly setupError?: string;
  readonly containers: Readonly<Record<string, ContainerFacts>>;
}

/** The one thing to do next. */
export type PodStep =
  | { do: 'create-sandbox' }
  | { do: 'remove-sandbox' }
  | { do: 'start'; container: string }
  /** Tell the server that the object may go. */
  | { do: 'finish' }
  /** Nothing of the pod is left anywhere. */
  | { do: 'forget' }
  /** Until something changes, or until this time. */
  | { do: 'wait'; untilMs?: number };

const SETUP_BASE_MS = 1000;
const SETUP_MAX_MS = 10_000;
const RESTART_BASE_MS = 10_000;
const RESTART_MAX_MS = 300_000;

/** How long after the n-th failure in a row (from 1) the next attempt is due: 1 s doubling to 10 s. */
export function setupDelayMs(failures: number): number {
  return Math.min(SETUP_MAX_MS, SETUP_BASE_MS * 2 ** Math.min(30, failures - 1));
}

/** How long the n-th restart (from 1) of a container waits: at once, then 10 s doubling to 5 min. */
export function restartDelayMs(restart: number): number {
  return restart <= 1 ? 0 : Math.min(RESTART_MAX_MS, RESTART_BASE_MS * 2 ** Math.min(30, restart - 2));
}

/** The command that a container runs; empty when it only pauses, since images are ignored. */
export function commandOf(container: Container): string[] {
  return container.command?.length ? [...container.command, ...(container.args ?? [])] : [];
}

/** Whether a container that ended shall run again. */
export function restarts(pod: Pod, exit: ContainerExit): boolean {
  const policy = pod.spec.restartPolicy ?? 'Always';
  return policy === 'Always' || (policy === 'OnFailure' && exit.exitCode !== 0);
}

/** Whether every container of the pod has ended for good. A container that only pauses never does. */
export function isDone(pod: Pod, containers: PodFacts['containers']): boolean {
  return pod.spec.containers.every(container => {
    const exit = containers[container.name]?.exit;
    return exit !== undefined && !restarts(pod, exit);
  });
}

/** Whether a time has come. One that lies farther off than the longest delay was reckoned before the clock was set back. */
function isDue(atMs: number, nowMs: number, longestMs: number): boolean {
  return atMs <= nowMs || atMs - nowMs > longestMs;
}

/** Decides what to do for a pod now. Pure. */
export function nextStep(facts: PodFacts, nowMs: number): PodStep {
  const { pod, sandbox } = facts;
  const hasEnded = ['Succeeded', 'Failed'].includes(pod?.status?.phase ?? '');
  const leaving = !pod || pod.metadata.deletionTimestamp !== undefined;
  const early = !isDue(facts.nextAttemptMs, nowMs, SETUP_MAX_MS);
  if (leaving || hasEnded || isDone(pod, facts.containers)) {
    if (sandbox) return early ? { do: 'wait', untilMs: facts.nextAttemptMs } : { do: 'remove-sandbox' };
    if (!pod) return { do: 'forget' };
    if (!leaving) return { do: 'wait' };
    return early ? { do: 'wait', untilMs: facts.nextAttemptMs } : { do: 'finish' };
  }
  if (early) return { do: 'wait', untilMs: facts.nextAttemptMs };
  if (sandbox && !sandbox.alive) return { do: 'remove-sandbox' };
  if (!sandbox) {
    if (facts.networkNotReady !== undefined && !pod.spec.hostNetwork) return { do: 'wait' };
    return { do: 'create-sandbox' };
  }
  return nextStart(pod, facts, nowMs);
}

function nextStart(pod: Pod, facts: PodFacts, nowMs: number): PodStep {
  let untilMs: number | undefined;
  for (const container of pod.spec.containers) {
    if (commandOf(container).length === 0) continue;
    const known = facts.containers[container.name];
    const running = known?.containerId !== undefined && !known.exit;
    if (running || (known?.exit && !restarts(pod, known.exit))) continue;
    const dueMs = known?.nextStartMs ?? 0;
    if (isDue(dueMs, nowMs, RESTART_MAX_MS)) return { do: 'start', container: container.name };
    untilMs = Math.min(untilMs ?? dueMs, dueMs);
  }
  return untilMs === undefined ? { do: 'wait' } : { do: 'wait', untilMs };
}
