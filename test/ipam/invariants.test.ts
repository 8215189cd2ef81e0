import test from 'ava';
import { ipamViolations } from '../../src/ipam/invariants.ts';

const block = (cidr: string, pool = 'default') => ({ cidr, pool });

test('what is in order is not told', t => {
  t.deepEqual(
    ipamViolations([
      {
        name: 'a',
        blocks: [block('10.0.0.0/29'), block('10.1.0.0/31', 'mars')],
        addresses: [
          { address: '10.0.0.1', owner: 'router', pool: 'default' },
          { address: '10.1.0.0', owner: 'x/y', pool: 'mars' },
        ],
      },
      { name: 'b', blocks: [block('10.0.0.8/29')], addresses: [{ address: '10.0.0.9', owner: 'router' }] },
    ]),
    [],
  );
});

test('every rule is checked', t => {
  t.deepEqual(
    ipamViolations([
      {
        name: 'a',
        blocks: [block('10.0.0.0/28'), block('10.2.0.0/29', 'mars')],
        addresses: [
          { address: '10.0.0.0', owner: 'first' },
          { address: '10.0.0.9', owner: 'pod' },
          { address: '10.2.0.1', owner: 'mixed', pool: 'default' },
        ],
      },
      {
        name: 'b',
        blocks: [block('10.0.0.8/29')],
        addresses: [
          { address: '10.0.0.9', owner: 'pod' },
          { address: '10.3.0.1', owner: 'stray' },
        ],
      },
    ]),
    [
      'address 10.0.0.0 of first on node a is the first or last of 10.0.0.0/28',
      'address 10.0.0.9 has two owners: pod on node a, pod on node b',
      'address 10.2.0.1 of mixed on node a is of pool default, its block of pool mars',
      'address 10.3.0.1 of stray on node b lies in no block of the node',
      'block 10.0.0.8/29 of node b overlaps 10.0.0.0/28 of node a',
    ],
  );
});
