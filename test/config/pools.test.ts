import test from 'ava';
import fc from 'fast-check';
import { parseFlat, parseValues, valuesToFlat } from '../../src/config/index.ts';
import { poolText, readPools } from '../../src/config/pools.ts';

const place = { source: 'values', key: 'pools' } as const;

test("the second document's values become its flat keys, and nothing else that speaks of IPAM", t => {
  const values = parseValues(
    `
ipam:
  mode: multi-pool
  operator:
    autoCreateCiliumPodIPPools:
      default:
        ipv4:
          cidrs: 172.20.0.0/16
          maskSize: 28
`,
    'values.yaml',
  );
  const { flat, warnings } = valuesToFlat(values);
  t.deepEqual(warnings, []);
  const shown = Object.entries(parseFlat(flat).flat);
  t.deepEqual(
    shown.filter(([key, value]) => `${key} ${value}`.includes('multi-pool')),
    [['ipam', 'multi-pool']],
  );
  t.deepEqual(
    shown.filter(([key]) => key.includes('auto-create')),
    [['auto-create-cilium-pod-ip-pools', 'default=ipv4-cidrs:172.20.0.0/16;ipv4-mask-size:28']],
  );
  t.deepEqual(
    shown.filter(([key]) => key.includes('ipam')),
    [
      ['default-lb-service-ipam', 'lbipam'],
      ['enable-lb-ipam', 'true'],
      ['ipam', 'multi-pool'],
      ['ipam-cilium-node-update-rate', '15s'],
    ],
  );
});

test('the first document: three keys speak of the cluster pool', t => {
  const shown = Object.entries(parseFlat(valuesToFlat({}).flat).flat);
  t.deepEqual(
    shown.filter(([key, value]) => `${key} ${value}`.includes('cluster-pool')).map(([key]) => key),
    ['cluster-pool-ipv4-cidr', 'cluster-pool-ipv4-mask-size', 'ipam'],
  );
});

test('keys of another mode warn and vanish', t => {
  const { flat, warnings } = valuesToFlat({
    ipam: {
      mode: 'multi-pool',
      operator: { clusterPoolIPv4MaskSize: 28, autoCreateCiliumPodIPPools: {} },
    },
  });
  t.deepEqual(warnings, ['values: ipam.operator.clusterPoolIPv4MaskSize: has no effect in multi-pool mode']);
  t.false('cluster-pool-ipv4-mask-size' in flat);
  t.deepEqual(parseFlat(flat).clusterPoolIpv4Cidrs, []);
});

test('what is pre-allocated, of which pool, how often it is written', t => {
  t.deepEqual(parseFlat({ ipam: 'multi-pool', 'ipam-default-ip-pool': 'dc1-pool' }).preAllocation, {
    'dc1-pool': 8,
  });
  const config = parseFlat({
    ipam: 'multi-pool',
    'ipam-multi-pool-pre-allocation': 'mars=16,default=0',
    'ipam-cilium-node-update-rate': '1m30s',
  });
  t.deepEqual(config.preAllocation, { mars: 16, default: 0 });
  t.is(config.ciliumNodeUpdateRateMs, 90_000);
});

test('bad pools are refused with their path', t => {
  const refusals: [unknown, string][] = [
    ['mars', 'values: pools: mars is not NAME=ipv4-cidrs:RANGES;ipv4-mask-size:NUMBER'],
    [{ Mars: {} }, 'values: pools.Mars: is not a name of lower-case letters, digits, dashes and dots'],
    [{ mars: {} }, 'values: pools.mars: it has no ranges; write ipv4: {cidrs, maskSize}'],
    [{ mars: { ipv5: {} } }, 'values: pools.mars.ipv5: unknown key; use ipv4 or ipv6'],
    [
      { mars: { ipv4: { cidrs: [], maskSize: 24 } } },
      'values: pools.mars.ipv4.cidrs: the list is empty; name at least one range',
    ],
    [
      { mars: { ipv4: { cidrs: 'fd00::/64', maskSize: 24 } } },
      'values: pools.mars.ipv4.cidrs: fd00::/64 is not an IPv4 range: the prefix length is not a number of 0 to 32',
    ],
    [
      { mars: { ipv4: { cidrs: '10.0.0.0/16', maskSize: 8 } } },
      'values: pools.mars.ipv4.maskSize: 8 is not a mask for 10.0.0.0/16; use 16..32',
    ],
    [
      { mars: { ipv4: { cidrs: '10.0.0.0/16' } } },
      'values: pools.mars.ipv4.maskSize: it is missing; use 16..32',
    ],
    [
      {
        mars: { ipv4: { cidrs: '10.0.0.0/16', maskSize: 24 } },
        venus: { ipv4: { cidrs: ['10.0.128.0/24'], maskSize: 26 } },
      },
      'values: pools.venus.ipv4.cidrs: 10.0.128.0/24 overlaps 10.0.0.0/16 of pool mars',
    ],
    [
      { mars: { ipv4: { cidr: '10.0.0.0/16' } } },
      'values: pools.mars.ipv4.cidr: unknown key; use cidrs or maskSize',
    ],
  ];
  for (const [raw, message] of refusals)
    t.throws(() => readPools(raw, place), { message, code: 'BAD_VALUES' });
  t.throws(
    () =>
      valuesToFlat({
        ipam: {
          mode: 'multi-pool',
          operator: { autoCreateCiliumPodIPPools: { x: { ipv4: { cidrs: '127.0.0.0/8', maskSize: 24 } } } },
        },
      }),
    { message: /autoCreateCiliumPodIPPools\.x\.ipv4\.cidrs: 127\.0\.0\.0\/8 overlaps/ },
  );
});

test('a pool written flat reads as it was', t => {
  const family = fc.record({
    cidrs: fc.constantFrom(['10.0.0.0/16'], ['10.0.0.0/16', '10.2.0.0/15']),
    maskSize: fc.integer({ min: 16, max: 32 }),
  });
  const six = fc.record({ cidrs: fc.constant(['fd00::/48']), maskSize: fc.integer({ min: 48, max: 128 }) });
  fc.assert(
    fc.property(fc.constantFrom('default', 'dc1-pool', 'a.b'), family, fc.option(six), (name, ipv4, ipv6) => {
      const pool = { name, ipv4, ...(ipv6 ? { ipv6 } : {}) };
      return JSON.stringify(readPools(poolText(pool), place)) === JSON.stringify([pool]);
    }),
  );
  t.pass();
});

test('reading any text neither hangs nor throws anything but a complaint', t => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), fc.stringMatching(/^[a-z=:;,0-9./ -]*$/)), text => {
      try {
        readPools(text, place);
        return true;
      } catch (error) {
        return (error as { code?: string }).code === 'BAD_VALUES';
      }
    }),
    { numRuns: 500 },
  );
  t.pass();
});
