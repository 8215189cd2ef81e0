import type { ExecutionContext } from 'ava';
import { silent } from '../../src/base/log.ts';
import type { ClusterClient } from '../../src/cluster/index.ts';
import { startControllers } from '../../src/controllers/index.ts';
import type { Deployment, KubeObject, NewObject, Pod, ReplicaSet, Service } from '../../src/model/types.ts';
import { Cluster } from '../operator/server.ts';
import { FakeRuntime } from './fake-runtime.ts';

export const NODES = ['n0', 'n1'].map((name, i) => ({ name, ip: `192.168.10.${100 + i}` }));

/** A real API server with all controllers of a lab on nodes that set Pods up at once. */
export class ControllerWorld {
  readonly cluster: Cluster;
  runtime = new FakeRuntime();
  #running = new AbortController();

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  static async start(t: ExecutionContext): Promise<ControllerWorld> {
    const world = new ControllerWorld(await Cluster.start(t));
    t.teardown(() => world.stopControllers());
    return world;
  }

  get client(): ClusterClient {
    return this.cluster.client;
  }

  /** Starts controllers of their own runtime: what another process of them held is gone. */
  async startControllers(
    client: ClusterClient = this.cluster.newClient(),
    nodeGraceMs?: number,
  ): Promise<void> {
    this.runtime = new FakeRuntime();
    const { runtime } = this;
    const { signal } = this.#running;
    const options = { client, runtime, nodes: NODES, version: '0.0.0', log: silent, signal };
    await startControllers({ ...options, ...(nodeGraceMs !== undefined && { nodeGraceMs }) });
  }

  /** Also those whose start is held up. */
  stopControllers(): void {
    this.#running.abort();
    this.#running = new AbortController();
  }

  async deploy(name: string, replicas: number, more: Partial<Deployment['spec']> = {}): Promise<Deployment> {
    return this.client.create<Deployment>(deployment(name, replicas, more));
  }

  async scale(name: string, replicas: number): Promise<void> {
    await this.client.patch('Deployment', name, { spec: { replicas } }, { subresource: 'scale' });
  }

  async setImage(name: string, image: string): Promise<void> {
    const patch = { spec: { template: { spec: { containers: [{ name: 'c', image }] } } } };
    await this.client.patch('Deployment', name, patch);
  }

  /** Resolves when a Deployment says that it is done as it is specified now. */
  async untilRolledOut(name: string): Promise<Deployment> {
    const found = await this.cluster.until<Deployment>('Deployment', all =>
      all.some(d => isRolledOut(d, name)),
    );
    return found.find(({ metadata }) => metadata.name === name)!;
  }

  /** Resolves when nothing of these kinds is left in the namespace `default`. */
  async untilNone(...kinds: string[]): Promise<void> {
    for (const kind of kinds) {
      await this.cluster.until(
        kind,
        all => !all.some(({ metadata }) => metadata.namespace === 'default' && metadata.name !== 'default'),
      );
    }
  }

  async pods(): Promise<Pod[]> {
    return (await this.client.list<Pod>('Pod')).items.filter(({ metadata }) => !metadata.deletionTimestamp);
  }

  async sets(): Promise<ReplicaSet[]> {
    return (await this.client.list<ReplicaSet>('ReplicaSet')).items;
  }
}

function isRolledOut({ metadata, spec, status = {} }: Deployment, name: string): boolean {
  const { replicas = 1 } = spec;
  return (
    metadata.name === name &&
    (status.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    [status.replicas, status.updatedReplicas, status.availableReplicas].every(
      count => (count ?? 0) === replicas,
    )
  );
}

export function deployment(
  name: string,
  replicas: number,
  more: Partial<Deployment['spec']> = {},
): NewObject<Deployment> {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'v1' }] } },
      ...more,
    },
  };
}

export function service(name: string, spec: Partial<Service['spec']> = {}): NewObject<Service> {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }], ...spec },
  };
}

export function configMap(name: string, owners: KubeObject[] = [], more: object = {}): NewObject<KubeObject> {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name,
      namespace: 'default',
      ownerReferences: owners.map(({ apiVersion, kind, metadata }) => ({
        apiVersion,
        kind,
        name: metadata.name,
        uid: metadata.uid!,
        ...more,
      })),
    },
  };
}
