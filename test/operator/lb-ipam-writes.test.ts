import test from 'ava';
import fc from 'fast-check';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import type { CiliumLoadBalancerIPPool, Service } from '../../src/model/types.ts';
import { LoadBalancerIpam } from '../../src/operator/lb-ipam.ts';

type Fate = 'done' | 'lost' | 'refused' | 'late';
type Patch = { metadata: { uid?: string; resourceVersion?: string }; status: Service['status'] };

const failure = (code: string): FimbriaError =>
  new FimbriaError({ code, op: 'patch', object: 'Service', why: 'so says the test' });

/** Services that keep versions, and an operator that sees them late and writes with bad luck. */
class World {
  readonly services = new Map<string, Service>();
  readonly #pool = {
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumLoadBalancerIPPool',
    metadata: { name: 'p' },
    spec: { blocks: [{ cidr: '10.0.0.0/30' }] },
  } as CiliumLoadBalancerIPPool;
  #version = 0;
  #view: Service[] = [];
  #late: (() => void)[] = [];
  fates: Fate[] = [];
  #assigner = this.#start();

  add(name: string): void {
    if (!this.services.has(name))
      this.#store({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: {
          name,
          namespace: 'default',
          uid: `uid-${this.#version}`,
          // The younger are not always those that come later: clocks differ.
          creationTimestamp: `2026-01-0${1 + (this.#version % 7)}T00:00:00Z`,
        },
        spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
      });
  }

  toggle(name: string): void {
    const service = this.services.get(name);
    if (!service) return;
    const type = service.spec.type === 'LoadBalancer' ? 'ClusterIP' : 'LoadBalancer';
    this.#store({ ...service, spec: { ...service.spec, type } });
  }

  sync(): void {
    this.#view = [...this.services.values()];
  }

  land(): void {
    for (const write of this.#late.splice(0)) write();
  }

  restart(): void {
    this.land();
    this.sync();
    this.#assigner = this.#start();
  }

  pass(fates: Fate[]): Promise<void> {
    this.fates = [...fates];
    return this.#assigner.pass([this.#pool], this.#view).catch(() => {});
  }

  addresses(): string[] {
    return [...this.services.values()].flatMap(s => (s.status?.loadBalancer?.ingress ?? []).map(i => i.ip!));
  }

  #start(): LoadBalancerIpam {
    return new LoadBalancerIpam({
      client: {
        patch: async (kind, name, patch) =>
          (kind === 'Service' ? this.#patch(name, patch as Patch) : this.#pool) as never,
      },
      log: silent,
      signal: new AbortController().signal,
    });
  }

  #patch(name: string, { metadata, status }: Patch): Service {
    const fate = this.fates.shift() ?? 'done';
    const write = (): Service => {
      const service = this.services.get(name);
      if (!service) throw failure('NOT_FOUND');
      if (metadata.resourceVersion !== service.metadata.resourceVersion) throw failure('CONFLICT');
      return this.#store({
        ...service,
        status: { ...status, loadBalancer: { ingress: status?.loadBalancer?.ingress ?? [] } } as never,
      });
    };
    if (fate === 'done') return write();
    if (fate === 'lost') write();
    if (fate === 'late')
      this.#late.push(() => {
        try {
          write();
        } catch {
          // Too late: refused, and nobody is there to hear it.
        }
      });
    throw failure('UNAVAILABLE');
  }

  #store(service: Service): Service {
    this.#version++;
    const stored = { ...service, metadata: { ...service.metadata, resourceVersion: `${this.#version}` } };
    this.services.set(service.metadata.name, stored);
    return stored;
  }
}

const names = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
const step = fc.oneof(
  fc.record({ do: fc.constant('add' as const), name: names }),
  fc.record({ do: fc.constant('remove' as const), name: names }),
  fc.record({ do: fc.constant('toggle' as const), name: names }),
  fc.record({ do: fc.constant('sync' as const) }),
  fc.record({ do: fc.constant('land' as const) }),
  fc.record({ do: fc.constant('restart' as const) }),
  fc.record({
    do: fc.constant('pass' as const),
    fates: fc.array(fc.constantFrom<Fate>('done', 'lost', 'refused', 'late'), { maxLength: 6 }),
  }),
);

test('whatever becomes of writes, no address is given twice, and in the end whoever can has one', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
      const world = new World();
      const check = (): void => {
        const given = world.addresses();
        t.is(new Set(given).size, given.length, given.join(' '));
      };
      for (const one of steps) {
        if (one.do === 'add') world.add(one.name);
        if (one.do === 'remove') world.services.delete(one.name);
        if (one.do === 'toggle') world.toggle(one.name);
        if (one.do === 'sync') world.sync();
        if (one.do === 'land') world.land();
        if (one.do === 'restart') world.restart();
        if (one.do === 'pass') await world.pass(one.fates);
        check();
      }
      world.land();
      for (let round = 0; round < 4; round++) {
        world.sync();
        await world.pass([]);
        check();
      }
      const wanting = [...world.services.values()].filter(s => s.spec.type === 'LoadBalancer').length;
      t.is(world.addresses().length, Math.min(4, wanting));
    }),
    { numRuns: 1000 },
  );
});
