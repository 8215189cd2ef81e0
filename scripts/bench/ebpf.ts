import { BpfMap, bpfStatsHold } from '../../src/kernel/libbpf/index.ts';
import type { BenchLab, Place } from './labs.ts';
import { execute } from './netns.ts';
import { median } from './stats.ts';
import { type SliceOptions, slice } from './traffic.ts';

/** What the kernel counted for one program. */
interface Counted {
  name: string;
  nanoseconds: number;
  runs: number;
}

/** eBPF time of one packet on its whole way: the sum, and each program's part. */
export interface PacketTime {
  readonly totalNs: number;
  /** Median over the rounds of each program's time a run, by name. */
  readonly perRunNs: Record<string, number>;
}

interface ProgramRow {
  id: number;
  name?: string;
  run_time_ns?: number;
  run_cnt?: number;
  map_ids?: number[];
}

/** Counters of the programs of these nodes, told from everybody else's by the map that each of them counts in. */
function counters(metricsIds: ReadonlySet<number>): Map<number, Counted> {
  const rows = JSON.parse(execute('bpftool', ['-j', 'prog', 'show'])) as ProgramRow[];
  const own = rows.filter(row => row.map_ids?.some(id => metricsIds.has(id)));
  return new Map(
    own.map(({ id, name = '', run_time_ns = 0, run_cnt = 0 }) => [
      id,
      { name, nanoseconds: run_time_ns, runs: run_cnt },
    ]),
  );
}

/** What was counted between two looks, by program name. */
function difference(before: Map<number, Counted>, after: Map<number, Counted>): Map<string, Counted> {
  const byName = new Map<string, Counted>();
  for (const [id, now] of after) {
    const then = before.get(id) ?? { nanoseconds: 0, runs: 0 };
    const sum = byName.get(now.name) ?? { name: now.name, nanoseconds: 0, runs: 0 };
    sum.nanoseconds += now.nanoseconds - then.nanoseconds;
    sum.runs += now.runs - then.runs;
    byName.set(now.name, sum);
  }
  return byName;
}

function metricsId(lab: BenchLab, node: string): number {
  const map = BpfMap.fromPin(lab.pin(node, 'cilium_metrics'));
  try {
    return map.id;
  } finally {
    map.close();
  }
}

/**
 * eBPF time of one packet under round trips from pod to pod. Every packet leaves one pod, so the runs of
 * `cil_from_container` are the packets. The kernel's own counting is in the numbers: some tens of nanoseconds a run.
 */
export async function packetTime(
  lab: BenchLab,
  nodes: readonly string[],
  [from, to]: readonly [Place, Place],
  options: SliceOptions & { rounds: number },
): Promise<PacketTime> {
  const ids = new Set(nodes.map(node => metricsId(lab, node)));
  const totals: number[] = [];
  const perRun = new Map<string, number[]>();
  const hold = bpfStatsHold();
  try {
    for (let round = 0; round < options.rounds; round++) {
      const before = counters(ids);
      await slice('rr', from, to, options);
      const counted = difference(before, counters(ids));
      const packets = [...counted.values()].find(c => c.name.startsWith('cil_from_con'))?.runs ?? 0;
      // What ran for a few stray packets of the agents is no part of the way.
      const busy = [...counted.values()].filter(c => c.runs > packets / 10);
      totals.push(busy.reduce((sum, c) => sum + c.nanoseconds, 0) / packets);
      for (const { name, nanoseconds, runs } of busy)
        perRun.set(name, [...(perRun.get(name) ?? []), nanoseconds / runs]);
    }
  } finally {
    hold.close();
  }
  return {
    totalNs: median(totals),
    perRunNs: Object.fromEntries([...perRun].map(([name, values]) => [name, median(values)])),
  };
}
