import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadConfigDir, parseFlat, readConfigDir, unknownFlatKeys } from '../../src/config/index.ts';

test('no keys at all are the defaults', t => {
  const { flat, ...config } = parseFlat({});
  t.deepEqual(config, {
    clusterName: 'default',
    ipamMode: 'cluster-pool',
    clusterPoolIpv4Cidrs: ['10.244.0.0/16'],
    clusterPoolIpv4MaskSize: 24,
    growFullNodes: false,
    autoCreatePools: [],
    defaultIpPool: 'default',
    preAllocation: { default: 8 },
    ciliumNodeUpdateRateMs: 15_000,
    routingMode: 'tunnel',
    tunnelProtocol: 'vxlan',
    tunnelPort: 8472,
    autoDirectNodeRoutes: false,
    endpointRoutes: false,
    cniExclusive: true,
    hostLegacyRouting: true,
    hostRoutingReason: 'kubeProxyReplacement is not on',
    socketLbHostNamespaceOnly: false,
    tcx: 'devices',
    kubeProxyReplacement: false,
    masquerade: 'netfilter',
    ipMasqAgent: false,
    loadBalancerAlgorithm: 'random',
    loadBalancerMode: 'snat',
    nodePortRange: [30_000, 32_767],
    lbMapMax: 65_536,
    flowMapMax: {},
    mtu: 0,
    devices: [],
  });
  t.is(flat['routing-mode'], 'tunnel');
  t.deepEqual(Object.keys(flat), Object.keys(flat).sort());
  t.true(Object.isFrozen(flat));
});

test('lists may be joined by blanks or commas, a tunnel port of 0 is the usual one', t => {
  const config = parseFlat({
    'cluster-pool-ipv4-cidr': '10.0.0.0/16, 10.1.0.0/16',
    devices: 'eth0,eth1',
    'tunnel-port': '0',
    'ipv4-native-routing-cidr': '10.0.0.0/8',
    'routing-mode': 'native',
  });
  t.deepEqual(config.clusterPoolIpv4Cidrs, ['10.0.0.0/16', '10.1.0.0/16']);
  t.deepEqual(config.devices, ['eth0', 'eth1']);
  t.is(config.tunnelPort, 8472);
  t.is(config.ipv4NativeRoutingCidr, '10.0.0.0/8');
});

test('bad keys are named as they are called there', t => {
  const refusals: [Record<string, string>, string][] = [
    [{ 'routing-mode': 'x' }, 'config: routing-mode: x is not known; use one of tunnel, native'],
    [{ ipam: 'crd' }, 'config: ipam: crd is not built yet; use one of cluster-pool, multi-pool, kubernetes'],
    [
      { 'auto-create-cilium-pod-ip-pools': 'mars=ipv4-cidrs:10.0.0.1/16;ipv4-mask-size:24' },
      'config: auto-create-cilium-pod-ip-pools.mars.ipv4.cidrs: 10.0.0.1/16 is not an IPv4 range: bits behind the prefix are set; write 10.0.0.0/16',
    ],
    [
      { 'enable-bpf-masquerade': 'true' },
      'config: enable-bpf-masquerade: true needs the programs that balance services; set kube-proxy-replacement to true as well',
    ],
    [{ mtu: '1e3' }, 'config: mtu: 1e3 is not a number of 0 to 65535'],
    [
      { 'auto-direct-node-routes': 'true' },
      'config: auto-direct-node-routes: true makes no sense in tunnel mode: packets to other nodes are encapsulated; set it to false, or routing-mode to native',
    ],
    [
      { 'cluster-pool-ipv4-cidr': '10.0.0.0/24', 'cluster-pool-ipv4-mask-size': '20' },
      'config: cluster-pool-ipv4-mask-size: 20 is not a mask for 10.0.0.0/24; use 24..30',
    ],
  ];
  for (const [flat, message] of refusals) t.throws(() => parseFlat(flat), { code: 'BAD_VALUES', message });
});

test('keys nobody knows are kept and can be told', t => {
  const flat = { 'some-cilium-key': 'x', ipam: 'cluster-pool' };
  t.is(parseFlat(flat).flat['some-cilium-key'], 'x');
  t.deepEqual(unknownFlatKeys(flat), ['some-cilium-key']);
});

test('a directory is read as Kubernetes mounts it', t => {
  const dir = mkdtempSync(join(tmpdir(), 'fimbria-test-config-'));
  try {
    mkdirSync(join(dir, '..data'));
    writeFileSync(join(dir, '..data', 'mtu'), '1400\n');
    symlinkSync(join('..data', 'mtu'), join(dir, 'mtu'));
    writeFileSync(join(dir, 'devices'), 'eth0');
    writeFileSync(join(dir, '.hidden'), 'x');
    mkdirSync(join(dir, 'folder'));
    t.deepEqual(readConfigDir(dir), { devices: 'eth0', mtu: '1400' });
    t.is(loadConfigDir(dir).mtu, 1400);
    t.throws(() => loadConfigDir(join(dir, 'missing')), { code: 'CONFIG_DIR', message: /missing: ENOENT/ });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
