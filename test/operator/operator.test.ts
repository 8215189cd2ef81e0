import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { silent } from '../../src/base/log.ts';
import { LEASE_NAMESPACE } from '../../src/cluster/leader.ts';
import { LEASE_NAME, parseFlat } from '../../src/config/index.ts';
import type { CiliumNode, Lease } from '../../src/model/types.ts';
import { runOperator } from '../../src/operator/operator.ts';
import { Cluster } from './server.ts';

const RANGES = '172.20.42.0/28 172.20.84.0/28';

/** An operator of its own client. `stop` is orderly. */
function operate(
  t: ExecutionContext,
  cluster: Cluster,
  o: { ranges?: string; identity?: string; identityMs?: number; leaseMs?: number } = {},
): { stop(): Promise<void> } {
  const abort = new AbortController();
  const leaseMs = o.leaseMs ?? 15_000;
  const done = runOperator(
    {
      client: cluster.newClient(),
      config: parseFlat({
        'cluster-pool-ipv4-cidr': o.ranges ?? RANGES,
        'cluster-pool-ipv4-mask-size': '29',
      }),
      identity: o.identity ?? 'one',
      log: silent,
      timings: { leaseMs, deadlineMs: leaseMs / 2, renewMs: leaseMs / 10 },
      grace: { identityMs: o.identityMs ?? 60_000, nodeMs: 60_000 },
    },
    abort.signal,
  );
  const stop = async (): Promise<void> => {
    abort.abort();
    await done;
  };
  t.teardown(stop);
  return { stop };
}

test('nodes get blocks, a restart gives nothing twice, exhaustion is told and taken back', async t => {
  const cluster = await Cluster.start(t);
  for (const name of ['ctr', 'w1', 'w2']) await cluster.addNode(name);
  let operator = operate(t, cluster);
  await cluster.untilBlocks(3);
  t.deepEqual(await cluster.blocks(), {
    ctr: ['172.20.42.0/29'],
    w1: ['172.20.42.8/29'],
    w2: ['172.20.84.0/29'],
  });
  const { items } = await cluster.client.list<CiliumNode>('CiliumNode');
  t.is(items[0]!.spec.addresses![0]!.ip, '192.168.10.100', "the agent's part is left alone");
  await operator.stop();

  await cluster.addNode('w3');
  await cluster.addNode('w4');
  operator = operate(t, cluster);
  const told = await cluster.until<CiliumNode>('CiliumNode', nodes =>
    nodes.some(node => node.status?.ipam?.['operator-status']?.error !== undefined),
  );
  t.regex(
    told.find(node => node.metadata.name === 'w4')!.status!.ipam!['operator-status']!.error!,
    /^no pod CIDR for node w4: all 4 blocks of \/29 in 172\.20\.42\.0\/28, 172\.20\.84\.0\/28 are in use; append a range/,
  );
  t.deepEqual((await cluster.blocks()).w3, ['172.20.84.8/29']);
  await operator.stop();

  operate(t, cluster, { ranges: `${RANGES} 10.0.0.0/28` });
  await cluster.untilBlocks(5);
  t.deepEqual((await cluster.blocks()).w4, ['10.0.0.0/29']);
  await cluster.until<CiliumNode>('CiliumNode', nodes =>
    nodes.every(node => !node.status?.ipam?.['operator-status']?.error),
  );
  t.pass();
});

test('a node that goes takes its CiliumNode along, and its block is given to the next', async t => {
  const cluster = await Cluster.start(t);
  for (const name of ['a', 'b']) await cluster.addNode(name);
  await cluster.addCiliumNode('without-node');
  operate(t, cluster);
  await cluster.untilBlocks(3);
  const [freed] = (await cluster.blocks()).a!;
  await cluster.client.delete('Node', 'a');
  await cluster.until('CiliumNode', nodes => nodes.length === 2);
  t.deepEqual(await cluster.names('CiliumNode'), ['b', 'without-node']);
  await cluster.addNode('c');
  await cluster.untilBlocks(3);
  t.deepEqual((await cluster.blocks()).c, [freed]);
});

test('endpoints without pod and identities without endpoint go, the others stay', async t => {
  const cluster = await Cluster.start(t);
  const pod = await cluster.addPod('web');
  await cluster.addEndpoint('web', 300, pod.metadata.uid);
  await cluster.addEndpoint('gone', 301, 'uid-of-a-pod-that-was');
  const again = await cluster.addPod('again');
  await cluster.addEndpoint('again', 302, `not-${again.metadata.uid}`);
  for (const id of [300, 301, 302, 303]) await cluster.addIdentity(id);
  operate(t, cluster, { identityMs: 0 });
  await cluster.until('CiliumEndpoint', endpoints => endpoints.length === 1);
  t.deepEqual(await cluster.names('CiliumEndpoint'), ['web']);
  await cluster.until('CiliumIdentity', identities => identities.length === 1);
  t.deepEqual(await cluster.names('CiliumIdentity'), ['300']);
});

test('an API server that is away is waited for, at the start and in between', async t => {
  const cluster = await Cluster.start(t);
  await cluster.stop();
  operate(t, cluster, { leaseMs: 1000 });
  await cluster.start();
  await cluster.addNode('a');
  await cluster.untilBlocks(1);
  await cluster.stop();
  await cluster.start();
  await cluster.addNode('b');
  await cluster.untilBlocks(2);
  t.deepEqual(await cluster.blocks(), { a: ['172.20.42.0/29'], b: ['172.20.42.8/29'] });
});

test('of two operators one leads; the other takes over when it ends, or is silent for too long', async t => {
  const cluster = await Cluster.start(t);
  const first = operate(t, cluster, { identity: 'first' });
  await cluster.until<Lease>('Lease', leases => leases.some(lease => lease.spec?.holderIdentity === 'first'));
  operate(t, cluster, { identity: 'second', leaseMs: 2000 });
  await cluster.addNode('a');
  await cluster.untilBlocks(1);
  t.is((await cluster.client.get<Lease>('Lease', LEASE_NAME, LEASE_NAMESPACE)).spec!.holderIdentity, 'first');
  await first.stop();
  await cluster.until<Lease>('Lease', leases =>
    leases.some(lease => lease.spec?.holderIdentity === 'second'),
  );
  await cluster.addNode('b');
  await cluster.untilBlocks(2);
  t.deepEqual((await cluster.blocks()).b, ['172.20.42.8/29']);
});

test('a lease that nobody renews runs out', async t => {
  const cluster = await Cluster.start(t);
  await cluster.client.create<Lease>({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: LEASE_NAME, namespace: LEASE_NAMESPACE },
    spec: {
      holderIdentity: 'dead',
      leaseDurationSeconds: 1,
      renewTime: new Date().toISOString().replace('Z', '000Z'),
    },
  });
  operate(t, cluster, { leaseMs: 2000 });
  await cluster.addNode('a');
  await cluster.untilBlocks(1);
  const lease = await cluster.client.get<Lease>('Lease', LEASE_NAME, LEASE_NAMESPACE);
  t.like(lease.spec, { holderIdentity: 'one', leaseTransitions: 1 });
});

function startProcess(t: ExecutionContext, args: string[]): ChildProcess & { output: string } {
  const child = Object.assign(
    spawn(process.execPath, ['--import=tsx', 'src/operator/main.ts', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
    { output: '' },
  );
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', data => (child.output += data));
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

test('the program works, ends on SIGTERM with 0, and its successor need not wait', async t => {
  const cluster = await Cluster.start(t);
  const config = join(cluster.dir, 'config');
  const kubeconfig = join(cluster.dir, 'kubeconfig');
  mkdirSync(config);
  writeFileSync(join(config, 'cluster-pool-ipv4-cidr'), RANGES);
  writeFileSync(join(config, 'cluster-pool-ipv4-mask-size'), '29\n');
  writeFileSync(kubeconfig, cluster.kubeconfig());
  const args = ['--kubeconfig', kubeconfig, '--config-dir', config, '--lab', 'test'];
  const first = startProcess(t, args);
  await cluster.addNode('a');
  await cluster.untilBlocks(1);
  first.kill('SIGTERM');
  const [code] = await once(first, 'exit');
  t.is(code, 0, first.output);
  t.regex(first.output, /level=info subsys=ipam msg="assigned pod CIDR" node=a cidr=172\.20\.42\.0\/29/);
  const lease = await cluster.client.get<Lease>('Lease', LEASE_NAME, LEASE_NAMESPACE);
  t.is(lease.spec!.holderIdentity, '');

  // Killed at any moment: in a lab the next one carries the same name and need not wait either.
  const second = startProcess(t, args);
  await cluster.addNode('b');
  await cluster.untilBlocks(2);
  second.kill('SIGKILL');
  await once(second, 'exit');
  const third = startProcess(t, args);
  await cluster.addNode('c');
  await cluster.untilBlocks(3);
  third.kill('SIGINT');
  t.is((await once(third, 'exit'))[0], 0, third.output);
  t.is(new Set(Object.values(await cluster.blocks()).flat()).size, 3);
});

test('a wrong command line ends with 2, a wrong configuration with 1 and its key', async t => {
  const wrong = startProcess(t, ['--nonsense']);
  t.is((await once(wrong, 'close'))[0], 2);
  t.regex(wrong.output, /^fimbria-operator: read command line: .*--nonsense/);
  const cluster = await Cluster.start(t);
  const config = join(cluster.dir, 'config');
  mkdirSync(config);
  writeFileSync(join(config, 'routing-mode'), 'wormhole');
  const bad = startProcess(t, ['--kubeconfig', join(cluster.dir, 'kubeconfig'), '--config-dir', config]);
  t.is((await once(bad, 'close'))[0], 1);
  t.is(
    bad.output,
    'fimbria-operator: config: routing-mode: wormhole is not known; use one of tunnel, native\n',
  );
});
