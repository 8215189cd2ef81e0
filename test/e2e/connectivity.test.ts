import test from 'ava';
import type { ConnectivityReport } from '../../src/connectivity/types.ts';
import { readState } from '../../src/lab/state.ts';
import { collect, printed, TestLab } from './lab.ts';

/** One lab, two nodes: `fimbria connectivity test` as a user runs it, with a network that is whole and one that is not. */
const lab = new TestLab('conn');
let before: unknown;
const values = ['ipam.operator.clusterPoolIPv4PodCIDRList=10.45.0.0/16', 'endpointRoutes.enabled=true'];

test.before(async () => {
  await lab.up('left,right', ...values);
  before = readState(lab.name)?.values;
});
test.after.always(() => lab.down());

async function leftOvers(): Promise<unknown> {
  const namespaces = JSON.parse(await lab.must('get', 'namespaces', '-o', 'json')).items;
  return {
    namespaces: namespaces
      .map((n: { metadata: { name: string } }) => n.metadata.name)
      .filter((n: string) => n.includes('test')),
    pods: await lab.pods(),
    routes: (await lab.execMust('outside', 'ip', 'route')).match(/10\.45\.\S+/g),
    values: readState(lab.name)?.values,
  };
}
const nothing = () => ({ namespaces: [], pods: [], routes: null, values: before });

test.serial('all modes: every way in each of them, and the lab is as it was', async t => {
  const report: ConnectivityReport = JSON.parse(
    await lab.must('connectivity', 'test', '--all-modes', '-o', 'json'),
  );
  t.true(report.ok);
  t.deepEqual(report.nodes, ['left', 'right']);
  t.is(new Set(report.modes.map(m => m.mode.text)).size, 8);
  for (const { mode, results, untested } of report.modes) {
    t.is(results.length, 90, mode.text);
    t.deepEqual(untested, []);
    const mtus = results
      .filter(r => r.kind === 'mtu' && r.scenario === 'pod-to-pod-other-node')
      .map(r => r.detail);
    t.deepEqual(mtus, Array(2).fill(mode.routing === 'native' ? '1500 bytes' : '1450 bytes'));
  }
  t.deepEqual(await leftOvers(), nothing());
});

test.serial('a wire that swallows large packets: exit 1, and the table says which', async t => {
  await lab.execMust('right', 'ip', 'link', 'set', 'eth0', 'mtu', '1400');
  const { status, stdout, stderr } = await lab.fimbria('connectivity', 'test');
  t.is(status, 1, stderr);
  t.regex(stdout, /^pod-to-pod-same-node +2\/2 +2\/2 +2\/2 +2\/2 +2\/2$/m);
  t.regex(stdout, /^pod-to-pod-other-node +2\/2 +2\/2 +2\/2 +[01]\/2 FAILED/m);
  t.regex(
    stdout,
    /FAILED from pod on left to pod on right: mtu.*: packets of 1450 bytes vanish, and nobody says why/,
  );
  t.regex(stderr, /from pod on left: \d+ of 25 FAILED/);
  await lab.execMust('right', 'ip', 'link', 'set', 'eth0', 'mtu', '1500');
  t.deepEqual(await leftOvers(), nothing());
});

test.serial('killed in another mode: the next run sweeps, and is in the mode that was', async t => {
  const killed = lab.spawn(['connectivity', 'test', '--all-modes']);
  await printed(killed, /mode 2 of 8[\s\S]*trying/);
  killed.kill('SIGKILL');
  await collect(killed);
  const { status, stdout, stderr } = await lab.fimbria('connectivity', 'test');
  t.is(status, 0, stderr + stdout);
  t.regex(stderr, /sweeping what an earlier run left/);
  t.regex(stdout, /Mode: {2}VXLAN, endpoint routes on, host routing Legacy/);
  t.deepEqual(await leftOvers(), nothing());
});

test.serial('interrupted: it cleans up', async t => {
  const interrupted = lab.spawn(['connectivity', 'test', '--all-modes']);
  await printed(interrupted, /mode 1 of 8[\s\S]*trying/);
  interrupted.kill('SIGINT');
  const { status } = await collect(interrupted);
  t.is(status, 130);
  t.deepEqual(await leftOvers(), nothing());
});

test.serial('what cannot be meant is refused, and a namespace of others is left alone', async t => {
  const refused = async (words: RegExp, ...args: string[]): Promise<void> => {
    const { status, stderr } = await lab.fimbria('connectivity', 'test', ...args);
    t.not(status, 0);
    t.regex(stderr, words);
  };
  await refused(/use node nobody: there is no such node; there is: left, right/, '--nodes', 'left,nobody');
  await refused(/--port 0: it is no number/, '--port', '0');
  await refused(/--outside: a lab has its own/, '--outside', '192.0.2.1');
  await refused(
    /namespace kube-system: it is there, and no connectivity test made it/,
    '--test-namespace',
    'kube-system',
  );
});
