import { timestamp } from '../base/time.ts';
import type {
  Condition,
  Container,
  ContainerState,
  ContainerStatus,
  Pod,
  PodStatus,
} from '../model/types.ts';
import { commandOf, isDone, type PodFacts, restarts } from './pod-step.ts';

function stateOf(
  pod: Pod,
  container: Container,
  facts: PodFacts,
): { state: ContainerState; last?: ContainerState; id?: string } {
  const known = facts.containers[container.name];
  const id = known?.containerId;
  const ended = known?.exit && {
    terminated: {
      exitCode: known.exit.exitCode,
      reason: known.exit.exitCode === 0 ? 'Completed' : 'Error',
      startedAt: timestamp(known.startedAtMs ?? known.exit.finishedAtMs),
      finishedAt: timestamp(known.exit.finishedAtMs),
      ...(known.exit.signal === undefined ? {} : { signal: known.exit.signal }),
      ...(known.exit.message === undefined ? {} : { message: known.exit.message }),
    },
  };
  if (!facts.sandbox?.alive) {
    if (ended) return { state: ended, ...(id ? { id } : {}) };
    const message = facts.setupError ?? facts.networkNotReady;
    return {
      state: { waiting: { reason: 'ContainerCreating', ...(message === undefined ? {} : { message }) } },
    };
  }
  if (commandOf(container).length === 0) {
    return {
      state: { running: { startedAt: timestamp(facts.sandbox.createdAtMs) } },
      id: facts.sandbox.containerId,
    };
  }
  if (ended && id && known.exit) {
    if (!restarts(pod, known.exit)) return { state: ended, id };
    const message = `back-off restarting failed container ${container.name}`;
    return { state: { waiting: { reason: 'CrashLoopBackOff', message } }, last: ended, id };
  }
  if (id && known?.startedAtMs !== undefined) {
    return { state: { running: { startedAt: timestamp(known.startedAtMs) } }, id };
  }
  const reason = known?.startError === undefined ? 'ContainerCreating' : 'RunContainerError';
  return {
    state: { waiting: { reason, ...(known?.startError === undefined ? {} : { message: known.startError }) } },
  };
}

function containerStatus(pod: Pod, container: Container, facts: PodFacts): ContainerStatus {
  const { state, last, id } = stateOf(pod, container, facts);
  const running = state.running !== undefined;
  return {
    name: container.name,
    image: container.image ?? '',
    imageID: '',
    ready: running,
    started: running,
    restartCount: facts.containers[container.name]?.restarts ?? 0,
    state,
    ...(last ? { lastState: last } : {}),
    ...(id ? { containerID: `fimbria://${id}` } : {}),
  };
}

function phaseOf(pod: Pod, facts: PodFacts, statuses: ContainerStatus[]): NonNullable<PodStatus['phase']> {
  if (isDone(pod, facts.containers)) {
    return statuses.every(s => s.state?.terminated?.exitCode === 0) ? 'Succeeded' : 'Failed';
  }
  const begun = statuses.every(s => s.state?.running || s.state?.terminated || s.lastState);
  return begun ? 'Running' : 'Pending';
}

function conditions(
  pod: Pod,
  statuses: ContainerStatus[],
  ended: boolean,
  hasSandbox: boolean,
  nowMs: number,
): Condition[] {
  const unready = statuses.filter(s => !s.ready).map(s => s.name);
  const notReady = ended
    ? { reason: 'PodCompleted' }
    : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` };
  const ready = unready.length === 0;
  const wanted: Pick<Condition, 'type' | 'status' | 'reason' | 'message'>[] = [
    { type: 'PodReadyToStartContainers', status: hasSandbox ? 'True' : 'False' },
    { type: 'Initialized', status: 'True' },
    ...(['Ready', 'ContainersReady'] as const).map(type => ({
      type,
      status: ready ? ('True' as const) : ('False' as const),
      ...(ready ? {} : notReady),
    })),
    { type: 'PodScheduled', status: 'True' },
  ];
  return wanted.map(want => {
    const old = pod.status?.conditions?.find(c => c.type === want.type);
    const since = old?.status === want.status ? old.lastTransitionTime : undefined;
    return { ...want, lastTransitionTime: since ?? timestamp(nowMs) };
  });
}

/**
 * A Pod's status as its node's kubelet writes it, without what is unchanged by the stand-in. Pure.
 * @param hostIp the node's address
 */
export function podStatus(pod: Pod, facts: PodFacts, hostIp: string, nowMs: number): PodStatus {
  const containerStatuses = pod.spec.containers.map(container => containerStatus(pod, container, facts));
  const phase = phaseOf(pod, facts, containerStatuses);
  const ips = facts.sandbox?.alive ? facts.sandbox.ips : [];
  const ended = phase === 'Succeeded' || phase === 'Failed';
  const kept = ended && ips.length === 0 ? (pod.status?.podIPs ?? []).map(({ ip }) => ip) : ips;
  return {
    phase,
    conditions: conditions(pod, containerStatuses, ended, facts.sandbox?.alive === true, nowMs),
    hostIP: hostIp,
    startTime: pod.status?.startTime ?? timestamp(nowMs),
    containerStatuses,
    qosClass: 'BestEffort',
    ...(kept[0] === undefined ? {} : { podIP: kept[0], podIPs: kept.map(ip => ({ ip })) }),
  };
}
