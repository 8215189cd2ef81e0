import test from 'ava';
import { auditAddresses, IpamAudit } from '../../src/agent/ipam/audit.ts';
import { type PodPoolDeps, poolOfPod } from '../../src/agent/ipam/pod-pool.ts';
import { nodeOverrides } from '../../src/agent/node-config.ts';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import type { Endpoint } from '../../src/endpoint/types.ts';
import { AddressPools } from '../../src/ipam/pools.ts';
import type { CiliumNode, CiliumNodeConfig } from '../../src/model/types.ts';

const KEY = 'ipam.cilium.io/ip-pool';

/** Watches that know `seen`, and a server that knows `there`; both by kind and name. */
function deps(
  seen: Record<string, object>,
  there: Record<string, object> = {},
): PodPoolDeps & { asked: string[] } {
  const asked: string[] = [];
  const watch = (kind: string) => ({ get: (name: string) => seen[`${kind}/${name}`] as never });
  return {
    asked,
    client: {
      get: async (kind: string, name: string) => {
        asked.push(`${kind}/${name}`);
        const found = there[`${kind}/${name}`];
        if (!found) throw new FimbriaError({ code: 'NOT_FOUND', op: 'get', why: 'so says the test' });
        return found as never;
      },
    },
    pods: watch('Pod'),
    namespaces: watch('Namespace'),
    pools: watch('CiliumPodIPPool'),
    defaultPool: 'default',
  };
}
const pod = (uid: string, pool?: string) => ({
  metadata: { uid, ...(pool ? { annotations: { [KEY]: pool } } : {}) },
});
const ref = { namespace: 'shop', name: 'web', uid: 'u2' };

test('a Pod that the watch has is not asked for; one of an earlier uid, or a pool just made, is', async t => {
  const pools = {
    'Namespace/shop': { metadata: {} },
    'CiliumPodIPPool/mars': {},
    'CiliumPodIPPool/default': {},
  };
  const quick = deps({ ...pools, 'Pod/web': pod('u2', 'mars') });
  t.is((await poolOfPod(quick, ref)).pool, 'mars');
  t.deepEqual(quick.asked, []);
  const stale = deps(
    { ...pools, 'Pod/web': pod('u1', 'mars') },
    { 'Pod/web': pod('u2', 'venus'), 'CiliumPodIPPool/venus': {} },
  );
  t.is((await poolOfPod(stale, ref)).pool, 'venus');
  t.deepEqual(stale.asked, ['Pod/web', 'CiliumPodIPPool/venus']);
  t.is((await poolOfPod(deps(pools), ref)).pool, 'default', 'a Pod that is nowhere has no annotations');
  t.is((await poolOfPod(deps({}), undefined)).pool, 'default');
});

test('an unknown pool is named with who named it; a server that is away is no reason to guess', async t => {
  const unknown = deps({
    'Namespace/shop': { metadata: { annotations: { [KEY]: 'nope' } } },
    'Pod/web': pod('u2'),
  });
  await t.throwsAsync(poolOfPod(unknown, ref), {
    code: 'UNKNOWN_POOL',
    message:
      'allocate address for shop/web: there is no CiliumPodIPPool "nope", which is named by annotation ipam.cilium.io/ip-pool of Namespace shop; create the pool, or name another',
  });
  const away = {
    ...deps({}),
    client: {
      get: () => Promise.reject(new FimbriaError({ code: 'UNAVAILABLE', op: 'get', why: 'away' })),
    },
  };
  await t.throwsAsync(poolOfPod(away, ref), {
    code: 'POOL_UNDECIDED',
    message: /pool for shop\/web: get: away/,
  });
});

test('settings by the labels of the node; the later name wins', t => {
  const config = (name: string, zone: string | undefined, pool: string): CiliumNodeConfig => ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNodeConfig',
    metadata: { name },
    spec: {
      defaults: { 'ipam-default-ip-pool': pool },
      nodeSelector: zone ? { matchLabels: { 'topology.kubernetes.io/zone': zone } } : {},
    },
  });
  const configs = [config('ip-pool-dc2', 'dc2', 'dc2-pool'), config('ip-pool-dc1', 'dc1', 'dc1-pool')];
  const at = (zone: string) => ({ 'topology.kubernetes.io/zone': zone });
  t.deepEqual(nodeOverrides(configs, at('dc1')), { 'ipam-default-ip-pool': 'dc1-pool' });
  t.deepEqual(nodeOverrides(configs, at('dc3')), {});
  t.deepEqual(nodeOverrides([config('z', undefined, 'all'), ...configs], at('dc1')), {
    'ipam-default-ip-pool': 'all',
  });
});

test('the audit tells what lasts, not what is under way', t => {
  const pools = new AddressPools([{ pool: 'default', cidr: '10.0.0.0/28' }]);
  const owner = (containerId: string) => ({ kind: 'endpoint', containerId, ifname: 'eth0' }) as const;
  const endpoint = (id: number, ipv4: string) =>
    ({ id, containerId: `c${id}`, ifname: 'eth0', ipv4 }) as Endpoint;
  pools.claim('10.0.0.1', owner('c1'));
  pools.claim('10.0.0.2', owner('c9'));
  const other: CiliumNode = {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNode',
    metadata: { name: 'b' },
    spec: { ipam: { pools: { allocated: [{ pool: 'default', cidrs: ['10.0.0.8/29'] }] } } },
  };
  const input = {
    nodeName: 'a',
    nodeIpv4: '192.168.0.1',
    multiPool: true,
    pools,
    blocks: pools.blocks(),
    endpoints: [endpoint(1, '10.0.0.1'), endpoint(3, '10.0.0.3')],
    nodes: [other],
    ciliumEndpoints: [],
  };
  const lines = [
    'address 10.0.0.2 is marked as in use by c9:eth0, which is no endpoint',
    'address 10.0.0.3 of endpoint 3 is not marked as in use',
    'block 10.0.0.8/29 of node b overlaps 10.0.0.0/28 of node a',
  ];
  t.deepEqual(auditAddresses(input), lines);
  let now = input;
  const audit = new IpamAudit(() => now, silent);
  audit.pass();
  t.deepEqual(audit.problems, [], 'once is no proof');
  audit.pass();
  t.deepEqual(audit.problems, lines);
  pools.release('10.0.0.2', owner('c9'));
  pools.claim('10.0.0.3', owner('c3'));
  now = { ...input, nodes: [] };
  audit.pass();
  t.deepEqual(audit.problems, []);
});
