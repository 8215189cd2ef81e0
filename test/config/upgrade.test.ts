import test from 'ava';
import fc from 'fast-check';
import { type AgentConfig, checkUpgrade, parseFlat } from '../../src/config/index.ts';

const running = parseFlat({
  'cluster-pool-ipv4-cidr': '10.0.0.0/16 10.1.0.0/16',
  'cluster-pool-ipv4-mask-size': '25',
});
const with_ = (change: Partial<AgentConfig>): AgentConfig => ({ ...running, ...change });

test('what does not touch addresses may change, and ranges may be appended', t => {
  t.notThrows(() => checkUpgrade(running, running));
  t.notThrows(() => checkUpgrade(running, with_({ routingMode: 'native', endpointRoutes: true, mtu: 1400 })));
  const more = [...running.clusterPoolIpv4Cidrs, '10.7.0.0/16', '10.2.0.0/16'];
  t.notThrows(() => checkUpgrade(running, with_({ clusterPoolIpv4Cidrs: more })));
});

test('mode and mask stay, ranges neither go nor move; the refusal has the path of the value', t => {
  const refusals: [Partial<AgentConfig>, string][] = [
    [
      { ipamMode: 'multi-pool' as AgentConfig['ipamMode'] },
      'values: ipam.mode: cannot change from cluster-pool to multi-pool on a running cluster; make a new cluster',
    ],
    [
      { clusterPoolIpv4MaskSize: 24 },
      'values: ipam.operator.clusterPoolIPv4MaskSize: cannot change from 25 to 24: nodes have blocks of /25; leave it at 25, or make a new cluster',
    ],
    ...[['10.0.0.0/16'], ['10.1.0.0/16', '10.0.0.0/16'], ['10.2.0.0/16', '10.0.0.0/16', '10.1.0.0/16']].map(
      (list): [Partial<AgentConfig>, string] => [
        { clusterPoolIpv4Cidrs: list },
        `values: ipam.operator.clusterPoolIPv4PodCIDRList: ranges can only be appended, and ${list.join(', ')} does not begin with 10.0.0.0/16, 10.1.0.0/16; keep what is there in its order and append new ranges`,
      ],
    ),
  ];
  for (const [change, message] of refusals) {
    t.throws(() => checkUpgrade(running, with_(change)), { code: 'BAD_VALUES', message });
  }
});

test('a list is taken if and only if it begins with the running one', t => {
  const list = fc.array(fc.constantFrom('10.0.0.0/16', '10.1.0.0/16', '10.2.0.0/16'), { maxLength: 4 });
  fc.assert(
    fc.property(list, list, (before, after) => {
      const isLonger = JSON.stringify(after.slice(0, before.length)) === JSON.stringify(before);
      const check = (): void =>
        checkUpgrade(with_({ clusterPoolIpv4Cidrs: before }), with_({ clusterPoolIpv4Cidrs: after }));
      if (isLonger) t.notThrows(check);
      else t.throws(check, { code: 'BAD_VALUES' });
    }),
  );
});
