import test from 'ava';
import { loadValues, parseFlat, parseValues, valuesToFlat } from '../../src/config/index.ts';

/** What `config view` prints of every key that the two documents show, under the values that they show before it. */
const SHOWN: [string, ReturnType<typeof loadValues>, Record<string, string>][] = [
  [
    'first document, cluster-pool',
    parseValues(
      `ipam: {mode: cluster-pool, operator: {clusterPoolIPv4MaskSize: 29, clusterPoolIPv4PodCIDRList: ["172.20.42.0/28", "172.20.84.0/28"]}}`,
      'first',
    ),
    {
      'cluster-pool-ipv4-cidr': '172.20.42.0/28 172.20.84.0/28',
      'cluster-pool-ipv4-mask-size': '29',
      ipam: 'cluster-pool',
    },
  ],
  [
    'first document, multi-pool',
    loadValues(
      [],
      [
        'ipam.mode=multi-pool',
        'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs={172.20.0.0/16}',
        'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=28',
      ],
    ),
    {
      ipam: 'multi-pool',
      'auto-create-cilium-pod-ip-pools': 'default=ipv4-cidrs:172.20.0.0/16;ipv4-mask-size:28',
    },
  ],
  [
    'first document, load balancer',
    parseValues(
      `{kubeProxyReplacement: true, routingMode: native, autoDirectNodeRoutes: true, l2announcements: {enabled: true}, externalIPs: {enabled: true}}`,
      'first',
    ),
    { 'enable-l2-announcements': 'true', 'enable-l2-neigh-discovery': 'true' },
  ],
  [
    'second document',
    loadValues(
      [],
      [
        'ipam.mode=multi-pool,routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.0.0.0/8',
        'endpointRoutes.enabled=true,kubeProxyReplacement=true,bpf.masquerade=true',
        'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs={10.10.0.0/16}',
        'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=27',
      ],
    ),
    {
      'default-lb-service-ipam': 'lbipam',
      'enable-lb-ipam': 'true',
      ipam: 'multi-pool',
      'ipam-cilium-node-update-rate': '15s',
    },
  ],
];

for (const [name, values, keys] of SHOWN)
  test(`${name}: keys as it shows them`, t => {
    t.like(parseFlat(valuesToFlat(values).flat).flat, keys);
  });

test('second document: services and masquerade in eBPF, so the short way', t => {
  const config = parseFlat(valuesToFlat(SHOWN.at(-1)![1]).flat);
  t.is(config.masquerade, 'bpf');
  t.false(config.hostLegacyRouting);
  t.is(config.hostRoutingReason, 'services and masquerade are in eBPF');
});

test('host routing: what is asked for, else by what is in eBPF', t => {
  const legacy = (...sets: string[]): [boolean, string] => {
    const { hostLegacyRouting, hostRoutingReason } = parseFlat(valuesToFlat(loadValues([], sets)).flat);
    return [hostLegacyRouting, hostRoutingReason];
  };
  t.deepEqual(legacy(), [true, 'kubeProxyReplacement is not on']);
  t.deepEqual(legacy('kubeProxyReplacement=true'), [true, 'masquerade is not in eBPF']);
  t.deepEqual(legacy('kubeProxyReplacement=true', 'bpf.masquerade=true', 'enableIPv4Masquerade=false'), [
    true,
    'masquerade is not in eBPF',
  ]);
  t.deepEqual(legacy('bpf.hostLegacyRouting=false'), [false, 'bpf.hostLegacyRouting is false']);
  t.is(legacy('kubeProxyReplacement=true', 'bpf.masquerade=true', 'bpf.hostLegacyRouting=true')[0], true);
});

test('sizes of what flows leave behind: by Cilium’s keys, absent unless set', t => {
  const { flat } = valuesToFlat(loadValues([], ['bpf.ctTcpMax=2048,bpf.ctAnyMax=1024,bpf.natMax=4096']));
  t.like(flat, {
    'bpf-ct-global-tcp-max': '2048',
    'bpf-ct-global-any-max': '1024',
    'bpf-nat-global-max': '4096',
  });
  t.deepEqual(parseFlat(flat).flowMapMax, { ctTcp: 2048, ctAny: 1024, nat: 4096 });
  t.deepEqual(parseFlat({}).flowMapMax, {});
  t.throws(() => parseFlat({ 'bpf-nat-global-max': '7' }), { code: 'BAD_VALUES' });
});
