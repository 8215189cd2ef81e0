import { ipv4Last, parseIpv4Cidr } from './addr.ts';

/** First and last address of a range, host order, both in it. */
export type Ipv4Range = readonly [first: number, last: number];

/** The fewest ranges that hold exactly what these prefixes hold, in order; none touches the next. Pure. */
export function mergedRanges(cidrs: Iterable<string>): Ipv4Range[] {
  const ranges = [...cidrs]
    .map(text => parseIpv4Cidr(text))
    .map(cidr => [cidr.network, ipv4Last(cidr)] as const)
    .sort(([a], [b]) => a - b);
  const merged: [number, number][] = [];
  for (const [first, last] of ranges) {
    const before = merged.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged;
}
