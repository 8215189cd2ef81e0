import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, FimbriaError } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { Namespace, Pod } from '../model/types.ts';

/** Marks a namespace as this test's: only such a one is ever deleted. */
const OURS = { 'app.kubernetes.io/managed-by': 'fimbria', 'app.kubernetes.io/name': 'connectivity-test' };
const READY_TIMEOUT_MS = 180_000;
const GONE_TIMEOUT_MS = 180_000;
/** How long a container may take to end by itself; a prober ends at once. */
const GRACE_SECONDS = 1;

/** What whoever waits is told, and how it is ended. */
export interface Waiting {
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

/** A prober's Pod. */
export interface ProberPod {
  readonly name: string;
  readonly node: string;
  readonly hostNetwork: boolean;
  readonly image: string;
  readonly command: readonly string[];
}

/** Pure. */
export function podManifest(namespace: string, pod: ProberPod): Pod {
  const { name, node, hostNetwork, image, command } = pod;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { ...OURS } },
    spec: {
      // Straight to the node, whatever its taints: what is tried is the network, not the scheduler.
      nodeName: node,
      hostNetwork,
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: GRACE_SECONDS,
      tolerations: [{ operator: 'Exists' }],
      containers: [
        {
          name: 'prober',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: [...command],
          terminationMessagePolicy: 'FallbackToLogsOnError',
        },
      ],
    },
  } as unknown as Pod;
}

/** Makes the test's namespace. @throws FimbriaError CONFLICT when it is there */
export async function createNamespace(
  client: ClusterClient,
  name: string,
  annotations: Record<string, string>,
): Promise<void> {
  await client.create<Namespace>({
    apiVersion: 'v1',
    kind: 'Namespace',
    // Pods of the host's network are what clusters with Pod Security refuse otherwise.
    metadata: { name, labels: { ...OURS, 'pod-security.kubernetes.io/enforce': 'privileged' }, annotations },
  } as unknown as Parameters<typeof client.create<Namespace>>[0]);
}

/**
 * The test's namespace as an earlier run left it; undefined when there is none.
 * @throws FimbriaError CONFLICT when it is somebody else's
 */
export async function findNamespace(client: ClusterClient, name: string): Promise<Namespace | undefined> {
  let found: Namespace;
  try {
    found = await client.get<Namespace>('Namespace', name);
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
  const { labels = {} } = found.metadata;
  if (Object.entries(OURS).every(([key, value]) => labels[key] === value)) return found;
  throw new FimbriaError({
    code: 'CONFLICT',
    op: 'use',
    object: `namespace ${name}`,
    why: 'it is there, and no connectivity test made it',
    hint: 'name another with --test-namespace',
  });
}

/** Deletes the namespace with all that is in it and waits until it is gone. It being gone already is well. */
export async function deleteNamespace(client: ClusterClient, name: string, waiting: Waiting): Promise<void> {
  if (!(await client.delete('Namespace', name))) return;
  await until<Namespace>(
    client,
    { kind: 'Namespace', what: `namespace ${name} to go`, timeoutMs: GONE_TIMEOUT_MS, ...waiting },
    namespaces => {
      const left = namespaces.find(({ metadata }) => metadata.name === name);
      return left ? { why: 'its pods are still ending' } : { value: true };
    },
  );
}

/** Why a Pod does not do what it should, in the words of who says so. */
function troubleOf({ status }: Pod): string {
  const [container] = status?.containerStatuses ?? [];
  const state = container?.state?.waiting ?? container?.state?.terminated;
  return [state?.reason, state?.message].filter(Boolean).join(': ') || status?.reason || status?.phase || '';
}

/**
 * Waits until the named Pods have begun to run (`Running`) or have done their work (`Succeeded`).
 * @throws FimbriaError NOT_RUNNING when one fails, TIMEOUT with what each of the others says
 */
export async function untilPods(
  client: ClusterClient,
  namespace: string,
  names: readonly string[],
  phase: 'Running' | 'Succeeded',
  waiting: Waiting,
): Promise<Pod[]> {
  const what = `pods ${phase === 'Running' ? 'to run' : 'to end'}`;
  return until<Pod, Pod[]>(
    client,
    { kind: 'Pod', namespace, what, timeoutMs: READY_TIMEOUT_MS, ...waiting },
    pods => {
      const wanted = names.flatMap(name => pods.filter(({ metadata }) => metadata.name === name));
      const broken = wanted.find(({ status }) => status?.phase === 'Failed');
      if (broken) {
        throw new FimbriaError({
          code: 'NOT_RUNNING',
          op: 'run',
          object: `pod ${namespace}/${broken.metadata.name}`,
          why: troubleOf(broken),
        });
      }
      const waits = wanted.filter(
        ({ status }) => status?.phase !== phase || (phase === 'Running' && !status.podIP),
      );
      if (wanted.length === names.length && waits.length === 0) return { value: wanted };
      const words = waits.map(pod => `${pod.metadata.name} on ${pod.spec.nodeName}: ${troubleOf(pod)}`);
      return { why: words.join(', ') || 'not created yet' };
    },
  );
}

const STILL_WAITING_EVERY_MS = 10_000;

/** Looks at objects of a kind whenever one changes, until `look` has a value. */
async function until<T extends { metadata: { name: string } }, R = true>(
  client: ClusterClient,
  wait: Waiting & { kind: string; namespace?: string; what: string; timeoutMs: number },
  look: (objects: T[]) => { value: R } | { why: string },
): Promise<R> {
  const { kind, namespace, what, timeoutMs, progress, signal } = wait;
  const informer = client.informer<T & Pod>(kind, namespace === undefined ? {} : { namespace });
  let why = 'the API server has not answered yet';
  const ended = new AbortController();
  const start = performance.now();
  try {
    return await new Promise<R>((resolve, reject) => {
      const check = (): void => {
        try {
          const seen = look(informer.list() as unknown as T[]);
          if ('value' in seen) resolve(seen.value);
          else why = seen.why;
        } catch (error) {
          reject(error);
        }
      };
      const tell = async (): Promise<void> => {
        for (;;) {
          await delay(Math.min(STILL_WAITING_EVERY_MS, timeoutMs), undefined, { signal: ended.signal });
          const waitedMs = performance.now() - start;
          if (waitedMs >= timeoutMs) {
            const after = `${why} (after ${Math.round(waitedMs / 1000)} s)`;
            throw new FimbriaError({ code: 'TIMEOUT', op: 'wait for', object: what, why: after });
          }
          progress(`waiting for ${what}: ${why} (${Math.round(waitedMs / 1000)} s)`);
        }
      };
      tell().catch(reject);
      signal.addEventListener('abort', () => reject(signal.reason), { signal: ended.signal });
      if (signal.aborted) return reject(signal.reason);
      // Only what is whole says that something is gone.
      void informer.synced.then(() => {
        informer.on({ added: check, updated: check, deleted: check });
        check();
      });
    });
  } finally {
    ended.abort();
    informer.close();
  }
}
