import test from 'ava';
import { DropReason, EventSize } from '../../src/maps/abi.gen.ts';
import type { Fixture } from './fixture.ts';
import { fromContainerArp } from './fixtures/arp.ts';
import { fromContainer } from './fixtures/from-container.ts';
import { host } from './fixtures/host.ts';
import { malformed } from './fixtures/malformed.ts';
import { netdev } from './fixtures/netdev.ts';
import { overlay } from './fixtures/overlay.ts';
import { toContainer } from './fixtures/to-container.ts';
import {
  builtObject,
  CONFIGURATIONS,
  type Configuration,
  configurationName,
  ipNumber,
  Loaded,
  Namespace,
  Probes,
} from './harness.ts';
import { fillMaps, furnish } from './world.ts';

/** Every fixture in every configuration in which its program runs. */

const FIXTURES: Fixture[] = [
  ...fromContainer,
  ...fromContainerArp,
  ...toContainer,
  ...host,
  ...netdev,
  ...overlay,
  ...malformed,
];

const probes = new Probes();
const probePaths = new Map<string, string>();
const loaded = new Map<string, Loaded>();
let namespace: Namespace;

/** Programs of the built objects run from these; `probe_` programs from objects that wrap them. */
function objectOf(program: string): string {
  if (program.endsWith('_overlay')) return program.startsWith('probe_') ? 'overlay_probe' : 'overlay';
  if (program.endsWith('_netdev')) return 'netdev';
  const object = program.endsWith('_container') ? 'lxc' : 'host';
  return program.startsWith('probe_') ? `${object}_probe` : object;
}

function load(program: string, configuration: Configuration): Loaded {
  const object = objectOf(program);
  const key = `${object} ${configurationName(configuration)}`;
  let found = loaded.get(key);
  if (!found) {
    const path = probePaths.get(object) ?? builtObject(object as 'lxc');
    found = new Loaded(path, configuration, namespace.path);
    fillMaps(found);
    found.runtime.set(0, { trace: true });
    loaded.set(key, found);
  }
  return found;
}

test.before(async () => {
  for (const name of ['lxc_probe', 'host_probe', 'overlay_probe']) probePaths.set(name, probes.compile(name));
  namespace = await Namespace.create();
  furnish(namespace);
});

test.after.always(() => {
  for (const object of loaded.values()) object.close();
  probes.close();
  namespace?.close();
});

for (const configuration of CONFIGURATIONS) {
  for (const fixture of FIXTURES) {
    if (fixture.when?.(configuration) === false) continue;
    test.serial(`${configurationName(configuration)}: ${fixture.name}`, t => {
      const expected = fixture.expect(configuration);
      const frameBytes = fixture.input.cutTo ?? fixture.input.packet.length;
      const outcome = load(fixture.program, configuration).run(fixture.program, fixture.input);

      t.is(outcome.verdict, expected.verdict, 'verdict');
      t.is(
        outcome.packet.toString('hex'),
        Buffer.from(expected.packet ?? fixture.input.packet).toString('hex'),
        'bytes',
      );
      t.is(outcome.mark, expected.mark ?? fixture.input.mark ?? 0, 'mark');
      t.deepEqual(
        outcome.metrics.map(({ sourceLine: _, ...row }) => row),
        expected.counted === undefined
          ? []
          : [
              {
                reason: expected.counted.reason,
                direction: expected.counted.direction,
                sourceFile: expected.counted.file,
                packets: 1n,
                bytes: BigInt(frameBytes),
              },
            ],
        'metrics',
      );
      t.deepEqual(
        outcome.events.map(({ type, code, endpointId, sourceIdentity, destinationIdentity, ifindex }) => ({
          type,
          code,
          endpointId,
          sourceIdentity,
          destinationIdentity,
          ifindex,
        })),
        expected.event === undefined
          ? []
          : [
              {
                endpointId: 0,
                sourceIdentity: 0,
                destinationIdentity: 0,
                ...expected.event,
                ifindex: fixture.input.ifindex,
              },
            ],
        'events',
      );
      for (const event of outcome.events) {
        t.is(event.sourceFile, expected.counted!.file, 'the event names the same place as the metric');
        t.is(event.sourceLine, outcome.metrics[0]!.sourceLine);
        t.is(event.packetBytes, frameBytes);
        t.is(event.mark, outcome.mark);
        t.is(
          Buffer.from(event.packet).toString('hex'),
          outcome.packet.subarray(0, EventSize.EVENT_PACKET_BYTES).toString('hex'),
          'the event shows the packet as it goes on',
        );
      }

      // What the tunnel was told is visible from inside only.
      if (/^cil_from_(container|host)$/.test(fixture.program)) {
        const probe = fixture.program.replace('cil_', 'probe_');
        const { tunnel } = load(probe, configuration).run(probe, fixture.input);
        const wanted = expected.tunnel;
        t.deepEqual(tunnel, wanted && { vni: wanted.vni, remote: ipNumber(wanted.remote) }, 'tunnel key');
      }
    });
  }
}

test.serial('without tracing only drops are reported', t => {
  const object = load('cil_from_container', CONFIGURATIONS[0]!);
  object.runtime.set(0, { trace: false });
  try {
    const [delivered, spoofed] = ['a pod of the same node', "another pod's address"].map(
      name => FIXTURES.find(f => f.name === name)!,
    );
    const quiet = object.run('cil_from_container', delivered!.input);
    t.deepEqual([quiet.events, quiet.metrics.length], [[], 1]);
    const loud = object.run('cil_from_container', spoofed!.input);
    t.is(loud.events.length, 1);
  } finally {
    object.runtime.set(0, { trace: true });
  }
});

test.serial('drops that nobody has room to report are counted all the same', t => {
  const object = load('cil_from_container', CONFIGURATIONS[0]!);
  const fixture = FIXTURES.find(f => f.name === "another pod's address")!;
  const repeat = 10_000;
  const outcome = object.run('cil_from_container', { ...fixture.input, repeat });
  t.deepEqual(
    outcome.metrics.map(({ reason, packets }) => ({ reason, packets })),
    [{ reason: DropReason.DROP_INVALID_SIP, packets: BigInt(repeat) }],
  );
  t.true(outcome.events.length < repeat, 'more than the ring holds');
  t.is(object.run('cil_from_container', fixture.input).events.length, 1, 'and goes on when it is read');
});
