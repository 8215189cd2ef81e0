import test from 'ava';
import { BpfObject, RingBuffer } from '../../src/kernel/libbpf/index.ts';
import { DropReason } from '../../src/maps/abi.gen.ts';
import { eventsLost } from '../../src/maps/events.ts';
import { metricsMap } from '../../src/maps/metrics.ts';
import { builtObject, CONFIGURATIONS, rodata } from './harness.ts';

test('events that find the ring buffer full are counted, and so is every packet', t => {
  const object = BpfObject.open(builtObject('lxc'));
  t.teardown(() => object.close());
  for (const map of object.maps) if (map.pinned) object.configureMap(map.name, { pinPath: null });
  object.setRodata(rodata(CONFIGURATIONS[0]!));
  object.load();
  const program = object.program('cil_from_container');
  const map = (name: string) => object.map(name);
  t.is(eventsLost(map('cilium_events_lost')), 0n);

  const packets = 20_000;
  const unknown = Buffer.alloc(60);
  unknown.writeUInt16BE(0x1234, 12);
  program.testRun({ data: unknown, repeat: packets });
  program.close();

  let received = 0;
  const ring = new RingBuffer({ map: map('cilium_events'), onSample: () => received++ });
  ring.poll();
  ring.close();
  const lost = Number(eventsLost(map('cilium_events_lost')));
  t.true(received > 0 && lost > 0, `${received} received, ${lost} lost`);
  t.is(received + lost, packets);
  const dropped = metricsMap(map('cilium_metrics'))
    .rows()
    .find(r => r.reason === DropReason.DROP_UNKNOWN_L3);
  t.is(Number(dropped?.packets), packets);
});
