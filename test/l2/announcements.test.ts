import test from 'ava';
import { type AnnouncementInput, announcements, policyFault } from '../../src/l2/announcements.ts';
import type { CiliumL2AnnouncementPolicy, EndpointSlice, Service } from '../../src/model/types.ts';

const policy = (spec: CiliumL2AnnouncementPolicy['spec']): CiliumL2AnnouncementPolicy => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumL2AnnouncementPolicy',
  metadata: { name: 'p' },
  spec,
});
const service = (name: string, spec: Service['spec'] = {}, ip?: string): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', labels: { app: name } },
  spec: { type: 'LoadBalancer', ...spec },
  ...(ip ? { status: { loadBalancer: { ingress: [{ ip }] } } } : {}),
});
const slice = (name: string, nodeName: string, ready: boolean): EndpointSlice =>
  ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.0.0.7'], nodeName, conditions: { ready } }],
  }) as EndpointSlice;

const ETH0 = { name: 'eth0', ifindex: 2, mac: '02:00:00:00:00:01' };
const ETH1 = { name: 'eth1', ifindex: 3, mac: '02:00:00:00:00:02' };
const of = (input: Partial<AnnouncementInput>): Record<string, [string, string]> =>
  Object.fromEntries(
    [
      ...announcements({
        policies: [policy({ loadBalancerIPs: true, externalIPs: true })],
        services: [service('a', {}, '10.0.250.1')],
        slices: [],
        node: { name: 'here', labels: { role: 'edge' } },
        devices: [ETH0, ETH1],
        ...input,
      }),
    ].map(([lease, { addresses, devices }]) => [
      lease.replace('cilium-l2announce-', ''),
      [addresses.join(), devices.map(({ name }) => name).join()],
    ]),
  );

test('kinds of addresses, as the policy says; IPv4 only; nothing without one', t => {
  const services = [
    service('a', {}, '10.0.250.1'),
    service('b', { type: 'ClusterIP', externalIPs: ['10.9.9.9', 'fd00::1'] }),
    service('c'),
    service('d', { loadBalancerClass: 'example.org/other' }, '10.0.250.4'),
    service('e', { loadBalancerClass: 'io.cilium/l2-announcer' }, '10.0.250.5'),
  ];
  const keys = (spec: CiliumL2AnnouncementPolicy['spec']): string[] =>
    Object.keys(of({ services, policies: [policy(spec)] }));
  t.deepEqual(keys({ loadBalancerIPs: true }), ['default-a', 'default-e']);
  t.deepEqual(keys({ externalIPs: true }), ['default-b']);
  t.deepEqual(keys({}), []);
  t.deepEqual(of({ services })['default-b'], ['10.9.9.9', 'eth0,eth1']);
});

test('selectors of Services and nodes, devices by regular expression, policies that add up', t => {
  const base = { loadBalancerIPs: true };
  const one = (...specs: CiliumL2AnnouncementPolicy['spec'][]) =>
    of({ policies: specs.map(policy) })['default-a'];
  t.truthy(one({ ...base, serviceSelector: { matchLabels: { app: 'a' } } }));
  t.falsy(one({ ...base, serviceSelector: { matchLabels: { app: 'b' } } }));
  t.truthy(one({ ...base, nodeSelector: { matchLabels: { role: 'edge' } } }));
  t.falsy(one({ ...base, nodeSelector: { matchLabels: { role: 'core' } } }));
  t.deepEqual(one({ ...base, interfaces: ['^eth1$'] }), ['10.0.250.1', 'eth1']);
  t.deepEqual(one({ ...base, interfaces: ['^eth1$'] }, { ...base, interfaces: ['0$'] }), [
    '10.0.250.1',
    'eth0,eth1',
  ]);
  t.falsy(one({ ...base, interfaces: ['wlan'] }));
  t.deepEqual(of({ devices: [] }), {});
});

test('with policy Local only where a ready endpoint is', t => {
  const services = [service('a', { externalTrafficPolicy: 'Local' }, '10.0.250.1')];
  t.deepEqual(of({ services }), {});
  t.deepEqual(of({ services, slices: [slice('a', 'there', true)] }), {});
  t.deepEqual(of({ services, slices: [slice('a', 'here', false)] }), {});
  t.truthy(of({ services, slices: [slice('a', 'here', true)] })['default-a']);
});

test('a policy with a fault announces nothing and says why', t => {
  const selector = { matchExpressions: [{ key: 'x', operator: 'In' as const, values: [] }] };
  t.is(policyFault(policy({ serviceSelector: selector }))?.type, 'io.cilium/bad-service-selector');
  t.is(policyFault(policy({ nodeSelector: selector }))?.type, 'io.cilium/bad-node-selector');
  t.is(policyFault(policy({ interfaces: ['('] }))?.type, 'io.cilium/bad-interface-regex');
  t.is(policyFault(policy({ interfaces: ['^eth[0-9]+'] })), undefined);
  t.deepEqual(of({ policies: [policy({ loadBalancerIPs: true, interfaces: ['('] })] }), {});
});
