import { codeOf, FimbriaError } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import type { KubeObject } from '../model/meta.ts';

/** Whom an API server notes as the owner of what we apply. */
const FIELD_MANAGER = 'fimbria';

/** How objects of an installation are addressed: group version, plural, and whether they have a namespace. */
const RESOURCES: Readonly<Record<string, readonly [api: string, plural: string, namespaced: boolean]>> = {
  ConfigMap: ['/api/v1', 'configmaps', true],
  ServiceAccount: ['/api/v1', 'serviceaccounts', true],
  ClusterRole: ['/apis/rbac.authorization.k8s.io/v1', 'clusterroles', false],
  ClusterRoleBinding: ['/apis/rbac.authorization.k8s.io/v1', 'clusterrolebindings', false],
  Role: ['/apis/rbac.authorization.k8s.io/v1', 'roles', true],
  RoleBinding: ['/apis/rbac.authorization.k8s.io/v1', 'rolebindings', true],
  DaemonSet: ['/apis/apps/v1', 'daemonsets', true],
  Deployment: ['/apis/apps/v1', 'deployments', true],
  CustomResourceDefinition: ['/apis/apiextensions.k8s.io/v1', 'customresourcedefinitions', false],
};

const WORKLOADS: ReadonlySet<string> = new Set(['DaemonSet', 'Deployment']);

/** Kinds in the order in which they are removed: what runs, then what it may do, then what it is told. */
export const REMOVAL_ORDER = [
  'Deployment',
  'DaemonSet',
  'RoleBinding',
  'Role',
  'ClusterRoleBinding',
  'ClusterRole',
  'ServiceAccount',
  'ConfigMap',
] as const;

/** What applying an object did. */
export type Outcome = 'created' | 'configured' | 'unchanged';

/** An object of which only the metadata is looked at. */
export type AnyKubeObject = KubeObject & { spec?: unknown; status?: unknown; data?: unknown };

/** Objects of an installation in a cluster. Every method is one or two requests; failures are the client's. */
export class Resources {
  readonly #client: ClusterClient;

  constructor(client: ClusterClient) {
    this.#client = client;
  }

  /**
   * Makes the cluster have the object as it is given; fields that others set stay. By server-side apply, so that what an
   * earlier version set and this one does not goes away.
   */
  async apply(object: KubeObject): Promise<Outcome> {
    const { kind, metadata } = object;
    const path = pathOf(kind, metadata.name, metadata.namespace);
    const before = await this.get(kind, metadata.name, metadata.namespace);
    const after = await this.#client.raw<KubeObject>('apply', nameOf(object), {
      method: 'PATCH',
      path: `${path}?fieldManager=${FIELD_MANAGER}&force=true`,
      body: object,
      contentType: 'application/apply-patch+yaml',
    });
    if (before === undefined) return 'created';
    return before.metadata.resourceVersion === after.metadata.resourceVersion ? 'unchanged' : 'configured';
  }

  async get<T extends KubeObject = AnyKubeObject>(
    kind: string,
    name: string,
    namespace?: string,
  ): Promise<T | undefined> {
    try {
      const path = pathOf(kind, name, namespace);
      return await this.#client.raw<T>('get', `${kind} ${name}`, { method: 'GET', path });
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Those with these labels; none of a kind that the server does not have. */
  async list(kind: string, labelSelector: string, namespace?: string): Promise<AnyKubeObject[]> {
    try {
      const path = `${pathOf(kind, undefined, namespace)}?labelSelector=${encodeURIComponent(labelSelector)}`;
      const { items = [] } = await this.#client.raw<{ items?: AnyKubeObject[] }>('list', kind, {
        method: 'GET',
        path,
      });
      return items.map(item => ({ ...item, kind }));
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return [];
      throw error;
    }
  }

  /** False when it was not there. The Pods of a workload go first: until then it is there, and says so. */
  async remove(kind: string, name: string, namespace?: string): Promise<boolean> {
    try {
      await this.#client.raw('delete', `${kind} ${name}`, {
        method: 'DELETE',
        path: pathOf(kind, name, namespace),
        body: {
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          propagationPolicy: WORKLOADS.has(kind) ? 'Foreground' : 'Background',
        },
      });
      return true;
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return false;
      throw error;
    }
  }
}

/** `DaemonSet kube-system/cilium`, for messages. */
export function nameOf({ kind, metadata: { name, namespace } }: KubeObject): string {
  return `${kind} ${namespace ? `${namespace}/` : ''}${name}`;
}

function pathOf(kind: string, name: string | undefined, namespace: string | undefined): string {
  const resource = RESOURCES[kind];
  if (resource === undefined) {
    throw new FimbriaError({
      code: 'INVALID',
      op: 'address',
      object: `kind ${kind}`,
      why: 'no installation has it',
    });
  }
  const [api, plural, namespaced] = resource;
  const scope = namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${api}${scope}/${plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
}
