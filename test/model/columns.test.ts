import test from 'ava';
import fc from 'fast-check';
import { cellText, humanDuration } from '../../src/model/columns.ts';
import { findKind, KINDS } from '../../src/model/kinds.ts';

test('ages as Kubernetes prints them', t => {
  const cases: [seconds: number, text: string][] = [
    [-5, '<invalid>'],
    [-1, '0s'],
    [0, '0s'],
    [119, '119s'],
    [120, '2m'],
    [200, '3m20s'],
    [599, '9m59s'],
    [600, '10m'],
    [179 * 60, '179m'],
    [180 * 60, '3h'],
    [3 * 3600 + 5 * 60, '3h5m'],
    [8 * 3600 + 60, '8h'],
    [47 * 3600, '47h'],
    [48 * 3600, '2d'],
    [4 * 86400 + 7 * 3600, '4d7h'],
    [8 * 86400 + 3600, '8d'],
    [729 * 86400, '729d'],
    [730 * 86400, '2y'],
    [760 * 86400, '2y30d'],
    [9 * 365 * 86400, '9y'],
  ];
  for (const [seconds, text] of cases) t.is(humanDuration(seconds * 1000), text);
  t.is(humanDuration(Number.NaN), '<unknown>');
});

test('a row of every kind can be shown, whatever the object holds', t => {
  const now = new Date();
  for (const kind of KINDS) {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), fc.anything(), (metadata, spec, status) =>
        kind.columns.every(column => {
          const text = cellText(column, { metadata, spec, status }, now);
          return ['string', 'number', 'boolean'].includes(typeof text);
        }),
      ),
      { numRuns: 30 },
    );
  }
  t.pass();
});

function row(kind: string, object: unknown): (string | number | boolean)[] {
  return findKind(kind)!.columns.map(column => cellText(column, object, new Date('2026-01-01T00:01:00Z')));
}

const metadata = { name: 'x', creationTimestamp: '2026-01-01T00:00:00Z' };

test('what the most telling columns say', t => {
  const waiting = {
    metadata,
    spec: { containers: [{ name: 'a' }], nodeName: 'n1' },
    status: {
      phase: 'Pending',
      podIP: '10.0.0.5',
      containerStatuses: [
        { ready: false, restartCount: 2, state: { waiting: { reason: 'ContainerCreating' } } },
      ],
    },
  };
  t.deepEqual(row('Pod', waiting), [
    '0/1',
    'ContainerCreating',
    '2',
    '60s',
    '10.0.0.5',
    'n1',
    '<none>',
    '<none>',
  ]);
  const going = { ...waiting, metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:30Z' } };
  t.is(row('Pod', going)[1], 'Terminating');
  t.deepEqual(
    row('Service', {
      metadata,
      spec: {
        type: 'LoadBalancer',
        clusterIP: '10.96.201.226',
        ports: [
          { port: 80, nodePort: 31181, protocol: 'TCP' },
          { port: 443, nodePort: 32179, protocol: 'TCP' },
        ],
      },
    }),
    ['LoadBalancer', '10.96.201.226', '<pending>', '80:31181/TCP,443:32179/TCP', '60s', '<none>'],
  );
  t.deepEqual(
    row('CiliumNode', {
      metadata,
      spec: {
        addresses: [
          { type: 'InternalIP', ip: '192.168.10.100' },
          { type: 'CiliumInternalIP', ip: '10.244.0.7' },
        ],
      },
    }),
    ['10.244.0.7', '192.168.10.100', '60s'],
  );
  t.is(
    row('Node', {
      metadata,
      spec: { unschedulable: true },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    })[0],
    'Ready,SchedulingDisabled',
  );
});
