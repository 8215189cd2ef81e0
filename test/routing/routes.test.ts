import test from 'ava';
import { endpointRoute } from '../../src/datapath/route-table.ts';
import type { NodeView } from '../../src/routing/nodes.ts';
import { nodeRoutes } from '../../src/routing/routes.ts';

const self: NodeView = {
  name: 'a',
  ipv4: '192.168.10.100',
  routerIpv4: '10.1.0.7',
  podCidrs: ['10.1.0.0/24'],
};
const peer: NodeView = {
  name: 'b',
  ipv4: '192.168.10.101',
  routerIpv4: '10.1.1.9',
  podCidrs: ['10.1.1.0/24'],
};
const devices = { hostIfindex: 5, directIfindex: 2 };
const options = {
  routingMode: 'native',
  endpointRoutes: true,
  autoDirectNodeRoutes: true,
  tunnelMtu: 1450,
} as const;

test('native with endpoint routes: only the direct route of the peer, none for the own PodCIDR', t => {
  t.deepEqual(
    [...nodeRoutes(self, [peer], devices, options).values()],
    [{ dst: '10.1.1.0/24', ifindex: 2, scope: 'global', gateway: '192.168.10.101' }],
  );
});

test('native without direct node routes leaves the peer to others', t => {
  t.is(nodeRoutes(self, [peer], devices, { ...options, autoDirectNodeRoutes: false }).size, 0);
});

test('without endpoint routes the own PodCIDR goes through cilium_host', t => {
  const routes = nodeRoutes(self, [peer], devices, { ...options, endpointRoutes: false });
  t.deepEqual(routes.get('10.1.0.0/24'), {
    dst: '10.1.0.0/24',
    ifindex: 5,
    scope: 'global',
    gateway: '10.1.0.7',
    src: '10.1.0.7',
  });
  t.deepEqual(routes.get('10.1.0.7/32'), { dst: '10.1.0.7/32', ifindex: 5, scope: 'link' });
});

test('tunnel: the peer goes through cilium_host with the MTU that fits', t => {
  const routes = nodeRoutes(self, [peer], devices, {
    ...options,
    routingMode: 'tunnel',
    autoDirectNodeRoutes: false,
  });
  t.deepEqual(routes.get('10.1.1.0/24'), {
    dst: '10.1.1.0/24',
    ifindex: 5,
    scope: 'global',
    gateway: '10.1.0.7',
    src: '10.1.0.7',
    mtu: 1450,
  });
  t.false(routes.has('10.1.0.0/24'), 'the own PodCIDR has endpoint routes');
  t.true(
    [...routes.keys()].indexOf('10.1.0.7/32') < [...routes.keys()].indexOf('10.1.1.0/24'),
    'the gateway comes first',
  );
});

test('the route of a pod', t => {
  t.deepEqual(endpointRoute('10.1.0.20', 12), { dst: '10.1.0.20/32', ifindex: 12, scope: 'link' });
});
