import test from 'ava';
import { type SocketTranslation, staleTranslations } from '../../src/datapath/services/stale-sockets.ts';
import type { LbFrontend } from '../../src/datapath/services/types.ts';

const at = (text: string): { address: string; port: number } => {
  const [address, port] = text.split(':');
  return { address: address!, port: Number(port) };
};

const dns: LbFrontend = {
  ...at('10.96.0.10:53'),
  l4Proto: 17,
  type: 'ClusterIP',
  group: 'dns',
  external: { local: false, backends: [at('10.0.0.1:53')] },
  internal: { local: true, backends: [at('10.0.0.2:53')] },
  terminating: [at('10.0.0.3:53')],
};
const nodePort: LbFrontend = { ...dns, ...at('0.0.0.0:30053') };

const translation = (frontend: string, revNatIndex: number, backend: string): SocketTranslation => [
  { socketCookie: 1n, ...at(backend) },
  { ...at(frontend), revNatIndex },
];

/** Whether it is stale beside a service that has number 7 and a node port of number 8. */
const isStale = (
  frontend: string,
  revNatIndex: number,
  backend: string,
  of: LbFrontend[] = [dns, nodePort],
) =>
  staleTranslations(
    [translation(frontend, revNatIndex, backend)],
    of.map((one, i) => ({ id: 7 + i, frontend: one })),
  ).length === 1;

test('to a backend of either scope, or one that is going: it stays', t => {
  for (const backend of ['10.0.0.1:53', '10.0.0.2:53', '10.0.0.3:53'])
    t.false(isStale('10.96.0.10:53', 7, backend), backend);
  t.false(isStale('192.168.10.100:30053', 8, '10.0.0.1:53'), 'a node port by the address of a node');
  t.false(isStale('127.0.0.1:30053', 8, '10.0.0.1:53'));
});

test('to anybody else it is stale', t => {
  t.true(isStale('10.96.0.10:53', 7, '10.0.0.4:53'), 'another address');
  t.true(isStale('10.96.0.10:53', 7, '10.0.0.1:54'), 'another port');
  t.true(isStale('10.96.0.10:53', 9, '10.0.0.1:53'), 'the frontend is gone');
  t.true(isStale('10.96.0.11:53', 7, '10.0.0.1:53'), 'another frontend has its number now');
  t.true(isStale('10.96.0.10:53', 7, '10.0.0.1:53', [{ ...dns, l4Proto: 6 }]), 'one of TCP has it');
});
