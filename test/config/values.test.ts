import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadValues, mergeValues, parseFlat, parseValues, valuesToFlat } from '../../src/config/index.ts';
import { settings } from '../../src/config/settings.ts';

const flatOf = (...sets: string[]): Record<string, string> => valuesToFlat(loadValues([], sets)).flat;
const warningsOf = (...sets: string[]): string[] => valuesToFlat(loadValues([], sets)).warnings;

/** The first document's file: a comment, a document start, then the values. */
const CLUSTER_POOL = `
# cilium-values.yaml
---
ipam:
  mode: cluster-pool
  operator:
    clusterPoolIPv4MaskSize: 29
    clusterPoolIPv4PodCIDRList:
      - "172.20.42.0/28"
      - "172.20.84.0/28"
`;

test('the defaults', t => {
  const { flat, warnings } = valuesToFlat({});
  t.deepEqual(warnings, []);
  t.like(flat, {
    ipam: 'cluster-pool',
    'cluster-pool-ipv4-cidr': '10.244.0.0/16',
    'cluster-pool-ipv4-mask-size': '24',
    'routing-mode': 'tunnel',
    'tunnel-protocol': 'vxlan',
    'tunnel-port': '8472',
    'auto-direct-node-routes': 'false',
    'enable-endpoint-routes': 'false',
    'kube-proxy-replacement': 'false',
    'enable-ipv4-masquerade': 'true',
    'enable-bpf-masquerade': 'false',
  });
  t.false('enable-host-legacy-routing' in flat);
  t.false('ipv4-native-routing-cidr' in flat);
});

test("the document's values become the document's flat keys, and a third range is appended", t => {
  const values = parseValues(CLUSTER_POOL, 'cilium-values.yaml');
  const { flat, warnings } = valuesToFlat(values);
  t.deepEqual(warnings, []);
  t.is(flat['cluster-pool-ipv4-cidr'], '172.20.42.0/28 172.20.84.0/28');
  t.is(flat['cluster-pool-ipv4-mask-size'], '29');
  t.is(flat.ipam, 'cluster-pool');
  const more = parseValues(CLUSTER_POOL.replace(/(\s+- )"172.20.84.0\/28"/, '$&$1"10.0.0.0/28"'), 'more');
  t.is(
    valuesToFlat(mergeValues(values, more)).flat['cluster-pool-ipv4-cidr'],
    '172.20.42.0/28 172.20.84.0/28 10.0.0.0/28',
  );
});

test('metrics are off, on at a port, or at an address', t => {
  t.false('prometheus-serve-addr' in flatOf());
  t.is(flatOf('prometheus.enabled=true')['prometheus-serve-addr'], ':9962');
  t.is(flatOf('prometheus.enabled=true', 'prometheus.port=9000')['prometheus-serve-addr'], ':9000');
  const flat = flatOf('prometheus.serveAddr=127.0.0.1:9962');
  t.is(parseFlat(flat).prometheusServeAddr, '127.0.0.1:9962');
  t.throws(() => flatOf('prometheus.serveAddr=9962'), {
    code: 'BAD_VALUES',
    message: /prometheus\.serveAddr/,
  });
  t.is(parseFlat({}).prometheusServeAddr, undefined);
});

test('native routing as the second document sets it up', t => {
  const sets = [
    'routingMode=native',
    'autoDirectNodeRoutes=true',
    'ipv4NativeRoutingCIDR=10.0.0.0/8',
    'endpointRoutes.enabled=true',
  ];
  t.deepEqual(warningsOf(...sets), []);
  t.like(flatOf(...sets), {
    'routing-mode': 'native',
    'auto-direct-node-routes': 'true',
    'ipv4-native-routing-cidr': '10.0.0.0/8',
    'enable-endpoint-routes': 'true',
  });
});

test('a scalar is accepted where a list is expected, texts where typed values are', t => {
  t.is(flatOf('ipam.operator.clusterPoolIPv4PodCIDRList=10.0.0.0/8')['cluster-pool-ipv4-cidr'], '10.0.0.0/8');
  const texts = valuesToFlat({
    endpointRoutes: { enabled: 'true' },
    ipam: { operator: { clusterPoolIPv4MaskSize: '25' } },
    kubeProxyReplacement: 'false',
    devices: 'eth0',
  });
  t.like(texts.flat, {
    'enable-endpoint-routes': 'true',
    'cluster-pool-ipv4-mask-size': '25',
    devices: 'eth0',
  });
});

test('refusals name the path, the reason and the way out', t => {
  const refusals: [string[], string][] = [
    [
      ['ipam.operator.clusterPoolIPv4PodCIDRList=172.20.0.0/28', 'ipam.operator.clusterPoolIPv4MaskSize=33'],
      'values: ipam.operator.clusterPoolIPv4MaskSize: 33 is not a mask for 172.20.0.0/28; use 28..30',
    ],
    [
      ['ipam.operator.clusterPoolIPv4PodCIDRList={10.0.0.0/8,172.20.0.0/28}'],
      'values: ipam.operator.clusterPoolIPv4PodCIDRList: no mask size fits all of 10.0.0.0/8, 172.20.0.0/28; use ranges of similar size',
    ],
    [
      ['ipam.operator.clusterPoolIPv4PodCIDRList=10.0.0.0/8', 'ipam.operator.clusterPoolIPv4MaskSize=25'],
      'values: ipam.operator.clusterPoolIPv4MaskSize: 25 is not a mask for 10.0.0.0/8; use 8..24',
    ],
    [
      ['ipam.operator.clusterPoolIPv4PodCIDRList={10.0.0.0/16,10.1.0.0/16,10.0.128.0/17}'],
      'values: ipam.operator.clusterPoolIPv4PodCIDRList: 10.0.128.0/17 overlaps 10.0.0.0/16',
    ],
    [
      ['ipam.operator.clusterPoolIPv4PodCIDRList={}'],
      'values: ipam.operator.clusterPoolIPv4PodCIDRList: the list is empty; name at least one range',
    ],
    [
      ['ipam.operator.clusterPoolIPv4PodCIDRList=10.0.0.1/8'],
      'values: ipam.operator.clusterPoolIPv4PodCIDRList: 10.0.0.1/8 is not an IPv4 range: bits behind the prefix are set; write 10.0.0.0/8',
    ],
    [
      ['ipam.operator.clusterPoolIPv4PodCIDRList={10.0.0.0/16,224.8.0.0/16}'],
      'values: ipam.operator.clusterPoolIPv4PodCIDRList: 224.8.0.0/16 overlaps 224.0.0.0/4, where no host can have an address; use a private range such as 10.0.0.0/8',
    ],
    [['MTU=117'], "values: MTU: 117 is too small for a packet; use 118 or more, or 0 for the node's own"],
    [
      ['MTU=67', 'routingMode=native'],
      "values: MTU: 67 is too small for a packet; use 68 or more, or 0 for the node's own",
    ],
    [
      ['autoDirectNodeRoutes=true'],
      'values: autoDirectNodeRoutes: true makes no sense in tunnel mode: packets to other nodes are encapsulated; set it to false, or routingMode to native',
    ],
    [
      ['ipam.mode=crd'],
      'values: ipam.mode: crd is not built yet; use one of cluster-pool, multi-pool, kubernetes',
    ],
    [
      ['ipam.mode=clusterpool'],
      'values: ipam.mode: clusterpool is not known; use one of cluster-pool, multi-pool, kubernetes',
    ],
    [
      ['bpf.masquerade=true'],
      'values: bpf.masquerade: true needs the programs that balance services; set kubeProxyReplacement to true as well',
    ],
    [
      ['l2announcements.enabled=true'],
      'values: l2announcements.enabled: true needs services in eBPF; set kubeProxyReplacement to true as well',
    ],
    [
      ['externalIPs.enabled=true'],
      'values: externalIPs.enabled: true needs services in eBPF; set kubeProxyReplacement to true as well',
    ],
    [
      ['l2announcements.leaseDuration=5s'],
      'values: l2announcements.leaseRenewDeadline: the lease would run out before; use less than l2announcements.leaseDuration',
    ],
    [['routingMode=direct'], 'values: routingMode: direct is not known; use one of tunnel, native'],
    [['endpointRoutes.enabled=yes'], 'values: endpointRoutes.enabled: yes is neither true nor false'],
    [['endpointRoutes=true'], 'values: endpointRoutes: true is not a table of values'],
    [['tunnelPort=70000'], 'values: tunnelPort: 70000 is not a number of 0 to 65535'],
    [
      ['ipv4NativeRoutingCIDR=10.0.0.0'],
      'values: ipv4NativeRoutingCIDR: 10.0.0.0 is not an IPv4 range: the prefix length is missing; write 10.0.0.0/32 for one address',
    ],
    [['ipam.operater.x=1'], 'values: ipam.operater: unknown key; did you mean ipam.operator?'],
    [['routingmode=native'], 'values: routingmode: unknown key; did you mean routingMode?'],
    [['somethingElse.entirely=1'], 'values: somethingElse: unknown key'],
    [
      ['cluster.name=Not_A_Name'],
      'values: cluster.name: Not_A_Name is not a name of up to 32 lower-case letters, digits and dashes',
    ],
  ];
  for (const [sets, message] of refusals) {
    t.throws(() => flatOf(...sets), { code: 'BAD_VALUES', message }, sets.join(' '));
  }
});

test('every switch of a feature that is not built is refused on and taken off', t => {
  for (const row of settings.filter(row => row.status === 'not-yet' && row.type.kind === 'boolean')) {
    const off = row.off![0] as boolean;
    t.notThrows(() => flatOf(`${row.path}=${off}`), row.path);
    t.throws(() => flatOf(`${row.path}=${!off}`), {
      message: new RegExp(`^values: ${row.path}: .* not built yet`),
    });
  }
});

test("keys of Cilium's that mean nothing here only warn, with their path", t => {
  t.deepEqual(warningsOf('operator.replicas=1,k8sServiceHost=auto,bpf.preallocateMaps=true'), [
    'values: operator.replicas: means nothing here and is ignored',
    'values: k8sServiceHost: means nothing here and is ignored',
    'values: bpf.preallocateMaps: means nothing here and is ignored',
  ]);
  t.deepEqual(flatOf('operator.replicas=1'), flatOf());
});

test('combinations that may be wrong warn', t => {
  t.regex(warningsOf('routingMode=native')[0]!, /^values: ipv4NativeRoutingCIDR: not set in native mode/);
  t.regex(warningsOf('ipv4NativeRoutingCIDR=10.0.0.0/8')[0]!, /no effect in tunnel mode/);
  t.regex(
    warningsOf(
      'ipam.operator.clusterPoolIPv4PodCIDRList=10.0.0.0/24,ipam.operator.clusterPoolIPv4MaskSize=30',
    )[0]!,
    /no pod will fit/,
  );
});

test('null means the default, also below', t => {
  const base = loadValues([], ['routingMode=native', 'endpointRoutes.enabled=true']);
  t.deepEqual(flatOf(), valuesToFlat(loadValues([], ['routingMode=null,endpointRoutes=null'], base)).flat);
  t.deepEqual(valuesToFlat({ ipam: null, routingMode: null }).flat, flatOf());
});

test('files merge deeply from left to right, lists replace, sets come last', t => {
  const dir = mkdtempSync(join(tmpdir(), 'fimbria-test-values-'));
  try {
    const [one, two, empty] = ['one', 'two', 'empty'].map(name => join(dir, `${name}.yaml`)) as [
      string,
      string,
      string,
    ];
    writeFileSync(one, CLUSTER_POOL);
    writeFileSync(
      two,
      'ipam:\n  operator:\n    clusterPoolIPv4PodCIDRList: [10.9.0.0/28]\nroutingMode: native\n',
    );
    writeFileSync(empty, '# nothing\n');
    t.deepEqual(loadValues([one, two, empty], ['routingMode=tunnel']), {
      ipam: {
        mode: 'cluster-pool',
        operator: { clusterPoolIPv4MaskSize: 29, clusterPoolIPv4PodCIDRList: ['10.9.0.0/28'] },
      },
      routingMode: 'tunnel',
    });
    writeFileSync(two, 'a: [1\n');
    t.throws(() => loadValues([two], []), { code: 'BAD_VALUES', message: new RegExp(`^parse ${two}: `) });
    writeFileSync(two, '- a\n');
    t.throws(() => loadValues([two], []), { message: /not a map of values/ });
    writeFileSync(two, 'a: 1\na: 2\n');
    t.throws(() => loadValues([two], []), { message: /unique/i });
    t.throws(() => loadValues([join(dir, 'missing.yaml')], []), {
      message: /^read values file .*missing\.yaml: ENOENT/,
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('flat keys read back as what they were written from', t => {
  for (const sets of [
    [],
    [
      'routingMode=native,autoDirectNodeRoutes=true,endpointRoutes.enabled=true,ipv4NativeRoutingCIDR=10.0.0.0/8',
    ],
    [
      'ipam.operator.clusterPoolIPv4PodCIDRList={172.20.42.0/28,172.20.84.0/28},ipam.operator.clusterPoolIPv4MaskSize=29',
    ],
    ['devices={eth0,eth1},bpf.tcx=never,bpf.hostLegacyRouting=false,MTU=1400,cluster.name=blue'],
  ]) {
    const flat = flatOf(...sets);
    t.deepEqual({ ...parseFlat(flat).flat }, flat);
  }
});
