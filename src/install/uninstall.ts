import { codeOf } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import { deploymentValues, valueAt } from '../config/index.ts';
import { allCrds } from '../model/crd/index.ts';
import type { KubeObject } from '../model/meta.ts';
import type { CiliumPodIPPool, Node, Pod } from '../model/types.ts';
import type { InstallContext } from './install.ts';
import { findInstallation, refuseElsewhere } from './installation.ts';
import { CLEANUP, type CleanupTarget, cleanupDaemonSet } from './manifests/cleanup.ts';
import { AGENT, OPERATOR, OURS_SELECTOR } from './manifests/names.ts';
import { render } from './render.ts';
import { REMOVAL_ORDER, Resources } from './resources.ts';
import { progressOf, readComponent, waitUntil } from './rollout.ts';

const FINALIZER = 'ipam.cilium.io/blocks-in-use';
const LEASE = 'cilium-operator-resource-lock';

export interface UninstallOptions {
  /** Also the CustomResourceDefinitions, with every pool, node and endpoint that is described by them. */
  purge: boolean;
  /** Leave the nodes as they are, for when they cannot be reached any more. */
  skipCleanup: boolean;
}

/**
 * Takes everything away, in the order that leaves nothing: what runs, what it made on every node, what holds objects back,
 * rights and configuration. Repeatable, also after a failure half-way. @returns false when there was nothing
 * @throws FimbriaError TIMEOUT naming the nodes that could not be cleaned; what is needed to go on is still there then
 */
export async function uninstall(context: InstallContext, options: UninstallOptions): Promise<boolean> {
  const { client, namespace, say } = context;
  const resources = new Resources(client);
  await refuseElsewhere(resources, namespace, 'uninstall from');
  const target = await cleanupTarget(resources, namespace);
  let found = false;
  for (const [kind, name] of [
    ['Deployment', OPERATOR],
    ['DaemonSet', AGENT],
  ] as const) {
    if (!(await isOurs(resources, kind, name, namespace))) continue;
    found = true;
    await resources.remove(kind, name, namespace);
    say(`${kind} ${name}: stopping`);
  }
  await waitForPods(context, 'k8s-app=cilium,app.kubernetes.io/managed-by=fimbria', 'agents');
  await waitForPods(context, 'io.cilium/app=operator,app.kubernetes.io/managed-by=fimbria', 'operators');

  const left = await Promise.all(REMOVAL_ORDER.map(kind => resources.list(kind, OURS_SELECTOR, namespace)));
  found ||= left.flat().length > 0;
  if (found && !options.skipCleanup) await cleanNodes(context, resources, target);
  await releasePools(client, say);
  await forgetNodeConditions(client);
  for (const kind of REMOVAL_ORDER) {
    const objects = await resources.list(kind, OURS_SELECTOR, namespace);
    // Without rights of their own, those of other namespaces are other installations'.
    for (const { metadata } of objects) await resources.remove(kind, metadata.name, metadata.namespace);
    if (objects.length > 0) say(`${kind} ${objects.map(o => o.metadata.name).join(', ')}: removed`);
  }
  if (await client.delete('Lease', LEASE, { namespace })) say(`Lease ${LEASE}: removed`);
  if (options.purge) found = (await purge(context, resources)) || found;
  return found;
}

async function isOurs(resources: Resources, kind: string, name: string, namespace: string): Promise<boolean> {
  const labels = (await resources.get(kind, name, namespace))?.metadata.labels;
  return labels?.['app.kubernetes.io/managed-by'] === 'fimbria';
}

interface PodTemplated extends KubeObject {
  spec: {
    template: {
      spec: {
        containers: { image: string; imagePullPolicy?: string }[];
        imagePullSecrets?: unknown[];
        volumes?: { name: string; hostPath?: { path: string } }[];
      };
    };
  };
}

/** By the agents that run, or the cleaner that an interrupted run left; else by the values, else by the defaults. */
async function cleanupTarget(resources: Resources, namespace: string): Promise<CleanupTarget> {
  for (const name of [AGENT, CLEANUP]) {
    const running = await resources.get<PodTemplated>('DaemonSet', name, namespace);
    if (running === undefined) continue;
    const { containers, volumes = [], imagePullSecrets } = running.spec.template.spec;
    const path = (volume: string): string => volumes.find(v => v.name === volume)?.hostPath?.path ?? '';
    return {
      namespace,
      image: containers[0]!.image,
      imagePullPolicy: containers[0]!.imagePullPolicy ?? 'IfNotPresent',
      ...(imagePullSecrets ? { imagePullSecrets } : {}),
      cniBinPath: path('cni-bin'),
      cniConfPath: path('cni-conf'),
    };
  }
  const values = (await findInstallation(resources, namespace))?.values ?? {};
  const full = deploymentValues(values);
  const rendered = render(values, { namespace }).objects.find(
    ({ kind }) => kind === 'DaemonSet',
  ) as PodTemplated;
  return {
    namespace,
    image: rendered.spec.template.spec.containers[0]!.image,
    imagePullPolicy: String(valueAt(full, 'image.pullPolicy')),
    cniBinPath: String(valueAt(full, 'cni.binPath')),
    cniConfPath: String(valueAt(full, 'cni.confPath')),
  };
}

async function waitForPods(
  { client, namespace, say, waitMs, signal }: InstallContext,
  labelSelector: string,
  what: string,
): Promise<void> {
  await waitUntil(what, { say, signal, deadlineMs: performance.now() + waitMs }, async () => {
    const { items } = await client.list<Pod>('Pod', { namespace, labelSelector });
    return items.length === 0 ? undefined : `${items.length} to stop`;
  });
}

async function cleanNodes(
  context: InstallContext,
  resources: Resources,
  target: CleanupTarget,
): Promise<void> {
  const { client, namespace, say, signal, waitMs } = context;
  await resources.apply(cleanupDaemonSet(target));
  await waitUntil('cleaning nodes', { say, signal, deadlineMs: performance.now() + waitMs }, async () => {
    const cleaner = await readComponent(client, resources, { kind: 'DaemonSet', name: CLEANUP, namespace });
    if (cleaner === undefined) return 'the cleaner is gone';
    const [problem] = cleaner.errors;
    return problem === undefined ? undefined : `${progressOf(cleaner)}; ${problem}`;
  });
  await resources.remove('DaemonSet', CLEANUP, namespace);
  await waitForPods(context, `k8s-app=${CLEANUP}`, 'cleaners');
  say('nodes: clean');
}

/** Nobody is there any more to say that a pool's blocks are free: without this, deleting one would wait for ever. */
async function releasePools(client: ClusterClient, say: (line: string) => void): Promise<void> {
  let pools: CiliumPodIPPool[];
  try {
    pools = (await client.list<CiliumPodIPPool>('CiliumPodIPPool')).items;
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return;
    throw error;
  }
  for (const { metadata } of pools) {
    const finalizers = metadata.finalizers?.filter(name => name !== FINALIZER) ?? [];
    if (finalizers.length === (metadata.finalizers?.length ?? 0)) continue;
    await client
      .patch('CiliumPodIPPool', metadata.name, { metadata: { finalizers } })
      .catch(error => codeOf(error) === 'NOT_FOUND' || Promise.reject(error));
    say(`CiliumPodIPPool ${metadata.name}: released`);
  }
}

/** The condition says that Cilium is up. A node that cannot be told is told by whoever comes next. */
async function forgetNodeConditions(client: ClusterClient): Promise<void> {
  for (const { metadata, status } of (await client.list<Node>('Node')).items) {
    const ours = status?.conditions?.some(c => c.type === 'NetworkUnavailable' && c.reason === 'CiliumIsUp');
    if (!ours) continue;
    const conditions = [{ $patch: 'delete', type: 'NetworkUnavailable' }];
    await client.patch(
      'Node',
      metadata.name,
      { status: { conditions } },
      { type: 'strategic', subresource: 'status' },
    );
  }
}

async function purge({ say, signal, waitMs }: InstallContext, resources: Resources): Promise<boolean> {
  const names = allCrds().map(({ metadata }) => metadata.name);
  let removed = 0;
  for (const name of names) if (await resources.remove('CustomResourceDefinition', name)) removed++;
  if (removed === 0) return false;
  await waitUntil(
    'CustomResourceDefinitions',
    { say, signal, deadlineMs: performance.now() + waitMs },
    async () => {
      const found = await Promise.all(names.map(name => resources.get('CustomResourceDefinition', name)));
      const left = found.filter(crd => crd !== undefined);
      return left.length === 0 ? undefined : `${left.length} to go, with their objects`;
    },
  );
  say(`CustomResourceDefinitions: ${removed} removed, with their objects`);
  return true;
}
