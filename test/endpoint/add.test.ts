import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { FimbriaError } from '../../src/base/errors.ts';
import { Journal } from '../../src/base/journal.ts';
import { silent } from '../../src/base/log.ts';
import { addEndpoint, hostIfname } from '../../src/endpoint/add.ts';
import type { EndpointDatapath, EndpointDeps } from '../../src/endpoint/deps.ts';
import { removeEndpoint } from '../../src/endpoint/remove.ts';
import { orphanedLinks, partitionEndpoints, restoreEndpoints } from '../../src/endpoint/restore.ts';
import { EndpointStore } from '../../src/endpoint/store.ts';
import type { Endpoint } from '../../src/endpoint/types.ts';
import { AddressPool } from '../../src/ipam/pool.ts';
import { createHeldNetns } from '../../src/kernel/netns.ts';
import type { Link } from '../../src/kernel/rtnetlink.ts';

/** Stands for the kernel, to make each step fail in turn; what really happens is tested in test/lab. */
class FakeDatapath implements EndpointDatapath {
  readonly links = new Map<string, number>();
  readonly attached = new Set<number>();
  readonly admitted = new Map<string, number>();
  /** Order in which things became true of an address. */
  readonly story: string[] = [];
  failAt: string | undefined;
  #ifindex = 10;

  async createLink(o: { hostName: string }): Promise<{ ifindex: number; hostMac: string; mac: string }> {
    this.#step('createLink');
    const ifindex = this.#ifindex++;
    this.links.set(o.hostName, ifindex);
    return { ifindex, hostMac: '02:00:00:00:00:01', mac: '02:00:00:00:00:02' };
  }
  deleteLinkSoon(hostName: string): Promise<void> {
    return this.deleteLink(hostName);
  }

  async deleteLink(hostName: string): Promise<void> {
    this.links.delete(hostName);
  }
  async refreshPodRoutes(): Promise<void> {}
  async attach(endpoint: Endpoint): Promise<void> {
    this.attached.add(endpoint.id);
    this.#step('attach');
  }
  async detach(endpoint: Endpoint): Promise<void> {
    this.attached.delete(endpoint.id);
  }
  async admit(endpoint: Endpoint): Promise<void> {
    this.admitted.set(endpoint.ipv4, endpoint.id);
    this.#step('admit');
  }
  async expel(endpoint: Endpoint): Promise<void> {
    if (this.admitted.get(endpoint.ipv4) === endpoint.id) this.admitted.delete(endpoint.ipv4);
  }
  #step(name: string): void {
    this.story.push(name);
    if (this.failAt === name) throw new Error(`${name} failed`);
  }
}

function addressesOf(pool: AddressPool): EndpointDeps['pool'] {
  return {
    allocate: owner => ({ address: pool.allocate(owner), pool: 'default' }),
    claim: (address, owner) => pool.claim(address, owner),
    release: (address, owner) => pool.release(address, owner),
  };
}

function world(cidr = '10.0.0.0/29'): {
  deps: EndpointDeps;
  datapath: FakeDatapath;
  pool: AddressPool;
  close(): void;
} {
  const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-endpoint-'));
  const journal = new Journal(join(folder, 'journal'), { fsync: false });
  const datapath = new FakeDatapath();
  const pool = new AddressPool([cidr]);
  const deps: EndpointDeps = {
    store: new EndpointStore(journal),
    pool: addressesOf(pool),
    datapath,
    resolveIdentity: async () => ({ identity: 5, labels: ['reserved:init'] }),
    onChange: () => {},
    log: silent,
  };
  return {
    deps,
    datapath,
    pool,
    close: () => {
      journal.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const request = (n: number): { containerId: string; ifname: string; netns: string } => ({
  containerId: `c${n}`,
  ifname: 'eth0',
  netns: `/proc/${n}/ns/net`,
});

for (const failAt of ['createLink', 'attach', 'admit']) {
  test(`an ADD that fails in ${failAt} leaves nothing`, async t => {
    const w = world();
    w.datapath.failAt = failAt;
    await t.throwsAsync(addEndpoint(w.deps, request(1)), { message: `${failAt} failed` });
    t.is(w.datapath.links.size, 0);
    t.is(w.datapath.attached.size, 0);
    t.is(w.datapath.admitted.size, 0);
    t.is(w.pool.usage().used, 0);
    t.deepEqual(w.deps.store.list(), []);
    w.datapath.failAt = undefined;
    t.is(
      (await addEndpoint(w.deps, request(1))).hostIfname,
      hostIfname('c1', 'eth0'),
      'and can be tried again',
    );
    w.close();
  });
}

test('a pod is admitted only after its programs are attached', async t => {
  const w = world();
  await addEndpoint(w.deps, request(1));
  t.deepEqual(w.datapath.story, ['createLink', 'attach', 'admit']);
  w.close();
});

test('a second ADD of the same attachment is refused and changes nothing', async t => {
  const w = world();
  const first = await addEndpoint(w.deps, request(1));
  const error = await t.throwsAsync(addEndpoint(w.deps, request(1)), { code: 'EEXIST' });
  t.regex(
    error!.message,
    /^add container c1 interface eth0: it is endpoint \d+ with 10\.0\.0\.\d already; DEL it first$/,
  );
  t.deepEqual(w.deps.store.list(), [first]);
  t.is(w.pool.usage().used, 1);
  w.close();
});

test('a full range says so in the words that Cilium uses', async t => {
  const w = world('10.0.0.0/30');
  await addEndpoint(w.deps, request(1));
  await addEndpoint(w.deps, request(2));
  t.like(await t.throwsAsync(addEndpoint(w.deps, request(3)), { code: 'RANGE_FULL' }), {
    why: 'range is full',
  });
  await removeEndpoint(w.deps, w.deps.store.byAttachment('c1', 'eth0')!);
  await addEndpoint(w.deps, request(3));
  t.pass();
  w.close();
});

test('when all ids of a node are in use an ADD says so and leaves nothing', async t => {
  const w = world();
  const held = Array.from({ length: 4095 }, () => w.deps.store.reserveId());
  t.is(new Set(held.map(h => h.id)).size, 4095);
  await t.throwsAsync(addEndpoint(w.deps, request(1)), {
    code: 'IDS_EXHAUSTED',
    message: 'allocate endpoint id: all 4095 ids of this node are in use; delete pods from this node',
  });
  t.is(w.pool.usage().used, 0);
  t.is(w.datapath.links.size, 0);
  held[7]!.release();
  t.is((await addEndpoint(w.deps, request(1))).id, held[7]!.id);
  w.close();
});

test('whatever comes and goes, addresses, ids and tables always agree', async t => {
  const step = fc.record({
    n: fc.integer({ min: 1, max: 6 }),
    fail: fc.constantFrom(undefined, 'createLink', 'attach', 'admit'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async steps => {
      const w = world('10.0.0.0/29');
      for (const { n, fail } of steps) {
        const known = w.deps.store.byAttachment(`c${n}`, 'eth0');
        w.datapath.failAt = fail;
        if (known) await (await removeEndpoint(w.deps, known)).finished;
        else await addEndpoint(w.deps, request(n)).catch(() => {});
        const endpoints = w.deps.store.list();
        t.is(new Set(endpoints.map(e => e.ipv4)).size, endpoints.length);
        t.deepEqual(
          new Map([...w.datapath.admitted].sort()),
          new Map(endpoints.map(e => [e.ipv4, e.id] as const).sort()),
        );
        t.deepEqual([...w.datapath.links.keys()].sort(), endpoints.map(e => e.hostIfname).sort());
        t.is(w.pool.usage().used, endpoints.length);
      }
      w.close();
    }),
    { numRuns: 60 },
  );
});

test('restore brings back what stands, forgets what is gone, sweeps what nobody owns', async t => {
  const w = world();
  const kept = await addEndpoint(w.deps, request(1));
  const gone = await addEndpoint(w.deps, request(2));
  const links = [
    { ifindex: kept.ifindex, name: kept.hostIfname },
    { ifindex: 77, name: 'lxc0123456789ab' },
    { ifindex: 2, name: 'eth0' },
    { ifindex: 3, name: 'lxc_health' },
  ] as Link[];
  w.datapath.links.set('lxc0123456789ab', 77);
  w.datapath.failAt = 'createLink';
  const fresh = new AddressPool(['10.0.0.0/29']);
  t.deepEqual(await restoreEndpoints({ ...w.deps, pool: addressesOf(fresh) }, links), {
    restored: 1,
    gone: 1,
    swept: 1,
  });
  t.deepEqual(w.deps.store.list(), [kept]);
  t.truthy(fresh.ownerOf(kept.ipv4));
  t.is(fresh.ownerOf(gone.ipv4), undefined);
  t.false(w.datapath.links.has('lxc0123456789ab'));
  w.close();
});

test('a device that somebody deleted while no agent ran is made anew, with id, address and MACs', async t => {
  const w = world();
  const netns = await createHeldNetns();
  const before = await addEndpoint(w.deps, { ...request(1), netns: netns.path });
  const inNode = await addEndpoint(w.deps, { ...request(2), netns: '/proc/self/ns/net' });
  w.datapath.admitted.clear();
  const stale = { ifindex: 77, name: before.hostIfname } as Link;
  const result = await restoreEndpoints(w.deps, [stale]);
  t.deepEqual(result, { restored: 1, gone: 1, swept: 0 }, 'what leads to the node itself is no pod any more');
  const [after] = w.deps.store.list();
  t.deepEqual({ ...after, ifindex: before.ifindex }, before);
  t.not(after!.ifindex, before.ifindex);
  t.deepEqual([...w.datapath.admitted], [[before.ipv4, before.id]]);
  t.true(w.datapath.links.has(before.hostIfname));
  t.false(w.datapath.links.has(inNode.hostIfname));
  t.is(w.pool.usage().used, 1);
  netns.close();
  w.close();
});

for (const failAt of ['attach', 'admit']) {
  test(`a pod that ends while it is restored (${failAt}) is forgotten, the others come back`, async t => {
    const w = world();
    const ending = await addEndpoint(w.deps, request(1));
    const kept = await addEndpoint(w.deps, request(2));
    const links = [ending, kept].map(e => ({ ifindex: e.ifindex, name: e.hostIfname })) as Link[];
    const step = w.datapath[failAt as 'attach' | 'admit'].bind(w.datapath);
    w.datapath[failAt as 'attach' | 'admit'] = async endpoint => {
      if (endpoint.id === ending.id)
        throw new FimbriaError({ code: 'ENODEV', op: failAt, object: endpoint.hostIfname, why: 'gone' });
      await step(endpoint);
    };
    const fresh = new AddressPool(['10.0.0.0/29']);
    const result = await restoreEndpoints({ ...w.deps, pool: addressesOf(fresh) }, links);
    t.deepEqual(result, { restored: 1, gone: 1, swept: 0 });
    t.deepEqual(w.deps.store.list(), [kept]);
    t.is(fresh.usage().used, 1);
    t.deepEqual([...w.datapath.attached], [kept.id]);
    t.deepEqual([...w.datapath.admitted.keys()], [kept.ipv4]);
    w.close();
  });
}

test('an endpoint whose number went to another device is gone', t => {
  const endpoint = { ifindex: 10, hostIfname: 'lxcaaaaaaaaaaaa' } as Endpoint;
  const link = { ifindex: 10, name: 'lxcbbbbbbbbbbbb' } as Link;
  t.deepEqual(partitionEndpoints([endpoint], [link]), { alive: [], gone: [endpoint] });
  t.deepEqual(orphanedLinks([endpoint], [link]), ['lxcbbbbbbbbbbbb']);
});

test('endpoints and ids survive in the journal', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'fimbria-test-endpoint-'));
  const path = join(folder, 'journal');
  const first = new Journal(path, { fsync: false });
  const store = new EndpointStore(first);
  const endpoint = { id: 7, containerId: 'c', ifname: 'eth0', ipv4: '10.0.0.1' } as Endpoint;
  store.put(endpoint);
  first.close();
  const second = new Journal(path, { fsync: false });
  const again = new EndpointStore(second);
  t.deepEqual(again.get(7), endpoint);
  t.not(again.reserveId(7).id, 7);
  second.close();
  rmSync(folder, { recursive: true, force: true });
});

test('an ADD waits for what the DEL before it still takes away: the device has the same name', async t => {
  const w = world();
  const first = await addEndpoint(w.deps, request(1));
  let go = (): void => {};
  const held = new Promise<void>(resolve => {
    go = resolve;
  });
  w.datapath.detach = async endpoint => {
    await held;
    w.datapath.attached.delete(endpoint.id);
  };
  const { finished } = await removeEndpoint(w.deps, first);
  t.not(w.deps.store.reserveId(first.id).id, first.id, 'nobody gets its id meanwhile');
  const adding = addEndpoint(w.deps, request(1));
  go();
  await finished;
  const second = await adding;
  t.deepEqual([...w.datapath.links.keys()], [second.hostIfname]);
  t.deepEqual([...w.datapath.attached], [second.id]);
  t.is(w.deps.store.reserveId(first.id).id, first.id);
  w.close();
});

test('a removal that comes late leaves the new owner of id and address alone', async t => {
  const w = world();
  const first = await addEndpoint(w.deps, request(1));
  await (await removeEndpoint(w.deps, first)).finished;
  const second = { ...first, containerId: 'c2', hostIfname: hostIfname('c2', 'eth0') };
  w.deps.store.put(second);
  await (await removeEndpoint(w.deps, first)).finished;
  t.deepEqual(w.deps.store.list(), [second]);
  w.close();
});
