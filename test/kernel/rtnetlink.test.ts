import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { createHeldNetns, type HeldNetns } from '../../src/kernel/netns.ts';
import { type NetlinkEvent, NetlinkMonitor, Rtnetlink } from '../../src/kernel/rtnetlink.ts';

interface Place {
  netns: HeldNetns;
  rt: Rtnetlink;
}

/** Runs `body` in a namespace of its own. */
async function inside(body: (place: Place) => Promise<void>): Promise<void> {
  const netns = await createHeldNetns();
  const rt = Rtnetlink.open({ netns: netns.fd });
  try {
    await body({ netns, rt });
  } finally {
    rt.close();
    netns.close();
  }
}

test('a new namespace has loopback and nothing else', t =>
  inside(async ({ rt }) => {
    const links = await rt.links();
    t.deepEqual(
      links.map(link => [link.name, link.loopback, link.up]),
      [['lo', true, false]],
    );
    t.deepEqual(await rt.routes(), []);
    t.deepEqual(await rt.addresses(), []);
    t.is(await rt.link('eth0'), undefined);
    t.is(await rt.link(99), undefined);
  }));

test('veth: the peer is born in its namespace, by path and by descriptor', t =>
  inside(({ rt }) =>
    inside(async ({ netns: other, rt: rtOther }) => {
      for (const [i, netns] of [other.path, other.fd].entries()) {
        await rt.createVeth({
          name: `lxc${i}`,
          mac: `02:00:00:00:00:0${i}`,
          mtu: 1400,
          up: true,
          noarp: true,
          alias: `pod ${i}`,
          peer: { name: `eth${i}`, mac: `02:00:00:00:01:0${i}`, mtu: 1300, netns },
        });
        const link = (await rt.link(`lxc${i}`))!;
        t.like(link, {
          kind: 'veth',
          mac: `02:00:00:00:00:0${i}`,
          mtu: 1400,
          up: true,
          noarp: true,
          alias: `pod ${i}`,
        });
        const peer = (await rtOther.link(`eth${i}`))!;
        t.like(peer, { kind: 'veth', mac: `02:00:00:00:01:0${i}`, mtu: 1300, up: false, noarp: false });
        t.is(link.peerIfindex, peer.ifindex);
        t.is(peer.peerIfindex, link.ifindex);
        t.is(typeof link.peerNetnsId, 'number');
      }
      t.true(await rt.deleteLink('lxc0'));
      t.false(await rt.deleteLink('lxc0'));
      t.is(await rtOther.link('eth0'), undefined);
    }),
  ));

test('many devices are deleted at once, and no other', t =>
  inside(({ rt }) =>
    inside(async ({ netns: other, rt: rtOther }) => {
      const netns = other.path;
      const names = Array.from({ length: 130 }, (_, i) => `many${i}`);
      for (const name of names) await rt.createVeth({ name, peer: { name: `e${name}`, netns } });
      await rt.createVeth({ name: 'stays', peer: { name: 'estays', netns } });
      await rt.deleteLinks([]);
      await rt.deleteLinks(['many0']);
      await rt.deleteLinks(['nobody', 'nobody else']);
      t.is((await rt.links()).length, 131);
      // Some are gone already.
      await rt.deleteLinks([...names, 'nobody']);
      for (const one of [rt, rtOther])
        t.deepEqual(
          (await one.links()).map(link => link.name).sort(),
          one === rt ? ['lo', 'stays'] : ['estays', 'lo'],
        );
      await rt.createVeth({ name: 'last', peer: { name: 'elast', netns } });
      await t.throwsAsync(rt.deleteLinks(['lo', 'last']), { code: 'ENOTSUP' }, 'all or none');
      t.is((await rt.links()).length, 3);
    }),
  ));

test('what the kernel refuses says why', t =>
  inside(async ({ rt }) => {
    await rt.createVeth({ name: 'test0', peer: { name: 'test1' } });
    const twice = await t.throwsAsync(rt.createVeth({ name: 'test0', peer: { name: 'test2' } }), {
      instanceOf: FimbriaError,
    });
    t.is(twice?.code, 'EEXIST');
    t.is(twice?.op, 'create');
    t.is(await rt.link('test2'), undefined);
    const link = (await rt.link('test0'))!;
    await rt.setLink('test0', { up: true });
    await rt.addAddress({ ifindex: link.ifindex, address: '10.0.0.1', prefixLength: 24 });
    const gateway = await t.throwsAsync(rt.replaceRoute({ dst: '10.1.0.0/16', gateway: '11.0.0.1' }), {
      instanceOf: FimbriaError,
    });
    t.is(gateway?.message, 'replace route 10.1.0.0/16: Nexthop has invalid gateway (ENETUNREACH)');
    t.is(gateway?.extack, 'Nexthop has invalid gateway');
    t.is(gateway?.errno, 101);
    const mtu = await t.throwsAsync(rt.setLink('test0', { mtu: 10 }), { instanceOf: FimbriaError });
    t.is(mtu?.code, 'EINVAL');
    t.truthy(mtu?.extack);
    t.is(
      (await t.throwsAsync(rt.setLink('none', { up: true }), { instanceOf: FimbriaError }))?.code,
      'ENODEV',
    );
  }));

test('a veth whose alias is refused is not left behind', t =>
  inside(async ({ rt }) => {
    const error = await t.throwsAsync(
      rt.createVeth({ name: 'test0', alias: 'x'.repeat(300), peer: { name: 'test1' } }),
      { instanceOf: FimbriaError },
    );
    t.truthy(error?.code);
    t.is(await rt.link('test0'), undefined);
  }));

test('links are changed, renamed, enslaved and moved', t =>
  inside(({ rt }) =>
    inside(async ({ netns: other, rt: rtOther }) => {
      await rt.createBridge({ name: 'br0', up: true });
      const bridge = (await rt.link('br0'))!;
      t.is(bridge.kind, 'bridge');
      await rt.createVeth({ name: 'test0', peer: { name: 'test1' } });
      await rt.setLink('test0', { name: 'renamed' });
      t.is(await rt.link('test0'), undefined);
      await rt.setLink('renamed', {
        mtu: 1280,
        mac: '02:00:00:00:00:77',
        noarp: true,
        alias: 'a',
        master: bridge.ifindex,
      });
      t.like(await rt.link('renamed'), {
        mtu: 1280,
        mac: '02:00:00:00:00:77',
        noarp: true,
        alias: 'a',
        master: bridge.ifindex,
        up: false,
      });
      await rt.setLink('renamed', { up: true, noarp: false, alias: '' });
      const back = (await rt.link('renamed'))!;
      t.like(back, { up: true, noarp: false, mtu: 1280 });
      t.is(back.alias, undefined);
      await rt.setLink('test1', { netns: other.path });
      t.is(await rt.link('test1'), undefined);
      t.is((await rtOther.link('test1'))?.name, 'test1');
    }),
  ));

test('vxlan in collect-metadata mode', t =>
  inside(async ({ rt }) => {
    await rt.createVxlan({ name: 'cilium_vxlan', external: true, port: 8472, mtu: 1450, up: true });
    t.like(await rt.link('cilium_vxlan'), {
      kind: 'vxlan',
      mtu: 1450,
      up: true,
      vxlan: { external: true, port: 8472, vni: 0, learning: false },
    });
  }));

test('addresses: adding is repeatable, deleting what is gone is false', t =>
  inside(async ({ rt }) => {
    const lo = (await rt.link('lo'))!;
    const address = { ifindex: lo.ifindex, address: '10.0.0.1', prefixLength: 32, scope: 'link' } as const;
    await rt.addAddress(address);
    await rt.addAddress(address);
    t.like((await rt.addresses({ ifindex: lo.ifindex, family: 4 }))[0], address);
    t.deepEqual(await rt.addresses({ ifindex: 99 }), []);
    t.true(await rt.deleteAddress(address));
    t.false(await rt.deleteAddress(address));
  }));

test('routes: replaced, listed by table and device, deleted', t =>
  inside(async ({ rt }) => {
    await rt.createVeth({ name: 'test0', up: true, peer: { name: 'test1' } });
    await rt.setLink('test1', { up: true });
    const { ifindex } = (await rt.link('test0'))!;
    await rt.addAddress({ ifindex, address: '10.0.0.1', prefixLength: 24 });
    await rt.replaceRoute({ dst: '10.1.0.0/16', gateway: '10.0.0.2', mtu: 1450, src: '10.0.0.1' });
    await rt.replaceRoute({ dst: '10.1.0.0/16', gateway: '10.0.0.3', priority: 0 });
    await rt.replaceRoute({ dst: '10.2.3.4/32', ifindex, table: 1000, protocol: 'static' });
    await rt.replaceRoute({ dst: 'default', gateway: '10.9.9.9', ifindex, onlink: true });
    await rt.replaceRoute({ dst: '10.3.0.0/24', type: 'blackhole' });
    const main = await rt.routes({ table: 254 });
    t.deepEqual(
      main.find(route => route.dst === '10.1.0.0/16'),
      {
        dst: '10.1.0.0/16',
        gateway: '10.0.0.3',
        ifindex,
        protocol: 'kernel',
        scope: 'global',
        table: 254,
        type: 'unicast',
      },
    );
    t.like(
      main.find(route => route.dst === 'default'),
      { gateway: '10.9.9.9', onlink: true },
    );
    t.is(main.find(route => route.dst === '10.3.0.0/24')?.type, 'blackhole');
    t.deepEqual(await rt.routes({ table: 1000 }), [
      { dst: '10.2.3.4/32', ifindex, protocol: 'static', scope: 'link', table: 1000, type: 'unicast' },
    ]);
    t.deepEqual(await rt.routes({ table: 4711 }), []);
    t.true((await rt.routes({ ifindex })).every(route => route.ifindex === ifindex));
    t.false(await rt.deleteRoute({ dst: '10.1.0.0/16', gateway: '10.0.0.9' }));
    t.true(await rt.deleteRoute({ dst: '10.1.0.0/16', gateway: '10.0.0.3' }));
    t.false(await rt.deleteRoute({ dst: '10.1.0.0/16' }));
    t.true(await rt.deleteRoute({ dst: '10.2.3.4/32', table: 1000 }));
    t.true(await rt.deleteRoute({ dst: '10.3.0.0/24', type: 'blackhole' }));
  }));

test('a thousand routes in one call; a refusal among them does not stop the rest', t =>
  inside(async ({ rt }) => {
    await rt.setLink('lo', { up: true });
    const { ifindex } = (await rt.link('lo'))!;
    const routes = Array.from({ length: 1000 }, (_, i) => ({
      dst: `10.${i >> 8}.${i & 255}.0/24`,
      ifindex,
      table: 77,
    }));
    await rt.replaceRoutes(routes);
    t.is((await rt.routes({ table: 77 })).length, 1000);
    const bad = [
      { dst: '10.200.0.0/24', gateway: '1.2.3.4', table: 77 },
      { dst: '10.201.0.0/24', ifindex, table: 77 },
    ];
    t.is(
      (await t.throwsAsync(rt.replaceRoutes(bad), { instanceOf: FimbriaError }))?.object,
      'route 10.200.0.0/24',
    );
    t.is((await rt.routes({ table: 77 })).length, 1001);
  }));

test('many callers at a time get their own answers', t =>
  inside(async ({ rt }) => {
    const names = Array.from({ length: 30 }, (_, i) => `test${i}`);
    await Promise.all(names.map(name => rt.createVeth({ name, peer: { name: `p${name}` } })));
    const links = await Promise.all(names.map(name => rt.link(name)));
    t.deepEqual(
      links.map(link => link?.name),
      names,
    );
  }));

test('neighbours', t =>
  inside(async ({ rt }) => {
    await rt.createVeth({ name: 'test0', up: true, peer: { name: 'test1' } });
    const { ifindex } = (await rt.link('test0'))!;
    await rt.replaceNeighbour({ ifindex, address: '10.0.0.9', mac: '02:00:00:00:00:01' });
    await rt.replaceNeighbour({ ifindex, address: '10.0.0.9', mac: '02:00:00:00:00:02' });
    t.deepEqual(await rt.neighbours({ ifindex }), [
      { ifindex, address: '10.0.0.9', mac: '02:00:00:00:00:02', state: 'permanent' },
    ]);
    t.true(await rt.deleteNeighbour({ ifindex, address: '10.0.0.9' }));
    t.false(await rt.deleteNeighbour({ ifindex, address: '10.0.0.9' }));
  }));

test('rules', t =>
  inside(async ({ rt }) => {
    const rule = {
      family: 4 as const,
      priority: 100,
      table: 2005,
      fwmark: 0x200,
      fwmask: 0xf00,
      protocol: 'kernel',
    };
    await rt.addRule(rule);
    t.deepEqual(
      (await rt.rules({ family: 4 })).find(entry => entry.priority === 100),
      rule,
    );
    t.is((await t.throwsAsync(rt.addRule(rule), { instanceOf: FimbriaError }))?.code, 'EEXIST');
    t.true(await rt.deleteRule(rule));
    t.false(await rt.deleteRule(rule));
    t.true((await rt.rules()).some(entry => entry.family === 4 && entry.priority === 32766));
  }));

test('a namespace that is not there', async t => {
  const error = t.throws(() => Rtnetlink.open({ netns: '/nowhere/net' }), { instanceOf: FimbriaError });
  t.is(error?.code, 'ENOENT');
  t.is(
    t.throws(() => Rtnetlink.open({ netns: '/proc/self/status' }), { instanceOf: FimbriaError })?.code,
    'EINVAL',
  );
});

test('the monitor tells of links, addresses and routes in order', t =>
  inside(async ({ netns, rt }) => {
    const events: NetlinkEvent[] = [];
    let wake = (): void => {};
    const monitor = new NetlinkMonitor({
      netns: netns.fd,
      groups: ['link', 'ipv4-route', 'ipv4-ifaddr', 'neigh'],
      onEvent(event) {
        events.push(event);
        wake();
      },
      onOverrun: () => t.fail(),
    });
    const seen = async (matches: (event: NetlinkEvent) => boolean): Promise<void> => {
      while (!events.some(matches)) await new Promise<void>(resolve => (wake = resolve));
    };
    await rt.createVeth({ name: 'test0', up: true, peer: { name: 'test1' } });
    await seen(event => event.type === 'link-new' && event.link.name === 'test0' && event.link.up);
    const { ifindex } = (await rt.link('test0'))!;
    await rt.addAddress({ ifindex, address: '10.0.0.1', prefixLength: 24 });
    await seen(event => event.type === 'address-new' && event.address.address === '10.0.0.1');
    await rt.replaceRoute({ dst: '10.1.0.0/16', ifindex });
    await seen(event => event.type === 'route-new' && event.route.dst === '10.1.0.0/16');
    await rt.deleteRoute({ dst: '10.1.0.0/16' });
    await seen(event => event.type === 'route-del' && event.route.dst === '10.1.0.0/16');
    await rt.replaceNeighbour({ ifindex, address: '10.0.0.9', mac: '02:00:00:00:00:01' });
    await seen(event => event.type === 'neighbour-new' && event.neighbour.address === '10.0.0.9');
    await rt.deleteLink('test0');
    await seen(event => event.type === 'link-del' && event.link.name === 'test0');
    await seen(event => event.type === 'address-del');
    monitor.close();
    monitor.close();
    const count = events.length;
    await rt.createVeth({ name: 'test2', peer: { name: 'test3' } });
    t.is(events.length, count);
  }));

test('an overrun is told, and the monitor goes on', t =>
  inside(async ({ netns, rt }) => {
    await rt.setLink('lo', { up: true });
    const { ifindex } = (await rt.link('lo'))!;
    let overrun = (): void => {};
    let last = (): void => {};
    const monitor = new NetlinkMonitor({
      netns: netns.fd,
      groups: ['ipv4-route'],
      onEvent(event) {
        if (event.type === 'route-new' && event.route.dst === '11.0.0.0/24') last();
      },
      onOverrun: () => overrun(),
    });
    const overran = new Promise<void>(resolve => (overrun = resolve));
    // The event loop is kept busy while another process's worth of changes piles up behind the monitor.
    const flood = Array.from({ length: 20_000 }, (_, i) => ({
      dst: `10.${i >> 8}.${i & 255}.0/24`,
      ifindex,
      table: 77,
    }));
    const { blockingReplace } = await import('./flood.ts');
    blockingReplace(netns.path, flood);
    await overran;
    const arrived = new Promise<void>(resolve => (last = resolve));
    await rt.replaceRoute({ dst: '11.0.0.0/24', ifindex });
    await arrived;
    monitor.close();
    t.pass();
  }));
