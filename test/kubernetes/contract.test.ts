import test from 'ava';
import { codeOf } from '../../src/base/errors.ts';
import { createClient } from '../../src/cluster/index.ts';
import { withoutRules } from '../../src/install/render.ts';
import { waitUntil } from '../../src/lab/deadline.ts';
import { allCrds } from '../../src/model/crd/index.ts';
import type { KubeObject } from '../../src/model/types.ts';
import { contractSuite } from '../contract/suite.ts';
import { TestCluster } from './lib/cluster.ts';

/** What Fimbria expects of an API server, asked of Kubernetes' own. */

type Account = KubeObject & { secrets?: unknown[] };

let cluster: TestCluster;

test.before(async () => {
  cluster = await TestCluster.up([]);
  await cluster.apply(allCrds().map(withoutRules));
  await cluster.kubectl('wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s');
});

test.after.always(() => cluster?.down());

contractSuite(
  test,
  async t => {
    const client = createClient(cluster.plane.kubeconfig);
    t.teardown(() => client.close());
    return client;
  },
  // Pods need the account, and its token, that the controllers make.
  (client, namespace) =>
    waitUntil('the default service account', 60_000, async () => {
      try {
        const account = await client.get<Account>('ServiceAccount', 'default', namespace);
        return account.secrets?.length ? account : undefined;
      } catch (error) {
        if (codeOf(error) === 'NOT_FOUND') return undefined;
        throw error;
      }
    }),
);
