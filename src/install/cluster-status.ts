import { codeOf } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { CiliumEndpoint, Pod } from '../model/types.ts';
import { findInstallation } from './installation.ts';
import { Resources } from './resources.ts';
import { COMPONENTS, type Component, readComponent } from './rollout.ts';

/** What `status --cluster` shows; also its JSON. */
export interface ClusterStatus {
  namespace: string;
  /** The installed version; undefined when `fimbria install` did not install it. */
  version?: string;
  components: {
    kind: string;
    name: string;
    desired: number;
    ready: number;
    available: number;
    /** Pods by phase. */
    phases: Record<string, number>;
    /** Pods by image. */
    images: Record<string, number>;
    errors: string[];
    warnings: string[];
  }[];
  /** Pods with an address of their own, and how many of them are endpoints of ours. */
  pods: { total: number; managed: number };
  errors: string[];
  warnings: string[];
}

/** Reads the state of an installation. @throws the client's failures */
export async function readClusterStatus(client: ClusterClient, namespace: string): Promise<ClusterStatus> {
  const resources = new Resources(client);
  const [installation, pods, endpoints, ...components] = await Promise.all([
    findInstallation(resources, namespace),
    client.list<Pod>('Pod'),
    listEndpoints(client),
    ...COMPONENTS.map(({ kind, name }) => readComponent(client, resources, { kind, name, namespace })),
  ]);
  const errors: string[] = [];
  const [agents] = components;
  if (agents === undefined)
    errors.push(`there is no DaemonSet ${COMPONENTS[0].name} in namespace ${namespace}`);
  const own = pods.items.filter(hasOwnAddress);
  const managed = own.filter(({ metadata }) => endpoints.has(`${metadata.namespace}/${metadata.name}`));
  return {
    namespace,
    ...(installation ? { version: installation.version } : {}),
    components: components.filter(component => component !== undefined).map(summary),
    pods: { total: own.length, managed: managed.length },
    errors,
    warnings: installation?.complete === false ? ['an installation was begun and has not ended'] : [],
  };
}

async function listEndpoints(client: ClusterClient): Promise<Set<string>> {
  try {
    const { items } = await client.list<CiliumEndpoint>('CiliumEndpoint');
    return new Set(items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return new Set();
    throw error;
  }
}

function hasOwnAddress({ spec, status }: Pod): boolean {
  const { hostNetwork } = spec as { hostNetwork?: boolean };
  return (
    hostNetwork !== true && spec?.nodeName !== undefined && !/Succeeded|Failed/.test(status?.phase ?? '')
  );
}

function summary(component: Component): ClusterStatus['components'][number] {
  const { kind, name, desired, ready, available, pods, errors, warnings } = component;
  const phases: Record<string, number> = {};
  const images: Record<string, number> = {};
  for (const { spec, status } of pods) {
    const phase = status?.phase ?? 'Unknown';
    phases[phase] = (phases[phase] ?? 0) + 1;
    const image = (spec as { containers?: { image?: string }[] }).containers?.[0]?.image ?? 'none';
    images[image] = (images[image] ?? 0) + 1;
  }
  return { kind, name, desired, ready, available, phases, images, errors, warnings };
}

/** The first thing that is wrong; undefined when all is well. Pure. */
export function firstClusterProblem(status: ClusterStatus): string | undefined {
  const component = status.components.find(({ errors }) => errors.length > 0);
  return status.errors[0] ?? (component && `${component.name}: ${component.errors[0]}`);
}
