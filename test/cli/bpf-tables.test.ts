import test from 'ava';
import type { BpfCtRow, BpfNatRow } from '../../src/api/bpf.ts';
import type { ServiceModel } from '../../src/api/types.ts';
import { serviceMatches } from '../../src/cli/commands/service.ts';
import * as tables from '../../src/cli/format/bpf-tables.ts';
import { fakeHandlers } from '../api/fixtures.ts';

test('endpoints, prefixes, policy, counters', async t => {
  const handlers = fakeHandlers();
  t.is(
    tables.bpfEndpointTable(await handlers.bpf('endpoint')),
    `IP ADDRESS         LOCAL ENDPOINT INFO
172.20.2.36:0      (localhost)
172.20.2.144:0     id=1279  sec_id=5     flags=0x0000 ifindex=10  mac=4E:08:73:02:24:BA nodemac=B6:D3:59:D2:C7:9B parent_ifindex=0
192.168.10.100:0   (localhost)
`,
  );
  t.is(
    tables.bpfIpcacheTable(await handlers.bpf('ipcache')),
    `IP PREFIX/ADDRESS   IDENTITY
0.0.0.0/0           identity=2 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>
172.20.0.2/32       identity=5 encryptkey=0 tunnelendpoint=192.168.10.101 flags=hastunnel
192.168.10.101/32   identity=6 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>
`,
  );
  t.is(
    tables.bpfPolicyTable(await handlers.bpf('policy', '235')),
    `POLICY   DIRECTION   LABELS (source:key[=value])   PORT/PROTO   PROXY PORT   AUTH TYPE   BYTES   PACKETS   PREFIX   COOKIE
Allow    Ingress     ANY                           ANY          NONE         disabled    518     5         0        0
Allow    Egress      ANY                           ANY          NONE         disabled    -       -         0        0
`,
  );
  t.is(tables.bpfPolicyTable([]), 'Policy stats empty. Perhaps the policy enforcement is disabled?\n');
  t.is(
    tables.bpfMetricsTable(await handlers.bpf('metrics')),
    `REASON                    DIRECTION   PACKETS   BYTES   LINE   FILE
Interface                 INGRESS     181       17277   1123   bpf_host.c
Success                   EGRESS      12        982     1377   bpf_lxc.c
Unsupported L3 protocol   EGRESS      18        1412    1831   bpf_lxc.c
`,
  );
});

const FLOW: BpfCtRow = {
  proto: 'TCP',
  direction: 'IN',
  source: '192.168.10.1:38082',
  destination: '172.20.2.65:4240',
  expiresS: 7990,
  expiresAtS: 13592,
  packets: 3,
  bytes: 200,
  flags: 0x28,
  flagNames: ['SeenNonSyn', 'NodePort'],
  revNat: 4,
  sourceIdentity: 2,
  backendId: 0,
  txTcpFlags: 2,
  rxTcpFlags: 0x12,
  translated: '10.96.0.1:80',
};

test('flows: when they run out by the clock, and with -d how long that is', t => {
  t.is(
    tables.bpfCtLines([FLOW]),
    'TCP IN 192.168.10.1:38082 -> 172.20.2.65:4240 expires=13592 Packets=3 Bytes=200 RxFlagsSeen=0x12 ' +
      'TxFlagsSeen=0x02 Flags=0x0028 [ SeenNonSyn NodePort ] RevNAT=4 SourceSecurityID=2 BackendID=0 ' +
      'Translated=10.96.0.1:80\n',
  );
  t.regex(tables.bpfCtLines([FLOW], true), / expires=13592 \(remaining: 7990 sec\(s\)\) Packets=3 /);
  t.regex(tables.bpfCtLines([{ ...FLOW, flagNames: [] }]), / \[ \] RevNAT=4 /);
});

test('translations: both ways, and whether the flow is the node’s own', t => {
  const out: BpfNatRow = {
    proto: 'UDP',
    direction: 'OUT',
    source: '10.244.1.7:5000',
    destination: '192.168.10.1:53',
    translated: '192.168.10.100:5000',
    createdS: 24,
    expiresS: 36,
    ofNode: false,
  };
  t.is(
    tables.bpfNatLines([out, { ...out, direction: 'IN', ofNode: true }]),
    'UDP OUT 10.244.1.7:5000 -> 192.168.10.1:53 XLATE_SRC 192.168.10.100:5000 Created=24sec ago NeedsCT=0\n' +
      'UDP IN 10.244.1.7:5000 -> 192.168.10.1:53 XLATE_DST 192.168.10.100:5000 Created=24sec ago NeedsCT=1\n',
  );
});

const plain = (text: string): string => text.replaceAll(/ +$/gm, '');

test('parts of the load balancer', t => {
  t.is(
    plain(
      tables.bpfBackendTable([
        { id: 12, address: '10.244.1.8:80/TCP', state: 'terminating' },
        { id: 3, address: '10.244.1.7:80/TCP', state: 'active' },
      ]),
    ),
    `ID   BACKEND ADDRESS     STATE
3    10.244.1.7:80/TCP   active
12   10.244.1.8:80/TCP   terminating
`,
  );
  t.is(
    plain(tables.bpfRevNatTable([{ id: 1, frontend: '10.96.0.1:80' }])),
    'ID   SERVICE ADDRESS\n1    10.96.0.1:80\n',
  );
  t.is(
    plain(
      tables.bpfSourceRangeTable([
        { revNat: 9, cidr: '10.0.0.0/8' },
        { revNat: 1, frontend: '10.0.250.1:80', cidr: '192.168.0.0/16' },
      ]),
    ),
    `REVNAT_ID   SERVICE ADDRESS   SOURCE RANGE
1           10.0.250.1:80     192.168.0.0/16
9           -                 10.0.0.0/8
`,
  );
  t.is(
    plain(
      tables.bpfAffinityTable([
        { client: 'netns:7', revNat: 1, frontend: '10.96.0.1:80', backendId: 3, lastUsedS: 5 },
      ]),
    ),
    `CLIENT    SERVICE ADDRESS (REVNAT_ID)   BACKEND ADDRESS (BACKEND_ID)   LAST USED
netns:7   10.96.0.1:80 (1)              - (3)                          5s ago
`,
  );
  const maglev = {
    revNat: 1,
    frontend: '10.96.0.1:80',
    scope: 'internal' as const,
    shares: [
      { backendId: 3, backend: '10.244.1.7:80/TCP', places: 2 },
      { backendId: 4, backend: '10.244.1.8:80/TCP', places: 1 },
    ],
    table: [3, 4, 3],
  };
  t.is(
    plain(tables.bpfMaglevTable([maglev])),
    `REVNAT_ID   SERVICE ADDRESS   BACKEND ADDRESS (BACKEND_ID)   PLACES
1           10.96.0.1:80/i    10.244.1.7:80/TCP (3)          2
                              10.244.1.8:80/TCP (4)          1
`,
  );
  t.is(plain(tables.bpfMaglevTables([maglev])), 'SVC ID   LOOKUP TABLE\n1/i      [3 4 3]\n');
});

test('what is announced, and what is not masqueraded', t => {
  const at = { ifindex: 4, mac: 'aa:bb:cc:dd:ee:ff', responses: 17 };
  t.is(
    plain(
      tables.bpfResponderTable([
        { ...at, address: '10.0.250.10', device: 'eth0', validS: -1 },
        { ...at, address: '10.0.250.9', validS: 12 },
      ]),
    ),
    `IP ADDRESS    DEVICE      MAC                 RESPONSES   LEASE VALID FOR
10.0.250.9    ifindex 4   aa:bb:cc:dd:ee:ff   17          12s
10.0.250.10   eth0        aa:bb:cc:dd:ee:ff   17          expired
`,
  );
  t.is(
    tables.bpfIpmasqTable([{ prefix: '100.64.0.0/10' }, { prefix: '10.0.0.0/8' }]),
    'IP PREFIX/ADDRESS\n10.0.0.0/8\n100.64.0.0/10\n',
  );
});

test('services by name, namespace, type and address', t => {
  const service: ServiceModel = {
    id: 1,
    name: 'shop/web',
    frontend: '10.96.0.1:80/TCP',
    type: 'ClusterIP',
    backends: [{ address: '10.244.1.7:8080/TCP', state: 'active' }],
  };
  const fits = (given: Parameters<typeof serviceMatches>[1]): boolean => serviceMatches(service, given);
  t.true(fits({}));
  t.true(fits({ name: 'web', namespace: 'shop', type: 'ClusterIP', address: '10.96.0.1' }));
  t.true(
    fits({ name: 'shop/web' }) && fits({ address: '10.244.1.7' }) && fits({ address: '10.96.0.1:80/TCP' }),
  );
  t.false(fits({ name: 'we' }) || fits({ namespace: 'default' }) || fits({ type: 'NodePort' }));
  t.false(fits({ address: '10.96.0.10' }) || fits({ address: '10.244.1' }));
  t.true(serviceMatches({ ...service, name: 'pod:shop/web' }, { namespace: 'shop', name: 'web' }));
});
