import type { Figure } from '../reach.ts';
import type { Outcome } from '../rounds.ts';
import type { ServicesResult } from './index.ts';

const ratioOf = (all: Outcome[] | undefined, key: string): Pick<Figure, 'value' | 'noisy'> => {
  const found = all?.find(o => o.key === key);
  return { value: found?.ratio?.p50, noisy: found?.noisy ?? false };
};

/** What services are to reach. Of peers the numbers are of this very run where it has them. Pure. */
export function serviceFigures(services: ServicesResult | undefined): Figure[] {
  const last = services?.points.at(-1);
  const times = { unit: '', digits: 2 };
  const ms = { unit: ' ms', digits: 1 };
  const peer = (key: string): string => {
    const found = last?.connect.find(o => o.key === key)?.ratio?.p50;
    return found === undefined ? '-' : found.toFixed(2);
  };
  const peers = (what: string): string =>
    last ? `iptables ${peer(`iptables-${what}`)}, nftables ${peer(`nftables-${what}`)} of ours` : '';
  const points = services?.points ?? [];
  const [first] = points;
  const clusterIp = points.map(p => ratioOf(p.connect, 'cluster-ip'));
  const cost = services?.packetCosts;
  const sockets = cost?.find(c => c.title.includes('at the socket'));
  const perPacket = cost?.at(-1);
  const mean = (one: typeof sockets): number | undefined => one && (one.requestNs.p50 + one.replyNs.p50) / 2;
  return [
    ...(points.length > 0 ? points : [undefined]).map((point, i) => ({
      figure: `connect to a ClusterIP / direct, ${point?.services.toLocaleString('en') ?? 'any number of'} services`,
      ...times,
      most: 1.05,
      value: clusterIp[i]?.value,
      noisy: clusterIp[i]?.noisy ?? false,
      peers: point === last ? peers('cluster-ip') : '',
    })),
    {
      figure: `the same, ${last?.services.toLocaleString('en') ?? 'most'} / ${first?.services ?? 'fewest'} services`,
      ...times,
      most: 1.02,
      value: clusterIp.length > 1 ? clusterIp.at(-1)!.value! / clusterIp[0]!.value! : undefined,
      noisy: clusterIp.some(c => c.noisy),
      peers: '',
    },
    ...(['iptables', 'nftables'] as const).map(family => ({
      figure: `connect to a node port from outside, ${family} / ours`,
      ...times,
      least: 1,
      ...ratioOf(last?.connect, `${family}-node-port`),
      peers: '',
    })),
    {
      figure: 'eBPF time a packet: conntrack, policy, services at the socket',
      unit: ' ns',
      digits: 0,
      most: 300,
      value: mean(sockets),
      peers: '',
    },
    {
      figure: 'the same, services packet by packet',
      unit: ' ns',
      digits: 0,
      most: 300,
      value: mean(perPacket),
      peers: '',
    },
    {
      figure: 'same-node TCP_RR with everything on / bare veth pair',
      ...times,
      most: 1.1,
      ...ratioOf(services?.roundTrip, 'same'),
      peers: '',
    },
    {
      figure: 'native TCP_RR with everything on / bare nodes',
      ...times,
      most: 1.27,
      ...ratioOf(services?.roundTrip, 'native'),
      peers: '',
    },
    {
      figure: `${services?.programming.services.toLocaleString('en') ?? 'All'} services, desired tables to maps`,
      unit: ' ms',
      digits: 0,
      most: 1000,
      value: services?.programming.allMs.p50,
      peers: last
        ? `iptables ${(last.rulesMs.iptables / 1000).toFixed(1)} s, nftables ${(last.rulesMs.nftables / 1000).toFixed(1)} s`
        : '',
    },
    {
      figure: 'one endpoint, watch event to map, p50',
      ...ms,
      most: 5,
      value: services?.change.fromEventMs.p50,
      peers: '',
    },
  ];
}
