import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type ApiServer, startApiServer } from '../../src/apiserver/server.ts';
import { silent } from '../../src/base/log.ts';
import { type ClusterClient, createClient, formatKubeconfig } from '../../src/cluster/index.ts';
import type {
  CiliumEndpoint,
  CiliumIdentity,
  CiliumNode,
  KubeObject,
  Node,
  Pod,
} from '../../src/model/types.ts';
import { untilObjects } from '../e2e/until.ts';

/** A real embedded API server of one test, which can be stopped and started again on the same state. */
export class Cluster {
  readonly dir = mkdtempSync(join(tmpdir(), 'fimbria-test-operator-'));
  /** New after each start: idle connections to the server before are dead. */
  client: ClusterClient;
  #server: ApiServer | undefined;
  #clients: ClusterClient[] = [];

  constructor() {
    this.client = this.newClient();
  }

  static async start(t: ExecutionContext): Promise<Cluster> {
    const cluster = new Cluster();
    t.teardown(async () => {
      for (const client of cluster.#clients) client.close();
      await cluster.stop();
      rmSync(cluster.dir, { recursive: true });
    });
    await cluster.start();
    return cluster;
  }

  get server(): string {
    return `unix://${this.dir}/api.sock`;
  }

  newClient(): ClusterClient {
    const client = createClient({ server: this.server }, { log: silent, tuning: { backoffMaxMs: 200 } });
    this.#clients.push(client);
    return client;
  }

  kubeconfig(): string {
    return formatKubeconfig('test', { server: this.server });
  }

  async start(): Promise<void> {
    this.#server = await startApiServer({
      stateFile: join(this.dir, 'state'),
      socketPath: join(this.dir, 'api.sock'),
      address: '127.0.0.1',
      port: 0,
      certDir: join(this.dir, 'pki'),
      tokens: {},
      log: silent,
    });
    this.client = this.newClient();
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  async addNode(name: string): Promise<void> {
    await this.client.create<Node>({ apiVersion: 'v1', kind: 'Node', metadata: { name } } as Node);
    await this.addCiliumNode(name);
  }

  async addCiliumNode(name: string): Promise<void> {
    await this.client.create<CiliumNode>({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: { name },
      spec: { addresses: [{ type: 'InternalIP', ip: '192.168.10.100' }], ipam: {} },
    });
  }

  async addPod(name: string): Promise<Pod> {
    return this.client.create<Pod>({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'pause' }] },
    } as Pod);
  }

  async addEndpoint(name: string, identity: number, podUid?: string): Promise<void> {
    await this.client.create<CiliumEndpoint>({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumEndpoint',
      metadata: {
        name,
        namespace: 'default',
        ...(podUid === undefined
          ? {}
          : { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name, uid: podUid }] }),
      },
      status: { id: 7, identity: { id: identity, labels: [] }, networking: { addressing: [] } },
    });
  }

  async addIdentity(id: number): Promise<void> {
    await this.client.create<CiliumIdentity>({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumIdentity',
      metadata: { name: `${id}` },
      'security-labels': { 'k8s:app': `${id}` },
    });
  }

  async names(kind: string): Promise<string[]> {
    return (await this.client.list(kind)).items.map(object => object.metadata.name).sort();
  }

  async blocks(): Promise<Record<string, string[]>> {
    const { items } = await this.client.list<CiliumNode>('CiliumNode');
    return Object.fromEntries(items.map(node => [node.metadata.name, node.spec.ipam?.podCIDRs ?? []]));
  }

  /** Resolves when the objects of a kind are as wanted; each change is looked at once. */
  until<T extends KubeObject>(kind: string, wanted: (objects: T[]) => boolean): Promise<T[]> {
    return untilObjects(this.newClient(), kind, wanted);
  }

  async untilBlocks(count: number): Promise<void> {
    await this.until<CiliumNode>(
      'CiliumNode',
      nodes => nodes.filter(node => (node.spec.ipam?.podCIDRs ?? []).length > 0).length === count,
    );
  }
}
