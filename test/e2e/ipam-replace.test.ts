import test from 'ava';
import { createClient } from '../../src/cluster/index.ts';
import type { CiliumNode, CiliumPodIPPool } from '../../src/model/types.ts';
import { TestLab } from './lab.ts';

/** The seven steps by which the second document replaces the default pool, with two nodes as the two groups. */
test('the default pool gets other ranges, node group by node group, while Pods go on', async t => {
  const lab = new TestLab('replace');
  t.teardown(() => lab.down());
  const values = (cidr: string, maskSize: number): Record<string, unknown> => ({
    'ipam.mode': 'multi-pool',
    'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs': `{${cidr}}`,
    'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize': maskSize,
    'ipam.ciliumNodeUpdateRate': '1s',
  });
  await lab.up('one,two', ...Object.entries(values('10.10.0.0/16', 28)).map(([k, v]) => `${k}=${v}`));
  const client = createClient(`/run/fimbria-lab/${lab.name}/kubeconfig`);
  t.teardown(() => client.close());
  const allocated = async (node: string): Promise<string[]> =>
    ((await client.get<CiliumNode>('CiliumNode', node)).spec.ipam?.pools?.allocated ?? []).flatMap(
      a => a.cidrs ?? [],
    );
  const router = async (node: string): Promise<string> =>
    /cilium_host\S*\s+UP\s+([\d.]+)\/32/.exec(await lab.execMust(node, 'ip', '-br', 'addr'))![1]!;
  await lab.pod('first', 'one');
  const second = await lab.pod('second', 'two');

  // 1, 2: new values; the pool is deleted and made anew. Running Pods keep their addresses, and reach each other.
  await lab.upgrade(values('10.50.0.0/16', 27));
  t.deepEqual((await client.get<CiliumPodIPPool>('CiliumPodIPPool', 'default')).spec.ipv4?.cidrs, [
    '10.10.0.0/16',
  ]);
  await client.delete('CiliumPodIPPool', 'default');
  const informer = client.informer<CiliumPodIPPool>('CiliumPodIPPool');
  await new Promise<void>(resolve => {
    const look = (): void =>
      void (informer.get('default')?.spec.ipv4?.cidrs[0] === '10.50.0.0/16' && resolve());
    informer.on({ added: look, updated: look });
  });
  informer.close();
  t.true(await lab.reaches('first', [second]));

  // 3, 4: group one is drained, its CiliumNode deleted, its agent started again.
  const move = async (node: string, pod: string): Promise<string> => {
    await lab.must('lab', 'pod', 'delete', pod);
    await client.delete('CiliumNode', node);
    await lab.must('lab', 'node', 'stop', node);
    await lab.must('lab', 'node', 'start', node);
    return await lab.pod(`${pod}-new`, node);
  };
  const first = await move('one', 'first');
  t.regex(first, /^10\.50\./);
  t.regex(await router('one'), /^10\.50\./);
  t.true(await lab.reaches('first-new', [second]), 'between old range and new');
  t.is((await lab.pods()).find(p => p.name === 'second')!.ip, second);

  // 5, 6: group two.
  const last = await move('two', 'second');
  t.regex(last, /^10\.50\./);
  t.regex(await router('two'), /^10\.50\./);
  t.true(await lab.reaches('second-new', [first]));
  t.true(await lab.reaches('first-new', [last]));

  // 7: nothing is left of the old range.
  const nodes = client.informer<CiliumNode>('CiliumNode');
  await new Promise<void>(resolve => {
    const look = (): void => {
      const cidrs = nodes
        .list()
        .flatMap(n => (n.spec.ipam?.pools?.allocated ?? []).flatMap(a => a.cidrs ?? []));
      if (cidrs.length > 0 && cidrs.every(cidr => cidr.startsWith('10.50.'))) resolve();
    };
    nodes.on({ added: look, updated: look });
    look();
  });
  nodes.close();
  for (const node of ['one', 'two']) t.true((await allocated(node)).every(cidr => cidr.endsWith('/27')));
});
