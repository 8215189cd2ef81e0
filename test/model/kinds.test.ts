import test from 'ava';
import {
  apiVersionOf,
  findKind,
  KINDS,
  kindOf,
  kindOfResource,
  qualifiedResource,
} from '../../src/model/kinds.ts';

test('a kind is found by any of its names', t => {
  for (const name of [
    'CiliumNode',
    'ciliumnode',
    'ciliumnodes',
    'cn',
    'ciliumnodes.cilium.io',
    'cn.v2.cilium.io',
  ]) {
    t.is(findKind(name)?.kind, 'CiliumNode', name);
  }
  t.is(findKind('ep')?.kind, 'Endpoints');
  t.is(findKind('cep')?.kind, 'CiliumEndpoint');
  t.is(findKind('ippools')?.kind, 'CiliumLoadBalancerIPPool');
  t.is(findKind('netpol')?.plural, 'networkpolicies');
  t.is(findKind('gizmo'), undefined);
});

test('no two kinds share a name', t => {
  const names = KINDS.flatMap(kind =>
    [kind.plural, kind.singular, ...kind.shortNames].map(name => [name, kind]),
  );
  for (const [name, kind] of names) t.is(findKind(name as string), kind as never, name as string);
});

test('every served version leads to the same kind', t => {
  for (const kind of KINDS) {
    for (const version of kind.versions) {
      t.is(kindOf({ apiVersion: apiVersionOf(kind, version), kind: kind.kind }), kind);
      t.is(kindOfResource(kind.group, version, kind.plural), kind);
    }
    t.is(kindOfResource(kind.group, 'v0', kind.plural), undefined);
  }
  t.is(findKind('Pod')?.apiVersion, 'v1');
  t.is(qualifiedResource(findKind('Lease')!), 'leases.coordination.k8s.io');
  t.is(qualifiedResource(findKind('Pod')!), 'pods');
});
