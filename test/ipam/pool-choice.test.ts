import test from 'ava';
import { choosePool } from '../../src/ipam/pool-choice.ts';

const pod = (annotations?: Record<string, string>) => ({
  name: 'web',
  namespace: 'shop',
  ...(annotations ? { annotations } : {}),
});
const key = 'ipam.cilium.io/ip-pool';
const v4 = 'ipam.cilium.io/ipv4-pool';
const required = 'ipam.cilium.io/require-pool-match';

test('the Pod says it, else its Namespace, else the node', t => {
  t.is(choosePool(pod({ [key]: 'mars' }), { [key]: 'venus' }, 'default')?.pool, 'mars');
  t.is(choosePool(pod({ [key]: 'mars', [v4]: 'io' }), undefined, 'default')?.pool, 'io');
  t.is(choosePool(pod(), { [key]: 'venus', [v4]: 'io' }, 'default')?.pool, 'io');
  t.is(choosePool(pod({ [key]: '' }), { [key]: 'venus' }, 'default')?.pool, 'venus');
  t.deepEqual(choosePool(pod(), undefined, 'dc1-pool'), { pool: 'dc1-pool', source: "this node's default" });
  t.is(
    choosePool(pod({ [key]: 'mars' }), undefined, 'default')?.source,
    'annotation ipam.cilium.io/ip-pool of Pod shop/web',
  );
  t.is(
    choosePool(pod(), { [v4]: 'io' }, 'd')?.source,
    'annotation ipam.cilium.io/ipv4-pool of Namespace shop',
  );
});

test('a Pod that requires a match does not fall back', t => {
  t.is(choosePool(pod({ [required]: 'true' }), undefined, 'default'), undefined);
  t.is(choosePool(pod(), { [required]: 'true' }, 'default'), undefined);
  t.is(choosePool(pod({ [required]: 'false' }), { [required]: 'true' }, 'default')?.pool, 'default');
  t.is(choosePool(pod({ [required]: 'true' }), { [key]: 'venus' }, 'default')?.pool, 'venus');
});
