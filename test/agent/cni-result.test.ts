import test from 'ava';
import { addResult, CNI_VERSIONS } from '../../src/agent/cni-result.ts';
import type { Endpoint } from '../../src/endpoint/types.ts';

const endpoint = {
  hostIfname: 'lxc162d38bc0dae',
  hostMac: 'b6:11:82:28:11:c9',
  ifname: 'eth0',
  mac: '26:98:44:5b:ad:22',
  netns: '/var/run/netns/pod-1',
  ipv4: '172.20.2.229',
} as Endpoint;
const addressing = { routerIpv4: '172.20.2.36', routeMtu: 1450, deviceMtu: 1500 };

const routes = [{ dst: '172.20.2.36/32' }, { dst: '0.0.0.0/0', gw: '172.20.2.36', mtu: 1450 }];
const address = { interface: 1, address: '172.20.2.229/32', gateway: '172.20.2.36' };
const host = { name: 'lxc162d38bc0dae', mac: 'b6:11:82:28:11:c9' };
const pod = { name: 'eth0', mac: '26:98:44:5b:ad:22', sandbox: '/var/run/netns/pod-1' };

/** As a node of Cilium's printed it for 0.4.0, and what the specification says of the others. */
const SHAPES: Record<string, object> = {
  '0.3.1': { interfaces: [host, pod], ips: [{ version: '4', ...address }] },
  '0.4.0': { interfaces: [host, pod], ips: [{ version: '4', ...address }] },
  '1.0.0': { interfaces: [host, pod], ips: [address] },
  '1.1.0': {
    interfaces: [
      { ...host, mtu: 1500 },
      { ...pod, mtu: 1500 },
    ],
    ips: [address],
  },
};

test('every version has its own shape of the result', t => {
  t.deepEqual(Object.keys(SHAPES), [...CNI_VERSIONS]);
  for (const cniVersion of CNI_VERSIONS)
    t.deepEqual(addResult(cniVersion, endpoint, addressing), {
      cniVersion,
      ...SHAPES[cniVersion],
      routes,
      dns: {},
    } as object);
});

test('what plugins before ours made is passed on, and ours names its own interface', t => {
  const previous = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'lo', sandbox: '/var/run/netns/pod-1' }],
    ips: [{ interface: 0, address: '127.0.0.1/8' }],
    routes: [{ dst: '10.9.0.0/16' }],
    dns: { nameservers: ['10.96.0.10'] },
    'example.com/kept': true,
  };
  t.deepEqual(addResult('1.0.0', endpoint, addressing, previous), {
    cniVersion: '1.0.0',
    interfaces: [previous.interfaces[0]!, host, pod],
    ips: [previous.ips[0]!, { ...address, interface: 2 }],
    routes: [previous.routes[0]!, ...routes],
    dns: previous.dns,
    'example.com/kept': true,
  });
  t.deepEqual(
    addResult('0.3.1', endpoint, addressing, {}),
    addResult('0.3.1', endpoint, addressing),
    'an empty result is none',
  );
});
