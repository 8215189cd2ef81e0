import test from 'ava';
import fc from 'fast-check';
import type { StatusResponse } from '../../src/api/types.ts';
import { codeOf } from '../../src/base/errors.ts';
import { goDuration, parseDuration, timeSince } from '../../src/cli/format/duration.ts';
import { evaluate } from '../../src/cli/format/jsonpath.ts';
import { metricsTable, parseMetrics } from '../../src/cli/format/metrics.ts';
import { firstProblem, formatBrief, formatStatus } from '../../src/cli/format/status.ts';
import * as tables from '../../src/cli/format/tables.ts';
import { CONFIG, controller, ENDPOINTS, fakeHandlers, status } from '../api/fixtures.ts';

const NOW = Date.parse('2026-11-22T21:26:29.445Z');
const plain = (change: Partial<StatusResponse> = {}): string =>
  formatStatus({ ...status(NOW), ...change }, { verbose: false, now: NOW });
const verbose = (change: Partial<StatusResponse> = {}): string =>
  formatStatus({ ...status(NOW), ...change }, { verbose: true, now: NOW });

test('status', t => {
  t.is(
    plain(),
    `KVStore:                 Disabled   
Kubernetes:              Ok         1.33 (v1.33.2) [linux/amd64]
Kubernetes APIs:         ["cilium/v2::CiliumNode", "core/v1::Pods"]
KubeProxyReplacement:    False   
Host firewall:           Disabled
SRv6:                    Disabled
CNI Chaining:            none
CNI Config file:         successfully wrote CNI configuration file to /etc/cni/net.d/05-fimbria.conflist
Cilium:                  Ok   0.1.0 (v0.1.0)
NodeMonitor:             Listening for events on 2 CPUs
Cilium health daemon:    Ok   
IPAM:                    IPv4: 3/6 allocated from 172.20.42.0/29, 
IPv4 BIG TCP:            Disabled
IPv6 BIG TCP:            Disabled
BandwidthManager:        Disabled
Routing:                 Network: Native   Host: BPF
Attach Mode:             TCX
Device Mode:             veth
Masquerading:            Disabled
Controller Status:       2/2 healthy
Proxy Status:            No managed proxy redirect
Global Identity Range:   min 256, max 65535
Hubble:                  Disabled
Encryption:              Disabled        
Cluster health:          2/2 reachable   (2025-07-27T09:00:00Z)
Name                     IP              Node   Endpoints
`,
  );
});

test('status --verbose lays out each block by itself', t => {
  const text = verbose();
  t.true(text.startsWith('KVStore:                Disabled   \n'));
  t.true(
    text.includes(`IPAM:                   IPv4: 3/6 allocated from 172.20.42.0/29, 
Allocated addresses:
  172.20.42.2 (router)
  172.20.42.3 (health)
  172.20.42.5 (kube-system/coredns-674b8bbfcf-xcvrr)
IPv4 BIG TCP:           Disabled
`),
  );
  t.true(
    text.includes(`Controller Status:      2/2 healthy
  Name          Last success   Last error   Count   Message
  endpoint-gc   1m40s ago      never        0       no error
  sync-node     38s ago        never        0       no error
Proxy Status:            No managed proxy redirect
Global Identity Range:   min 256, max 65535
`),
  );
  t.true(
    text.includes(`BPF Maps:   dynamic sizing: off
  Name        Size
  Endpoints   65535
  IP cache    512000
`),
  );
  t.true(
    text.endsWith(`Cluster health:   2/2 reachable   (2025-07-27T09:00:00Z)
Name              IP              Node   Endpoints
  w1 (localhost):
    Host connectivity to 192.168.10.101:
      ICMP to stack:   OK, RTT=90µs
      HTTP to agent:   OK, RTT=900ns
    Endpoint connectivity to 172.20.42.3:
      ICMP to stack:   OK, RTT=90.5µs
      HTTP to agent:   OK, RTT=2ms
  w2:
    Host connectivity to 192.168.10.102:
      ICMP to stack:   OK, RTT=451.197µs
      HTTP to agent:   OK, RTT=1.2ms
    Endpoint connectivity to 172.20.42.11:
      ICMP to stack:   OK, RTT=500µs
      HTTP to agent:   OK, RTT=980.001µs
`),
  );
});

test('status --verbose: maps with how full they are, where that is known', t => {
  const maps = [
    { name: 'Endpoints', map: 'cilium_lxc', size: 1000, entries: 925 },
    { name: 'Events (bytes)', map: 'cilium_events', size: 1048576 },
  ];
  t.true(
    verbose({ 'bpf-maps': { maps } }).includes(`  Name             Size      Pressure
  Endpoints        1000      92.5 %
  Events (bytes)   1048576   -
`),
  );
});

test('metrics list', t => {
  const text = '# TYPE a gauge\na{x="1 2",y="\\"q\\""} 3\nb_seconds 0.25\n';
  t.is(
    metricsTable(parseMetrics(text)),
    `Metric      Labels            Value
a           x="1 2" y=""q""   3
b_seconds                     0.250000
`,
  );
});

test('addresses are sorted as text, as in the sample', t => {
  const allocations = {
    '172.20.2.36': 'router',
    '172.20.2.144': '/',
    '172.20.2.65': 'health',
    '172.20.2.229': '/',
  };
  const text = verbose({ ipam: { status: 'x', ipv4: [], allocations } });
  t.true(
    text.includes(`Allocated addresses:
  172.20.2.144 (/)
  172.20.2.229 (/)
  172.20.2.36 (router)
  172.20.2.65 (health)
`),
  );
});

test('tunnel mode, legacy routing and masquerading have Cilium’s words', t => {
  const lines = plain({
    routing: { network: 'Tunnel [vxlan]', host: 'Legacy' },
    'attach-mode': 'tc',
    masquerading: { mode: 'IPTables', ipv4: true, ipv6: false },
  }).split('\n');
  t.true(lines.includes('Routing:                 Network: Tunnel [vxlan]   Host: Legacy'));
  t.true(lines.includes('Attach Mode:             Legacy TC'));
  t.true(lines.includes('Masquerading:            IPTables [IPv4: Enabled, IPv6: Disabled]'));
});

test('kube-proxy replacement and eBPF masquerade as in the sample', t => {
  const lines = verbose({
    'kube-proxy-replacement': {
      mode: 'True',
      deviceList: [{ name: 'eth0', ip: ['192.168.10.100', 'fe80::c073:11ff:fec7:148'] }],
      'direct-routing-device': 'eth0',
      features: {
        mode: 'SNAT',
        'backend-selection': 'Random',
        'socket-lb-coverage': 'Full',
        'node-port-range': '30000-32767',
      },
    },
    masquerading: {
      mode: 'BPF',
      devices: ['eth0'],
      'snat-exclusion-cidr-v4': '10.11.0.0/16',
      ipv4: true,
      ipv6: false,
    },
    kubernetes: { state: 'Disabled' },
  }).split('\n');
  t.is(lines[0], 'KVStore:                Disabled   ');
  t.is(lines[1], 'Kubernetes:             Disabled   ');
  t.is(
    lines[2],
    'KubeProxyReplacement:   True       [eth0   192.168.10.100 fe80::c073:11ff:fec7:148 (Direct Routing)]',
  );
  t.true(
    lines.includes('Masquerading:           BPF   [eth0]   10.11.0.0/16  [IPv4: Enabled, IPv6: Disabled]'),
  );
  t.true(
    lines.includes('  Devices:              eth0   192.168.10.100 fe80::c073:11ff:fec7:148 (Direct Routing)'),
  );
  t.true(lines.includes('  Mode:                 SNAT'));
  t.true(lines.includes('  Socket LB Tracing:    Enabled'));
  t.true(lines.includes('  Socket LB Coverage:   Full'));
  t.true(lines.includes('  Backend Selection:    Random'));
  t.true(lines.includes('  - NodePort:       Enabled (Range: 30000-32767)'));
});

test('failing controllers are shown in the plain view, failing nodes too', t => {
  const broken = status(NOW);
  broken.controllers.push(controller('sync-routes', NOW, undefined, 'no\nroute'));
  broken.cluster.reachable = 1;
  if (broken.cluster.nodes[0])
    broken.cluster.nodes[0].endpoint = { ip: '172.20.42.11', icmp: { status: 'timeout' } };
  const text = formatStatus(broken, { verbose: false, now: NOW });
  t.true(
    text.includes(`Controller Status:      2/3 healthy
  Name          Last success   Last error   Count   Message
  sync-routes   never          5s ago       2       no route
`),
  );
  t.true(
    text.endsWith(`Cluster health:          1/2 reachable    (2025-07-27T09:00:00Z)
Name                     IP               Node   Endpoints
  w2                     192.168.10.102   1/1    0/1
`),
    text,
  );
});

test('brief is OK or the first error', t => {
  t.is(formatBrief(status(NOW)), 'OK\n');
  t.is(
    formatBrief({ ...status(NOW), kubernetes: { state: 'Failure', msg: 'no answer' } }),
    'error in kubernetes: no answer\n',
  );
  const failing = { ...status(NOW), controllers: [controller('a', NOW, 0, 'broken')] };
  t.is(formatBrief(failing), 'error in controller a: broken\n');
  t.is(firstProblem(status(NOW)), undefined);
});

test('endpoint list', t => {
  t.is(
    tables.endpointTable(ENDPOINTS),
    `ENDPOINT   POLICY (ingress)   POLICY (egress)   IDENTITY   LABELS (source:key[=value])                                                  IPv6   IPv4          STATUS   
           ENFORCEMENT        ENFORCEMENT                                                                                                                             
235        Disabled           Disabled          5118       k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=kube-system          172.20.0.3    ready    
                                                           k8s:io.cilium.k8s.policy.cluster=default                                                                   
                                                           k8s:io.cilium.k8s.policy.serviceaccount=coredns                                                            
                                                           k8s:io.kubernetes.pod.namespace=kube-system                                                                
                                                           k8s:k8s-app=kube-dns                                                                                       
1334       Disabled           Disabled          1          reserved:host                                                                                     ready    
1364       Disabled           Disabled          4          reserved:health                                                                     172.20.0.11   ready    
`,
  );
});

test('enforcement has Cilium’s words', t => {
  const [endpoint] = ENDPOINTS;
  if (endpoint === undefined) return t.fail();
  const line = (enabled: 'ingress' | 'both' | 'audit-egress'): string | undefined => {
    const copy = structuredClone(endpoint);
    copy.status.policy.realized['policy-enabled'] = enabled;
    return tables.endpointTable([copy]).split('\n')[2];
  };
  t.regex(line('ingress') ?? '', /^1364 +Enabled +Disabled +4 /);
  t.regex(line('both') ?? '', /^1364 +Enabled +Enabled +4 /);
  t.regex(line('audit-egress') ?? '', /^1364 +Disabled +Disabled \(Audit\) +4 /);
});

test('config view puts values at column 50', t => {
  t.is(
    tables.configView(CONFIG.flat),
    `cluster-pool-ipv4-cidr                            172.20.42.0/28 172.20.84.0/28
cluster-pool-ipv4-mask-size                       29
ipam                                              cluster-pool
`,
  );
  const long = 'k'.repeat(60);
  t.is(tables.configView({ [long]: 'v' }), `${long} v\n`);
});

test('config alone', t => {
  t.is(
    tables.configOptions(CONFIG),
    `##### Read-write configurations #####
Debug                             : Disabled
TraceNotification                 : Enabled
PolicyEnforcement                 : default
`,
  );
});

test('node, identity, ip, map and service lists', async t => {
  const handlers = fakeHandlers();
  t.is(
    tables.nodeTable(await handlers.nodes()),
    `Name     IPv4 Address     Endpoint CIDR   IPv6 Address   Endpoint CIDR   Source
node-a   192.168.10.100   172.20.2.0/24                                  local
node-b   192.168.10.101   172.20.0.0/29                                  custom-resource
`,
  );
  t.is(
    tables.identityTable(await handlers.identities()),
    `ID    LABELS
1     reserved:host
102   k8s:io.cilium.k8s.policy.cluster=default
      k8s:k8s-app=kube-dns
`,
  );
  const ips = await handlers.ips();
  t.is(
    tables.ipTable(ips, false).replaceAll(/ +$/gm, ''),
    `IP                IDENTITY               SOURCE
0.0.0.0/0         reserved:world
172.20.0.4/32     reserved:remote-node
172.20.2.36/32    reserved:host          local
172.20.2.229/32   reserved:init
`,
  );
  t.is(tables.ipTable(ips, true).split('\n')[1]?.trimEnd(), '0.0.0.0/0         2');
  t.is(
    tables.mapTable(await handlers.maps()),
    `Name             Num entries   Num errors   Cache enabled
cilium_metrics   unknown       0            false
cilium_lxc       5             0            true
`,
  );
  t.is(tables.serviceTable([]), 'ID   Frontend   Service Type   Backend\n');
  const backends = ['192.168.10.100:6443/TCP', '192.168.10.101:6443/TCP'].map(address => ({
    address,
    state: 'active' as const,
  }));
  t.is(
    tables.serviceTable([{ id: 1, frontend: '10.96.0.1:443/TCP', type: 'ClusterIP', backends }]),
    `ID   Frontend            Service Type   Backend
1    10.96.0.1:443/TCP   ClusterIP      1 => 192.168.10.100:6443/TCP (active)
                                        2 => 192.168.10.101:6443/TCP (active)
`,
  );
  t.is(
    tables
      .serviceTable(
        [{ id: 1, name: 'default/kubernetes', frontend: '10.96.0.1:443/TCP', type: 'ClusterIP', backends }],
        true,
      )
      .replaceAll(/ +$/gm, ''),
    `ID   Frontend            Service Type   Backend                                 Name
1    10.96.0.1:443/TCP   ClusterIP      1 => 192.168.10.100:6443/TCP (active)   default/kubernetes
                                        2 => 192.168.10.101:6443/TCP (active)
`,
  );
});

test('durations read and print as Go’s', t => {
  t.is(parseDuration('60s'), 60_000);
  t.is(parseDuration('1m30s'), 90_000);
  t.is(parseDuration('500ms'), 500);
  t.is(parseDuration('2'), 2000);
  for (const wrong of ['', 'x', '1x', '-1s', '1s x', '1 s']) {
    t.is(codeOf(t.throws(() => parseDuration(wrong))), 'USAGE', wrong);
  }
  t.is(goDuration(0), '0s');
  t.is(goDuration(999), '999ns');
  t.is(goDuration(451_197), '451.197µs');
  t.is(goDuration(1_200_000), '1.2ms');
  t.is(goDuration(1_000_000_000), '1s');
  t.is(goDuration(100e9), '1m40s');
  t.is(goDuration(7203e9), '2h0m3s');
  t.is(goDuration(96_566_274_746), '1m36.566274746s');
  t.is(timeSince('0001-01-01T00:00:00.000Z', NOW), 'never');
  t.is(timeSince(undefined, NOW), 'never');
  t.is(timeSince(new Date(NOW - 38_900).toISOString(), NOW), '38s ago');
  t.is(timeSince(new Date(NOW + 5000).toISOString(), NOW), '0s ago');
});

test('what Go prints is read back', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1e13 }),
      ns => Math.abs(parseDuration(goDuration(ns)) - ns / 1e6) < 1e-3,
    ),
  );
  t.pass();
});

test('jsonpath as kubectl takes it', t => {
  const nodes = {
    items: [
      {
        metadata: { name: 'w1', labels: { 'a.b/c': 'x' } },
        spec: { ipam: { podCIDRs: ['1.0.0.0/29', '1.0.0.8/29'] } },
      },
      { metadata: { name: 'w2' }, spec: { ipam: { podCIDRs: ['2.0.0.0/29'] } }, n: 3 },
    ],
  };
  const check = (template: string, expected: string): void => {
    t.is(evaluate(template, nodes), expected, template);
  };
  check('{.items[*].metadata.name}', 'w1 w2');
  check('.items[0].metadata.name', 'w1');
  check('{$.items[-1].metadata.name}', 'w2');
  check('{.items[0:1].metadata.name}', 'w1');
  check('{.[*][*].n}', '3');
  check("{.items[0].metadata.labels['a\\.b/c']}{.items[0].metadata.labels.a\\.b/c}", 'xx');
  check('{..podCIDRs[0]}', '1.0.0.0/29 2.0.0.0/29');
  check('{.items[?(@.metadata.name=="w2")].spec.ipam.podCIDRs[*]}', '2.0.0.0/29');
  check('{.items[?(@.n>2)].metadata.name} {.items[?(@.n)].metadata.name}', 'w2 w2');
  check('{.nothing.at.all}', '');
  check(
    '{range .items[*]}{.metadata.name}{" "}{.spec.ipam.podCIDRs[*]}{"\\n"}{end}',
    'w1 1.0.0.0/29 1.0.0.8/29\nw2 2.0.0.0/29\n',
  );
  check('{.items[1].spec.ipam}', '{"podCIDRs":["2.0.0.0/29"]}');
  for (const wrong of ['{.a', '{range .items[*]}', '{end}', '{.a[}', '{.a[?(]}']) {
    t.is(codeOf(t.throws(() => evaluate(wrong, nodes))), 'USAGE', wrong);
  }
});
