import { existsSync } from 'node:fs';
import test from 'ava';
import { KUBECTLS, kubectlPath } from '../../scripts/lib/kubectl.mjs';
import { waitUntil } from '../../src/lab/deadline.ts';
import { TestLab } from './lab.ts';

/** The API server as a cluster's own programs reach it: from nodes, pods and outside, over the network. */
const lab = new TestLab('api');
const CLUSTER_IP = 'https://10.96.0.1';
const kubectl = KUBECTLS.map(kubectlPath).find(path => existsSync(path))!;

test.before(async () => {
  await lab.up('ctr,w1', 'kubeProxyReplacement=true');
  await lab.pod('near', 'ctr');
  await lab.pod('far', 'w1');
});

test.after.always(() => lab.down());

const nodesSeen = async (place: string, ...options: string[]): Promise<string> =>
  (await lab.execMust(place, kubectl, ...options, 'get', 'nodes', '-o', 'name')).trim();

for (const place of ['ctr', 'w1', 'near', 'far']) {
  test.serial(`kubectl in ${place} works, by the node's address and by the ClusterIP`, async t => {
    await waitUntil(`the ClusterIP in ${place}`, 60_000, async because => {
      const { status, stderr } = await lab.exec(place, kubectl, '-s', CLUSTER_IP, 'version');
      because(stderr);
      return status === 0 ? true : undefined;
    });
    t.is(await nodesSeen(place), 'node/ctr\nnode/w1');
    t.is(await nodesSeen(place, '-s', CLUSTER_IP), 'node/ctr\nnode/w1');
    t.regex(await lab.execMust(place, 'fimbria', 'get', 'nodes'), /^w1 +Ready/m);
  });
}

test.serial('from outside the node answers, the ClusterIP is nobody', async t => {
  t.is(await nodesSeen('outside'), 'node/ctr\nnode/w1');
  t.not(
    (await lab.exec('outside', kubectl, '-s', CLUSTER_IP, '--request-timeout=2s', 'get', 'nodes')).status,
    0,
  );
});

test.serial('a server that was killed is there again for pods', async t => {
  await lab.must('lab', 'apiserver', 'kill');
  t.not((await lab.exec('far', kubectl, '-s', CLUSTER_IP, '--request-timeout=5s', 'get', 'nodes')).status, 0);
  await lab.must('lab', 'apiserver', 'start');
  t.is(await nodesSeen('far', '-s', CLUSTER_IP), 'node/ctr\nnode/w1');
});
