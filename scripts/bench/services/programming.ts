import { silent } from '../../../src/base/log.ts';
import { assetPath } from '../../../src/base/paths.ts';
import { ServiceTable } from '../../../src/datapath/services/table.ts';
import { serviceMaps } from '../../../src/datapath/services/writes.ts';
import { type BpfMap, BpfObject } from '../../../src/kernel/libbpf/index.ts';
import { type Summary, summarize } from '../stats.ts';
import { frontendOf, workload } from './workload.ts';

/** How long desired tables take to be in the kernel. */
export interface Programming {
  readonly services: number;
  /** All of them into empty maps, ms. */
  readonly allMs: Summary;
  /** One backend of one of them replaced, ms. */
  readonly changeMs: Summary;
}

const CHANGES = 200;
const NO_BACKENDS: never[] = [];

/** The service maps in the kernel, by themselves. */
class LoneMaps {
  readonly #object = BpfObject.open(assetPath('build/bpf/sock.o'));
  readonly #maps: BpfMap[] = [];

  constructor() {
    for (const map of this.#object.maps)
      if (map.pinned) this.#object.configureMap(map.name, { pinPath: null });
    this.#object.load();
  }

  map(name: string): BpfMap {
    const map = this.#object.map(name);
    this.#maps.push(map);
    return map;
  }

  close(): void {
    for (const map of this.#maps) map.close();
    this.#object.close();
  }
}

/** Puts so many services with two backends each into empty maps, and replaces backends then. */
export function programmingCosts(services: number, rounds: number): Programming {
  const all = workload(services, NO_BACKENDS).map(s => [s.name, [frontendOf(s)]] as const);
  const allMs: number[] = [];
  const changeMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const maps = new LoneMaps();
    const table = new ServiceTable(serviceMaps(maps), silent);
    try {
      const begunMs = performance.now();
      table.apply(new Map(all));
      allMs.push(performance.now() - begunMs);
      for (let n = 0; n < CHANGES / rounds; n++) {
        const [owner, [frontend]] = all[(n * 37) % all.length]! as (typeof all)[number];
        const backends = [{ address: `10.201.${round}.${n % 256}`, port: 8080 }];
        const change = new Map([[owner, [{ ...frontend!, external: { local: false, backends } }]]]);
        const changedMs = performance.now();
        table.apply(change);
        changeMs.push(performance.now() - changedMs);
      }
    } finally {
      table.close();
      maps.close();
    }
  }
  return { services, allMs: summarize(allMs), changeMs: summarize(changeMs) };
}
