import type { BpfMap } from '../../kernel/libbpf/index.ts';
import {
  type BackendRecord,
  backendMap,
  type FrontendAddress,
  type MaglevKey,
  maglevMap,
  reverseNatMap,
  type ServiceSlot,
  type ServiceSlotKey,
  type SourceRangeKey,
  serviceMap,
  sourceRangeMap,
} from '../../maps/services.ts';
import type { TypedMap } from '../../maps/typed.ts';

/** The maps that say what services are. */
export interface ServiceMaps {
  services: TypedMap<ServiceSlotKey, ServiceSlot>;
  backends: TypedMap<number, BackendRecord>;
  reverseNat: TypedMap<number, FrontendAddress>;
  sourceRanges: TypedMap<SourceRangeKey, boolean>;
  maglev: TypedMap<MaglevKey, Uint32Array>;
}

/** Views on the node's pinned maps. */
export function serviceMaps(programs: { map(name: string): BpfMap }): ServiceMaps {
  return {
    services: serviceMap(programs.map('cilium_lb4_services_v2')),
    backends: backendMap(programs.map('cilium_lb4_backends_v3')),
    reverseNat: reverseNatMap(programs.map('cilium_lb4_reverse_nat')),
    sourceRanges: sourceRangeMap(programs.map('cilium_lb4_source_range')),
    maglev: maglevMap(programs.map('cilium_lb4_maglev')),
  };
}

/**
 * Changes of the service maps, written in the order that a reader needs: what an entry refers to is there before it.
 * Any number of services are one batch a map. What goes is not taken here, but when no reader can hold it any more
 * (`Garbage`), except for masters: with them a frontend is gone at once.
 */
export class ServiceWrites {
  readonly backends: [number, BackendRecord][] = [];
  readonly reverseNat: [number, FrontendAddress][] = [];
  readonly sourceRanges: [SourceRangeKey, boolean][] = [];
  readonly maglev: [MaglevKey, Uint32Array][] = [];
  readonly slots: [ServiceSlotKey, ServiceSlot][] = [];
  readonly masters: [ServiceSlotKey, ServiceSlot][] = [];
  readonly goneMasters: ServiceSlotKey[] = [];

  /** @throws FimbriaError E2BIG of a full map, with what belongs before it written */
  write(maps: ServiceMaps): void {
    maps.backends.updateBatch(this.backends);
    maps.reverseNat.updateBatch(this.reverseNat);
    maps.sourceRanges.updateBatch(this.sourceRanges);
    for (const [key, table] of this.maglev) maps.maglev.set(key, table);
    maps.services.updateBatch(this.slots);
    maps.services.updateBatch(this.masters);
    maps.services.deleteBatch(this.goneMasters);
  }
}

/** Entries that nothing refers to any more, to be deleted a moment later. */
export class Garbage {
  slots: ServiceSlotKey[] = [];
  backends: number[] = [];
  reverseNat: number[] = [];
  sourceRanges: SourceRangeKey[] = [];
  maglev: MaglevKey[] = [];

  get isEmpty(): boolean {
    const { slots, backends, reverseNat, sourceRanges, maglev } = this;
    return [slots, backends, reverseNat, sourceRanges, maglev].every(list => list.length === 0);
  }

  delete(maps: ServiceMaps): void {
    maps.services.deleteBatch(this.slots);
    for (const key of this.maglev) maps.maglev.delete(key);
    maps.backends.deleteBatch(this.backends);
    for (const key of this.sourceRanges) maps.sourceRanges.delete(key);
    maps.reverseNat.deleteBatch(this.reverseNat);
  }
}
