import type { DatapathEvent } from '../maps/events.ts';
import { connectionSummary, type Dissection, dissect, l4ProtoText } from './dissect.ts';
import {
  destinationEndpoint,
  type EventLookups,
  identitiesText,
  ifText,
  originalIp,
  sourceEndpoint,
} from './format.ts';
import { reasonText, tracePointName } from './reasons.ts';

const RULER = '-'.repeat(78);

/** Sixteen bytes a line: offset, hexadecimal in two groups, and as text. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = Array.from({ length: 16 }, (_, i) => row[i]?.toString(16).padStart(2, '0') ?? '  ');
    const text = row.map(byte => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    const offset = at.toString(16).padStart(8, '0');
    lines.push(`${offset}  ${hex.slice(0, 8).join(' ')}  ${hex.slice(8).join(' ')}  |${text}|`);
  }
  return lines.join('\n');
}

/** A line for each layer that was captured. */
function layerLines(packet: Dissection): string[] {
  const { ethernet, ip, ports, arp, icmp, tcpFlags } = packet;
  const lines: string[] = [];
  if (ethernet)
    lines.push(
      `Ethernet\t{SrcMAC=${ethernet.source} DstMAC=${ethernet.destination} EthernetType=0x${ethernet.ethertype.toString(16).padStart(4, '0')}}`,
    );
  if (arp)
    lines.push(
      `ARP\t{Operation=${arp.operation} SourceHwAddress=${arp.senderMac} SourceProtAddress=${arp.senderIp} DstHwAddress=${arp.targetMac} DstProtAddress=${arp.targetIp}}`,
    );
  if (!ip) return lines;
  const proto = l4ProtoText(ip.l4Proto);
  lines.push(
    `IPv${ip.version}\t{SrcIP=${ip.source} DstIP=${ip.destination} TTL=${ip.ttl} Length=${ip.length} Protocol=${proto}}`,
  );
  if (ports) {
    const flags = tcpFlags ? ` Flags=${tcpFlags.join('|')}` : '';
    lines.push(`${proto.toUpperCase()}\t{SrcPort=${ports.source} DstPort=${ports.destination}${flags}}`);
  } else if (icmp) lines.push(`ICMP\t{Type=${icmp.type} Code=${icmp.code} ${icmp.text}}`);
  else if (ip.laterFragment) lines.push('Fragment\t{}');
  return lines;
}

/**
 * What `monitor -v` prints of an event: a line of facts, then the packet, by layers or in hexadecimal; without line end.
 * Never throws.
 */
export function formatVerbose(event: DatapathEvent, lookups: EventLookups, hex: boolean): string {
  const packet = dissect(event.packet);
  const what =
    event.type === 'drop'
      ? `DROP: ${event.packetBytes} bytes, reason ${reasonText(event.code)}`
      : `${tracePointName(event.code)}: ${event.packetBytes} bytes (${event.packet.length} captured), state ${event.flowState}`;
  const facts = [
    `MARK 0x${event.flowHash.toString(16)} FROM ${sourceEndpoint(event)} ${what}`,
    `interface ${ifText(event, lookups)}`,
    identitiesText(event, lookups),
    ...(event.type === 'trace' ? [`orig-ip ${originalIp(event, packet)}`] : []),
    ...(event.frontend ? [`service ${event.frontend}`] : []),
    ...(destinationEndpoint(event) ? [`to endpoint ${destinationEndpoint(event)}`] : []),
  ];
  const body = hex ? [hexDump(event.packet)] : [connectionSummary(packet), ...layerLines(packet)];
  return [RULER, facts.join(', '), ...body].join('\n');
}
