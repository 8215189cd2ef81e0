import { maglevTable } from '../../src/datapath/services/maglev.ts';
import type { BpfMap } from '../../src/kernel/libbpf/index.ts';
import {
  LbScope,
  LbServiceFlag,
  lb4BackendCodec,
  lb4BackendKeyCodec,
  lb4KeyCodec,
  lb4MaglevCodec,
  lb4MaglevKeyCodec,
  lb4ServiceCodec,
  lb4SourceRangeCodec,
  lb4SourceRangeKeyCodec,
} from '../../src/maps/abi.gen.ts';
import { ipNumber } from './harness.ts';

/** A frontend with its backends, as user space would write them. */
export interface TestService {
  address: string;
  port: number;
  l4Proto: number;
  revNatIndex: number;
  /** `LbServiceFlag`, or-ed. */
  flags?: number;
  affinityTimeoutS?: number;
  /** Scope external unless said. */
  scope?: number;
  /** `address:port`, with ids from `firstBackendId` on, which is `revNatIndex * 100` unless said. */
  backends: string[];
  firstBackendId?: number;
  /** `address/bits` of clients who may. */
  sourceRanges?: string[];
}

type Maps = { map(name: string): BpfMap };

/** Writes into a map that its owner or we close. */
function put(maps: Maps, name: string, key: Buffer, value: Buffer): void {
  maps.map(name).update(key, value);
}

/** Backends, slots, master, in the order that never shows a slot without its backend. */
export function putService(maps: Maps, service: TestService): void {
  const { address, port, l4Proto, revNatIndex, flags = 0, affinityTimeoutS = 0 } = service;
  const { scope = LbScope.LB_SCOPE_EXTERNAL, firstBackendId = revNatIndex * 100 } = service;
  const slot = (backendSlot: number): Buffer =>
    lb4KeyCodec.write({ address: ipNumber(address), dport: port, backendSlot, l4Proto, scope });
  const none = { revNatIndex, affinityTimeoutS: 0, count: 0, flags: 0 };
  for (const [i, backend] of service.backends.entries()) {
    const [ip = '', backendPort] = backend.split(':');
    const backendId = firstBackendId + i;
    put(
      maps,
      'cilium_lb4_backends_v3',
      lb4BackendKeyCodec.write({ backendId }),
      lb4BackendCodec.write({ address: ipNumber(ip), port: Number(backendPort), l4Proto, state: 0 }),
    );
    put(maps, 'cilium_lb4_services_v2', slot(i + 1), lb4ServiceCodec.write({ ...none, backendId }));
  }
  if (flags & LbServiceFlag.LB_F_MAGLEV) {
    const members = service.backends.map((backend, i) => {
      const [ip = '', backendPort] = backend.split(':');
      return { id: firstBackendId + i, address: ip, port: Number(backendPort) };
    });
    const table = maglevTable(members);
    const key = lb4MaglevKeyCodec.write({ revNatIndex, scope });
    put(maps, 'cilium_lb4_maglev', key, lb4MaglevCodec.write({ backendId: table }));
  }
  for (const range of service.sourceRanges ?? []) {
    const [base = '', bits] = range.split('/');
    put(
      maps,
      'cilium_lb4_source_range',
      lb4SourceRangeKeyCodec.write({ prefixlen: 32 + Number(bits), revNatIndex, address: ipNumber(base) }),
      lb4SourceRangeCodec.write({ allowed: 1 }),
    );
  }
  put(
    maps,
    'cilium_lb4_services_v2',
    slot(0),
    lb4ServiceCodec.write({
      backendId: 0,
      revNatIndex,
      affinityTimeoutS,
      count: service.backends.length,
      flags,
    }),
  );
}
