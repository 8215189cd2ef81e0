import type { BpfCtRow, BpfLbRow, BpfNatRow } from '../api/bpf.ts';
import type { ServiceModel } from '../api/types.ts';
import type { ServiceMaps } from '../datapath/services/writes.ts';
import { CtFlag, NatDirection } from '../maps/abi.gen.ts';
import { type CtRecord, ctMap, type FlowTuple, natMap } from '../maps/flows.ts';
import { LbScope, LbServiceFlag } from '../maps/services.ts';
import type { RawMap } from '../maps/typed.ts';
import { l4ProtoText } from '../monitor/dissect.ts';
import type { AgentParts } from './agent.ts';
import { flowClockS } from './flow-gc.ts';

/** `TCP`, `UDP`, `ICMP`. */
export const proto = (l4Proto: number): string => l4ProtoText(l4Proto).toUpperCase();

/** `service list`: what the agent wants to be in the maps. Frontends that differ for clients outside are two rows. */
export function serviceModels({ datapath }: Pick<AgentParts, 'datapath'>): ServiceModel[] {
  return [...(datapath.services?.list() ?? [])].flatMap(({ id, owner, frontend }): ServiceModel[] => {
    const { address, port, l4Proto, type, external, internal, terminating } = frontend;
    const common = { id, name: owner, type };
    const at = `${address}:${port}/${proto(l4Proto)}`;
    const model = (scope: string, backends: typeof external.backends): ServiceModel => ({
      ...common,
      frontend: `${at}${scope}`,
      backends: [
        ...backends.map(b => ({
          address: `${b.address}:${b.port}/${proto(l4Proto)}`,
          state: 'active' as const,
        })),
        ...terminating.map(b => ({
          address: `${b.address}:${b.port}/${proto(l4Proto)}`,
          state: 'terminating' as const,
        })),
      ],
    });
    if (!internal) return [model('', external.backends)];
    return [model('', external.backends), model('/i', internal.backends)];
  });
}

const FLAG_WORDS: [number, string][] = [
  [LbServiceFlag.LB_F_CLUSTER_IP, 'ClusterIP'],
  [LbServiceFlag.LB_F_NODE_PORT, 'NodePort'],
  [LbServiceFlag.LB_F_EXTERNAL_IP, 'ExternalIPs'],
  [LbServiceFlag.LB_F_LOAD_BALANCER, 'LoadBalancer'],
  [LbServiceFlag.LB_F_HOST_PORT, 'HostPort'],
  [LbServiceFlag.LB_F_CLUSTER_IP, 'non-routable'],
  [LbServiceFlag.LB_F_AFFINITY, 'sessionAffinity'],
  [LbServiceFlag.LB_F_SOURCE_RANGES, 'check source-range'],
  [LbServiceFlag.LB_F_MAGLEV, 'maglev'],
  [LbServiceFlag.LB_F_DSR, 'dsr'],
  [LbServiceFlag.LB_F_TWO_SCOPES, 'two-scopes'],
  [LbServiceFlag.LB_F_LOCAL, 'Local'],
];

/** `bpf lb list`: what is in the maps, by frontend and slot. */
export function lbRows(maps: ServiceMaps): BpfLbRow[] {
  const backends = new Map(maps.backends.entries());
  return [...maps.services.entries()]
    .map(([key, value]): BpfLbRow => {
      const backend = key.slot === 0 ? undefined : backends.get(value.backendId);
      const scope = key.scope === LbScope.LB_SCOPE_INTERNAL ? '/i' : '';
      return {
        frontend: `${key.address}:${key.port}/${proto(key.l4Proto)}${scope}`,
        slot: key.slot,
        revNat: value.revNatIndex,
        count: value.count,
        flags: key.slot === 0 ? FLAG_WORDS.filter(([bit]) => value.flags & bit).map(([, word]) => word) : [],
        ...(key.slot === 0
          ? {}
          : {
              backend: backend ? `${backend.address}:${backend.port}/${proto(backend.l4Proto)}` : 'missing',
            }),
      };
    })
    .sort((a, b) => (a.frontend === b.frontend ? a.slot - b.slot : a.frontend < b.frontend ? -1 : 1));
}

/** In the order of Cilium's own; the last two are ours. */
const CT_FLAG_WORDS: [number, string][] = [
  [CtFlag.CT_F_RX_CLOSING, 'RxClosing'],
  [CtFlag.CT_F_TX_CLOSING, 'TxClosing'],
  [CtFlag.CT_F_LOOPBACK, 'LBLoopback'],
  [CtFlag.CT_F_SEEN_NON_SYN, 'SeenNonSyn'],
  [CtFlag.CT_F_NODE_PORT, 'NodePort'],
  [CtFlag.CT_F_DSR, 'DSR'],
  [CtFlag.CT_F_SEEN_REPLY, 'SeenReply'],
  [CtFlag.CT_F_ALLOWED, 'Allowed'],
];

const CT_DIRECTIONS = ['OUT', 'IN', 'SVC'];
const NAT_DIRECTIONS = ['OUT', 'IN'];

const ends = ({ saddr, daddr, sport, dport, l4Proto }: FlowTuple) => ({
  proto: proto(l4Proto),
  source: `${saddr}:${sport}`,
  destination: `${daddr}:${dport}`,
});

/** `bpf ct list`: TCP first. Seconds are relative to now. */
export function ctRows(tcp: RawMap, any: RawMap, clockOffsetS: number): BpfCtRow[] {
  const nowS = flowClockS() + clockOffsetS;
  const row = ([tuple, entry]: [FlowTuple, CtRecord]): BpfCtRow => ({
    ...ends(tuple),
    direction: CT_DIRECTIONS[tuple.direction] ?? String(tuple.direction),
    expiresS: entry.expiresS - nowS,
    expiresAtS: entry.expiresS,
    packets: Number(entry.packets),
    bytes: Number(entry.bytes),
    flags: entry.flags,
    flagNames: CT_FLAG_WORDS.filter(([bit]) => entry.flags & bit).map(([, word]) => word),
    revNat: entry.revNatIndex,
    sourceIdentity: entry.sourceIdentity,
    backendId: entry.backendId,
    txTcpFlags: entry.txTcpFlags,
    rxTcpFlags: entry.rxTcpFlags,
    ...(entry.natAddress === '0.0.0.0' ? {} : { translated: `${entry.natAddress}:${entry.natPort}` }),
  });
  return [tcp, any].flatMap(map => [...ctMap(map).entries()].map(row));
}

/** `bpf nat list`. */
export function natRows(map: RawMap, clockOffsetS: number): BpfNatRow[] {
  const nowS = flowClockS() + clockOffsetS;
  return [...natMap(map).entries()].map(([tuple, entry]) => ({
    ...ends(tuple),
    direction: NAT_DIRECTIONS[tuple.direction] ?? String(tuple.direction),
    translated: `${entry.address}:${entry.port}`,
    createdS: nowS - entry.createdS,
    expiresS: entry.expiresS - nowS,
    ofNode: entry.address === (tuple.direction === NatDirection.NAT_IN ? tuple.daddr : tuple.saddr),
  }));
}
