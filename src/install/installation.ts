import { parse, stringify } from 'yaml';
import { FimbriaError } from '../base/errors.ts';
import { packageVersion } from '../base/paths.ts';
import type { Values } from '../config/index.ts';
import type { KubeObject } from '../model/meta.ts';
import { AGENT, CONFIG_MAP, MANAGER, OURS } from './manifests/names.ts';
import type { Resources } from './resources.ts';

/** Where the values of an installation are kept, for the next upgrade. */
export const VALUES_MAP = 'fimbria-values';
const STATE = 'fimbria.io/state';
const VERSION = 'fimbria.io/version';

/** What a cluster has of us. */
export interface Installation {
  values: Values;
  version: string;
  /** False while an installation was begun and has not ended. */
  complete: boolean;
}

/** The installation in a namespace; undefined when there is none. */
export async function findInstallation(
  resources: Resources,
  namespace: string,
): Promise<Installation | undefined> {
  const map = await resources.get<KubeObject & { data?: Record<string, string> }>(
    'ConfigMap',
    VALUES_MAP,
    namespace,
  );
  if (map === undefined) return undefined;
  const { annotations = {} } = map.metadata;
  return {
    values: (parse(map.data?.['values.yaml'] ?? '') ?? {}) as Values,
    version: annotations[VERSION] ?? 'unknown',
    complete: annotations[STATE] === 'deployed',
  };
}

/** The object that keeps them. Pure. */
export function installationObject(
  namespace: string,
  values: Values,
  state: 'installing' | 'deployed',
): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: VALUES_MAP,
      namespace,
      labels: { ...OURS, 'app.kubernetes.io/name': VALUES_MAP },
      annotations: { [STATE]: state, [VERSION]: packageVersion() },
    },
    data: { 'values.yaml': stringify(values) },
  } as KubeObject;
}

/** The ConfigMap that agents read, as it is in the cluster. */
export async function runningConfig(
  resources: Resources,
  namespace: string,
): Promise<Record<string, string> | undefined> {
  const map = await resources.get<KubeObject & { data?: Record<string, string> }>(
    'ConfigMap',
    CONFIG_MAP,
    namespace,
  );
  return map?.data;
}

/**
 * Both speak by the same names, so one of them can be in a cluster.
 * @throws FimbriaError CONFLICT when the names are somebody else's
 */
export async function refuseForeign(resources: Resources, namespace: string): Promise<void> {
  for (const [kind, name] of [
    ['DaemonSet', AGENT],
    ['ConfigMap', CONFIG_MAP],
  ] as const) {
    const found = await resources.get(kind, name, namespace);
    const ours = Object.entries(OURS).every(([key, value]) => found?.metadata.labels?.[key] === value);
    if (found === undefined || ours) continue;
    throw new FimbriaError({
      code: 'CONFLICT',
      op: 'install',
      object: `into namespace ${namespace}`,
      why: `${kind} ${name} is there, and \`fimbria install\` has not made it`,
      hint: 'if Helm did, go on with Helm; if it is Cilium, uninstall that first: both use the same names',
    });
  }
}

type Binding = KubeObject & { subjects?: { namespace?: string }[] };

/**
 * Rights in the whole cluster have one name, so a cluster has one installation.
 * @throws FimbriaError CONFLICT naming the namespace when it is in another one
 */
export async function refuseElsewhere(resources: Resources, namespace: string, op: string): Promise<void> {
  const binding = await resources.get<Binding>('ClusterRoleBinding', AGENT);
  if (binding?.metadata.labels?.['app.kubernetes.io/managed-by'] !== MANAGER) return;
  const other = binding.subjects?.[0]?.namespace;
  if (other === undefined || other === namespace) return;
  const parts = [await findInstallation(resources, other), await resources.get('DaemonSet', AGENT, other)];
  if (parts.every(part => part === undefined)) return;
  throw new FimbriaError({
    code: 'CONFLICT',
    op,
    object: `namespace ${namespace}`,
    why: `Fimbria is installed in namespace ${other}`,
    hint: `use -n ${other}`,
  });
}
