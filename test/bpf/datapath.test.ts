import test from 'ava';
import { DropReason, EventSize } from '../../src/maps/abi.gen.ts';
import { FIXTURES } from './fixtures/all.ts';
import { CONFIGURATIONS, type Configuration, configurationName, ipNumber, type Loaded } from './harness.ts';
import { Programs } from './programs.ts';

/** Every fixture in every configuration in which its program runs. */

let programs: Programs;

const load = (program: string, configuration: Configuration): Loaded => programs.load(program, configuration);

test.before(async () => {
  programs = await Programs.create();
});

test.after.always(() => programs?.close());

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
