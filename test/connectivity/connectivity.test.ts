import test from 'ava';
import fc from 'fast-check';
import { codeOf } from '../../src/base/errors.ts';
import { labOf } from '../../src/cli/commands/connectivity.ts';
import { formatConnectivity } from '../../src/cli/format/connectivity.ts';
import { parseOutside } from '../../src/connectivity/cluster-stage.ts';
import { mode } from '../../src/connectivity/mode.ts';
import { missing, plan } from '../../src/connectivity/plan.ts';
import { readOutcomes } from '../../src/connectivity/prober.ts';
import { completed } from '../../src/connectivity/test.ts';
import { type Destination, type ModeReport, type Place, SCENARIOS } from '../../src/connectivity/types.ts';

const place = (kind: Place['kind'], node?: string): Place => ({
  kind,
  name: node === undefined ? kind : `${kind} ${node}`,
  ...(node === undefined ? {} : { node }),
});
const answering = (at: Place, port = 1, echoes = true): Destination => ({
  ...at,
  address: '192.0.2.1',
  port,
  echoes,
});
const ofNodes = (...nodes: string[]): Place[] => nodes.flatMap(n => [place('pod', n), place('node', n)]);

test('two nodes and a host outside: every scenario, in both directions', t => {
  const places = [...ofNodes('a', 'b'), place('outside')];
  const itineraries = plan(
    places,
    places.map(at => answering(at)),
  );
  t.deepEqual(missing(itineraries), []);
  const ways = itineraries.flatMap(({ source, targets }) =>
    targets.map(({ scenario, to }) => ({ scenario, way: `${source.name} > ${to}` })),
  );
  for (const scenario of SCENARIOS) t.is(ways.filter(w => w.scenario === scenario).length, 2, scenario);
  t.is(new Set(ways.map(({ way }) => way)).size, ways.length);
});

test('what a cluster has no place for is missing, and not passed', t => {
  const one = ofNodes('a');
  t.deepEqual(
    missing(
      plan(
        one,
        one.map(at => answering(at)),
      ),
    ),
    [
      'pod-to-pod-other-node',
      'pod-to-other-node',
      'node-to-other-pod',
      'node-to-node',
      'pod-to-outside',
      'outside-to-pod',
    ],
  );
});

test('a host that is not ours is asked only for what it can do', t => {
  const kinds = (port: number) =>
    plan([place('pod', 'a')], [answering(place('outside'), port, false)])[0]!.targets[0]!.kinds;
  t.deepEqual(kinds(0), ['ping', 'mtu']);
  t.deepEqual(kinds(443), ['ping', 'tcp', 'mtu']);
});

test('a probe without an outcome has failed', t => {
  const { targets } = plan([place('pod', 'a')], [answering(place('pod', 'b'))])[0]!;
  const ok = {
    scenario: 'pod-to-pod-other-node',
    to: 'pod b',
    kind: 'tcp',
    ok: true,
    detail: '',
    durationMs: 1,
  };
  t.deepEqual(
    completed(targets, readOutcomes(`Debugger attached\n${JSON.stringify(ok)}\n{"scenario":"po`)).map(o => [
      o.kind,
      o.ok,
    ]),
    [
      ['ping', false],
      ['tcp', true],
      ['udp', false],
      ['mtu', false],
      ['transfer', false],
    ],
  );
});

test('any log can be read', t => {
  fc.assert(fc.property(fc.string(), text => readOutcomes(`${text}\n{"scenario":${text}`).length <= 1));
  t.pass();
});

test('an address outside', t => {
  t.deepEqual(parseOutside('192.0.2.1'), { address: '192.0.2.1', port: 0 });
  t.deepEqual(parseOutside('192.0.2.1:443'), { address: '192.0.2.1', port: 443 });
  for (const wrong of ['', 'example.com', '192.0.2.256', '192.0.2.1:70000', '192.0.2.1:']) {
    t.is(codeOf(t.throws(() => parseOutside(wrong))), 'USAGE', wrong);
  }
});

test('a kubeconfig below the labs’ folder is a lab’s', t => {
  t.is(labOf('/run/fimbria-lab/x/kubeconfig'), 'x');
  t.is(labOf('/root/.kube/config'), undefined);
});

const NATIVE = mode({ routing: 'native', endpointRoutes: true, hostRouting: 'Legacy' });
const report = (of: typeof NATIVE, ok: boolean): ModeReport => ({
  mode: of,
  results: (['ping', 'tcp', 'mtu'] as const).map(kind => ({
    from: 'pod on a',
    to: 'pod on b',
    scenario: 'pod-to-pod-other-node',
    kind,
    ok: ok || kind === 'ping',
    detail: kind === 'mtu' && ok ? '1500 bytes' : 'no answer',
    durationMs: 1,
  })),
  untested: [{ scenario: 'pod-to-outside', why: 'no host is named with --outside' }],
});

test('the table of one mode', t => {
  t.is(
    formatConnectivity({ ok: true, nodes: ['a', 'b'], modes: [report(NATIVE, true)] }),
    `Nodes: a, b
Mode:  native, endpoint routes on, host routing Legacy

FROM-TO                 PING   TCP   UDP   MTU   TRANSFER
pod-to-pod-other-node   1/1    1/1   -     1/1   -
pod-to-outside          not tried: no host is named with --outside

Largest packets that pass whole: 1500 bytes
All 3 checks passed
`,
  );
});

test('the table of many modes, and what failed', t => {
  const tunnel = mode({ routing: 'tunnel', endpointRoutes: false, hostRouting: 'BPF' });
  t.is(
    formatConnectivity({
      ok: false,
      nodes: ['a', 'b'],
      modes: [report(NATIVE, true), report(tunnel, false)],
    }),
    `Nodes: a, b

ROUTING                 native   VXLAN
ENDPOINT ROUTES         on       off
HOST ROUTING            Legacy   BPF
pod-to-pod-other-node   3/3      1/3 FAILED

FAILED from pod on a to pod on b: tcp, mtu: no answer (VXLAN, endpoint routes off, host routing BPF)
Largest packets that pass whole: 1500 bytes
4 of 6 checks passed
`,
  );
});
