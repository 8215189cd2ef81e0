import test from 'ava';
import fc from 'fast-check';
import { formatIpv4Cidr, ipv4CidrOf } from '../../src/base/addr.ts';
import { masqueradeTable, sameMasquerade } from '../../src/datapath/masquerade-table.ts';
import { type MasqueradeInput, masqueradeSpec } from '../../src/routing/masquerade.ts';

const input: MasqueradeInput = {
  self: { name: 'a', ipv4: '192.168.10.100', podCidrs: ['10.1.0.0/24', '10.1.9.0/24'] },
  peers: [{ name: 'b', ipv4: '192.168.10.101', podCidrs: ['10.1.1.0/24', '172.30.0.0/24'] }],
  clusterCidrs: ['10.1.0.0/16'],
  routingMode: 'native',
  nativeRoutingCidr: '10.0.0.0/9',
  listed: ['198.51.100.0/24'],
  devices: ['eth1', 'eth0'],
};
const NOBODY = ['0.0.0.0/8', '224.0.0.0/3'];

test('native: pods, nodes, the range that the network routes and the list see pods as they are', t => {
  const spec = masqueradeSpec(input);
  t.deepEqual(spec.devices, ['eth0', 'eth1']);
  t.deepEqual(spec.sources, ['10.1.0.0/24', '10.1.9.0/24']);
  t.deepEqual(
    new Set(spec.direct),
    new Set([
      ...NOBODY,
      '10.1.0.0/16',
      '10.1.0.0/24',
      '10.1.9.0/24',
      '10.1.1.0/24',
      '172.30.0.0/24',
      '192.168.10.100/32',
      '192.168.10.101/32',
      '10.0.0.0/9',
      '198.51.100.0/24',
    ]),
  );
});

test('tunnel: a node answers as anybody else, and no network knows ways to pods', t => {
  const { direct } = masqueradeSpec({ ...input, routingMode: 'tunnel' });
  t.false(direct.includes('192.168.10.101/32'));
  t.false(direct.includes('10.0.0.0/9'));
  t.true(direct.includes('198.51.100.0/24'));
});

test('the table: one rule, ranges that neither overlap nor touch', t => {
  const { sets, chain } = masqueradeTable(masqueradeSpec(input));
  t.deepEqual(chain.rules, [
    {
      matches: [
        { field: 'sourceIpv4', set: 'pods' },
        { field: 'outputInterface', set: 'devices' },
        { field: 'destinationIpv4', set: 'direct', not: true },
      ],
      action: 'masquerade',
    },
  ]);
  t.deepEqual(
    sets.map(set => [set.name, set.elements.length]),
    [
      ['pods', 2],
      ['direct', 6],
      ['devices', 2],
    ],
  );
});

test('what means the same is the same table, in whatever order it is said', t => {
  const cidr = fc
    .tuple(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 1, max: 32 }))
    .map(([address, length]) => formatIpv4Cidr(ipv4CidrOf(address, length)));
  fc.assert(
    fc.property(fc.array(cidr, { minLength: 1 }), fc.array(cidr), (direct, sources) => {
      const spec = { devices: ['eth0', 'eth1'], sources, direct };
      const twisted = {
        devices: ['eth1', 'eth0'],
        sources: sources.toReversed(),
        direct: [...direct.toReversed(), direct[0]!],
      };
      t.true(sameMasquerade(spec, twisted));
      t.false(sameMasquerade(spec, { ...spec, devices: ['eth0'] }));
    }),
  );
});
