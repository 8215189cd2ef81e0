import {
  formatIpv4Cidr,
  formatIpv6Cidr,
  ipv4Overlaps,
  ipv6Overlaps,
  parseIpv4Cidr,
  parseIpv6Cidr,
} from '../base/addr.ts';
import { FimbriaError } from '../base/errors.ts';
import { badValue, type Place } from './place.ts';

/** Ranges of one family, canonical and in the order of use, and the prefix length of a node's block. */
export interface PoolFamily {
  readonly cidrs: readonly string[];
  readonly maskSize: number;
}

/** A CiliumPodIPPool that the operator creates when it is missing. */
export interface AutoCreatePool {
  readonly name: string;
  readonly ipv4?: PoolFamily;
  readonly ipv6?: PoolFamily;
}

const FAMILIES = { ipv4: 32, ipv6: 128 } as const;
type Family = keyof typeof FAMILIES;
const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

const below = (place: Place, step: string): Place => ({ ...place, key: `${place.key}.${step}` });
const show = (value: unknown): string => (typeof value === 'string' ? value || '""' : JSON.stringify(value));

/**
 * Reads the pools of `autoCreateCiliumPodIPPools`: Helm's table, or the flat text
 * `NAME=ipv4-cidrs:A,B;ipv4-mask-size:N NAME=…`. Throws BAD_VALUES with the path. Pure.
 */
export function readPools(raw: unknown, place: Place): AutoCreatePool[] {
  const tree = typeof raw === 'string' ? treeOf(raw, place) : raw;
  if (!isTable(tree)) throw badValue(place, `${show(raw)} is not a table of pools`);
  const pools = Object.entries(tree)
    .filter(([, spec]) => spec !== null && spec !== undefined)
    .map(([name, spec]) => readPool(name, spec, below(place, name)));
  refuseOverlaps(pools, place);
  return pools.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The text of one pool in the ConfigMap, as Cilium writes it. Pure. */
export function poolText(pool: AutoCreatePool): string {
  const parts = (Object.keys(FAMILIES) as Family[]).flatMap(family => {
    const spec = pool[family];
    return spec ? [`${family}-cidrs:${spec.cidrs.join(',')}`, `${family}-mask-size:${spec.maskSize}`] : [];
  });
  return `${pool.name}=${parts.join(';')}`;
}

/** The flat text as the table that Helm has. */
function treeOf(text: string, place: Place): Record<string, unknown> {
  const tree: Record<string, Record<Family, { cidrs?: string[]; maskSize?: string }>> = {};
  for (const item of text.split(/\s+/).filter(word => word !== '')) {
    const [, name = '', rest = ''] = /^([^=]*)=(.*)$/.exec(item) ?? [];
    if (name === '')
      throw badValue(place, `${show(item)} is not NAME=ipv4-cidrs:RANGES;ipv4-mask-size:NUMBER`);
    const spec: Partial<Record<Family, { cidrs?: string[]; maskSize?: string }>> = {};
    for (const part of rest.split(';').filter(word => word !== '')) {
      const [, family, field, value = ''] = /^(ipv[46])-(cidrs|mask-size):(.*)$/.exec(part) ?? [];
      if (family === undefined) throw badValue(below(place, name), `${show(part)} is not known`);
      const entry = spec[family as Family] ?? {};
      spec[family as Family] = entry;
      if (field === 'cidrs') entry.cidrs = value.split(',').filter(word => word !== '');
      else entry.maskSize = value;
    }
    tree[name] = spec as (typeof tree)[string];
  }
  return tree;
}

function readPool(name: string, raw: unknown, place: Place): AutoCreatePool {
  if (!NAME.test(name)) throw badValue(place, 'is not a name of lower-case letters, digits, dashes and dots');
  if (!isTable(raw))
    throw badValue(place, `${show(raw)} is not a table of families`, 'write ipv4: {cidrs, maskSize}');
  const pool: { name: string; ipv4?: PoolFamily; ipv6?: PoolFamily } = { name };
  for (const [key, spec] of Object.entries(raw)) {
    if (spec === null || spec === undefined) continue;
    if (key !== 'ipv4' && key !== 'ipv6')
      throw badValue(below(place, key), 'unknown key', 'use ipv4 or ipv6');
    pool[key] = readFamily(key, spec, below(place, key));
  }
  if (!pool.ipv4 && !pool.ipv6) throw badValue(place, 'it has no ranges', 'write ipv4: {cidrs, maskSize}');
  return pool;
}

function readFamily(family: Family, raw: unknown, place: Place): PoolFamily {
  if (!isTable(raw)) throw badValue(place, `${show(raw)} is not a table`, 'write {cidrs, maskSize}');
  const unknown = Object.keys(raw).find(key => key !== 'cidrs' && key !== 'maskSize');
  if (unknown !== undefined) throw badValue(below(place, unknown), 'unknown key', 'use cidrs or maskSize');
  const listed = raw['cidrs'] ?? [];
  const cidrs = (Array.isArray(listed) ? listed : [listed]).map(text =>
    readRange(family, text, below(place, 'cidrs')),
  );
  if (cidrs.length === 0)
    throw badValue(below(place, 'cidrs'), 'the list is empty', 'name at least one range');
  const mask = raw['maskSize'];
  const maskSize = typeof mask === 'string' && /^\d{1,3}$/.test(mask) ? Number(mask) : mask;
  const widest = Math.max(...cidrs.map(cidr => Number(cidr.slice(cidr.indexOf('/') + 1))));
  if (
    typeof maskSize !== 'number' ||
    !Number.isInteger(maskSize) ||
    maskSize > FAMILIES[family] ||
    maskSize < widest
  ) {
    throw badValue(
      below(place, 'maskSize'),
      mask === undefined ? 'it is missing' : `${show(mask)} is not a mask for ${cidrs.join(', ')}`,
      `use ${widest}..${FAMILIES[family]}`,
    );
  }
  return { cidrs, maskSize };
}

function readRange(family: Family, text: unknown, place: Place): string {
  try {
    if (typeof text !== 'string') throw badValue(place, `${show(text)} is not a range`);
    return family === 'ipv4' ? formatIpv4Cidr(parseIpv4Cidr(text)) : formatIpv6Cidr(parseIpv6Cidr(text));
  } catch (error) {
    if (!(error instanceof FimbriaError) || error.code === 'BAD_VALUES') throw error;
    throw badValue(
      place,
      `${show(text)} is not an ${family === 'ipv4' ? 'IPv4' : 'IPv6'} range: ${error.why}`,
      error.hint,
    );
  }
}

/** The operator would give nothing from the younger pool. */
function refuseOverlaps(pools: readonly AutoCreatePool[], place: Place): void {
  const ranges = pools.flatMap(pool =>
    (['ipv4', 'ipv6'] as const).flatMap(family =>
      (pool[family]?.cidrs ?? []).map(cidr => ({ pool: pool.name, family, cidr })),
    ),
  );
  for (const [index, range] of ranges.entries()) {
    const other = ranges.slice(0, index).find(earlier => {
      if (earlier.family !== range.family) return false;
      return range.family === 'ipv4'
        ? ipv4Overlaps(parseIpv4Cidr(earlier.cidr), parseIpv4Cidr(range.cidr))
        : ipv6Overlaps(parseIpv6Cidr(earlier.cidr), parseIpv6Cidr(range.cidr));
    });
    if (other === undefined) continue;
    throw badValue(
      below(place, `${range.pool}.${range.family}.cidrs`),
      `${range.cidr} overlaps ${other.cidr} of pool ${other.pool}`,
    );
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
