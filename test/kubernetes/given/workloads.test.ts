import test from 'ava';
import { Cluster } from '../lib/any-cluster.ts';
import { workloadSuite } from '../lib/workload-suite.ts';

/**
 * The tests that need nothing but kubectl, on a cluster with Fimbria that somebody else brought up, such as
 * `scripts/kind.mjs`. `test/kubernetes/vxlan.test.ts` has them on a cluster of its own.
 */
const kubeconfig = process.env['FIMBRIA_TEST_KUBECONFIG'];
if (!kubeconfig) {
  throw new Error('find cluster: FIMBRIA_TEST_KUBECONFIG names no file; node scripts/kind.mjs sets it');
}
const cluster = new Cluster(kubeconfig);

test.afterEach.always(async t => {
  if (!t.passed) t.log(await cluster.diagnosis());
});

test.after.always(() => cluster.client.close());

workloadSuite(test, () => cluster);
