import type { BpfMap } from '../../src/kernel/libbpf/index.ts';
import {
  LbScope,
  lb4BackendCodec,
  lb4BackendKeyCodec,
  lb4KeyCodec,
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
  /** `address:port`, with ids from `revNatIndex * 100` on. */
  backends: string[];
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
  const { scope = LbScope.LB_SCOPE_EXTERNAL } = service;
  const slot = (backendSlot: number): Buffer =>
    lb4KeyCodec.write({ address: ipNumber(address), dport: port, backendSlot, l4Proto, scope });
  const none = { revNatIndex, affinityTimeoutS: 0, count: 0, flags: 0 };
  for (const [i, backend] of service.backends.entries()) {
    const [ip = '', backendPort] = backend.split(':');
    const backendId = revNatIndex * 100 + i;
    put(
      maps,
      'cilium_lb4_backends_v3',
      lb4BackendKeyCodec.write({ backendId }),
      lb4BackendCodec.write({ address: ipNumber(ip), port: Number(backendPort), l4Proto, state: 0 }),
    );
    put(maps, 'cilium_lb4_services_v2', slot(i + 1), lb4ServiceCodec.write({ ...none, backendId }));
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
