import test from 'ava';
import { ipcacheEntries, sameIpcacheEntry } from '../../src/routing/ipcache.ts';

const input = {
  self: { name: 'a', ipv4: '192.168.10.100', routerIpv4: '10.1.0.7', podCidrs: ['10.1.0.0/24'] },
  peers: [
    {
      name: 'b',
      ipv4: '192.168.10.101',
      routerIpv4: '10.1.1.9',
      healthIpv4: '10.1.1.10',
      podCidrs: ['10.1.1.0/24'],
    },
  ],
  localEndpoints: new Map([['10.1.0.20', 4711]]),
  remoteEndpoints: [{ ipv4: '10.1.1.33', identity: 815, nodeIpv4: '192.168.10.101' }],
  clusterCidrs: ['10.1.0.0/16'],
};

test('who lives where', t => {
  const remote = { cluster: true, tunnelEndpoint: '192.168.10.101' };
  t.deepEqual(Object.fromEntries(ipcacheEntries(input)), {
    '0.0.0.0/0': { identity: 2 },
    '10.1.0.0/16': { identity: 2, cluster: true },
    '10.1.1.0/24': { identity: 2, ...remote },
    '10.1.1.33/32': { identity: 815, ...remote },
    '192.168.10.101/32': { identity: 6 },
    '10.1.1.9/32': { identity: 6, ...remote },
    '10.1.1.10/32': { identity: 4, ...remote },
    '10.1.0.0/24': { identity: 2, cluster: true, ownPodCidr: true },
    '10.1.0.20/32': { identity: 4711 },
    '192.168.10.100/32': { identity: 1 },
    '10.1.0.7/32': { identity: 1 },
  });
});

test('peers on a connected network are neighbours, others are not', t => {
  const far = { name: 'c', ipv4: '192.168.99.1', podCidrs: ['10.1.2.0/24'] };
  const entries = ipcacheEntries({
    ...input,
    peers: [...input.peers, far],
    directNetworks: ['192.168.10.0/24'],
  });
  const neighbours = [...entries].filter(([, entry]) => entry.neighbour).map(([prefix]) => prefix);
  t.deepEqual(neighbours, ['10.1.1.0/24', '10.1.1.33/32', '10.1.1.9/32', '10.1.1.10/32']);
  t.deepEqual(entries.get('10.1.2.0/24'), {
    identity: 2,
    cluster: true,
    tunnelEndpoint: '192.168.99.1',
  });
});

test('what this node knows itself wins over what the cluster says', t => {
  const entries = ipcacheEntries({
    ...input,
    remoteEndpoints: [{ ipv4: '10.1.0.20', identity: 1, nodeIpv4: '192.168.10.101' }],
  });
  t.deepEqual(entries.get('10.1.0.20/32'), { identity: 4711 });
});

test('entries are the same when they say the same', t => {
  t.true(sameIpcacheEntry({ identity: 2 }, { identity: 2, cluster: false }));
  t.false(sameIpcacheEntry({ identity: 2 }, { identity: 2, cluster: true }));
  t.false(sameIpcacheEntry({ identity: 2 }, { identity: 2, neighbour: true }));
  t.false(sameIpcacheEntry({ identity: 2 }, { identity: 2, tunnelEndpoint: '10.0.0.1' }));
});
