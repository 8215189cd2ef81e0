import type { PolicyRule } from '../world.ts';
import { CtFlags, type FlowTables } from './conntrack.ts';
import { FlowPacket, reversed } from './flows.ts';
import { type Endpoint, policyAnswer } from './model.ts';
import { type Passage, Refused } from './passage.ts';

/** An endpoint's policy and what conntrack has to do with it, by the specification. */

/** Refuses what the endpoint's policy does not let through; remembers what it does. @param rules undefined without a map */
export function applyPolicy(
  tables: FlowTables,
  rules: PolicyRule[] | undefined,
  p: Passage,
  endpoint: Endpoint,
  direction: 'ingress' | 'egress',
  peer: number,
): void {
  const packet = FlowPacket.of(p, tables);
  const { conntrack } = tables;
  const known = packet.isFlow ? tables.find(conntrack, direction, packet.tuple) : undefined;
  // A flow that is known to have begun here is that, while the rules allow it, unless its ports look like a reply's.
  const beginsHere = known && packet.tuple.sourcePort >= packet.tuple.destinationPort;
  if (!beginsHere && isAllowedReply(tables, packet, direction)) return;
  packet.isBegunHere ||= known !== undefined && direction === 'egress';
  const answer = policyAnswer(rules, direction, peer, p.frame);
  if (answer !== 'allow' && beginsHere && isAllowedReply(tables, packet, direction)) return;
  if (answer !== 'allow') throw new Refused(answer);
  if (packet.kind !== 'flow') return;
  const sourceIdentity = direction === 'ingress' ? peer : endpoint.identity;
  if (!known) tables.open(direction, packet, { flags: CtFlags.CT_F_ALLOWED, sourceIdentity });
  else {
    known.flags |= CtFlags.CT_F_ALLOWED;
    if (known.name.address === 0) tables.note([known], packet, 'opener');
  }
}

/** What answers a flow that was let through needs no rule. Flows to services are noted where they are translated. */
function isAllowedReply(tables: FlowTables, packet: FlowPacket, direction: 'ingress' | 'egress'): boolean {
  if (!packet.isFlow) return false;
  const other = direction === 'ingress' ? 'egress' : 'ingress';
  const asked = tables.find(tables.conntrack, other, reversed(packet.tuple));
  if (!asked || !(asked.flags & CtFlags.CT_F_ALLOWED)) return false;
  if (asked.name.address === 0) tables.note([asked], packet, 'reply');
  return true;
}
