import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  formatIpv4Cidr,
  ipv4CidrOf,
  ipv4Overlaps,
  ipv4SubnetCount,
  parseIpv4,
  parseIpv4Cidr,
} from '../base/addr.ts';
import { codeOf, FimbriaError } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import {
  loadValues,
  MASQUERADE_LIST,
  parseFlat,
  type Values,
  valueAt,
  valuesToFlat,
} from '../config/index.ts';
import { nonMasqueradeCidrsOf } from '../config/masquerade-list.ts';
import type { ConfigMap } from '../model/types.ts';
import { labPaths, OUTSIDE_IP, UNDERLAY_PREFIX_LENGTH } from './names.ts';
import { HOST_DEVICE } from './network.ts';
import { writeFileAtomically } from './state.ts';

/** Values as merged, and the flat keys that agents and operator read. */
export interface LabValues {
  readonly values: Values;
  readonly flat: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

const NAMESPACE = 'kube-system';
const NAME = 'cilium-config';

/** Merges and checks values. Changes nothing. @throws FimbriaError with the path of what is wrong */
export function resolveValues(
  files: readonly string[],
  sets: readonly string[],
  base: Values = {},
): LabValues {
  const values = loadValues(files, sets, base);
  const resolved = valuesToFlat(values);
  nonMasqueradeCidrsOf(valueAt(values, MASQUERADE_LIST));
  const { clusterPoolIpv4Cidrs, autoCreatePools, devices } = parseFlat(resolved.flat);
  checkUnderlay('ipam.operator.clusterPoolIPv4PodCIDRList', clusterPoolIpv4Cidrs);
  for (const { name, ipv4 } of autoCreatePools)
    checkUnderlay(`ipam.operator.autoCreateCiliumPodIPPools.${name}.ipv4.cidrs`, ipv4?.cidrs ?? []);
  checkDevices(devices);
  return { values, ...resolved };
}

/** The agents would refuse it as well, but only when the running ones are gone. */
function checkDevices(devices: readonly string[]): void {
  const wrong = devices.find(name => name !== HOST_DEVICE);
  if (wrong === undefined) return;
  throw new FimbriaError({
    code: 'BAD_VALUES',
    op: 'values',
    why: `devices: ${wrong} is no device of a lab's node`,
    hint: `leave it out, or use ${HOST_DEVICE}`,
  });
}

/** A block of pods with a node's address in it would take the node off the network between the nodes. */
function checkUnderlay(path: string, podRanges: readonly string[]): void {
  const underlay = ipv4CidrOf(parseIpv4(OUTSIDE_IP), UNDERLAY_PREFIX_LENGTH);
  const wrong = podRanges.find(range => ipv4Overlaps(parseIpv4Cidr(range), underlay));
  if (wrong === undefined) return;
  throw new FimbriaError({
    code: 'BAD_VALUES',
    op: 'values',
    why: `${path}: ${wrong} overlaps ${formatIpv4Cidr(underlay)}, the network between the lab's nodes`,
    hint: 'use another range',
  });
}

/** Refuses values whose pod ranges have fewer blocks than the lab has nodes: an agent without one never starts. */
export function checkRoom(flat: LabValues['flat'], nodeCount: number): void {
  const config = parseFlat(flat);
  const { clusterPoolIpv4Cidrs, clusterPoolIpv4MaskSize } = config;
  let room = {
    path: 'ipam.operator.clusterPoolIPv4PodCIDRList',
    ranges: clusterPoolIpv4Cidrs,
    mask: clusterPoolIpv4MaskSize,
  };
  if (config.ipamMode === 'multi-pool') {
    const { defaultIpPool } = config;
    const path = `ipam.operator.autoCreateCiliumPodIPPools.${defaultIpPool}`;
    const pool = config.autoCreatePools.find(({ name }) => name === defaultIpPool)?.ipv4;
    if (pool === undefined) {
      throw new FimbriaError({
        code: 'BAD_VALUES',
        op: 'values',
        why: `${path}: it is missing, and nodes need an address of pool ${defaultIpPool} each`,
        hint: 'write ipv4: {cidrs, maskSize}',
      });
    }
    room = { path, ranges: pool.cidrs, mask: pool.maskSize };
  }
  const { path, ranges, mask } = room;
  const blocks = ranges.reduce((sum, range) => sum + ipv4SubnetCount(parseIpv4Cidr(range), mask), 0);
  if (blocks >= nodeCount) return;
  throw new FimbriaError({
    code: 'BAD_VALUES',
    op: 'values',
    why: `${path}: ${ranges.join(', ')} ${blocks === 1 ? 'is one block' : `is ${blocks} blocks`} of /${mask} for ${nodeCount} nodes`,
    hint: 'append a range, or use a longer mask',
  });
}

/** Makes the lab's files of configuration say exactly this, each replaced at once. */
export function writeConfig(lab: string, { flat, values }: Pick<LabValues, 'flat' | 'values'>): void {
  const { configDir, masqueradeList } = labPaths(lab);
  mkdirSync(dirname(masqueradeList), { recursive: true });
  const list = valueAt(values, MASQUERADE_LIST);
  if (list === undefined) rmSync(masqueradeList, { force: true });
  else writeFileAtomically(masqueradeList, JSON.stringify(list), 0o644);
  mkdirSync(configDir, { recursive: true });
  for (const [key, value] of Object.entries(flat)) writeFileAtomically(join(configDir, key), value, 0o644);
  for (const file of readdirSync(configDir)) {
    if (!(file in flat)) rmSync(join(configDir, file), { force: true });
  }
}

/** Makes the ConfigMap that a Helm installation would make hold exactly these keys. */
export async function publishConfig(
  client: ClusterClient,
  flat: Readonly<Record<string, string>>,
): Promise<void> {
  const data = { ...flat };
  const metadata = { name: NAME, namespace: NAMESPACE };
  try {
    await client.create<ConfigMap>({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data });
  } catch (error) {
    if (codeOf(error) !== 'ALREADY_EXISTS') throw error;
    const patch = [{ op: 'add', path: '/data', value: data }];
    await client.patch('ConfigMap', NAME, patch, { namespace: NAMESPACE, type: 'json' });
  }
}
