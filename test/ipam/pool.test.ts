import test from 'ava';
import fc from 'fast-check';
import { ownerKey, ownerText } from '../../src/ipam/owner.ts';
import { AddressPool } from '../../src/ipam/pool.ts';
import type { AddressOwner } from '../../src/ipam/types.ts';

const pod = (containerId: string, ifname = 'eth0'): AddressOwner => ({
  kind: 'endpoint',
  containerId,
  ifname,
});

test('a /29 has six usable addresses, two of which router and health endpoint take', t => {
  const pool = new AddressPool(['172.20.42.0/29']);
  pool.allocate({ kind: 'router' });
  pool.allocate({ kind: 'health' });
  const pods = ['a', 'b', 'c', 'd'].map(id => pool.allocate(pod(id)));
  t.deepEqual(pool.usage(), { used: 6, capacity: 6 });
  t.false(pods.includes('172.20.42.0'));
  t.false(pods.includes('172.20.42.7'));
  const error = t.throws(() => pool.allocate(pod('e')), { code: 'RANGE_FULL' });
  t.is((error as unknown as { why: string }).why, 'range is full');
  t.true(pool.release(pods[0]!, pod('a')));
  t.is(pool.allocate(pod('e')), pods[0]!);
});

test('allocation starts at a random place and goes on from there', t => {
  let random = 0.5;
  const pool = new AddressPool(['10.0.0.0/29'], { random: () => random });
  t.deepEqual(
    ['a', 'b', 'c', 'd'].map(id => pool.allocate(pod(id))),
    ['10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.1'],
  );
  random = 0.999999;
  t.is(pool.allocate(pod('e')), '10.0.0.2');
});

test('a /31 and a /32 have nothing to reserve', t => {
  t.is(new AddressPool(['10.0.0.0/31']).usage().capacity, 2);
  t.is(new AddressPool(['10.0.0.0/32']).allocate(pod('a')), '10.0.0.0');
  t.is(new AddressPool(['10.0.0.0/30']).usage().capacity, 2);
  t.is(new AddressPool([]).usage().capacity, 0);
  t.throws(() => new AddressPool([]).allocate(pod('a')), { code: 'RANGE_FULL' });
});

test('a late release by an earlier container frees nothing', t => {
  const pool = new AddressPool(['10.0.0.0/30'], { random: () => 0 });
  const address = pool.allocate(pod('old'));
  t.true(pool.release(address, pod('old')));
  t.is(pool.allocate(pod('new')), address);
  t.false(pool.release(address, pod('old')));
  t.false(pool.release(address, pod('new', 'net1')));
  t.deepEqual(pool.ownerOf(address), pod('new'));
  t.true(pool.release(address, pod('new')));
  t.false(pool.release(address, pod('new')));
});

test('claims are repeatable by their owner and refused otherwise', t => {
  const pool = new AddressPool(['10.0.0.0/29']);
  pool.claim('10.0.0.2', { ...pod('a'), podName: 'default/a' } as AddressOwner);
  t.notThrows(() => pool.claim('10.0.0.2', pod('a')));
  pool.claim('10.0.0.3', { ...pod('b'), podName: 'default/b' } as AddressOwner);
  t.throws(() => pool.claim('10.0.0.3', { kind: 'router' }), {
    code: 'IN_USE',
    message: 'claim address 10.0.0.3 for router: IP 10.0.0.3 is already in use by default/b',
  });
  for (const address of ['10.0.0.0', '10.0.0.7', '10.0.0.8', '9.255.255.255']) {
    t.throws(() => pool.claim(address, pod('c')), { code: 'NOT_IN_RANGE' }, address);
  }
  t.is(pool.usage().used, 2);
});

test('several blocks are one pool, listed by address', t => {
  const pool = new AddressPool(['10.0.1.0/30', '10.0.0.0/30']);
  const addresses = ['a', 'b', 'c', 'd'].map(id => pool.allocate(pod(id)));
  t.deepEqual([...addresses].sort(), ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.0.1.2']);
  t.deepEqual(
    pool.allocations().map(held => held.address),
    ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.0.1.2'],
  );
  t.deepEqual(addresses.slice(0, 2).sort(), ['10.0.0.1', '10.0.0.2'], 'the first block is filled first');
  t.deepEqual(pool.cidrs, ['10.0.0.0/30', '10.0.1.0/30']);
  t.throws(() => new AddressPool(['10.0.0.0/24', '10.0.0.128/25']), {
    message: /10\.0\.0\.128\/25 overlaps 10\.0\.0\.0\/24/,
  });
});

test('owners have a key for programs and a text for people', t => {
  const owners: [AddressOwner, string, string][] = [
    [{ ...pod('c1'), podName: 'default/web' } as AddressOwner, 'endpoint:c1:eth0', 'default/web'],
    [pod('c1'), 'endpoint:c1:eth0', 'c1:eth0'],
    [{ kind: 'router' }, 'router', 'router'],
    [{ kind: 'health' }, 'health', 'health'],
    [{ kind: 'named', name: 'x' }, 'named:x', 'x'],
  ];
  for (const [owner, key, text] of owners) t.deepEqual([ownerKey(owner), ownerText(owner)], [key, text]);
});

test('whatever happens, an address has one owner, is in range, and the count is right', t => {
  const id = fc.constantFrom('a', 'b', 'c');
  const step = fc.oneof(
    fc.record({ op: fc.constant('allocate' as const), id }),
    fc.record({ op: fc.constant('claim' as const), id, host: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ op: fc.constant('release' as const), id, host: fc.integer({ min: 0, max: 9 }) }),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (steps, random) => {
        const pool = new AddressPool(['10.0.0.0/29'], { random: () => random });
        const model = new Map<string, string>();
        for (const one of steps) {
          if (one.op === 'allocate') {
            try {
              const address = pool.allocate(pod(one.id));
              if (model.has(address)) return false;
              model.set(address, one.id);
            } catch {
              if (model.size !== 6) return false;
            }
            continue;
          }
          const address = `10.0.0.${one.host}`;
          const holder = model.get(address);
          if (one.op === 'release') {
            const mine = holder === one.id;
            if (pool.release(address, pod(one.id)) !== mine) return false;
            if (mine) model.delete(address);
            continue;
          }
          const allowed = one.host >= 1 && one.host <= 6 && (holder ?? one.id) === one.id;
          try {
            pool.claim(address, pod(one.id));
            if (!allowed) return false;
            model.set(address, one.id);
          } catch {
            if (allowed) return false;
          }
        }
        const held = pool.allocations().map(({ address, owner }) => `${address} ${ownerKey(owner)}`);
        const expected = [...model].map(([address, owner]) => `${address} endpoint:${owner}:eth0`);
        return pool.usage().used === model.size && held.join() === expected.sort().join();
      },
    ),
  );
  t.pass();
});
