import type { CiliumEndpoint, CiliumNode } from '../model/types.ts';
import type { NodeAddresses, UsedAddress } from './invariants.ts';
import { flatBlocks } from './multi-pool.ts';
import { comparePrefixes, holdsAddress, tryParsePrefix, usableAddresses } from './prefix.ts';
import { DEFAULT_POOL, type PoolBlock } from './types.ts';

/**
 * The blocks of a CiliumNode by the mode in force: what another mode left beside them says nothing. Pure.
 */
export function blocksOfNode(node: CiliumNode, multiPool: boolean): PoolBlock[] {
  const { podCIDRs = [], pools } = node.spec.ipam ?? {};
  return multiPool ? flatBlocks(pools?.allocated) : podCIDRs.map(cidr => ({ pool: DEFAULT_POOL, cidr }));
}

/** Blocks and addresses in use of every node, as the cluster shows them. Pure. */
export function clusterAddresses(
  nodes: readonly CiliumNode[],
  endpoints: readonly CiliumEndpoint[],
  multiPool: boolean,
): NodeAddresses[] {
  const byNode = new Map<string, UsedAddress[]>();
  for (const { metadata, status } of endpoints) {
    const node = status?.networking?.node;
    if (node === undefined) continue;
    const used = byNode.get(node) ?? [];
    byNode.set(node, used);
    for (const { ipv4 } of status?.networking?.addressing ?? [])
      if (ipv4) used.push({ address: ipv4, owner: `${metadata.namespace}/${metadata.name}` });
  }
  return nodes.map(node => {
    const address = (type: string): string | undefined => node.spec.addresses?.find(a => a.type === type)?.ip;
    const router = address('CiliumInternalIP');
    const health = node.spec.health?.ipv4;
    return {
      name: node.metadata.name,
      blocks: blocksOfNode(node, multiPool),
      addresses: [
        ...(router ? [{ address: router, owner: 'router' }] : []),
        ...(health ? [{ address: health, owner: 'health' }] : []),
        ...(byNode.get(address('InternalIP') ?? '') ?? []),
      ],
    };
  });
}

/** How full one block of one node is. */
export interface BlockFill extends PoolBlock {
  readonly node: string;
  readonly used: number;
  readonly usable: number;
}

/** Every block with what is in use of it, by pool, node and address. Pure. */
export function blockFills(nodes: readonly NodeAddresses[]): BlockFill[] {
  return nodes
    .flatMap(({ name, blocks, addresses }) =>
      blocks.flatMap(({ pool, cidr }) => {
        const prefix = tryParsePrefix(cidr);
        if (prefix === undefined) return [];
        const used = addresses.filter(({ address }) => holdsAddress(prefix, address)).length;
        return [{ node: name, pool, cidr: prefix.text, used, usable: usableAddresses(prefix), prefix }];
      }),
    )
    .sort((a, b) =>
      a.pool !== b.pool
        ? a.pool < b.pool
          ? -1
          : 1
        : a.node !== b.node
          ? a.node < b.node
            ? -1
            : 1
          : comparePrefixes(a.prefix, b.prefix),
    )
    .map(({ prefix: _, ...fill }) => fill);
}
