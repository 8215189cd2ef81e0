import type { ServiceMaps } from '../../src/datapath/services/writes.ts';
import {
  backendMap,
  LbScope,
  LbServiceFlag,
  maglevMap,
  reverseNatMap,
  type ServiceSlotKey,
  serviceMap,
  sourceRangeMap,
} from '../../src/maps/services.ts';
import type { RawMap } from '../../src/maps/typed.ts';

/** A map in memory that tells of every single write, also within a batch: a reader may look between any two. */
export class ObservedMap implements RawMap {
  readonly name = 'memory';
  readonly maxEntries: number;
  readonly stored = new Map<string, Buffer>();
  readonly #written: () => void;

  constructor(written: () => void, maxEntries = 1 << 20) {
    this.#written = written;
    this.maxEntries = maxEntries;
  }

  lookup(key: Uint8Array): Buffer | undefined {
    return this.stored.get(Buffer.from(key).toString('hex'));
  }

  update(key: Uint8Array, value: Uint8Array): void {
    this.stored.set(Buffer.from(key).toString('hex'), Buffer.from(value));
    this.#written();
  }

  delete(key: Uint8Array): boolean {
    const there = this.stored.delete(Buffer.from(key).toString('hex'));
    this.#written();
    return there;
  }

  *entries(): Iterable<[Buffer, Buffer]> {
    for (const [key, value] of [...this.stored]) yield [Buffer.from(key, 'hex'), value];
  }

  updateBatch(entries: [Uint8Array, Uint8Array][]): void {
    for (const [key, value] of entries) this.update(key, value);
  }

  deleteBatch(keys: Uint8Array[]): number {
    return keys.filter(key => this.delete(key)).length;
  }
}

export function memoryMaps(written: () => void = () => {}, maxEntries?: number): ServiceMaps {
  const map = (): ObservedMap => new ObservedMap(written, maxEntries);
  return {
    services: serviceMap(map()),
    backends: backendMap(map()),
    reverseNat: reverseNatMap(map()),
    sourceRanges: sourceRangeMap(map()),
    maglev: maglevMap(map()),
  };
}

/** What a program that looks up a frontend may meet, as `bpf/lib/service.h` does it: each backend, or what is amiss. */
export function read(
  maps: ServiceMaps,
  at: Pick<ServiceSlotKey, 'address' | 'port' | 'l4Proto'>,
  isInside: boolean,
): string[] | undefined {
  const key = { ...at, scope: LbScope.LB_SCOPE_EXTERNAL as number, slot: 0 };
  let master = maps.services.get(key);
  if (!master) return undefined;
  if (isInside && master.flags & LbServiceFlag.LB_F_TWO_SCOPES) {
    key.scope = LbScope.LB_SCOPE_INTERNAL;
    master = maps.services.get(key);
    if (!master) return ['no internal master'];
  }
  return Array.from({ length: master.count }, (_, i) => {
    const slot = maps.services.get({ ...key, slot: i + 1 });
    if (!slot) return `no slot ${i + 1}`;
    const backend = maps.backends.get(slot.backendId);
    if (!backend) return `no backend ${slot.backendId}`;
    if (!maps.reverseNat.get(slot.revNatIndex)) return `no reverse NAT ${slot.revNatIndex}`;
    return `${backend.address}:${backend.port}`;
  });
}
