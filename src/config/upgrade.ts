import { badValue } from './read.ts';
import type { AgentConfig } from './types.ts';

const at = (key: string) => ({ source: 'values', key }) as const;

/**
 * Compares a running configuration with the one that shall follow. Refuses what addresses in use forbid: another way
 * of handing them out and, in cluster-pool mode, blocks of another size and a list of ranges that is not the old one
 * with more appended (the first range with room is used first, so the order counts). Pure.
 * @throws FimbriaError BAD_VALUES with the value's path
 */
export function checkUpgrade(before: AgentConfig, after: AgentConfig): void {
  if (before.ipamMode !== after.ipamMode) {
    throw badValue(
      at('ipam.mode'),
      `cannot change from ${before.ipamMode} to ${after.ipamMode} on a running cluster`,
      'make a new cluster',
    );
  }
  if (before.ipamMode !== 'cluster-pool') return;
  const running = before.clusterPoolIpv4MaskSize;
  if (running !== after.clusterPoolIpv4MaskSize) {
    throw badValue(
      at('ipam.operator.clusterPoolIPv4MaskSize'),
      `cannot change from ${running} to ${after.clusterPoolIpv4MaskSize}: nodes have blocks of /${running}`,
      `leave it at ${running}, or make a new cluster`,
    );
  }
  const ranges = before.clusterPoolIpv4Cidrs;
  if (ranges.some((range, index) => after.clusterPoolIpv4Cidrs[index] !== range)) {
    throw badValue(
      at('ipam.operator.clusterPoolIPv4PodCIDRList'),
      `ranges can only be appended, and ${after.clusterPoolIpv4Cidrs.join(', ')} does not begin with ${ranges.join(', ')}`,
      'keep what is there in its order and append new ranges',
    );
  }
}
