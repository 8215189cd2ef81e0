import test from 'ava';
import type { ConnectivityReport } from '../../src/connectivity/types.ts';
import type { Namespace } from '../../src/model/types.ts';
import { TestCluster } from './lib/cluster.ts';

/** `fimbria connectivity test` on a Kubernetes with kubelets and containerd, as its administrator runs it. */
let cluster: TestCluster;

test.before(async () => {
  cluster = await TestCluster.up();
  await cluster.install();
  await cluster.nodesReady();
});

test.after.always(() => cluster?.down());

test.serial('every way between pods and nodes, and nothing is left', async t => {
  const report: ConnectivityReport = JSON.parse(await cluster.fimbria('connectivity', 'test', '-o', 'json'));
  t.true(report.ok);
  t.deepEqual(report.nodes, ['w1', 'w2']);
  const [{ mode, results, untested }] = report.modes as [ConnectivityReport['modes'][0]];
  t.is(mode.routing, 'tunnel');
  t.is(results.length, 70);
  t.deepEqual(
    untested.map(({ scenario }) => scenario),
    ['pod-to-outside', 'outside-to-pod'],
  );
  await cluster.until<Namespace>('the test’s namespace to go', 'Namespace', all =>
    all.every(({ metadata }) => metadata.name !== 'cilium-test'),
  );
});

test.serial('a table for people, and a host outside that does not answer', async t => {
  const [error] = [
    await t.throwsAsync(cluster.fimbria('connectivity', 'test', '--outside', '192.168.10.250')),
  ];
  t.regex(error?.message ?? '', /exit status 1/);
  t.regex(error?.message ?? '', /^pod-to-pod-other-node +2\/2 +2\/2 +2\/2 +2\/2 +2\/2$/m);
  t.regex(error?.message ?? '', /FAILED from pod on w1 to outside 192\.168\.10\.250: ping, mtu: /);
});
