import { setImmediate as yieldLoop } from 'node:timers/promises';
import type { ControllerSet } from '../base/controller.ts';
import type { BpfMap } from '../kernel/libbpf/index.ts';
import { CtDirection, NatDirection } from '../maps/abi.gen.ts';
import {
  type CtRecord,
  ctMap,
  type FlowTuple,
  isExpired,
  type NatRecord,
  natMap,
  natTwin,
} from '../maps/flows.ts';
import type { TypedMap } from '../maps/typed.ts';
import { Histogram } from './metrics/histogram.ts';

const SHORTEST_MS = 10_000;
const LONGEST_MS = 30 * 60_000;
/** However little changes, small maps are looked at that often, so that counts and warnings are not older. */
const USUAL_MS = 60_000;
/** Of the time of a processor, what sweeps may take where nothing changes: one part in so many. */
const COST_PART = 1000;
/** Entries that are looked at before others have a turn. */
const CHUNK = 1024;

/** How many entries one sweep left, and how many it took. */
export interface Swept {
  alive: number;
  deleted: number;
}

/** What one sweep found in one map. */
export interface SweepResult extends Swept {
  seconds: number;
  /** Of translations: those of them that are the way back. */
  inwards?: Swept;
}

const FLOW_MAPS = {
  tcp: 'cilium_ct4_global',
  any: 'cilium_ct_any4_global',
  nat: 'cilium_snat_v4_external',
} as const;

/** The maps of flows, as metrics call them. */
export type FlowMap = keyof typeof FLOW_MAPS;

/** A flow to a backend that is gone, as the backend got it, and the service by which it did. */
interface GoneFlow {
  tuple: Omit<FlowTuple, 'direction'>;
  frontend: Pick<FlowTuple, 'daddr' | 'dport'>;
}

/** Seconds of the clock that flows' entries are dated by: CLOCK_MONOTONIC. */
export const flowClockS = (): number => Math.floor(Number(process.hrtime.bigint() / 1_000_000_000n));

/**
 * When to look again: sooner where much has changed, later where nothing has; never sooner than after ten seconds, and
 * where nothing changes so seldom that it costs nothing, but once a minute where that is cheap. Pure.
 * @param changedShare of what was there, what came or went since the last sweep, 0 to 1
 * @param costMs what the last sweep took
 */
export function nextIntervalMs(lastMs: number, changedShare: number, costMs: number): number {
  const factor = changedShare > 0.25 ? 0.5 : changedShare < 0.05 ? 1.5 : 1;
  const longest = Math.min(LONGEST_MS, Math.max(USUAL_MS, costMs * COST_PART));
  return Math.round(Math.min(longest, Math.max(SHORTEST_MS, lastMs * factor)));
}

/**
 * Takes away what flows have left behind, when it can be used no more: what has run out, flows to backends that are gone,
 * and halves of translations whose way back went for want of room. Programs go on meanwhile: an entry is looked at once
 * more before it goes, and one that was prolonged stays. What is full helps itself (the maps are LRU); this is so that
 * listings and counts tell the truth and rarely used addresses come back.
 */
export class FlowGc {
  readonly #map: (name: string) => BpfMap;
  readonly #clockOffsetS: () => number;
  readonly #backends: { has(id: number): boolean; readonly retired: number } | undefined;
  readonly durations = new Histogram();
  #intervalMs = SHORTEST_MS;
  #sweptAtMs = Number.NEGATIVE_INFINITY;
  #retired = 0;
  #runs = 0;
  readonly #results = new Map<FlowMap, SweepResult>();

  /**
   * @param clockOffsetS what the datapath's clock is ahead; only tests set it
   * @param backends numbers of backends that there are; absent where services are not balanced here
   */
  constructor(
    map: (name: string) => BpfMap,
    clockOffsetS: () => number,
    backends?: { has(id: number): boolean; readonly retired: number },
  ) {
    this.#map = map;
    this.#clockOffsetS = clockOffsetS;
    this.#backends = backends;
  }

  /** Of the last sweep. */
  get results(): ReadonlyMap<FlowMap, SweepResult> {
    return this.#results;
  }

  get runs(): number {
    return this.#runs;
  }

  /** Milliseconds from the last sweep to the next, unless a backend goes before. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** Sweeps when it is time, or when backends have gone since the last sweep; to be asked every ten seconds. */
  async sweepIfDue(): Promise<void> {
    const isTime = performance.now() - this.#sweptAtMs >= this.#intervalMs;
    if (isTime || this.#retired !== (this.#backends?.retired ?? 0)) await this.sweep();
  }

  /** Looks at every entry once, in pieces. */
  async sweep(): Promise<void> {
    this.#sweptAtMs = performance.now();
    this.#retired = this.#backends?.retired ?? 0;
    const gone: GoneFlow[] = [];
    let changed = 0;
    let costMs = 0;
    for (const kind of Object.keys(FLOW_MAPS) as FlowMap[]) {
      const map = this.#map(FLOW_MAPS[kind]);
      const started = performance.now();
      const found =
        kind === 'nat' ? await this.#sweepNat(natMap(map)) : await this.#sweepCt(ctMap(map), gone);
      const seconds = (performance.now() - started) / 1000;
      const { alive, deleted } = found;
      const before = this.#results.get(kind)?.alive ?? 0;
      changed = Math.max(changed, (deleted + Math.abs(alive - before)) / Math.max(1, deleted + alive));
      costMs += seconds * 1000;
      this.#results.set(kind, { ...found, seconds });
      const protocol = kind === 'any' ? 'non-TCP' : 'TCP';
      if (kind !== 'nat') this.durations.observe({ family: 'ipv4', protocol, status: 'completed' }, seconds);
    }
    for (const flow of gone) this.#forget(flow);
    this.#runs++;
    this.#intervalMs = nextIntervalMs(this.#intervalMs, changed, costMs);
  }

  /** Takes every entry out of the maps of a table, also those of flows that live: they begin anew. */
  flush(table: 'ct' | 'nat'): { map: string; entries: number }[] {
    const kinds: FlowMap[] = table === 'nat' ? ['nat'] : ['tcp', 'any'];
    return kinds.map(kind => {
      const map = this.#map(FLOW_MAPS[kind]);
      return { map: FLOW_MAPS[kind], entries: map.deleteBatch([...map.keys()]) };
    });
  }

  async #sweepCt(map: TypedMap<FlowTuple, CtRecord>, gone: GoneFlow[]): Promise<Swept> {
    return await this.#sweepMap(map, (tuple, entry, nowS) => {
      if (isExpired(entry, nowS)) return true;
      const isOfService = tuple.direction === CtDirection.CT_SERVICE && entry.backendId !== 0;
      if (!isOfService || !this.#backends || this.#backends.has(entry.backendId)) return false;
      const { saddr, daddr, sport, dport, l4Proto } = tuple;
      gone.push({
        tuple: { saddr, daddr: entry.natAddress, sport, dport: entry.natPort, l4Proto },
        frontend: { daddr, dport },
      });
      return true;
    });
  }

  async #sweepNat(map: TypedMap<FlowTuple, NatRecord>): Promise<SweepResult> {
    const inwards = { alive: 0, deleted: 0 };
    const result = await this.#sweepMap(
      map,
      (tuple, entry, nowS) => {
        if (isExpired(entry, nowS)) return true;
        if (tuple.direction !== NatDirection.NAT_OUT) return false;
        // Of no use: the program takes another port for the flow's next packet. The way back alone is still of use.
        const back = map.get(natTwin(tuple, entry));
        return !back || back.address !== tuple.saddr || back.port !== tuple.sport;
      },
      (tuple, deleted) => {
        if (tuple.direction === NatDirection.NAT_IN) inwards[deleted ? 'deleted' : 'alive']++;
      },
    );
    return { ...result, seconds: 0, inwards };
  }

  /** What else there is of a flow to a backend that is gone: what replies would come from, and its translation. */
  #forget({ tuple, frontend }: GoneFlow): void {
    const ct = ctMap(this.#map(FLOW_MAPS[tuple.l4Proto === 6 ? 'tcp' : 'any']));
    for (const direction of [CtDirection.CT_INGRESS, CtDirection.CT_EGRESS]) {
      const entry = ct.get({ ...tuple, direction });
      if (entry?.natAddress === frontend.daddr && entry.natPort === frontend.dport)
        ct.delete({ ...tuple, direction });
    }
    const nat = natMap(this.#map(FLOW_MAPS.nat));
    const out = { ...tuple, direction: NatDirection.NAT_OUT };
    const entry = nat.get(out);
    if (!entry) return;
    nat.delete(out);
    nat.delete(natTwin(out, entry));
  }

  async #sweepMap<V>(
    map: TypedMap<FlowTuple, V>,
    isOver: (tuple: FlowTuple, entry: V, nowS: number) => boolean,
    told: (tuple: FlowTuple, deleted: boolean) => void = () => {},
  ): Promise<Swept> {
    const nowS = flowClockS() + this.#clockOffsetS();
    const result = { alive: 0, deleted: 0 };
    let inChunk = 0;
    for (const [tuple, entry] of map.entries()) {
      let deleted = false;
      if (isOver(tuple, entry, nowS)) {
        const again = map.get(tuple);
        deleted = again !== undefined && isOver(tuple, again, nowS) && map.delete(tuple);
        // Somebody else may have taken it, or prolonged it.
        if (deleted) result.deleted++;
        else if (again) result.alive++;
      } else result.alive++;
      told(tuple, deleted);
      if (++inChunk < CHUNK) continue;
      inChunk = 0;
      await yieldLoop();
    }
    return result;
  }
}

/** Sweeps again and again, as often as there is something to find. */
export function scheduleFlowGc(controllers: ControllerSet, gc: FlowGc): void {
  controllers.add({ name: 'flow-gc', intervalMs: SHORTEST_MS, run: () => gc.sweepIfDue() }).kick();
}
