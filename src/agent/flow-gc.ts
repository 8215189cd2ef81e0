import { setImmediate as yieldLoop } from 'node:timers/promises';
import type { ControllerSet } from '../base/controller.ts';
import type { BpfMap } from '../kernel/libbpf/index.ts';
import { type CtRecord, ctMap, type FlowTuple, isExpired, type NatRecord, natMap } from '../maps/flows.ts';
import type { TypedMap } from '../maps/typed.ts';

const SHORTEST_MS = 10_000;
const LONGEST_MS = 30 * 60_000;
/** Entries that are looked at before others have a turn. */
const CHUNK = 1024;

/** What one sweep found in one map. */
export interface SweepResult {
  alive: number;
  deleted: number;
  seconds: number;
}

const FLOW_MAPS = {
  tcp: 'cilium_ct4_global',
  any: 'cilium_ct_any4_global',
  nat: 'cilium_snat_v4_external',
} as const;

/** The maps of flows, as metrics call them. */
export type FlowMap = keyof typeof FLOW_MAPS;

/** Seconds of the clock that flows' entries are dated by: CLOCK_MONOTONIC. */
export const flowClockS = (): number => Math.floor(Number(process.hrtime.bigint() / 1_000_000_000n));

/**
 * When to look again: sooner where much had run out, later where nothing had; from ten seconds to half an hour. Pure.
 * @param deletedShare of what was there, 0 to 1
 */
export function nextIntervalMs(lastMs: number, deletedShare: number): number {
  const factor = deletedShare > 0.25 ? 0.5 : deletedShare < 0.05 ? 1.5 : 1;
  return Math.round(Math.min(LONGEST_MS, Math.max(SHORTEST_MS, lastMs * factor)));
}

/**
 * Takes away what flows have left behind, when it can be used no more. Programs go on meanwhile: an entry is looked at
 * once more before it goes, and one that was prolonged stays. What is full helps itself (the maps are LRU); this is
 * so that listings and counts tell the truth and rarely used addresses come back.
 */
export class FlowGc {
  readonly #map: (name: string) => BpfMap;
  readonly #clockOffsetS: () => number;
  #intervalMs = SHORTEST_MS;
  #runs = 0;
  readonly #results = new Map<FlowMap, SweepResult>();

  /** @param clockOffsetS what the datapath's clock is ahead; only tests set it */
  constructor(map: (name: string) => BpfMap, clockOffsetS: () => number) {
    this.#map = map;
    this.#clockOffsetS = clockOffsetS;
  }

  /** Of the last sweep. */
  get results(): ReadonlyMap<FlowMap, SweepResult> {
    return this.#results;
  }

  get runs(): number {
    return this.#runs;
  }

  /** Milliseconds to the next sweep. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** Looks at every entry once, in pieces. */
  async sweep(): Promise<void> {
    let most = 0;
    for (const kind of Object.keys(FLOW_MAPS) as FlowMap[]) {
      const map = this.#map(FLOW_MAPS[kind]);
      const result =
        kind === 'nat'
          ? await this.#sweepMap<NatRecord>(natMap(map))
          : await this.#sweepMap<CtRecord>(ctMap(map));
      this.#results.set(kind, result);
      most = Math.max(most, result.deleted / Math.max(1, result.deleted + result.alive));
    }
    this.#runs++;
    this.#intervalMs = nextIntervalMs(this.#intervalMs, most);
  }

  /** Takes every entry out of the maps of a table, also those of flows that live: they begin anew. */
  flush(table: 'ct' | 'nat'): { map: string; entries: number }[] {
    const kinds: FlowMap[] = table === 'nat' ? ['nat'] : ['tcp', 'any'];
    return kinds.map(kind => {
      const map = this.#map(FLOW_MAPS[kind]);
      return { map: FLOW_MAPS[kind], entries: map.deleteBatch([...map.keys()]) };
    });
  }

  async #sweepMap<V extends { expiresS: number }>(map: TypedMap<FlowTuple, V>): Promise<SweepResult> {
    const started = performance.now();
    const nowS = flowClockS() + this.#clockOffsetS();
    const result = { alive: 0, deleted: 0, seconds: 0 };
    let inChunk = 0;
    for (const [tuple, entry] of map.entries()) {
      if (!isExpired(entry, nowS)) result.alive++;
      else {
        const again = map.get(tuple);
        if (again && isExpired(again, nowS) && map.delete(tuple)) result.deleted++;
      }
      if (++inChunk < CHUNK) continue;
      inChunk = 0;
      await yieldLoop();
    }
    result.seconds = (performance.now() - started) / 1000;
    return result;
  }
}

/** Sweeps again and again, at the interval that the last sweep found right. */
export function scheduleFlowGc(controllers: ControllerSet, gc: FlowGc): void {
  let timer: NodeJS.Timeout | undefined;
  const controller = controllers.add({
    name: 'flow-gc',
    run: async () => {
      clearTimeout(timer);
      await gc.sweep();
      timer = setTimeout(() => controller.kick(), gc.intervalMs);
      timer.unref();
    },
  });
  timer = setTimeout(() => controller.kick(), gc.intervalMs);
  timer.unref();
}
