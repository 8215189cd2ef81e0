import { Direction, metricsKeyCodec, metricsValueCodec } from './abi.gen.ts';
import { sourceFileName } from './source.ts';
import type { RawMap } from './typed.ts';

/** One row of `cilium_metrics`, all CPUs together. */
export interface MetricsRow {
  /** `DropReason`; 0 forwarded, 3 seen at an interface. */
  reason: number;
  direction: 'ingress' | 'egress' | 'unknown';
  /** Where in `bpf/` it was counted. */
  sourceFile: string;
  sourceLine: number;
  packets: bigint;
  bytes: bigint;
}

/** Text of a direction number. */
export function directionName(direction: number): MetricsRow['direction'] {
  if (direction === Direction.DIRECTION_INGRESS) return 'ingress';
  return direction === Direction.DIRECTION_EGRESS ? 'egress' : 'unknown';
}

/** A reading view of `cilium_metrics`. Does not own the map. */
export function metricsMap(map: RawMap): { rows(): MetricsRow[] } {
  return {
    /** Sorted by reason, direction, file and line, so that two readings compare row by row. */
    rows: () =>
      Array.from(map.entries(), ([key, values]) => row(key, values)).sort(
        (a, b) =>
          a.reason - b.reason ||
          a.direction.localeCompare(b.direction) ||
          a.sourceFile.localeCompare(b.sourceFile) ||
          a.sourceLine - b.sourceLine,
      ),
  };
}

/** The kernel gives one value for each possible CPU; their number is the length. */
function row(key: Uint8Array, perCpu: Uint8Array): MetricsRow {
  const { reason, direction, sourceFile, sourceLine } = metricsKeyCodec.read(key);
  let packets = 0n;
  let bytes = 0n;
  for (let offset = 0; offset < perCpu.length; offset += metricsValueCodec.size) {
    const value = metricsValueCodec.read(perCpu, offset);
    packets += value.packets;
    bytes += value.bytes;
  }
  return {
    reason,
    direction: directionName(direction),
    sourceFile: sourceFileName(sourceFile),
    sourceLine,
    packets,
    bytes,
  };
}
