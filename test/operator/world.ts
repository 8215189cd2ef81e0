import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import type { ClusterPool } from '../../src/ipam/cluster-pool.ts';
import type { CiliumNode } from '../../src/model/types.ts';
import { BlockAssigner } from '../../src/operator/blocks.ts';

/** What happens to one write. `lost`: done, but the answer does not arrive. `late`: done some time after the caller gave up. */
export type Fate = 'done' | 'lost' | 'refused' | 'late';

type BlockPatch = {
  metadata?: { resourceVersion?: string };
  spec?: { ipam: { podCIDRs: string[] } };
  status?: { ipam: { 'operator-status': { error: string } | null } };
};

function failure(code: string): FimbriaError {
  return new FimbriaError({ code, op: 'patch', object: 'CiliumNode', why: 'so says the test' });
}

/** A cluster of CiliumNodes that keeps resourceVersions, and operators that see it late and write with bad luck. */
export class World {
  readonly nodes = new Map<string, CiliumNode>();
  readonly pool: ClusterPool;
  #version = 0;
  #late: (() => void)[] = [];
  /** What an operator's watch has brought. */
  #view: CiliumNode[] = [];
  #fates: Fate[] = [];
  #assigner: BlockAssigner;

  constructor(pool: ClusterPool) {
    this.pool = pool;
    this.#assigner = this.#start();
  }

  add(name: string): void {
    if (this.nodes.has(name)) return;
    this.#version++;
    this.nodes.set(name, {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: {
        name,
        uid: `uid-${this.#version}`,
        resourceVersion: `${this.#version}`,
        creationTimestamp: new Date(Math.floor(this.#version / 2) * 1000).toISOString(),
      },
      spec: {},
    });
  }

  remove(name: string): void {
    this.nodes.delete(name);
  }

  /** Somebody else, such as the node's agent, changes a node. */
  touch(name: string): void {
    const node = this.nodes.get(name);
    if (node) this.#store({ ...node, spec: { ...node.spec, bootid: `${this.#version}` } });
  }

  /** The watch catches up. */
  sync(): void {
    this.#view = [...this.nodes.values()];
  }

  /** Writes that were under way arrive. */
  land(): void {
    for (const write of this.#late.splice(0)) write();
  }

  /** The operator dies and another begins with a full list. What was under way arrives before the list is made. */
  restart(): void {
    this.land();
    this.#assigner = this.#start();
  }

  async pass(fates: Fate[]): Promise<void> {
    this.#fates = [...fates];
    await this.#assigner.pass().catch(() => {});
  }

  blocks(): [string, string][] {
    return [...this.nodes.values()].flatMap(node =>
      (node.spec.ipam?.podCIDRs ?? []).map(cidr => [node.metadata.name, cidr] as [string, string]),
    );
  }

  errorOf(name: string): string | undefined {
    return this.nodes.get(name)?.status?.ipam?.['operator-status']?.error;
  }

  #start(): BlockAssigner {
    this.sync();
    return new BlockAssigner({
      client: { patch: async (_kind, name, patch) => this.#patch(name, patch as BlockPatch) as never },
      nodes: { list: () => this.#view },
      pool: this.pool,
      log: silent,
      signal: new AbortController().signal,
    });
  }

  #patch(name: string, patch: BlockPatch): CiliumNode {
    const fate = this.#fates.shift() ?? 'done';
    const uid = this.#view.find(node => node.metadata.name === name)?.metadata.uid;
    const write = (): CiliumNode => {
      const node = this.nodes.get(name);
      if (!node || node.metadata.uid !== uid) throw failure('NOT_FOUND');
      const expected = patch.metadata?.resourceVersion;
      if (expected !== undefined && expected !== node.metadata.resourceVersion) throw failure('CONFLICT');
      return this.#store({
        ...node,
        ...(patch.spec ? { spec: { ...node.spec, ...patch.spec } } : {}),
        ...(patch.status ? { status: patch.status as NonNullable<CiliumNode['status']> } : {}),
      });
    };
    if (fate === 'done') return write();
    if (fate === 'lost') write();
    if (fate === 'late') {
      this.#late.push(() => {
        try {
          write();
        } catch {
          // Too late: refused, and nobody is there to hear it.
        }
      });
    }
    throw failure('UNAVAILABLE');
  }

  #store(node: CiliumNode): CiliumNode {
    this.#version++;
    const stored = { ...node, metadata: { ...node.metadata, resourceVersion: `${this.#version}` } };
    this.nodes.set(node.metadata.name, stored);
    return stored;
  }
}
