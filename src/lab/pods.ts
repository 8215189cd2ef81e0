import { codeOf, FimbriaError } from '../base/errors.ts';
import { type ClusterClient, createClient } from '../cluster/index.ts';
import type { Namespace, Pod } from '../model/types.ts';
import type { LabContext } from './context.ts';
import { waitUntil } from './deadline.ts';
import { labPaths } from './names.ts';
import { requireLab } from './state.ts';

/** A row of `fimbria lab pod list`. */
export interface PodRow {
  namespace: string;
  name: string;
  node: string;
  ip: string;
  /** As kubectl's STATUS column: `Running`, `ContainerCreating`, `Terminating`, … */
  phase: string;
  /** Why it does not run, in the words of who stopped it; empty when it does. */
  message: string;
}

const DELETE_TIMEOUT_MS = 90_000;

/** One Pod as a row. Pure. */
export function podRow(pod: Pod): PodRow {
  const statuses = pod.status?.containerStatuses ?? [];
  const waiting = statuses.find(s => s.state?.waiting)?.state?.waiting;
  const terminated = statuses.find(s => s.state?.terminated)?.state?.terminated;
  const unscheduled = pod.status?.conditions?.find(c => c.type === 'PodScheduled' && c.status === 'False');
  const phase = pod.metadata.deletionTimestamp
    ? 'Terminating'
    : (waiting?.reason ??
      terminated?.reason ??
      (pod.spec.nodeName && statuses.length === 0 ? 'ContainerCreating' : pod.status?.phase));
  return {
    namespace: pod.metadata.namespace ?? 'default',
    name: pod.metadata.name,
    node: pod.spec.nodeName ?? '',
    ip: pod.status?.podIP ?? '',
    phase: phase ?? 'Pending',
    message: waiting?.message ?? terminated?.message ?? unscheduled?.message ?? pod.status?.message ?? '',
  };
}

async function withClient<T>(lab: string, work: (client: ClusterClient) => Promise<T>): Promise<T> {
  requireLab(lab);
  const client = createClient(labPaths(lab).localKubeconfig);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** Every Pod of the lab, or of one namespace, by namespace and name. */
export async function podList(lab: string, namespace?: string): Promise<PodRow[]> {
  const { items } = await withClient(lab, client =>
    client.list<Pod>('Pod', namespace === undefined ? {} : { namespace }),
  );
  const key = (row: PodRow) => `${row.namespace}/${row.name}`;
  return items.map(podRow).sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** What `fimbria lab pod add` takes. */
export interface PodAdd {
  name: string;
  namespace: string;
  node?: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  command: readonly string[];
  /** The command's working directory. */
  cwd: string;
  /** 0 does not wait. */
  waitMs: number;
}

function manifest(add: PodAdd): Parameters<ClusterClient['create']>[0] {
  const [command, ...args] = add.command;
  const pod: Omit<Pod, 'metadata'> & { metadata: Partial<Pod['metadata']> } = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: add.name, namespace: add.namespace, labels: add.labels, annotations: add.annotations },
    spec: {
      serviceAccountName: 'default',
      containers: [
        {
          name: add.name,
          image: 'fimbria-lab/pause',
          ...(command === undefined ? {} : { command: [command], args, workingDir: add.cwd }),
        },
      ],
      ...(add.node === undefined ? {} : { nodeName: add.node }),
    },
  };
  return pod as unknown as Parameters<ClusterClient['create']>[0];
}

async function ensureNamespace(client: ClusterClient, name: string, context: LabContext): Promise<void> {
  try {
    await client.get('Namespace', name);
  } catch (error) {
    if (codeOf(error) !== 'NOT_FOUND') throw error;
    await client.create<Namespace>({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    context.progress(`namespace ${name} created`);
  }
}

/**
 * Adds a Pod and waits until it runs. One that does not in time stays, and is tried again.
 * @throws FimbriaError NOT_RUNNING with what the pod says about itself
 */
export async function podAdd(lab: string, add: PodAdd, context: LabContext): Promise<PodRow> {
  const { nodes } = requireLab(lab);
  if (add.node !== undefined && !nodes.some(n => n.name === add.node)) {
    throw new FimbriaError({
      code: 'NOT_FOUND',
      op: 'add',
      object: `pod ${add.namespace}/${add.name}`,
      why: `there is no node ${add.node}`,
      hint: `there is: ${nodes.map(n => n.name).join(', ')}`,
    });
  }
  return withClient(lab, async client => {
    await ensureNamespace(client, add.namespace, context);
    let pod = (await client.create(manifest(add))) as unknown as Pod;
    if (add.waitMs === 0) return podRow(pod);
    const failed = (why: string, hint?: string) =>
      new FimbriaError({
        code: 'NOT_RUNNING',
        op: 'add',
        object: `pod ${add.namespace}/${add.name}`,
        why,
        ...(hint ? { hint } : {}),
      });
    try {
      await waitUntil(`pod ${add.name}`, add.waitMs, async () => {
        context.signal.throwIfAborted();
        pod = await client.get<Pod>('Pod', add.name, add.namespace);
        const ready = pod.status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True');
        if (pod.status?.phase === 'Failed')
          throw failed(`it failed: ${podRow(pod).message || podRow(pod).phase}`);
        return (pod.status?.phase === 'Running' && ready) || pod.status?.phase === 'Succeeded'
          ? true
          : undefined;
      });
    } catch (error) {
      if (codeOf(error) !== 'TIMEOUT') throw error;
      const { phase, message } = podRow(pod);
      throw failed(
        `it does not run after ${add.waitMs / 1000} s: ${phase}${message ? `: ${message}` : ''}`,
        'it stays and is tried again: fimbria lab pod list',
      );
    }
    return podRow(pod);
  });
}

/** Deletes a Pod and waits until it is gone. @throws FimbriaError NOT_FOUND */
export async function podDelete(
  lab: string,
  name: string,
  namespace: string,
  context: LabContext,
): Promise<void> {
  await withClient(lab, async client => {
    const object = `pod ${namespace}/${name}`;
    const { metadata } = await client.get<Pod>('Pod', name, namespace);
    await client.delete('Pod', name, { namespace });
    await waitUntil(
      `${object} to go`,
      DELETE_TIMEOUT_MS,
      async because => {
        context.signal.throwIfAborted();
        try {
          const pod = await client.get<Pod>('Pod', name, namespace);
          because(podRow(pod).phase);
          return pod.metadata.uid === metadata.uid ? undefined : true;
        } catch (error) {
          if (codeOf(error) === 'NOT_FOUND') return true;
          throw error;
        }
      },
      context.progress,
    );
  });
}
