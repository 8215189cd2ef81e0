import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  AgentHandlers,
  ConfigResponse,
  ControllerStatus,
  EndpointModel,
  MonitorEvent,
  StatusResponse,
} from '../../src/api/types.ts';
import { parseEndpointId, ZERO_TIME } from '../../src/api/types.ts';
import { FimbriaError } from '../../src/base/errors.ts';

/** A directory of the test's own, gone with it. */
export function temporaryDirectory(t: { teardown(clean: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'fimbria-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function endpoint(
  id: number,
  identity: number,
  labels: string[],
  networking: { ip?: string; ifindex: number; ifname: string; mac: string; hostMac: string },
  pod?: string,
): EndpointModel {
  const spec = { 'label-configuration': {}, options: { Debug: 'Disabled', TraceNotification: 'Enabled' } };
  const policy = {
    'allowed-egress-identities': [0],
    'allowed-ingress-identities': [0],
    build: 1,
    'denied-egress-identities': null,
    'denied-ingress-identities': null,
    id: identity,
    l4: { egress: [], ingress: [] },
    'policy-enabled': 'none' as const,
    'policy-revision': 1,
  };
  return {
    id,
    spec,
    status: {
      controllers: [],
      'external-identifiers': pod
        ? { 'cni-attachment-id': `c-${id}:eth0`, 'container-id': `c-${id}`, 'pod-name': pod }
        : {},
      health: { bpf: 'OK', connected: true, overallHealth: 'OK', policy: 'OK' },
      identity: { id: identity, labels },
      labels: { realized: {}, 'security-relevant': labels },
      log: [
        {
          code: 'OK',
          message: 'Successfully regenerated',
          state: 'ready',
          timestamp: '2026-11-22T21:24:49Z',
        },
      ],
      networking: {
        addressing: networking.ip ? [{ ipv4: networking.ip, 'ipv4-pool-name': 'default' }] : [],
        ...(pod ? { 'container-interface-name': 'eth0' } : {}),
        'host-mac': networking.hostMac,
        'interface-index': networking.ifindex,
        'interface-name': networking.ifname,
        mac: networking.mac,
      },
      policy: { 'proxy-policy-revision': 1, 'proxy-statistics': [], realized: policy, spec: policy },
      realized: spec,
      state: 'ready',
    },
  };
}

const COREDNS = [
  'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=kube-system',
  'k8s:io.cilium.k8s.policy.cluster=default',
  'k8s:io.cilium.k8s.policy.serviceaccount=coredns',
  'k8s:io.kubernetes.pod.namespace=kube-system',
  'k8s:k8s-app=kube-dns',
];

/** The endpoints of the samples: one pod, the host, the health endpoint. Not sorted, as a table must do that. */
export const ENDPOINTS: EndpointModel[] = [
  endpoint(1364, 4, ['reserved:health'], {
    ip: '172.20.0.11',
    ifindex: 7,
    ifname: 'lxc_health',
    mac: '3a:c9:b4:f3:4c:9a',
    hostMac: '7e:46:c0:22:31:7f',
  }),
  endpoint(
    235,
    5118,
    COREDNS,
    {
      ip: '172.20.0.3',
      ifindex: 11,
      ifname: 'lxcd4c5e765631e',
      mac: '86:0a:05:59:44:d9',
      hostMac: '2e:a3:f9:4b:05:20',
    },
    'kube-system/coredns-674b8bbfcf-7ltmp',
  ),
  endpoint(1334, 1, ['reserved:host'], {
    ifindex: 4,
    ifname: 'cilium_host',
    mac: '',
    hostMac: '',
  }),
];

/** A job that succeeded `agoMs` before `now`. */
export function controller(
  name: string,
  now: number,
  agoMs: number | undefined,
  failure?: string,
): ControllerStatus {
  return {
    name,
    status: {
      'last-success-timestamp': agoMs === undefined ? ZERO_TIME : new Date(now - agoMs).toISOString(),
      'last-failure-timestamp': failure === undefined ? ZERO_TIME : new Date(now - 5000).toISOString(),
      ...(failure === undefined ? {} : { 'last-failure-msg': failure, 'consecutive-failure-count': 2 }),
    },
  };
}

/** The node of the samples, native routing. `now` is when controllers are looked at. */
export function status(now = Date.now()): StatusResponse {
  return {
    kubernetes: {
      state: 'Ok',
      msg: '1.33 (v1.33.2) [linux/amd64]',
      'k8s-api-versions': ['cilium/v2::CiliumNode', 'core/v1::Pods'],
    },
    'kube-proxy-replacement': { mode: 'False' },
    'host-firewall': { mode: 'Disabled' },
    srv6: { enabled: false },
    'cni-chaining': { mode: 'none' },
    'cni-file': {
      state: 'Ok',
      msg: 'successfully wrote CNI configuration file to /etc/cni/net.d/05-fimbria.conflist',
    },
    cilium: { state: 'Ok', msg: '0.1.0 (v0.1.0)' },
    'cilium-version': '0.1.0',
    nodeMonitor: { state: 'Ok', msg: 'Listening for events on 2 CPUs' },
    'cilium-health': { state: 'Ok' },
    ipam: {
      status: 'IPv4: 3/6 allocated from 172.20.42.0/29, ',
      ipv4: ['172.20.42.2', '172.20.42.3', '172.20.42.5'],
      allocations: {
        '172.20.42.5': 'kube-system/coredns-674b8bbfcf-xcvrr',
        '172.20.42.2': 'router',
        '172.20.42.3': 'health',
      },
    },
    'ipv4-big-tcp': { enabled: false },
    'ipv6-big-tcp': { enabled: false },
    'bandwidth-manager': { enabled: false },
    routing: { network: 'Native', host: 'BPF' },
    'attach-mode': 'tcx',
    'datapath-mode': 'veth',
    masquerading: { mode: 'Disabled', ipv4: false, ipv6: false },
    'clock-source': 'ktime',
    controllers: [controller('sync-node', now, 38_000), controller('endpoint-gc', now, 100_000)],
    proxy: null,
    'identity-range': { 'min-identity': 256, 'max-identity': 65535 },
    hubble: { state: 'Disabled' },
    'bpf-maps': {
      maps: [
        { name: 'Endpoints', size: 65535 },
        { name: 'IP cache', size: 512000 },
      ],
    },
    encryption: { mode: 'Disabled' },
    cluster: {
      reachable: 2,
      total: 2,
      timestamp: '2025-07-27T09:00:00.123Z',
      nodes: [
        {
          name: 'w2',
          'primary-address': '192.168.10.102',
          'health-endpoint': '172.20.42.11',
          host: { ip: '192.168.10.102', icmp: { latency: 451_197 }, http: { latency: 1_200_000 } },
          endpoint: { ip: '172.20.42.11', icmp: { latency: 500_000 }, http: { latency: 980_001 } },
        },
        {
          name: 'w1',
          local: true,
          'primary-address': '192.168.10.101',
          'health-endpoint': '172.20.42.3',
          host: { ip: '192.168.10.101', icmp: { latency: 90_000 }, http: { latency: 900 } },
          endpoint: { ip: '172.20.42.3', icmp: { latency: 90_500 }, http: { latency: 2_000_000 } },
        },
      ],
    },
  };
}

export const CONFIG: ConfigResponse = {
  flat: {
    ipam: 'cluster-pool',
    'cluster-pool-ipv4-mask-size': '29',
    'cluster-pool-ipv4-cidr': '172.20.42.0/28 172.20.84.0/28',
  },
  status: {
    addressing: { ipv4: { enabled: true, ip: '172.20.42.2', 'alloc-range': '172.20.42.0/29' } },
    deviceMTU: 1500,
    routeMTU: 1500,
    datapathMode: 'veth',
    'ipam-mode': 'cluster-pool',
    nodeName: 'w1',
    realized: {
      options: { TraceNotification: 'Enabled', Debug: 'Disabled' },
      'policy-enforcement': 'default',
    },
  },
};

/** A monitor whose events the test gives, and that says when somebody listens and when he went. */
export class FakeMonitor {
  #waiting: (() => void)[] = [];
  #events: MonitorEvent[] = [];
  listeners = 0;
  ended: Promise<void>;
  #end: () => void = () => {};

  constructor() {
    this.ended = new Promise(resolve => {
      this.#end = resolve;
    });
  }

  emit(event: MonitorEvent): void {
    this.#events.push(event);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async *listen(signal: AbortSignal): AsyncGenerator<MonitorEvent> {
    this.listeners++;
    signal.addEventListener('abort', () => {
      for (const wake of this.#waiting.splice(0)) wake();
    });
    try {
      for (;;) {
        for (const event of this.#events.splice(0)) yield event;
        if (signal.aborted) return;
        if (this.#events.length === 0) await new Promise<void>(resolve => this.#waiting.push(resolve));
      }
    } finally {
      this.#end();
    }
  }
}

/** An agent with the content of the samples; everything can be replaced. */
export function fakeHandlers(replace: Partial<AgentHandlers> = {}): AgentHandlers {
  const rangeIsFull = (): never => {
    throw new FimbriaError({ code: 'RANGE_FULL', op: 'allocate', object: 'address', why: 'range is full' });
  };
  const find = (id: string): EndpointModel | undefined => {
    const parsed = parseEndpointId(id);
    return ENDPOINTS.find(({ id: number, status: { 'external-identifiers': external, networking } }) => {
      if (parsed?.prefix === 'cilium-local') return String(number) === parsed.value;
      if (parsed?.prefix === 'pod-name') return external['pod-name'] === parsed.value;
      if (parsed?.prefix === 'container-id') return external['container-id'] === parsed.value;
      return networking.addressing[0]?.ipv4 === parsed?.value;
    });
  };
  return {
    healthz: async () => status(),
    bpfFlush: async table => [{ map: `cilium_${table}`, entries: 3 }],
    config: async () => CONFIG,
    endpoints: () => ENDPOINTS,
    endpoint: find,
    endpointDelete: async id => find(id) !== undefined,
    ipamAllocate: async () => rangeIsFull(),
    ipamClaim: async ip => ({
      address: { ipv4: ip, 'ipv4-pool-name': 'default' },
      ipv4: { ip, cidrs: null },
      'host-addressing': { ipv4: { 'alloc-range': '172.20.42.0/29', enabled: true, ip: '172.20.42.2' } },
    }),
    ipamRelease: async ip => ip === '172.20.42.5',
    cni: async request => ({ status: 200, body: request }),
    nodes: async () => [
      {
        name: 'node-b',
        'primary-address': { ipv4: { ip: '192.168.10.101', 'alloc-range': '172.20.0.0/29', enabled: true } },
        'pod-cidrs': ['172.20.0.0/29'],
        source: 'custom-resource',
      },
      {
        name: 'node-a',
        'primary-address': { ipv4: { ip: '192.168.10.100', 'alloc-range': '172.20.2.0/24', enabled: true } },
        'pod-cidrs': ['172.20.2.0/24'],
        source: 'local',
      },
    ],
    identities: async () => [
      { id: 102, labels: ['k8s:io.cilium.k8s.policy.cluster=default', 'k8s:k8s-app=kube-dns'] },
      { id: 1, labels: ['reserved:host'] },
    ],
    ips: async () => [
      { cidr: '172.20.2.229/32', identity: 5, labels: ['reserved:init'] },
      { cidr: '172.20.2.36/32', identity: 1, labels: ['reserved:host'], metadata: { source: 'local' } },
      { cidr: '0.0.0.0/0', identity: 2, labels: ['reserved:world'] },
      { cidr: '172.20.0.4/32', identity: 6, labels: ['reserved:remote-node'] },
    ],
    maps: async () => [
      { name: 'cilium_metrics', errors: 0, cached: false },
      { name: 'cilium_lxc', entries: 5, errors: 0, cached: true },
    ],
    metrics: () => '# HELP cilium_endpoint Endpoints.\n# TYPE cilium_endpoint gauge\ncilium_endpoint 3\n',
    services: async () => [],
    bpf: (async (table: string, argument?: string) => {
      if (table === 'endpoint') {
        return [
          {
            ip: '172.20.2.144',
            host: false,
            id: 1279,
            identity: 5,
            flags: 0,
            ifindex: 10,
            mac: '4e:08:73:02:24:ba',
            nodeMac: 'b6:d3:59:d2:c7:9b',
          },
          { ip: '172.20.2.36', host: true, id: 0, identity: 0, flags: 1, ifindex: 0, mac: '', nodeMac: '' },
          {
            ip: '192.168.10.100',
            host: true,
            id: 0,
            identity: 0,
            flags: 1,
            ifindex: 0,
            mac: '',
            nodeMac: '',
          },
        ];
      }
      if (table === 'ipcache') {
        return [
          {
            prefix: '172.20.0.2/32',
            identity: 5,
            encryptKey: 0,
            tunnelEndpoint: '192.168.10.101',
            flags: ['hastunnel'],
          },
          { prefix: '0.0.0.0/0', identity: 2, encryptKey: 0, tunnelEndpoint: '0.0.0.0', flags: [] },
          { prefix: '192.168.10.101/32', identity: 6, encryptKey: 0, tunnelEndpoint: '0.0.0.0', flags: [] },
        ];
      }
      if (table === 'metrics') {
        return [
          {
            reason: 0,
            text: 'Success',
            direction: 'EGRESS',
            packets: 12,
            bytes: 982,
            line: 1377,
            file: 'bpf_lxc.c',
          },
          {
            reason: 3,
            text: 'Interface',
            direction: 'INGRESS',
            packets: 181,
            bytes: 17277,
            line: 1123,
            file: 'bpf_host.c',
          },
          {
            reason: 139,
            text: 'Unsupported L3 protocol',
            direction: 'EGRESS',
            packets: 18,
            bytes: 1412,
            line: 1831,
            file: 'bpf_lxc.c',
          },
        ];
      }
      if (argument !== '235') return [];
      const any = { endpoint: 235, identity: 0, labels: [], port: 'ANY', proxyPort: 0, authType: 'disabled' };
      return [
        { ...any, action: 'Allow', direction: 'Ingress', bytes: 518, packets: 5, prefixLen: 0, cookie: 0 },
        { ...any, action: 'Allow', direction: 'Egress', prefixLen: 0, cookie: 0 },
      ];
    }) as AgentHandlers['bpf'],
    monitor: (_, signal) => new FakeMonitor().listen(signal),
    ...replace,
  };
}
