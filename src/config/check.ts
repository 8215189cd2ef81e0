import { ipv4Overlaps, parseIpv4Cidr } from '../base/addr.ts';
import { durationMs } from './duration.ts';
import { badValue, type Place } from './place.ts';
import { readPools } from './pools.ts';
import type { SettingValue } from './settings.ts';

/** The widest gap between a range and its blocks: 2¹⁶ blocks, Cilium's own limit. */
const MAX_MASK_GAP = 16;
/** Blocks of a single usable pair of addresses are the smallest that make sense. */
const LONGEST_MASK = 30;

/** What the kernel takes for a device, and what the outer headers of VXLAN need on top of it inside a tunnel. */
const SMALLEST_MTU = 68;
const TUNNEL_OVERHEAD = 50;
/** Addresses that no host can have: this network, loopback, multicast, reserved. */
const NO_HOSTS = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4'];

/** Values by path, defaults filled in. */
export type Resolved = ReadonlyMap<string, SettingValue>;

/**
 * What no row can tell alone. Throws BAD_VALUES for combinations that cannot work, returns warnings for those that
 * may not. `at` says how a path is called where the values were written. Pure.
 */
export function checkCombinations(values: Resolved, at: (path: string) => Place): string[] {
  if (values.get('ipam.mode') !== 'multi-pool') checkPodRanges(values, at);
  else checkPools(values, at);
  checkMtu(values, at);
  checkAnnouncements(values, at);
  checkServices(values, at);
  const warnings: string[] = [];
  const warn = (path: string, text: string): void => {
    const place = at(path);
    warnings.push(`${place.source}: ${place.key}: ${text}`);
  };
  if (values.get('routingMode') === 'tunnel') {
    if (values.get('autoDirectNodeRoutes') === true) {
      throw badValue(
        at('autoDirectNodeRoutes'),
        'true makes no sense in tunnel mode: packets to other nodes are encapsulated',
        `set it to false, or ${at('routingMode').key} to native`,
      );
    }
    if (values.has('ipv4NativeRoutingCIDR')) {
      warn('ipv4NativeRoutingCIDR', `has no effect in tunnel mode; set ${at('routingMode').key} to native`);
    }
  } else if (!values.has('ipv4NativeRoutingCIDR') && values.get('enableIPv4Masquerade') === true) {
    warn(
      'ipv4NativeRoutingCIDR',
      'not set in native mode: whatever is neither pod nor node sees the address of the node; set it to the range that your network routes',
    );
  }
  if (
    values.get('ipam.mode') !== 'multi-pool' &&
    values.get('ipam.operator.clusterPoolIPv4MaskSize') === LONGEST_MASK
  ) {
    warn(
      'ipam.operator.clusterPoolIPv4MaskSize',
      'a block of 30 has two usable addresses, which router and health endpoint take; no pod will fit',
    );
  }
  return warnings;
}

function checkServices(values: Resolved, at: (path: string) => Place): void {
  const [first = 0, last = 0] = (values.get('nodePort.range') as string).split(',').map(Number);
  if (first < 1 || last > 65_535 || first >= last)
    throw badValue(at('nodePort.range'), `${first},${last} is no range of ports`, 'use 30000,32767');
  if (values.get('bpf.masquerade') === true && values.get('kubeProxyReplacement') !== true)
    throw badValue(
      at('bpf.masquerade'),
      'true needs the programs that balance services',
      `set ${at('kubeProxyReplacement').key} to true as well`,
    );
  if (values.get('socketLB.hostNamespaceOnly') === true && values.get('kubeProxyReplacement') !== true)
    throw badValue(
      at('socketLB.hostNamespaceOnly'),
      'true needs services in eBPF',
      `set ${at('kubeProxyReplacement').key} to true as well`,
    );
  if (values.get('loadBalancer.mode') === 'dsr' && values.get('routingMode') === 'tunnel')
    throw badValue(
      at('loadBalancer.mode'),
      'dsr does not work in tunnel mode: answers past the first node need routes',
      `use snat, or set ${at('routingMode').key} to native`,
    );
}

/** Whose requests arrive must be served, and a lease must outlive the tries to renew it. */
function checkAnnouncements(values: Resolved, at: (path: string) => Place): void {
  for (const path of ['l2announcements.enabled', 'externalIPs.enabled'])
    if (values.get(path) === true && values.get('kubeProxyReplacement') !== true)
      throw badValue(
        at(path),
        'true needs services in eBPF',
        `set ${at('kubeProxyReplacement').key} to true as well`,
      );
  const [lease, deadline, retry] = ['leaseDuration', 'leaseRenewDeadline', 'leaseRetryPeriod'].map(
    name => `l2announcements.${name}`,
  ) as [string, string, string];
  const ms = (path: string): number => durationMs(values.get(path) as string);
  if (ms(lease) < 1000) throw badValue(at(lease), 'leases last seconds', 'use 1s or more');
  if (ms(retry) === 0) throw badValue(at(retry), 'no time lies between two tries', 'use 2s');
  if (ms(deadline) >= ms(lease))
    throw badValue(at(deadline), 'the lease would run out before', `use less than ${at(lease).key}`);
  if (ms(retry) >= ms(deadline))
    throw badValue(at(retry), 'a single failure would lose the lease', `use less than ${at(deadline).key}`);
}

function checkMtu(values: Resolved, at: (path: string) => Place): void {
  const mtu = values.get('MTU') as number;
  const least = SMALLEST_MTU + (values.get('routingMode') === 'tunnel' ? TUNNEL_OVERHEAD : 0);
  if (mtu === 0 || mtu >= least) return;
  throw badValue(
    at('MTU'),
    `${mtu} is too small for a packet`,
    `use ${least} or more, or 0 for the node's own`,
  );
}

function checkPools(values: Resolved, at: (path: string) => Place): void {
  const place = at('ipam.operator.autoCreateCiliumPodIPPools');
  const texts = (values.get('ipam.operator.autoCreateCiliumPodIPPools') ?? []) as readonly string[];
  for (const { name, ipv4 } of readPools(texts.join(' '), place))
    for (const cidr of ipv4?.cidrs ?? [])
      refuseNoHosts(cidr, { ...place, key: `${place.key}.${name}.ipv4.cidrs` });
}

function refuseNoHosts(cidr: string, place: Place): void {
  const without = NO_HOSTS.find(text => ipv4Overlaps(parseIpv4Cidr(text), parseIpv4Cidr(cidr)));
  if (without === undefined) return;
  throw badValue(
    place,
    `${cidr} overlaps ${without}, where no host can have an address`,
    'use a private range such as 10.0.0.0/8',
  );
}

function checkPodRanges(values: Resolved, at: (path: string) => Place): void {
  const listPath = 'ipam.operator.clusterPoolIPv4PodCIDRList';
  const maskPath = 'ipam.operator.clusterPoolIPv4MaskSize';
  const texts = values.get(listPath) as readonly string[];
  const mask = values.get(maskPath) as number;
  if (texts.length === 0) throw badValue(at(listPath), 'the list is empty', 'name at least one range');
  const ranges = texts.map(text => parseIpv4Cidr(text));
  for (const [index, range] of ranges.entries()) {
    const other = ranges.findIndex((earlier, at) => at < index && ipv4Overlaps(earlier, range));
    if (other >= 0) throw badValue(at(listPath), `${texts[index]} overlaps ${texts[other]}`);
    refuseNoHosts(texts[index]!, at(listPath));
  }
  const low = Math.max(...ranges.map(range => range.prefixLength));
  const high = Math.min(LONGEST_MASK, ...ranges.map(range => range.prefixLength + MAX_MASK_GAP));
  for (const [index, range] of ranges.entries()) {
    if (mask >= range.prefixLength && mask <= Math.min(LONGEST_MASK, range.prefixLength + MAX_MASK_GAP))
      continue;
    if (low > high) {
      throw badValue(
        at(listPath),
        `no mask size fits all of ${texts.join(', ')}`,
        'use ranges of similar size',
      );
    }
    const fits = low === high ? `${low}` : `${low}..${high}`;
    throw badValue(at(maskPath), `${mask} is not a mask for ${texts[index]}`, `use ${fits}`);
  }
}
