import { EventType, eventCodec } from './abi.gen.ts';
import { directionName, type MetricsRow } from './metrics.ts';
import { sourceFileName } from './source.ts';
import type { RawMap } from './typed.ts';

/** One record of `cilium_events`. */
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
  /** Length of the frame. */
  packetBytes: number;
  /** Its beginning, from the Ethernet header on. */
  packet: Uint8Array;
}

/** Decodes a ring buffer sample; undefined for kinds of a later version. Copies, so the sample may be reused. */
export function decodeEvent(sample: Uint8Array): DatapathEvent | undefined {
  if (sample.length < eventCodec.size) return undefined;
  const { type, direction, sourceFile, packet, capturedBytes, ...same } = eventCodec.read(sample);
  if (type !== EventType.EVENT_DROP && type !== EventType.EVENT_TRACE) return undefined;
  return {
    ...same,
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
