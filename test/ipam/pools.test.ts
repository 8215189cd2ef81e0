import test from 'ava';
import { AddressPools } from '../../src/ipam/pools.ts';
import type { AddressOwner } from '../../src/ipam/types.ts';

const pod = (containerId: string): AddressOwner => ({ kind: 'endpoint', containerId, ifname: 'eth0' });

test('an address belongs to one pool; pools come and go with their blocks', t => {
  const pools = new AddressPools([
    { pool: 'vac', cidr: '10.100.0.8/29' },
    { pool: 'default', cidr: '172.20.0.0/28' },
  ]);
  t.deepEqual(pools.names, ['default', 'vac']);
  const first = pools.allocate('vac', pod('a'));
  t.is(pools.poolOf(first), 'vac');
  t.is(pools.poolOf('10.9.9.9'), undefined);
  t.deepEqual(pools.ownerOf(first), pod('a'));
  t.deepEqual(pools.allocations(), [{ address: first, owner: pod('a'), pool: 'vac' }]);
  t.deepEqual(
    [pools.usage('vac'), pools.usage()],
    [
      { used: 1, capacity: 6 },
      { used: 1, capacity: 20 },
    ],
  );
  t.false(pools.removeBlock('vac', '10.100.0.8/29'), 'in use');
  t.true(pools.release(first, pod('a')));
  t.false(pools.release(first, pod('a')));
  t.true(pools.removeBlock('vac', '10.100.0.8/29'));
  t.false(pools.removeBlock('vac', '10.100.0.8/29'));
  t.deepEqual(pools.names, ['default']);
  t.throws(() => pools.allocate('vac', pod('a')), { code: 'RANGE_FULL' });
  t.throws(() => pools.claim('10.100.0.9', pod('a')), { code: 'NOT_IN_RANGE' });
  t.throws(() => pools.addBlock('mars', '172.20.0.8/29'), {
    message: /overlaps 172\.20\.0\.0\/28 of pool default/,
  });
});

test('blocks are filled by address; a closed one keeps what it has and gives nothing', t => {
  const pools = new AddressPools([
    { pool: 'p', cidr: '10.0.0.16/30' },
    { pool: 'p', cidr: '10.0.0.0/30' },
  ]);
  t.true(['10.0.0.1', '10.0.0.2'].includes(pools.allocate('p', pod('a'))));
  pools.setClosed('p', '10.0.0.0/30', true);
  const next = pools.allocate('p', pod('b'));
  t.true(next.startsWith('10.0.0.1') && next.length > 8, next);
  t.deepEqual(pools.states(['q'], { pending: () => 1, preAllocation: name => (name === 'p' ? 8 : 0) }), [
    {
      pool: 'p',
      blocks: [
        { cidr: '10.0.0.0/30', used: 1, usable: 2, outdated: true },
        { cidr: '10.0.0.16/30', used: 1, usable: 2, outdated: false },
      ],
      pending: 1,
      preAllocation: 8,
    },
    { pool: 'q', blocks: [], pending: 1, preAllocation: 0 },
  ]);
});

test('who waits for room is told of a release and of a new block, until it ends that', t => {
  const pools = new AddressPools([{ pool: 'p', cidr: '10.0.0.0/30' }]);
  let told = 0;
  const end = pools.onRoom(() => told++);
  const address = pools.allocate('p', pod('a'));
  t.is(told, 0);
  pools.release(address, pod('a'));
  pools.addBlock('p', '10.0.0.4/30');
  t.is(told, 2);
  end();
  pools.addBlock('p', '10.0.0.8/30');
  t.is(told, 2);
});

test('a block of 65,534 addresses, nearly full: what is free is found', t => {
  const pools = new AddressPools([{ pool: 'p', cidr: '10.1.0.0/16' }]);
  const addresses = new Set<string>();
  for (let i = 0; i < 65_534; i++) addresses.add(pools.allocate('p', pod(`${i}`)));
  t.is(addresses.size, 65_534);
  t.throws(() => pools.allocate('p', pod('more')), { code: 'RANGE_FULL' });
  t.true(pools.release('10.1.200.7', pools.ownerOf('10.1.200.7')!));
  t.is(pools.allocate('p', pod('more')), '10.1.200.7');
});
