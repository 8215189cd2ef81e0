import type { Logger } from '../../base/log.ts';
import type { Endpoint } from '../../endpoint/types.ts';
import { clusterAddresses } from '../../ipam/cluster.ts';
import { ipamViolations } from '../../ipam/invariants.ts';
import { ownerKey, ownerText } from '../../ipam/owner.ts';
import type { AddressPools } from '../../ipam/pools.ts';
import type { PoolBlock } from '../../ipam/types.ts';
import type { CiliumEndpoint, CiliumNode } from '../../model/types.ts';

/** What is compared: what this node has, what its endpoints say, what the cluster shows of the others. */
export interface AuditInput {
  nodeName: string;
  pools: AddressPools;
  blocks: readonly PoolBlock[];
  endpoints: readonly Endpoint[];
  nodes: readonly CiliumNode[];
  ciliumEndpoints: readonly CiliumEndpoint[];
  nodeIpv4: string;
  multiPool: boolean;
}

/** Everything that does not hold at this moment; what is under way may be among it. Pure. */
export function auditAddresses(input: AuditInput): string[] {
  const { nodeName, pools, endpoints, multiPool } = input;
  const self = {
    name: nodeName,
    blocks: input.blocks,
    addresses: pools
      .allocations()
      .map(({ address, owner, pool }) => ({ address, pool, owner: ownerText(owner) })),
  };
  const others = clusterAddresses(
    input.nodes.filter(node => node.metadata.name !== nodeName),
    input.ciliumEndpoints.filter(({ status }) => status?.networking?.node !== input.nodeIpv4),
    multiPool,
  );
  const keys = new Set(
    endpoints.map(e => ownerKey({ kind: 'endpoint', containerId: e.containerId, ifname: e.ifname })),
  );
  const unowned = endpoints
    .filter(({ ipv4 }) => pools.ownerOf(ipv4) === undefined)
    .map(({ id, ipv4 }) => `address ${ipv4} of endpoint ${id} is not marked as in use`);
  const leaked = pools
    .allocations()
    .filter(({ owner }) => owner.kind === 'endpoint' && !keys.has(ownerKey(owner)))
    .map(
      ({ address, owner }) =>
        `address ${address} is marked as in use by ${ownerText(owner)}, which is no endpoint`,
    );
  return [...ipamViolations([self, ...others]), ...unowned, ...leaked].sort();
}

/**
 * Looks at the invariants again and again while the agent runs. What does not hold twice in a row is no change under
 * way but a fault: told once in the log, and in status and metrics for as long as it lasts.
 */
export class IpamAudit {
  readonly #look: () => AuditInput;
  readonly #log: Logger;
  #before: ReadonlySet<string> = new Set();
  #problems: string[] = [];

  constructor(look: () => AuditInput, log: Logger) {
    this.#look = look;
    this.#log = log;
  }

  /** What did not hold in the last two passes. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  pass(): void {
    const found = auditAddresses(this.#look());
    const problems = found.filter(line => this.#before.has(line));
    for (const line of problems)
      if (!this.#problems.includes(line))
        this.#log.error('an invariant of IPAM does not hold', { what: line });
    this.#before = new Set(found);
    this.#problems = problems;
  }
}
