import test from 'ava';
import fc from 'fast-check';
import { formatIpv4 } from '../../src/base/addr.ts';
import { formatMac } from '../../src/base/mac.ts';
import { eventCodec, metricsKeyCodec, metricsValueCodec, sockEventCodec } from '../../src/maps/abi.gen.ts';
import { decodeEvent, decodeSocketEvent } from '../../src/maps/events.ts';
import { metricsMap } from '../../src/maps/metrics.ts';
import {
  allowAllKey,
  endpointMap,
  ipcacheMap,
  POLICY_KEY_SIZE,
  type PolicyRuleKey,
  policyMap,
  runtimeMap,
} from '../../src/maps/tables.ts';
import type { RawMap } from '../../src/maps/typed.ts';

/** A map as the kernel keeps it: bytes by bytes. */
class MemoryMap implements RawMap {
  readonly name = 'memory';
  readonly maxEntries = 1 << 20;
  readonly stored = new Map<string, Buffer>();

  lookup(key: Uint8Array): Buffer | undefined {
    return this.stored.get(Buffer.from(key).toString('hex'));
  }

  update(key: Uint8Array, value: Uint8Array): void {
    this.stored.set(Buffer.from(key).toString('hex'), Buffer.from(value));
  }

  delete(key: Uint8Array): boolean {
    return this.stored.delete(Buffer.from(key).toString('hex'));
  }

  *entries(): Iterable<[Buffer, Buffer]> {
    for (const [key, value] of this.stored) yield [Buffer.from(key, 'hex'), value];
  }

  updateBatch(entries: [Uint8Array, Uint8Array][]): void {
    for (const [key, value] of entries) this.update(key, value);
  }

  deleteBatch(keys: Uint8Array[]): number {
    return keys.filter(key => this.delete(key)).length;
  }
}

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const ip = u32.map(formatIpv4);
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(bytes => formatMac(bytes));
const endpoint = fc.record({
  ifindex: u32,
  identity: u32,
  endpointId: u16,
  host: fc.boolean(),
  policyIngress: fc.boolean(),
  policyEgress: fc.boolean(),
  mac,
  nodeMac: mac,
});
const record = fc.record({
  identity: u32,
  tunnelEndpoint: ip,
  ownPodCidr: fc.boolean(),
  cluster: fc.boolean(),
  neighbour: fc.boolean(),
});

test('endpoints: get, entries and batches agree', t => {
  fc.assert(
    fc.property(fc.dictionary(ip, endpoint), wanted => {
      const map = endpointMap(new MemoryMap());
      map.updateBatch(Object.entries(wanted));
      t.deepEqual(Object.fromEntries(map.entries()), wanted);
      for (const [address, entry] of Object.entries(wanted)) t.deepEqual(map.get(address), entry);
      t.is(map.deleteBatch(Object.keys(wanted)), Object.keys(wanted).length);
      t.deepEqual([...map.entries()], []);
    }),
  );
});

test('ipcache: prefixes come back canonical', t => {
  fc.assert(
    fc.property(ip, fc.integer({ min: 0, max: 32 }), record, (address, length, value) => {
      const map = ipcacheMap(new MemoryMap());
      map.set(`${address}/${length}`, value);
      t.deepEqual([...map.entries()], [[`${address}/${length}`, value]]);
      t.true(map.delete(`${address}/${length}`));
      t.false(map.delete(`${address}/${length}`));
    }),
  );
  const map = ipcacheMap(new MemoryMap());
  const value = {
    identity: 1,
    tunnelEndpoint: '0.0.0.0',
    ownPodCidr: false,
    cluster: false,
    neighbour: false,
  };
  map.set('10.0.0.1', value);
  t.deepEqual(map.get('10.0.0.1/32'), value);
});

for (const prefix of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/x', '10.0.0.0/8/8', '10.0.0/8', '']) {
  test(`ipcache: ${JSON.stringify(prefix)} is no prefix`, t => {
    t.throws(() => ipcacheMap(new MemoryMap()).get(prefix), { code: 'INVALID_ADDRESS' });
  });
}

test('policy: a rule comes back with what it says and no more, and its value knows how much that is', t => {
  const raw = new MemoryMap();
  const map = policyMap(raw);
  const rules: [PolicyRuleKey, number][] = [
    [{ direction: 'ingress', identity: 0 }, 64],
    [{ direction: 'egress', identity: 256 }, 64],
    [{ direction: 'egress', identity: 256, l4Proto: 1 }, 80],
    [{ direction: 'ingress', identity: 256, l4Proto: 6, dport: 443 }, 96],
  ];
  for (const [key, bits] of rules) {
    raw.stored.clear();
    map.set(key, { deny: true });
    t.deepEqual([...map.entries()], [[key, { deny: true }]]);
    const [[bytes, value]] = [...raw.entries()] as [[Buffer, Buffer]];
    t.is(bytes.length, POLICY_KEY_SIZE);
    t.is(bytes.readUInt32LE(0), bits);
    t.is(value[1], bits);
  }
  t.deepEqual(allowAllKey('egress'), { direction: 'egress', identity: 0 });
  t.throws(() => map.get({ direction: 'ingress', identity: 1, dport: 80 }), { message: /needs a protocol/ });
});

test('runtime: one switch', t => {
  const map = runtimeMap(new MemoryMap());
  map.set(0, { trace: true });
  t.deepEqual([...map.entries()], [[0, { trace: true }]]);
});

test('metrics: CPUs are summed, rows sorted, unknown numbers shown as such', t => {
  const raw = new MemoryMap();
  const put = (reason: number, direction: number, sourceFile: number, counts: bigint[]): void =>
    raw.update(
      metricsKeyCodec.write({ reason, direction, sourceLine: 42, sourceFile }),
      Buffer.concat(counts.map(packets => metricsValueCodec.write({ packets, bytes: packets * 100n }))),
    );
  put(133, 1, 7, [1n, 2n, 3n]);
  put(0, 2, 1, [10n, 0n, 0n]);
  put(0, 9, 99, [2n ** 63n, 2n ** 62n, 0n]);
  t.deepEqual(metricsMap(raw).rows(), [
    { reason: 0, direction: 'egress', sourceFile: 'lxc.c', sourceLine: 42, packets: 10n, bytes: 1000n },
    {
      reason: 0,
      direction: 'unknown',
      sourceFile: 'unknown(99)',
      sourceLine: 42,
      packets: 2n ** 63n + 2n ** 62n,
      bytes: ((2n ** 63n * 100n) % 2n ** 64n) + ((2n ** 62n * 100n) % 2n ** 64n),
    },
    { reason: 133, direction: 'ingress', sourceFile: 'policy.h', sourceLine: 42, packets: 6n, bytes: 600n },
  ]);
});

test('events: the captured part of the packet, and nothing of kinds not known', t => {
  const event = {
    timeNs: 5n,
    type: 1,
    code: 132,
    direction: 2,
    sourceFile: 5,
    sourceLine: 77,
    endpointId: 12,
    sourceIdentity: 1000,
    destinationIdentity: 2,
    ifindex: 9,
    flowHash: 0xdeadbeef,
    mark: 0xf00,
    packetBytes: 1500,
    capturedBytes: 60,
    ctState: 3,
    originalSource: 0x0af40107,
    frontend: 0x0a600001,
    frontendPort: 443,
    packet: Uint8Array.from({ length: 128 }, (_, i) => i),
  };
  const { capturedBytes: _, ctState: __, frontendPort: ___, ...same } = event;
  t.deepEqual(decodeEvent(eventCodec.write(event)), {
    ...same,
    type: 'drop',
    direction: 'egress',
    sourceFile: 'arp.h',
    flowState: 'reply',
    originalSource: '10.244.1.7',
    frontend: '10.96.0.1:443',
    packet: event.packet.slice(0, 60),
  });
  const plain = decodeEvent(eventCodec.write({ ...event, ctState: 9, originalSource: 0, frontend: 0 }))!;
  t.is(plain.flowState, 'unknown');
  t.false('originalSource' in plain || 'frontend' in plain);
  t.is(decodeEvent(eventCodec.write({ ...event, type: 4 }))!.type, 'trace');
  t.is(decodeEvent(eventCodec.write({ ...event, type: 77 })), undefined);
  t.is(decodeEvent(new Uint8Array(8)), undefined);
  t.is(decodeEvent(eventCodec.write({ ...event, capturedBytes: 9999 }))!.packet.length, 128);
  const socket = {
    timeNs: 5n,
    type: 7,
    code: 2,
    l4Proto: 17,
    port: 53,
    address: 0x0a600001,
    cgroupId: 9n,
    socketCookie: 8n,
  };
  t.is(decodeEvent(sockEventCodec.write(socket)), undefined);
  t.is(decodeSocketEvent(eventCodec.write(event)), undefined);
  t.deepEqual(decodeSocketEvent(sockEventCodec.write(socket)), {
    type: 'trace-sock',
    timeNs: 5n,
    point: 'post-xlate-fwd',
    l4Proto: 17,
    port: 53,
    address: '10.96.0.1',
    cgroupId: 9n,
    socketCookie: 8n,
  });
});
