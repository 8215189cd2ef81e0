import test from 'ava';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import { EndpointMender, type MendDeps } from '../../src/endpoint/mend.ts';
import type { Endpoint } from '../../src/endpoint/types.ts';
import type { Link } from '../../src/kernel/rtnetlink.ts';

/** One pod on a node whose devices and namespaces the test takes away. */
function world() {
  const endpoints = new Map<number, Endpoint>();
  endpoints.set(7, {
    ...{ id: 7, containerId: 'c', ifname: 'eth0', netns: '/dev/null', ipv4: '10.0.0.7', poolName: 'default' },
    ...{
      hostIfname: 'lxc000000000007',
      ifindex: 20,
      hostMac: 'h',
      mac: 'm',
      identity: 5,
      labels: [],
      createdAt: '',
    },
  });
  const state = { links: [] as Link[], netnsLives: true, released: 0, made: [] as unknown[], nowMs: 0 };
  const deps = {
    store: {
      list: () => [...endpoints.values()],
      get: (id: number) => endpoints.get(id),
      put: (e: Endpoint) => endpoints.set(e.id, e),
      delete: (id: number) => endpoints.delete(id),
      leaving: () => {},
    },
    pool: { release: () => state.released++ },
    datapath: {
      createLink: async (o: { macs?: { mac: string; hostMac: string } }) => {
        if (!state.netnsLives) throw new FimbriaError({ code: 'ENOENT', op: 'open', why: 'gone' });
        state.made.push(o);
        state.links = [{ name: 'lxc000000000007', ifindex: 21 } as Link];
        return { ifindex: 21, ...o.macs };
      },
      attach: async () => {},
      admit: async () => {},
      expel: async () => {},
      detach: async () => {},
      deleteLink: async () => {},
      deleteLinkSoon: async () => {},
    },
    onChange: () => {},
    log: silent,
    links: async () => state.links,
    exclusive: (_: string, work: () => Promise<unknown>) => work(),
  } as unknown as MendDeps;
  return { endpoints, state, mender: new EndpointMender(deps, () => state.nowMs) };
}

test('a device that was deleted is made anew with the MACs it had, as long as the pod lives', async t => {
  const { endpoints, state, mender } = world();
  t.deepEqual(await mender.mend(), ['lxc000000000007']);
  t.like(state.made[0], { macs: { mac: 'm', hostMac: 'h' }, ipv4: '10.0.0.7', netns: '/dev/null' });
  t.like(endpoints.get(7), { id: 7, ifindex: 21, mac: 'm', hostMac: 'h', ipv4: '10.0.0.7' });
  t.deepEqual(await mender.mend(), [], 'once');
});

test('an endpoint is forgotten only after device and namespace were gone twice, well apart', async t => {
  const { endpoints, state, mender } = world();
  state.netnsLives = false;
  for (const nowMs of [0, 50, 19_000]) {
    state.nowMs = nowMs;
    t.deepEqual(await mender.mend(), []);
    t.true(endpoints.has(7), `after ${nowMs} ms`);
  }
  state.nowMs = 21_000;
  await mender.mend();
  t.false(endpoints.has(7));
  t.is(state.released, 1);
});

test('a first proof does not count any more once the device was seen again', async t => {
  const { endpoints, state, mender } = world();
  state.netnsLives = false;
  await mender.mend();
  state.links = [{ name: 'lxc000000000007', ifindex: 20 } as Link];
  await mender.mend();
  state.links = [];
  state.nowMs = 60_000;
  await mender.mend();
  t.true(endpoints.has(7));
});
