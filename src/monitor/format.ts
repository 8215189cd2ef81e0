import type { DatapathEvent } from '../maps/events.ts';
import { connectionSummary, type Dissection, dissect, l4ProtoText } from './dissect.ts';
import {
  reasonText,
  sourceFileText,
  TRACE_FROM_ENDPOINT,
  TRACE_TO_ENDPOINT,
  tracePointName,
  tracePointText,
} from './reasons.ts';

/** What the node knows about numbers in events. */
export interface EventLookups {
  /** Device name, undefined when it is gone. */
  ifname(ifindex: number): string | undefined;
  /** `host`, `world`, `unknown`, or the number: `identityText` of the identity layer. */
  identityText(id: number): string;
}

/** The destination's endpoint id: known where a packet goes towards a local endpoint, else 0. */
export function destinationEndpoint(event: DatapathEvent): number {
  const towards = event.type === 'trace' ? event.code === TRACE_TO_ENDPOINT : event.direction === 'ingress';
  return towards ? event.endpointId : 0;
}

/** The source's endpoint id: known where a packet comes from a local endpoint, else 0. */
export function sourceEndpoint(event: DatapathEvent): number {
  if (event.type === 'trace' && event.code === TRACE_FROM_ENDPOINT) return event.endpointId;
  const from = event.direction === 'egress' && destinationEndpoint(event) === 0;
  return from ? event.endpointId : 0;
}

/** The device by name where it still has one; 0 stays 0. */
export function ifText(event: DatapathEvent, lookups: EventLookups): string {
  return event.ifindex === 0 ? '0' : (lookups.ifname(event.ifindex) ?? String(event.ifindex));
}

/** Who sent it before it was translated; of what is delivered to an endpoint always, elsewhere zeros, as Cilium prints. */
export function originalIp(event: DatapathEvent, packet: Dissection): string {
  return (
    event.originalSource ?? (event.code === TRACE_TO_ENDPOINT ? packet.ip?.source : undefined) ?? '0.0.0.0'
  );
}

export function identitiesText(event: DatapathEvent, lookups: EventLookups): string {
  return `identity ${lookups.identityText(event.sourceIdentity)}->${lookups.identityText(event.destinationIdentity)}`;
}

/** The line that `monitor` prints, without line end. Never throws. */
export function formatEvent(event: DatapathEvent, lookups: EventLookups): string {
  const packet = dissect(event.packet);
  const identities = identitiesText(event, lookups);
  const flow = `flow 0x${event.flowHash.toString(16)}`;
  const summary = connectionSummary(packet);
  if (event.type === 'drop') {
    const place = `file ${sourceFileText(event.sourceFile)}:${event.sourceLine}`;
    return `xx drop (${reasonText(event.code)}) ${flow} to endpoint ${destinationEndpoint(event)}, ifindex ${event.ifindex}, ${place}, , ${identities}: ${summary}`;
  }
  const point = tracePointText(event.code, event.endpointId);
  const service = event.frontend ? ` (service ${event.frontend})` : '';
  return `${point} ${flow} , ${identities} state ${event.flowState} ifindex ${ifText(event, lookups)} orig-ip ${originalIp(event, packet)}: ${summary}${service}`;
}

/** Layers as Cilium's JSON has them: texts for layers 2 to 4. */
function layers(packet: Dissection): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  if (packet.ethernet) result.l2 = { src: packet.ethernet.source, dst: packet.ethernet.destination };
  if (packet.ip) result.l3 = { src: packet.ip.source, dst: packet.ip.destination };
  if (packet.ports) result.l4 = { src: String(packet.ports.source), dst: String(packet.ports.destination) };
  if (packet.arp) result.arp = packet.arp;
  if (packet.ip) {
    result.protocol = l4ProtoText(packet.ip.l4Proto);
    result.ttl = packet.ip.ttl;
  }
  if (packet.tcpFlags) result.tcpFlags = packet.tcpFlags;
  if (packet.icmp) result.icmp = { type: packet.icmp.type, code: packet.icmp.code, text: packet.icmp.text };
  return result;
}

/**
 * The fields that `monitor -o json` prints, named as Cilium does where it has them: `mark` is the flow hash,
 * `srcLabel` and `dstLabel` are identities. Never throws.
 */
export function eventToJson(
  event: DatapathEvent,
  lookups: EventLookups,
): { type: 'drop' | 'trace' } & Record<string, unknown> {
  const packet = dissect(event.packet);
  const common = {
    mark: `0x${event.flowHash.toString(16)}`,
    ifindex: ifText(event, lookups),
    source: sourceEndpoint(event),
    dstID: destinationEndpoint(event),
    bytes: event.packetBytes,
    srcLabel: event.sourceIdentity,
    dstLabel: event.destinationIdentity,
    direction: event.direction,
    file: sourceFileText(event.sourceFile),
    line: event.sourceLine,
    timeNs: event.timeNs.toString(),
    summary: { text: connectionSummary(packet), ...layers(packet) },
  };
  if (event.type === 'drop') {
    return { type: 'drop', reason: reasonText(event.code), reasonCode: event.code, ...common };
  }
  return {
    type: 'trace',
    state: event.flowState,
    observationPoint: tracePointName(event.code),
    traceSummary: tracePointText(event.code, event.endpointId),
    origIP: originalIp(event, packet),
    ...(event.frontend ? { service: event.frontend } : {}),
    ...common,
  };
}
