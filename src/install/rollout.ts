import { setTimeout as delay } from 'node:timers/promises';
import { FimbriaError } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { KubeObject } from '../model/meta.ts';
import type { Pod } from '../model/types.ts';
import { AGENT, OPERATOR } from './manifests/names.ts';
import type { Resources } from './resources.ts';

const POLL_MS = 500;

/** A DaemonSet or Deployment as `status --cluster` shows it. */
export interface Component {
  kind: 'DaemonSet' | 'Deployment';
  name: string;
  desired: number;
  updated: number;
  ready: number;
  available: number;
  /** Whether the controllers have seen what was applied last. */
  observed: boolean;
  pods: Pod[];
  /** What is wrong, by Pod; with nothing to blame, of the component. */
  errors: string[];
  /** What is not as it should be and keeps nobody from working. */
  warnings: string[];
}

interface Workload extends KubeObject {
  spec: { replicas?: number; selector: { matchLabels?: Record<string, string> } };
  status?: Record<string, number | undefined>;
}

/** The parts of an installation, by where they are looked for. */
export const COMPONENTS = [
  { kind: 'DaemonSet', name: AGENT },
  { kind: 'Deployment', name: OPERATOR },
] as const;

/** A component's state; undefined when there is none. */
export async function readComponent(
  client: ClusterClient,
  resources: Resources,
  { kind, name, namespace }: { kind: Component['kind']; name: string; namespace: string },
): Promise<Component | undefined> {
  const workload = await resources.get<Workload>(kind, name, namespace);
  if (workload === undefined) return undefined;
  const labelSelector = Object.entries(workload.spec.selector.matchLabels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const pods = (await client.list<Pod>('Pod', { namespace, labelSelector })).items;
  return componentOf(kind, workload, pods);
}

/** Pure. */
export function componentOf(kind: Component['kind'], workload: Workload, pods: Pod[]): Component {
  const status = workload.status ?? {};
  const count = (field: string): number => status[field] ?? 0;
  const isSet = kind === 'DaemonSet';
  const component: Component = {
    kind,
    name: workload.metadata.name,
    desired: isSet ? count('desiredNumberScheduled') : (workload.spec.replicas ?? 1),
    updated: count(isSet ? 'updatedNumberScheduled' : 'updatedReplicas'),
    ready: count(isSet ? 'numberReady' : 'readyReplicas'),
    available: count(isSet ? 'numberAvailable' : 'availableReplicas'),
    observed: count('observedGeneration') >= (workload.metadata.generation ?? 0),
    pods,
    errors: [],
    warnings: [],
  };
  for (const pod of pods) {
    const problem = podProblem(pod);
    if (problem === undefined) continue;
    // More operators than nodes: the rest waits for a node and nobody waits for it.
    const spare = kind === 'Deployment' && component.available > 0 && isUnschedulable(pod);
    (spare ? component.warnings : component.errors).push(`${pod.metadata.name}: ${problem}`);
  }
  const { desired, ready, updated, observed } = component;
  const spares = component.warnings.length;
  if (component.errors.length > 0) return component;
  if (!observed) component.errors.push('its controller has not seen the latest change yet');
  else if (updated < desired) component.errors.push(`${updated} of ${desired} are up to date`);
  else if (count('replicas') > desired)
    component.errors.push(`${count('replicas') - desired} of an earlier version are ending`);
  else if (ready < desired - spares) {
    const ending = pods
      .filter(pod => pod.metadata.deletionTimestamp !== undefined)
      .map(pod => pod.metadata.name);
    const why = ending.length > 0 ? `; ending: ${ending.join(', ')}` : '';
    component.errors.push(`${desired - ready} of ${desired} are not ready${why}`);
  } else if (isSet && desired === 0)
    component.errors.push('no node wants one; see nodeSelector and affinity');
  return component;
}

/** Why a Pod is not ready, in the words of whoever knows; undefined when it is, or is going away. Pure. */
export function podProblem(pod: Pod): string | undefined {
  if (pod.metadata.deletionTimestamp !== undefined) return undefined;
  const { conditions = [], phase } = pod.status ?? {};
  if (conditions.some(({ type, status }) => type === 'Ready' && status === 'True')) return undefined;
  const statuses = [
    ...((pod.status as ContainerStates | undefined)?.initContainerStatuses ?? []),
    ...((pod.status as ContainerStates | undefined)?.containerStatuses ?? []),
  ];
  for (const { name, state, lastState } of statuses) {
    const { waiting } = state ?? {};
    const ended = state?.terminated ?? lastState?.terminated;
    if (waiting?.reason && waiting.reason !== 'PodInitializing' && waiting.reason !== 'ContainerCreating') {
      const said = ended?.message ?? waiting.message;
      return `container ${name} is ${waiting.reason}${said ? `: ${said.trim().split('\n').at(-1)}` : ''}`;
    }
    if (ended && ended.exitCode !== 0) {
      return `container ${name} ended with ${ended.exitCode}: ${ended.message?.trim().split('\n').at(-1) ?? ended.reason}`;
    }
  }
  const scheduled = conditions.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') return scheduled.message ?? 'it has no node';
  return `it is ${phase === 'Running' ? 'running and not ready' : `${phase ?? 'new'}`} on ${pod.spec?.nodeName ?? 'no node'}`;
}

interface ContainerStates {
  initContainerStatuses?: ContainerState[];
  containerStatuses?: ContainerState[];
}

interface ContainerState {
  name: string;
  state?: { waiting?: { reason?: string; message?: string }; terminated?: Ended };
  lastState?: { terminated?: Ended };
}

interface Ended {
  exitCode: number;
  reason?: string;
  message?: string;
}

function isUnschedulable(pod: Pod): boolean {
  return pod.status?.conditions?.some(c => c.type === 'PodScheduled' && c.status === 'False') ?? false;
}

/** `2/3 ready, 1 up to date`, for progress. Pure. */
export function progressOf(component: Component): string {
  const { desired, ready, updated } = component;
  const rest = updated < desired ? `, ${updated} up to date` : '';
  return `${ready}/${desired} ready${rest}`;
}

/** How waiting is told and ended. */
export interface Waiting {
  /** Told each time something changes. */
  say(line: string): void;
  deadlineMs: number;
  signal: AbortSignal;
}

/**
 * Asks until `probe` says that nothing is missing any more (undefined); what it says meanwhile is told when it changes.
 * @throws FimbriaError TIMEOUT with what was missing last
 */
export async function waitUntil(
  what: string,
  waiting: Waiting,
  probe: () => Promise<string | undefined>,
): Promise<void> {
  let said = '';
  for (;;) {
    const missing = await probe();
    if (missing === undefined) return;
    if (missing !== said) waiting.say(`${what}: ${missing}`);
    said = missing;
    if (performance.now() >= waiting.deadlineMs) {
      throw new FimbriaError({
        code: 'TIMEOUT',
        op: 'wait for',
        object: what,
        why: missing,
        hint: 'see `fimbria status --cluster`; to wait longer: --wait-duration',
      });
    }
    await delay(POLL_MS, undefined, { signal: waiting.signal });
  }
}
