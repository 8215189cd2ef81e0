import test from 'ava';
import { bar, formatIpam } from '../../src/cli/format/ipam.ts';
import { ipamOverview } from '../../src/ipam/overview.ts';
import type { CiliumEndpoint, CiliumNode } from '../../src/model/types.ts';

const node = (name: string, ip: string, allocated: Record<string, string[]>, error?: string): CiliumNode => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNode',
  metadata: { name },
  spec: {
    addresses: [
      { type: 'InternalIP', ip },
      {
        type: 'CiliumInternalIP',
        ip: allocated['default']![0]!.replace('.0/28', '.1').replace('.16/28', '.17'),
      },
    ],
    ipam: {
      // What another mode left.
      podCIDRs: ['10.99.0.0/24'],
      pools: { allocated: Object.entries(allocated).map(([pool, cidrs]) => ({ pool, cidrs })) },
    },
  },
  ...(error ? { status: { ipam: { 'operator-status': { error } } } } : {}),
});
const endpoint = (name: string, nodeIp: string, ipv4: string): CiliumEndpoint => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumEndpoint',
  metadata: { name, namespace: 'default' },
  status: { networking: { node: nodeIp, addressing: [{ ipv4 }] } },
});

test('pools, blocks and their fill, and what the operator says', t => {
  const overview = ipamOverview(
    'multi-pool',
    [
      { name: 'vac', ipv4: { cidrs: ['10.100.0.0/28'], maskSize: 29 }, note: 'two nodes wait' },
      { name: 'default', ipv4: { cidrs: ['172.20.0.0/16'], maskSize: 28 } },
    ],
    [
      node('w2', '192.168.10.102', { default: ['172.20.0.16/28'] }, 'pool vac: no room'),
      node('w1', '192.168.10.101', { default: ['172.20.0.0/28'], vac: ['10.100.0.0/29'] }),
    ],
    [endpoint('a', '192.168.10.101', '10.100.0.3'), endpoint('b', '192.168.10.101', '172.20.0.5')],
  );
  t.is(
    formatIpam(overview),
    `IPAM mode: multi-pool

POOL      RANGES          MASK   BLOCKS   ADDRESSES   IN USE                 NOTE
default   172.20.0.0/16   /28    2/4096   3/28        ###.................   -
vac       10.100.0.0/28   /29    1/2      1/6         ####................   two nodes wait

NODE   POOL      BLOCK            ADDRESSES   IN USE
w1     default   172.20.0.0/28    2/14        ###.................
w2     default   172.20.0.16/28   1/14        ##..................
w1     vac       10.100.0.0/29    1/6         ####................

w2: pool vac: no room
`,
  );
});

test('a bar shows that anything is in use, and that not all is', t => {
  t.is(bar(0, 254, 4), '....');
  t.is(bar(1, 254, 4), '#...');
  t.is(bar(253, 254, 4), '###.');
  t.is(bar(254, 254, 4), '####');
  t.is(bar(0, 0, 4), '....');
});
