import test from 'ava';
import { FIXTURES } from './fixtures/all.ts';
import { Oracle } from './fuzz/oracle.ts';
import { policiesOf } from './fuzz/policies.ts';
import { Random } from './fuzz/random.ts';
import { allowance, type Program } from './fuzz/specification.ts';
import { CONFIGURATIONS, configurationName, ipNumber, VERDICT } from './harness.ts';

/** The oracle of the fuzz knows nothing of the fixtures, so where both speak they must say the same. */
for (const configuration of CONFIGURATIONS) {
  test(`the oracle agrees with every fixture: ${configurationName(configuration)}`, t => {
    const oracle = new Oracle(configuration, policiesOf(new Random(1)));
    for (const { name, program, input, when, expect } of FIXTURES) {
      if (when?.(configuration) === false) continue;
      const expected = expect(configuration);
      const [prefix, ...words] = program.split('_');
      const decision = oracle.decide(words.join('_') as Program, {
        bytes: input.packet.subarray(0, input.cutTo ?? input.packet.length),
        ifindex: input.ifindex,
        mark: input.mark ?? 0,
        gsoSize: input.gsoSize ?? 0,
        tagged: false,
        vni: prefix === 'probe' ? input.vni : undefined,
      });
      t.is(VERDICT[decision.verdict] as number, expected.verdict, `${name}: verdict`);
      t.true(
        allowance(words.join('_') as Program, configuration).verdicts.includes(decision.verdict),
        `${name}: allowed`,
      );
      t.is(decision.counted, expected.counted?.reason, `${name}: counted`);
      if (expected.counted) t.is(decision.direction, expected.counted.direction, `${name}: direction`);
      t.is(decision.mark, expected.mark ?? input.mark ?? 0, `${name}: mark`);
      const packet = expected.packet ?? input.packet;
      t.is(
        Buffer.from(decision.bytes).toString('hex'),
        Buffer.from(packet).toString('hex'),
        `${name}: bytes`,
      );
      const { tunnel, event } = expected;
      t.deepEqual(
        decision.tunnel,
        tunnel && { vni: tunnel.vni, remote: ipNumber(tunnel.remote) },
        `${name}: tunnel key`,
      );
      if (!event) continue;
      t.is(decision.verdict === 'drop' ? decision.counted : decision.point, event.code, `${name}: event`);
      t.deepEqual(
        [decision.endpointId, decision.source, decision.destination],
        [event.endpointId ?? 0, event.sourceIdentity ?? 0, event.destinationIdentity ?? 0],
        `${name}: who`,
      );
    }
  });
}
