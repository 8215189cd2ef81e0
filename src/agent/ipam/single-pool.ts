import { FimbriaError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient } from '../../cluster/types.ts';
import type { AddressPools } from '../../ipam/pools.ts';
import { DEFAULT_POOL } from '../../ipam/types.ts';
import type { CiliumNode } from '../../model/types.ts';
import type { BlockStore } from './multi-pool.ts';

const BLOCKS = 'ipam/blocks';

export interface SinglePoolOptions {
  client: Pick<ClusterClient, 'patch'>;
  nodeName: string;
  store: BlockStore;
  pools: AddressPools;
  /** This node's CiliumNode, made (with these blocks) when there is none. */
  publish(ipam: NonNullable<CiliumNode['spec']['ipam']>): Promise<CiliumNode>;
  /** Host-scope mode: the blocks that the Node object names; the CiliumNode follows them. Undefined in cluster-pool mode. */
  nodePodCidrs?(): Promise<string[]>;
  /** Say in the status which blocks are full, so that the operator gives another. */
  growFullNodes: boolean;
  onBlocks(): Promise<void>;
  log: Logger;
}

/**
 * This node's side of the modes with one pool: the blocks in `spec.ipam.podCIDRs`, which the operator gave
 * (cluster-pool) or the Node object names (host-scope). Blocks may be added while the agent runs; one that goes is an
 * error, since addresses of it are in use. Passes must not overlap.
 */
export class SinglePool {
  readonly #options: SinglePoolOptions;
  #arriving: string[] = [];

  constructor(options: SinglePoolOptions) {
    this.#options = options;
  }

  get podCidrs(): string[] {
    return [...this.#options.pools.blocks().map(({ cidr }) => cidr), ...this.#arriving];
  }

  /** One pass. @throws FimbriaError PODCIDR_CHANGED, or what the API server says */
  async pass(): Promise<void> {
    const { client, nodeName, publish, nodePodCidrs } = this.#options;
    const held = this.podCidrs;
    const named = await nodePodCidrs?.();
    const podCIDRs = named?.length ? named : held;
    let node = await publish(podCIDRs.length > 0 ? { podCIDRs } : {});
    const shown = node.spec.ipam?.podCIDRs ?? [];
    if (named?.length && shown.join() !== named.join())
      node = await client.patch<CiliumNode>('CiliumNode', nodeName, { spec: { ipam: { podCIDRs: named } } });
    const now = named?.length ? named : shown;
    if (now.length > 0 && held.some(cidr => !now.includes(cidr))) {
      throw new FimbriaError({
        code: 'PODCIDR_CHANGED',
        op: 'use',
        object: `PodCIDR ${now.join(', ')}`,
        why: `this node already gives out addresses of ${held.join(', ')}`,
        hint: "drain the node, remove the agent's state folder and restart the agent",
      });
    }
    await this.#adopt(now.filter(cidr => !cidr.includes(':') && !held.includes(cidr)));
    if (this.#options.growFullNodes) await this.#tellFull(node);
  }

  async #adopt(fresh: string[]): Promise<void> {
    if (fresh.length === 0) return;
    const { store, pools, onBlocks, log } = this.#options;
    this.#arriving = fresh;
    try {
      store.put(
        BLOCKS,
        this.podCidrs.map(cidr => ({ pool: DEFAULT_POOL, cidr })),
      );
      await onBlocks();
    } finally {
      this.#arriving = [];
    }
    for (const cidr of fresh) pools.addBlock(DEFAULT_POOL, cidr);
    log.info('got blocks', { blocks: fresh.join(' ') });
  }

  async #tellFull(node: CiliumNode): Promise<void> {
    const { client, nodeName, pools } = this.#options;
    const { used, capacity } = pools.usage();
    const status = used >= capacity ? ('depleted' as const) : ('in-use' as const);
    const shown = node.status?.ipam?.['pod-cidrs'] ?? {};
    const wanted = Object.fromEntries(this.podCidrs.map(cidr => [cidr, { status }]));
    if (JSON.stringify(shown) === JSON.stringify(wanted)) return;
    await client.patch(
      'CiliumNode',
      nodeName,
      { status: { ipam: { 'pod-cidrs': wanted } } },
      { subresource: 'status' },
    );
  }
}
