import test from 'ava';
import { createPodLink, Ifindexes, type PodLinkOptions } from '../../src/datapath/pod-link.ts';
import { deviceSysctls } from '../../src/datapath/sysctls.ts';
import { BpfObject, TcFilter } from '../../src/kernel/libbpf/index.ts';
import { createHeldNetns, getSysctl, type HeldNetns } from '../../src/kernel/netns.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';
import { inSteps, step } from '../../src/kernel/steps.ts';
import { compileBpf, scratch } from '../native/support.ts';

interface Node {
  host: HeldNetns;
  pod: HeldNetns;
  rtnl: Rtnetlink;
  inside: Rtnetlink;
  options: PodLinkOptions;
}

/** A node and a pod, each a namespace of its own, for the time of `body`. */
async function node(body: (node: Node) => Promise<void>): Promise<void> {
  const [host, pod] = [await createHeldNetns(), await createHeldNetns()];
  const rtnl = Rtnetlink.open({ netns: host.fd });
  const inside = Rtnetlink.open({ netns: pod.fd });
  const options = {
    hostName: 'lxc0123456789ab',
    netns: pod.path,
    ifname: 'eth0',
    ipv4: '10.0.0.2',
    routerIpv4: '10.0.0.1',
    deviceMtu: 1500,
    routeMtu: 1450,
  };
  try {
    await body({ host, pod, rtnl, inside, options });
  } finally {
    for (const thing of [rtnl, inside, host, pod]) thing.close();
  }
}

test('a pair is born with addresses, routes, sysctls and its programs', t =>
  node(async ({ host, rtnl, inside, options }) => {
    const place = await scratch();
    t.teardown(() => place.close());
    const object = BpfObject.open(compileBpf('smoke', place.directory));
    object.configureMap('test_counts', { pinPath: null });
    object.load();
    const program = object.program('test_pass');
    const ifindexes = new Ifindexes();
    ifindexes.above(await rtnl.links());
    const filters = (['ingress', 'egress'] as const).map(direction => ({
      direction,
      programFd: program.fd,
      name: 'test_pass',
    }));
    const link = await createPodLink(rtnl, ifindexes, options, filters);
    const outer = (await rtnl.link(options.hostName))!;
    const inner = (await inside.link('eth0'))!;
    t.like(outer, { ifindex: link.ifindex, mac: link.hostMac, mtu: 1500, up: true });
    t.like(inner, { mac: link.mac, mtu: 1500, up: true });
    t.is(outer.peerIfindex, inner.ifindex);
    t.true((await inside.link('lo'))!.up);
    const addresses = await inside.addresses({ ifindex: inner.ifindex, family: 4 });
    t.deepEqual(
      addresses.map(a => [a.address, a.prefixLength]),
      [['10.0.0.2', 32]],
    );
    const routes = await inside.routes({ table: 254 });
    t.deepEqual(routes.map(r => [r.dst, r.gateway, r.scope, r.mtu]).sort(), [
      ['10.0.0.1/32', undefined, 'link', undefined],
      ['default', '10.0.0.1', 'global', 1450],
    ]);
    for (const [name, { value }] of deviceSysctls(options.hostName))
      t.is(await getSysctl(name, { netns: host.fd }), value, name);
    for (const { direction } of filters) {
      const slot = { ifindex: link.ifindex, direction, netns: host.fd };
      t.is(TcFilter.query(slot)?.programId, program.id);
      // The slot is the one that a replacement takes.
      TcFilter.attach({ ...slot, program: object.program('test_drop') });
      t.is(TcFilter.query(slot)?.programId, object.program('test_drop').id);
    }
    object.close();
  }));

test('what a killed attempt left is in nobody’s way; an interface of the pod is', t =>
  node(async ({ host, rtnl, inside, options }) => {
    await rtnl.createVeth({ name: options.hostName, peer: { name: 'leftover', netns: host.fd } });
    const { ifindex } = await createPodLink(rtnl, new Ifindexes(), options);
    t.is((await rtnl.link(options.hostName))!.ifindex, ifindex);
    t.is(await rtnl.link('leftover'), undefined);
    const before = await inside.links();
    const second = { ...options, hostName: 'lxcba9876543210' };
    await t.throwsAsync(createPodLink(rtnl, new Ifindexes(), second), {
      code: 'EEXIST',
      message: /^create interface eth0 in .*: the namespace already has one; delete the container first$/,
    });
    t.is(await rtnl.link(second.hostName), undefined);
    t.deepEqual(await inside.links(), before);
  }));

test('numbers that others have taken are passed by, in the node and in the pod', t =>
  node(async ({ host, pod, rtnl, inside, options }) => {
    // A fresh counter begins at 1 and 2: loopback has the one, and these more.
    await rtnl.createVeth({
      name: 'other0',
      ifindex: 2,
      peer: { name: 'other1', ifindex: 3, netns: host.fd },
    });
    await inside.createVeth({
      name: 'other0',
      ifindex: 9,
      peer: { name: 'other1', ifindex: 10, netns: pod.fd },
    });
    const { ifindex } = await createPodLink(rtnl, new Ifindexes(), options);
    const inner = (await inside.link('eth0'))!;
    t.is((await rtnl.link(options.hostName))!.ifindex, ifindex);
    t.true(ifindex > 10 && inner.ifindex > 10);
    t.is((await rtnl.links()).length, 4);
  }));

test('a step that is refused is the last, and nothing is left of the pair', t =>
  node(async ({ host, rtnl, options }) => {
    await t.throwsAsync(
      inSteps([
        { netns: host.fd, requests: [step.setUp('lo')] },
        { netns: host.fd, requests: [step.setUp('nowhere'), step.setUp('lo')] },
        {
          netns: host.fd,
          requests: [step.addAddress({ ifindex: 1, address: '10.9.9.9', prefixLength: 32 })],
        },
      ]),
      { code: 'ENODEV', message: /^change link nowhere: / },
    );
    t.deepEqual(
      (await rtnl.addresses({ ifindex: 1, family: 4 })).map(a => a.address),
      ['127.0.0.1'],
    );
    const noProgram = { direction: 'ingress', programFd: host.fd, name: 'no program' } as const;
    await t.throwsAsync(createPodLink(rtnl, new Ifindexes(), options, [noProgram]), {
      message: /^attach no program to ingress of link \d+: /,
    });
    t.is(await rtnl.link(options.hostName), undefined);
  }));

test('a namespace that is gone is told once, with what to do', t =>
  node(async ({ rtnl, options }) => {
    await t.throwsAsync(createPodLink(rtnl, new Ifindexes(), { ...options, netns: '/no/such/netns' }), {
      code: 'ENOENT',
      message:
        'open network namespace /no/such/netns: no such file or directory (ENOENT); the container is gone; let the runtime create it again',
    });
    await t.throwsAsync(createPodLink(rtnl, new Ifindexes(), { ...options, netns: '/dev/null' }), {
      code: 'ENOENT',
      message:
        'open network namespace /dev/null: it is no namespace; the container is gone; let the runtime create it again',
    });
  }));
