import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Journal } from '../../src/base/journal.ts';
import { endpointRoute, RouteTarget } from '../../src/datapath/route-table.ts';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';

test('a pod’s route is deleted without listing the others, whoever has changed it', async t => {
  const [node, pod] = [await createHeldNetns(), await createHeldNetns()];
  const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-routes-'));
  const rtnl = Rtnetlink.open({ netns: node.path });
  t.teardown(() => {
    rtnl.close();
    node.close();
    pod.close();
    rmSync(folder, { recursive: true, force: true });
  });
  for (const name of ['lxc000000000001', 'lxc000000000002']) {
    await rtnl.createVeth({ name, peer: { name: `p${name.at(-1)}`, netns: pod.path } });
    await rtnl.setLink(name, { up: true });
  }
  const [one, two] = [(await rtnl.link('lxc000000000001'))!, (await rtnl.link('lxc000000000002'))!];
  let lists = 0;
  const counting = new Proxy(rtnl, {
    get: (target, key) => {
      if (key === 'routes' || key === 'links') lists++;
      const value = Reflect.get(target, key) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const table = new RouteTarget(counting, new Journal(join(folder, 'journal'), { fsync: false }));
  const keys = ['10.9.0.1/32', '10.9.0.2/32', '10.9.0.3/32'];
  for (const key of keys) await table.update(key, endpointRoute(key.replace('/32', ''), one.ifindex));
  const left = async (): Promise<string[]> =>
    (await rtnl.routes({ table: 254 })).map(r => `${r.dst} ${r.ifindex}`).sort();

  await table.delete(keys[0]!, undefined);
  t.deepEqual(await left(), [`10.9.0.2/32 ${one.ifindex}`, `10.9.0.3/32 ${one.ifindex}`]);
  await table.delete(keys[0]!, undefined);
  t.is((await left()).length, 2, 'twice is fine');
  lists = 0;
  // Somebody else's by now: a pass judges it, not the deletion of ours.
  await rtnl.replaceRoute({ dst: keys[1]!, ifindex: two.ifindex, scope: 'link', protocol: 'static' });
  await table.delete(keys[1]!, undefined);
  await rtnl.deleteLink(one.name);
  await table.delete(keys[2]!, undefined);
  t.deepEqual(await left(), [`10.9.0.2/32 ${two.ifindex}`]);
  t.is(lists, 0);
  // What an earlier process wrote is looked for.
  await rtnl.replaceRoute({ dst: '10.9.0.9/32', ifindex: two.ifindex, scope: 'link', protocol: 'kernel' });
  await table.delete('10.9.0.9/32', undefined);
  t.deepEqual(await left(), [`10.9.0.2/32 ${two.ifindex}`]);
  t.true(lists > 0);
});
