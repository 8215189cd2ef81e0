import { formatIpv4 } from '../base/addr.ts';
import { CtState, EventType, eventCodec, sockEventCodec, XlatePoint } from './abi.gen.ts';
import { directionName, type MetricsRow } from './metrics.ts';
import { sourceFileName } from './source.ts';
import type { RawMap } from './typed.ts';

/** Where a packet is in its flow; `unknown` where nobody keeps book of it. */
export type FlowState = 'unknown' | 'new' | 'established' | 'reply' | 'related';

/** One record of `cilium_events` about a packet. */
export interface DatapathEvent {
  type: 'drop' | 'trace';
  /** `DropReason` of a drop, `TracePoint` of a trace. */
  code: number;
  /** Nanoseconds of CLOCK_MONOTONIC. */
  timeNs: bigint;
  direction: MetricsRow['direction'];
  sourceFile: string;
  sourceLine: number;
  /** The local endpoint concerned, 0 when none. */
  endpointId: number;
  /** 0 when not known. */
  sourceIdentity: number;
  destinationIdentity: number;
  /** Device whose program speaks. */
  ifindex: number;
  flowHash: number;
  mark: number;
  /** Of a trace. */
  flowState: FlowState;
  /** Of a trace: the source before this node translated it; absent where it did not. */
  originalSource?: string;
  /** Of a trace: the service that the flow is to, `10.96.0.1:80`; absent where it is to none. */
  frontend?: string;
  /** Length of the frame. */
  packetBytes: number;
  /** Its beginning, from the Ethernet header on. */
  packet: Uint8Array;
}

/** One record of `cilium_events` about a socket that asks for a service. */
export interface SocketEvent {
  type: 'trace-sock';
  /** Nanoseconds of CLOCK_MONOTONIC. */
  timeNs: bigint;
  point: 'pre-xlate-fwd' | 'post-xlate-fwd' | 'pre-xlate-rev' | 'post-xlate-rev' | 'unknown';
  /** IP protocol number. */
  l4Proto: number;
  /** The service's or the backend's, by point. */
  address: string;
  port: number;
  /** Of the process. */
  cgroupId: bigint;
  socketCookie: bigint;
}

const flowStates = new Map<number, FlowState>([
  [CtState.CT_STATE_NEW, 'new'],
  [CtState.CT_STATE_ESTABLISHED, 'established'],
  [CtState.CT_STATE_REPLY, 'reply'],
  [CtState.CT_STATE_RELATED, 'related'],
]);

const socketPoints = new Map<number, SocketEvent['point']>([
  [XlatePoint.XLATE_PRE_FWD, 'pre-xlate-fwd'],
  [XlatePoint.XLATE_POST_FWD, 'post-xlate-fwd'],
  [XlatePoint.XLATE_PRE_REV, 'pre-xlate-rev'],
  [XlatePoint.XLATE_POST_REV, 'post-xlate-rev'],
]);

/** Decodes a sample about a socket; undefined when it is about something else. */
export function decodeSocketEvent(sample: Uint8Array): SocketEvent | undefined {
  if (sample.length < sockEventCodec.size) return undefined;
  const { type, code, address, ...same } = sockEventCodec.read(sample);
  if (type !== EventType.EVENT_TRACE_SOCK) return undefined;
  return {
    ...same,
    type: 'trace-sock',
    point: socketPoints.get(code) ?? 'unknown',
    address: formatIpv4(address),
  };
}

/**
 * Decodes a sample about a packet; undefined when it is about something else, or of a kind of a later version. Copies,
 * so the sample may be reused.
 */
export function decodeEvent(sample: Uint8Array): DatapathEvent | undefined {
  if (sample.length < eventCodec.size) return undefined;
  const { type, direction, sourceFile, packet, capturedBytes, ctState, ...read } = eventCodec.read(sample);
  if (type !== EventType.EVENT_DROP && type !== EventType.EVENT_TRACE) return undefined;
  const { originalSource, frontend, frontendPort, ...same } = read;
  return {
    ...same,
    flowState: flowStates.get(ctState) ?? 'unknown',
    ...(originalSource ? { originalSource: formatIpv4(originalSource) } : {}),
    ...(frontend ? { frontend: `${formatIpv4(frontend)}:${frontendPort}` } : {}),
    type: type === EventType.EVENT_DROP ? 'drop' : 'trace',
    direction: directionName(direction),
    sourceFile: sourceFileName(sourceFile),
    packet: packet.subarray(0, Math.min(capturedBytes, packet.length)),
  };
}

/** `cilium_events_lost`: how many events found the ring buffer full since the map was made, on all CPUs. */
export function eventsLost(map: RawMap): bigint {
  const perCpu = map.lookup(Buffer.alloc(4)) ?? Buffer.alloc(0);
  let sum = 0n;
  for (let offset = 0; offset < perCpu.length; offset += 8) sum += perCpu.readBigUInt64LE(offset);
  return sum;
}
