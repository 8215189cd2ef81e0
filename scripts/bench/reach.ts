import type { Results } from './report.ts';
import type { Outcome } from './rounds.ts';
import { serviceFigures } from './services/reach.ts';
import { isNoisy, NOISY_CALLS } from './stats.ts';

/** One figure that the project wants to reach, and where it stands. */
export interface ReachRow {
  readonly figure: string;
  readonly measured: string;
  readonly reach: string;
  readonly verdict: string;
  /** Where others stand; numbers of an earlier measurement on such a machine, not of this run. */
  readonly peers: string;
}

/** A bound and the value that is held against it; undefined when this run did not measure it. */
export interface Figure {
  figure: string;
  unit: string;
  digits: number;
  most?: number;
  least?: number;
  value: number | undefined;
  noisy?: boolean;
  peers: string;
}

const of = (all: Outcome[] | undefined, key: string): Outcome | undefined => all?.find(o => o.key === key);

const ratio = (all: Outcome[] | undefined, key: string) => ({
  value: of(all, key)?.ratio?.p50,
  noisy: of(all, key)?.noisy ?? false,
});

function figures(results: Results): Figure[] {
  const { roundTrip, connection, stream, packetTimes, scale, apiserver } = results;
  const last = scale?.points.at(-1);
  const pods = last?.pods ?? 0;
  const micro = (ns: number | undefined) => (ns === undefined ? undefined : ns / 1000);
  const times = { unit: '', digits: 2 };
  const ms = { unit: ' ms', digits: 1 };
  const adds = scale?.add['fimbria'];
  const noisyAdds = adds !== undefined && isNoisy(adds, NOISY_CALLS);
  return [
    {
      figure: 'same-node TCP_RR / bare veth pair',
      ...times,
      most: 1.06,
      ...ratio(roundTrip, 'same-bpf'),
      peers: 'Cilium 1.18; ptp, bridge 1.18',
    },
    {
      figure: 'native TCP_RR / bare nodes, Host: BPF',
      ...times,
      most: 1.22,
      ...ratio(roundTrip, 'native-bpf'),
      peers: 'Cilium 1.41; ptp 1.27',
    },
    {
      figure: 'VXLAN TCP_RR / bare nodes',
      ...times,
      most: 1.55,
      ...ratio(roundTrip, 'vxlan'),
      peers: 'Cilium 2.1; flannel-like 1.85',
    },
    {
      figure: 'same-node TCP_CRR / bare veth pair',
      ...times,
      most: 1.12,
      ...ratio(connection, 'same-bpf'),
      peers: 'ptp 1.20; bridge 1.22; Cilium 1.25',
    },
    {
      figure: 'VXLAN stream / kernel VXLAN without pods',
      ...times,
      least: 0.95,
      ...ratio(stream, 'vxlan'),
      peers: 'Cilium 0.42, kernel 0.66 of bare nodes',
    },
    {
      figure: 'eBPF time a packet, same node',
      unit: ' µs',
      digits: 2,
      most: 0.4,
      value: micro(packetTimes?.same.totalNs),
      peers: 'Cilium 1.7 (with conntrack, LB)',
    },
    {
      figure: 'eBPF time a packet, sum across, native',
      unit: ' µs',
      digits: 2,
      most: 0.8,
      value: micro(packetTimes?.native.totalNs),
      peers: 'Cilium 3.1 (with conntrack, LB)',
    },
    {
      figure: `CNI ADD p50, up to ${pods} pods`,
      ...ms,
      most: 5,
      value: adds?.p50,
      noisy: noisyAdds,
      peers: 'ptp 14; bridge 15; Cilium 204',
    },
    {
      figure: `CNI ADD p99, up to ${pods} pods`,
      ...ms,
      most: 20,
      value: adds?.p99,
      noisy: noisyAdds,
      peers: 'Cilium, the first one 3,700',
    },
    {
      figure: 'pods a second, one after another',
      unit: '',
      digits: 0,
      least: 100,
      value: scale?.podsPerSecond['fimbria'],
      noisy: noisyAdds,
      peers: 'Cilium 5',
    },
    {
      figure: 'agent memory, idle',
      unit: ' MB',
      digits: 0,
      most: 90,
      value: scale?.idleMemoryMb,
      peers: 'Cilium 180',
    },
    {
      figure: `agent memory, ${pods} pods`,
      unit: ' MB',
      digits: 0,
      most: 120,
      value: last && Math.max(last.memoryMb, last.restartedMemoryMb),
      peers: 'Cilium 204 with 50',
    },
    {
      figure: 'API server: durable writes a second, 3 watchers',
      unit: '',
      digits: 0,
      least: 1000,
      value: apiserver?.throughput.writesPerSecond,
      peers: '',
    },
    {
      figure: 'API server: watch delay p99, 50 watchers, 100 writes/s',
      ...ms,
      most: 50,
      value: apiserver?.delay.ms.p99,
      peers: '',
    },
    {
      figure: 'clean node to first pod added',
      unit: ' ms',
      digits: 0,
      most: 1000,
      value: scale && scale.cleanReadyMs + scale.firstAddMs,
      peers: 'Cilium 5,000',
    },
    ...(scale?.points ?? []).map(p => ({
      figure: `agent start to ready again, ${p.pods} pods`,
      unit: ' ms',
      digits: 0,
      most: readyBound(p.pods),
      value: p.readyMs.p50,
      noisy: isNoisy(p.readyMs),
      peers: 'Cilium 8,200 with 2, 9,500 with 50',
    })),
    {
      figure: `ADD while the agent is away, code ${scale?.away.code ?? 11}`,
      ...ms,
      most: 10,
      value: scale?.away.milliseconds,
      peers: 'Cilium 30 s',
    },
    ...serviceFigures(results.services),
  ];
}

/** Between 2, 50 and 250 pods the bound is that of the next larger number. */
function readyBound(pods: number): number {
  if (pods <= 2) return 1000;
  return pods <= 50 ? 1200 : 2000;
}

/** Every figure with its bound and what this run says about it. Pure. */
export function reachRows(results: Results): ReachRow[] {
  return figures(results).map(({ figure, unit, digits, most, least, value, noisy, peers }) => {
    const bound = most === undefined ? `>= ${least}${unit}` : `<= ${most}${unit}`;
    if (value === undefined || Number.isNaN(value))
      return { figure, measured: '-', reach: bound, verdict: 'not measured', peers };
    const within = most === undefined ? value >= least! : value <= most;
    const verdict = `${within ? 'reached' : 'MISSED'}${noisy ? ' (noisy)' : ''}`;
    return { figure, measured: `${value.toFixed(digits)}${unit}`, reach: bound, verdict, peers };
  });
}
