import test from 'ava';
import fc from 'fast-check';
import { mapWarnings } from '../../src/agent/map-usage.ts';
import { type MetricsInput, metricFamilies } from '../../src/agent/metrics/families.ts';
import { Histogram } from '../../src/agent/metrics/histogram.ts';
import { LogCounts } from '../../src/agent/metrics/log-counts.ts';
import { ServiceTimes } from '../../src/agent/metrics/service-times.ts';
import { parseListenAddress } from '../../src/base/health-server.ts';
import { createLogger, silent } from '../../src/base/log.ts';
import { MetricsServer } from '../../src/base/metrics/server.ts';
import { renderMetrics } from '../../src/base/metrics/text.ts';
import { parseMetrics } from '../../src/cli/format/metrics.ts';
import { BpfMap } from '../../src/kernel/libbpf/index.ts';
import { ipmasqMap } from '../../src/maps/flows.ts';
import { mapOps } from '../../src/maps/ops.ts';
import { operatorMetrics } from '../../src/operator/metrics.ts';
import { readExposition } from './exposition.ts';

const reachable = { icmp: { latency: 1 }, http: { latency: 1 } };
const unreachable = { icmp: { status: 'no answer' }, http: { latency: 1 } };
const row = { sourceFile: 'bpf_lxc.c', sourceLine: 1 };
const input: MetricsInput = {
  version: '1.2.3',
  nodeName: 'left',
  clusterName: 'default',
  endpointStates: { ready: 3 },
  flowGc: {
    runs: 3,
    results: new Map([
      ['tcp', { alive: 5, deleted: 2, seconds: 0.1 }],
      ['any', { alive: 1, deleted: 0, seconds: 0.1 }],
      ['nat', { alive: 7, deleted: 3, seconds: 0.1, inwards: { alive: 4, deleted: 1 } }],
    ]),
    durations: [],
  },
  services: {
    events: { add: 3, update: 2, delete: 1 },
    delays: [],
    entries: { slots: 14, backends: 3, frontends: 5 },
    refused: 1,
  },
  announced: { addresses: 2, responses: 9 },
  mapOps: [{ map: 'cilium_lxc', ops: { update: { success: 4, fail: 1 }, delete: { success: 2, fail: 0 } } }],
  ipamViolations: 0,
  ipam: { capacity: 254, used: 4 },
  maps: [
    { name: 'Endpoints', map: 'cilium_lxc', size: 100, entries: 95 },
    { name: 'Events (bytes)', map: 'cilium_events', size: 1 << 20 },
  ],
  datapath: [
    { ...row, reason: 0, direction: 'egress', packets: 5n, bytes: 500n },
    { ...row, reason: 3, direction: 'ingress', packets: 9n, bytes: 900n },
    { ...row, reason: 132, direction: 'egress', packets: 2n, bytes: 84n },
    { ...row, sourceLine: 2, reason: 132, direction: 'egress', packets: 1n, bytes: 42n },
  ],
  controllers: [
    { name: 'a', consecutiveErrors: 0, successCount: 7, failureCount: 1, message: 'no error' },
    { name: 'b', consecutiveErrors: 2, successCount: 0, failureCount: 2, message: 'no' },
  ],
  apiTimes: [],
  logLines: [],
  client: {
    config: { server: 'https://10.96.0.1:443' },
    calls: () => [{ method: 'PATCH', returnCode: '409', count: 3 }],
  },
  cluster: {
    nodes: [
      { name: 'left', local: true, 'primary-address': '1', host: { ip: '1', ...reachable } },
      {
        name: 'right',
        'primary-address': '2',
        host: { ip: '2', ...reachable },
        endpoint: { ip: '3', ...unreachable },
      },
    ],
    reachable: 1,
    total: 2,
  },
  identities: { reserved: 12, cluster_local: 4 },
  repaired: [{ table: 'routes', repaired: 2 }],
  eventsLost: { ringBuffer: 11, client: 0 },
  monitorClients: 1,
  process: { residentBytes: 1e8, cpuSeconds: 1.5, startSeconds: 1.7e9 },
};

test('every metric is well-formed and says what its name says in Cilium', t => {
  const api = new Histogram();
  for (const seconds of [0.001, 0.3, 60])
    api.observe({ path: '/v1/cni', method: 'POST', return_code: '200' }, seconds);
  const logs = new LogCounts();
  const log = logs.wrap(createLogger('error', () => {}));
  log.for('datapath').warn('a');
  log.for('datapath').warn('b');
  log.error('c');
  log.info('d');
  const text = renderMetrics(
    metricFamilies({ ...input, bootstrapSeconds: 0.8, apiTimes: api.samples(), logLines: logs.samples() }),
  );
  const metrics = readExposition(text);
  const value = (name: string, labels: Record<string, string> = {}): number | undefined =>
    [...metrics.values()]
      .flatMap(m => m.samples)
      .find(s => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))?.value;
  t.is(
    value('cilium_k8s_client_api_calls_total', { host: '10.96.0.1', method: 'PATCH', return_code: '409' }),
    3,
  );
  t.is(value('cilium_version', { version: '1.2.3' }), 1);
  t.is(value('cilium_endpoint_state', { endpoint_state: 'ready' }), 3);
  t.is(value('cilium_ipam_capacity', { family: 'ipv4' }), 254);
  t.is(value('cilium_ip_addresses', { family: 'ipv4' }), 4);
  t.is(value('cilium_bpf_map_pressure', { map_name: 'cilium_lxc' }), 0.95);
  t.is(value('cilium_bpf_map_pressure', { map_name: 'cilium_events' }), undefined);
  t.is(value('cilium_bpf_map_capacity', { map_group: 'cilium_events' }), 1 << 20);
  t.is(value('cilium_drop_count_total', { reason: 'Invalid source ip', direction: 'EGRESS' }), 3);
  t.is(value('cilium_drop_bytes_total', { direction: 'EGRESS' }), 126);
  t.is(metrics.get('cilium_drop_count_total')?.samples.length, 1, 'what is only seen is not dropped');
  t.is(value('cilium_forward_count_total', { direction: 'EGRESS' }), 5);
  t.is(value('cilium_controllers_runs_total', { status: 'failure' }), 3);
  t.is(value('cilium_controllers_failing'), 1);
  t.is(value('cilium_agent_bootstrap_seconds', { outcome: 'success' }), 0.8);
  t.is(value('cilium_agent_api_process_time_seconds_count', { path: '/v1/cni' }), 3);
  t.is(value('cilium_agent_api_process_time_seconds_bucket', { le: '0.5' }), 2);
  t.is(value('cilium_node_health_connectivity_status', { type: 'node', status: 'reachable' }), 2);
  t.is(value('cilium_node_health_connectivity_status', { type: 'endpoint', status: 'unreachable' }), 1);
  t.is(value('cilium_unreachable_nodes'), 0);
  t.is(value('cilium_unreachable_health_endpoints'), 1);
  t.is(value('cilium_identity', { type: 'cluster_local' }), 4);
  t.is(value('cilium_errors_warnings_total', { level: 'warning', subsystem: 'datapath' }), 2);
  t.is(value('cilium_errors_warnings_total', { level: 'error' }), 1);
  t.is(value('fimbria_repaired_total', { table: 'routes' }), 2);
  t.is(value('fimbria_events_lost_total', { source: 'ring_buffer' }), 11);

  t.is(value('cilium_datapath_conntrack_gc_runs_total', { status: 'completed' }), 3);
  t.is(value('cilium_datapath_conntrack_gc_entries', { protocol: 'TCP', status: 'deleted' }), 2);
  t.is(value('cilium_datapath_conntrack_gc_entries', { protocol: 'non-TCP', status: 'alive' }), 1);
  t.is(value('cilium_datapath_nat_gc_entries', { direction: 'egress', status: 'alive' }), 3);
  t.is(value('cilium_datapath_nat_gc_entries', { direction: 'ingress', status: 'deleted' }), 1);
  t.is(value('cilium_services_events_total', { action: 'update' }), 2);
  t.is(value('fimbria_service_entries', { kind: 'slots' }), 14);
  t.is(value('fimbria_services_refused'), 1);
  t.is(value('fimbria_l2_responses'), 9);
  t.is(
    value('cilium_bpf_map_ops_total', { map_name: 'cilium_lxc', operation: 'update', outcome: 'fail' }),
    1,
  );

  // The command line's own reader finds the same.
  t.deepEqual(
    parseMetrics(text),
    [...metrics.values()].flatMap(m => m.samples),
  );
});

test('how long a Service takes into the datapath counts from what was heard of it first', t => {
  const times = new ServiceTimes();
  times.service('default/web', 'add');
  times.changed('default/web');
  times.service('default/old', 'delete');
  times.programmed(['default/web', 'default/old', 'default/never-heard-of', 'default/web']);
  t.deepEqual(times.events, { add: 1, update: 0, delete: 1 });
  const counts = times.delays.samples().filter(({ suffix }) => suffix === '_count');
  t.deepEqual(
    counts.map(({ labels, value }) => [labels['action'], value]),
    [
      ['add', 1],
      ['delete', 1],
    ],
  );
});

test('writes to maps are counted entry by entry, also those that fail', t => {
  const map = BpfMap.create({ type: 'hash', name: 'ops', keySize: 8, valueSize: 4, maxEntries: 2 });
  t.teardown(() => map.close());
  const prefixes = ipmasqMap(map);
  t.is(mapOps(map.id), undefined);
  prefixes.set('10.0.0.0/8', true);
  prefixes.updateBatch([
    ['10.0.0.0/8', true],
    ['172.16.0.0/12', true],
  ]);
  t.throws(() => prefixes.set('192.168.0.0/16', true), { code: 'E2BIG' });
  prefixes.deleteBatch(['10.0.0.0/8', '9.0.0.0/8']);
  t.false(prefixes.delete('10.0.0.0/8'), 'what is not there is deleted all the same');
  t.deepEqual(mapOps(map.id), { update: { success: 3, fail: 1 }, delete: { success: 3, fail: 0 } });
});

test('an operator tells how full pools of addresses are', t => {
  const text = operatorMetrics([], true, {
    pools: [
      { name: 'blue', available: 10, used: 3, conflicting: false },
      { name: 'red', available: 0, used: 0, conflicting: true },
    ],
    matching: 4,
    unsatisfied: 1,
  });
  const metrics = readExposition(text);
  const samples = (name: string) => metrics.get(`cilium_operator_lbipam_${name}`)!.samples.map(s => s.value);
  t.deepEqual(samples('conflicting_pools'), [1]);
  t.deepEqual(samples('ips_available'), [10, 0]);
  t.deepEqual(samples('ips_used'), [3, 0]);
  t.deepEqual([samples('services_matching'), samples('services_unsatisfied')], [[4], [1]]);
  t.false(readExposition(operatorMetrics([], false)).has('cilium_operator_lbipam_ips_used'));
});

test('before anything happened the text is well-formed, too', t => {
  const metrics = readExposition(renderMetrics(metricFamilies({ ...input, datapath: [], maps: [] })));
  t.false(metrics.has('cilium_agent_bootstrap_seconds'));
  t.false(metrics.has('cilium_drop_count_total'));
});

test('whatever is in a label or a help text comes back as it was', t => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.string(),
      fc.double({ noNaN: true }),
      (label, help, value) => {
        const text = renderMetrics([
          { name: 'x_total', help, type: 'counter', samples: [{ labels: { a: label, b: '' }, value }] },
        ]);
        const [sample] = readExposition(text).get('x_total')!.samples;
        t.is(sample!.labels['a'], label);
        t.true(sample!.value === value);
        t.deepEqual(parseMetrics(text), [sample!]);
      },
    ),
  );
});

test('a bad line of metrics is named', t => {
  for (const line of ['x', 'x{a="1} 2', 'x{a=1} 2', 'x y', '{} 1'])
    t.throws(() => parseMetrics(`${line}\n`), { code: 'INVALID', message: /it is no sample/ }, line);
});

test('a map warns from 90 % on', t => {
  const at = (entries: number): string[] =>
    mapWarnings([{ name: 'IP cache', map: 'cilium_ipcache', size: 1000, entries }]);
  t.deepEqual(at(899), []);
  t.deepEqual(at(900), ['map cilium_ipcache is 90 % full (900 of 1000)']);
  t.deepEqual(at(1000), ['map cilium_ipcache is 100 % full (1000 of 1000)']);
  t.deepEqual(mapWarnings([{ name: 'Events (bytes)', map: 'cilium_events', size: 1 }]), []);
});

test('a port serves /metrics and nothing else; a taken one is said, and can be tried again', async t => {
  let text = 'a 1\n';
  const first = new MetricsServer(() => text, silent);
  t.teardown(() => first.close());
  const port = await first.listen('127.0.0.1:0');
  const answer = await fetch(`http://127.0.0.1:${port}/metrics?x=1`);
  t.is(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  t.is(await answer.text(), 'a 1\n');
  t.is((await fetch(`http://127.0.0.1:${port}/`)).status, 404);
  text = 'a 2\n';
  t.is(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(), 'a 2\n');

  const second = new MetricsServer(() => {
    throw new Error('broken');
  }, silent);
  t.teardown(() => second.close());
  await t.throwsAsync(second.listen(`127.0.0.1:${port}`), {
    code: 'EADDRINUSE',
    message: /--metrics-address/,
  });
  const other = await second.listen('127.0.0.1:0');
  t.is((await fetch(`http://127.0.0.1:${other}/metrics`)).status, 500);
});

test('addresses of the metrics port', t => {
  t.deepEqual(parseListenAddress(':9962'), { port: 9962 });
  t.deepEqual(parseListenAddress('127.0.0.1:1'), { host: '127.0.0.1', port: 1 });
  t.deepEqual(parseListenAddress('[::1]:65535'), { host: '::1', port: 65535 });
  for (const bad of ['', '9962', ':', ':70000', 'a b:1', '::1:1', 'x:-1'])
    t.throws(() => parseListenAddress(bad), { code: 'USAGE' }, bad);
});
