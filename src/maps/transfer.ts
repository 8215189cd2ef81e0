import { codeOf } from '../base/errors.ts';
import { type BpfMap, possibleCpus } from '../kernel/libbpf/index.ts';
import { addFields, type Converter } from './convert.ts';
import { Inexpressible } from './inexpressible.ts';
import type { MapLayout } from './layout.ts';

const CHUNK = 4_096;
/** Refused entries that are told one by one. */
const EXAMPLES = 3;

/** What became of the entries of a map. */
export interface Transfer {
  copied: number;
  /** Entries that the new layout cannot say, or that found it full. */
  refused: number;
  /** Why, for the first few: key in hex, then the reason. */
  examples: string[];
}

const isPerCpu = (layout: MapLayout): boolean => /percpu/.test(layout.type);
const isFull = (error: unknown): boolean => ['E2BIG', 'ENOSPC'].includes(codeOf(error) ?? '');
const roundUp8 = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** The values of all CPUs, as the kernel hands them over; a single one where there are no CPUs to a key. */
function split(layout: MapLayout, bytes: Uint8Array): Uint8Array[] {
  const stride = isPerCpu(layout) ? roundUp8(layout.valueSize) : layout.valueSize;
  const count = stride === 0 ? 0 : bytes.length / stride;
  return Array.from({ length: count }, (_, cpu) =>
    bytes.subarray(cpu * stride, cpu * stride + layout.valueSize),
  );
}

function join(layout: MapLayout, values: readonly Uint8Array[]): Buffer {
  const stride = isPerCpu(layout) ? roundUp8(layout.valueSize) : layout.valueSize;
  const made = Buffer.alloc(stride * values.length);
  for (const [cpu, value] of values.entries()) made.set(value, cpu * stride);
  return made;
}

/** One value for each CPU of the new map; what has no CPU of its own any more is added up. */
function spread(values: Buffer[], now: MapLayout): Buffer[] {
  const cpus = isPerCpu(now) ? possibleCpus() : 1;
  const made = Array.from({ length: cpus }, (_, cpu) => values[cpu] ?? Buffer.alloc(now.valueSize));
  for (const value of values.slice(cpus)) addFields(now.types?.value, made[0]!, value);
  return made;
}

class Tally implements Transfer {
  copied = 0;
  refused = 0;
  readonly examples: string[] = [];

  refuse(key: Uint8Array, why: string): void {
    this.refused++;
    if (this.examples.length < EXAMPLES) this.examples.push(`${Buffer.from(key).toString('hex')}: ${why}`);
  }
}

interface Side {
  map: BpfMap;
  layout: MapLayout;
}

/** Every entry of `old` as it must be in `now`, those that cannot be left out and told. */
function* converted(old: Side, now: Side, by: Converter, tally: Tally): Iterable<[Buffer, Buffer]> {
  const isArray = now.layout.type.endsWith('array');
  for (const [key, bytes] of old.map.entries()) {
    try {
      const values = split(old.layout, bytes).map(value => by.value(value, key));
      const newKey = by.key(key);
      if (isArray && newKey.readUInt32LE() >= now.layout.maxEntries)
        throw new Inexpressible('the map has become shorter');
      yield [newKey, join(now.layout, spread(values, now.layout))];
    } catch (error) {
      if (!(error instanceof Inexpressible)) throw error;
      tally.refuse(key, error.message);
    }
  }
}

/**
 * Puts every entry of a map into a new one of another layout, which nobody uses yet. Blocks; some five
 * microseconds an entry. Who writes to the old map meanwhile is not heard.
 * @throws FimbriaError of the kernel, but not because the new map is full: that is counted
 */
export function copyEntries(old: Side, now: Side, by: Converter): Transfer {
  const tally = new Tally();
  let chunk: [Buffer, Buffer][] = [];
  const flush = (): void => {
    if (chunk.length === 0) return;
    try {
      now.map.updateBatch(chunk);
      tally.copied += chunk.length;
    } catch (error) {
      if (!isFull(error)) throw error;
      // Which one was refused only single writes tell; writing an entry twice is harmless.
      for (const [key, value] of chunk) writeUnlessFull(now.map, key, value, tally);
    }
    chunk = [];
  };
  for (const entry of converted(old, now, by, tally)) {
    chunk.push(entry);
    if (chunk.length === CHUNK) flush();
  }
  flush();
  return tally;
}

function writeUnlessFull(map: BpfMap, key: Buffer, value: Buffer, tally: Tally): boolean {
  try {
    map.update(key, value);
    tally.copied++;
    return true;
  } catch (error) {
    if (!isFull(error)) throw error;
    tally.refuse(key, 'the map is full');
    return false;
  }
}

/**
 * Adds the counters of a map that no program writes to any more to those of another, and takes each out of the old one
 * as soon as it was added, so that it can be done again after a crash: at most the one under way is counted twice.
 * What programs count for the same key between the reading and writing of a sum, some microseconds, is lost.
 */
export function addCounters(old: Side, now: Side, by: Converter): Transfer {
  const tally = new Tally();
  const zero = Buffer.alloc(
    isPerCpu(old.layout) ? roundUp8(old.layout.valueSize) * possibleCpus() : old.layout.valueSize,
  );
  // All at once: the walk would lose its place among keys that go.
  for (const [oldKey, bytes] of [...old.map.entries()]) {
    try {
      const key = by.key(oldKey);
      const values = spread(
        split(old.layout, bytes).map(value => by.value(value, oldKey)),
        now.layout,
      );
      const have = now.map.lookup(key);
      if (have)
        for (const [cpu, value] of split(now.layout, have).entries())
          addFields(now.layout.types?.value, values[cpu]!, value);
      if (!writeUnlessFull(now.map, key, join(now.layout, values), tally)) continue;
      if (old.layout.type.endsWith('array')) old.map.update(oldKey, zero);
      else old.map.delete(oldKey);
    } catch (error) {
      if (!(error instanceof Inexpressible)) throw error;
      tally.refuse(oldKey, error.message);
    }
  }
  return tally;
}
