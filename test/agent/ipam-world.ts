import { MultiPool, storedBlocks } from '../../src/agent/ipam/multi-pool.ts';
import { FimbriaError } from '../../src/base/errors.ts';
import { silent } from '../../src/base/log.ts';
import { neededOf } from '../../src/ipam/demand.ts';
import { ipamViolations } from '../../src/ipam/invariants.ts';
import { flatBlocks } from '../../src/ipam/multi-pool.ts';
import { ownerText } from '../../src/ipam/owner.ts';
import { PendingRequests } from '../../src/ipam/pending.ts';
import { AddressPools } from '../../src/ipam/pools.ts';
import type { AddressOwner } from '../../src/ipam/types.ts';
import type { CiliumNode, CiliumPodIPPool } from '../../src/model/types.ts';
import { POOL_FINALIZER, PoolAssigner } from '../../src/operator/pool-assigner.ts';

/** What happens to one write. `lost`: done, but the answer does not arrive. `late`: done some time after the caller gave up. */
export type Fate = 'done' | 'lost' | 'refused' | 'late';

const RATE_MS = 15_000;
const PRE_ALLOCATION = { default: 4 };

function failure(code: string): FimbriaError {
  return new FimbriaError({ code, op: 'patch', object: 'CiliumNode', why: 'so says the test' });
}

type Patch = {
  metadata?: { resourceVersion?: string };
  spec?: { ipam: { pools: Partial<NonNullable<NonNullable<CiliumNode['spec']['ipam']>['pools']>> } };
  status?: CiliumNode['status'];
};

/** The API server: versions, conflicts, and writes with bad luck. */
class Server {
  readonly nodes = new Map<string, CiliumNode>();
  readonly pools: CiliumPodIPPool[] = [];
  fates: Fate[] = [];
  #version = 0;
  #late: (() => void)[] = [];

  create(name: string, ipam: CiliumNode['spec']['ipam']): CiliumNode {
    if ((this.fates.shift() ?? 'done') !== 'done') throw failure('UNAVAILABLE');
    const uid = `uid-${++this.#version}`;
    return this.#store({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: { name, uid, creationTimestamp: new Date(this.#version * 1000).toISOString() },
      spec: { ipam: structuredClone(ipam) ?? {} },
    });
  }

  patch(name: string, patch: Patch): CiliumNode {
    const fate = this.fates.shift() ?? 'done';
    const write = (): CiliumNode => {
      const node = this.nodes.get(name);
      if (!node) throw failure('NOT_FOUND');
      const expected = patch.metadata?.resourceVersion;
      if (expected !== undefined && expected !== node.metadata.resourceVersion) throw failure('CONFLICT');
      const pools = { ...node.spec.ipam?.pools, ...patch.spec?.ipam.pools };
      return this.#store({
        ...node,
        spec: { ipam: { pools: structuredClone(pools) } },
        ...(patch.status ? { status: structuredClone(patch.status) } : {}),
      });
    };
    if (fate === 'done') return write();
    if (fate === 'lost') write();
    if (fate === 'late') {
      this.#late.push(() => {
        try {
          write();
        } catch {
          // Too late: refused, and nobody is there to hear it.
        }
      });
    }
    throw failure('UNAVAILABLE');
  }

  land(): void {
    for (const write of this.#late.splice(0)) write();
  }

  #store(node: CiliumNode): CiliumNode {
    const stored = { ...node, metadata: { ...node.metadata, resourceVersion: `${++this.#version}` } };
    this.nodes.set(node.metadata.name, stored);
    return stored;
  }
}

class Crash extends Error {}

/** One node: its journal and its pods outlive the agent, all else is made anew with it. */
class Agent {
  readonly name: string;
  readonly #world: IpamWorld;
  readonly #journal = new Map<string, unknown>();
  /** Pods that run, and the router: what the endpoint journal holds. */
  readonly running = new Map<string, { owner: AddressOwner; address: string; pool: string }>();
  /** Pods that wait for an address, by the pool they want. */
  readonly waiting = new Map<string, string>();
  #crashAfterPuts = Number.POSITIVE_INFINITY;
  pools!: AddressPools;
  multi!: MultiPool;
  pending!: PendingRequests;

  constructor(world: IpamWorld, name: string) {
    this.#world = world;
    this.name = name;
    this.waiting.set('router', 'default');
    this.restart();
  }

  /** The agent dies and another one begins with what the journal holds. */
  restart(): void {
    this.#crashAfterPuts = Number.POSITIVE_INFINITY;
    this.pools = new AddressPools(storedBlocks({ get: <T>(key: string) => this.#journal.get(key) as T }));
    for (const { owner, address } of this.running.values()) this.pools.claim(address, owner);
    this.pending = new PendingRequests(() => this.#world.nowMs);
    this.multi = new MultiPool({
      client: {
        patch: async (_kind, name, patch) => this.#world.server.patch(name, patch as Patch) as never,
      },
      nodeName: this.name,
      nodeIpv4: '192.168.0.1',
      store: {
        get: <T>(key: string) => this.#journal.get(key) as T,
        put: (key, value) => {
          if (this.#crashAfterPuts-- <= 0) throw new Crash();
          this.#journal.set(key, structuredClone(value));
        },
        delete: key => this.#journal.delete(key),
      },
      pools: this.pools,
      pending: this.pending,
      preAllocation: PRE_ALLOCATION,
      rangesOf: pool => this.#world.server.pools.find(p => p.metadata.name === pool)?.spec.ipv4?.cidrs,
      publish: async ipam =>
        this.#world.server.nodes.get(this.name) ?? this.#world.server.create(this.name, ipam),
      onBlocks: async () => {},
      updateRateMs: RATE_MS,
      log: silent,
      now: () => this.#world.nowMs,
    });
    this.multi.settled = true;
    this.serve();
  }

  async pass(fates: Fate[], crashAfterPuts = Number.POSITIVE_INFINITY): Promise<void> {
    this.#world.server.fates = [...fates];
    this.#crashAfterPuts = crashAfterPuts;
    try {
      await this.multi.pass();
    } catch (error) {
      if (error instanceof Crash) this.restart();
      else if (!(error instanceof FimbriaError)) throw error;
    }
    this.#crashAfterPuts = Number.POSITIVE_INFINITY;
    this.serve();
  }

  /** Kubelet's retries: whoever waits asks again. */
  serve(): void {
    for (const [id, pool] of [...this.waiting]) {
      const owner: AddressOwner =
        id === 'router' ? { kind: 'router' } : { kind: 'endpoint', containerId: id, ifname: 'eth0' };
      try {
        const address = this.pools.allocate(pool, owner);
        this.running.set(id, { owner, address, pool });
        this.waiting.delete(id);
        this.pending.delete(id);
      } catch {
        this.pending.add(pool, id);
      }
    }
  }

  stopPod(id: string): void {
    if (id === 'router') return;
    const pod = this.running.get(id);
    if (pod) this.pools.release(pod.address, pod.owner);
    this.running.delete(id);
    this.waiting.delete(id);
    this.pending.delete(id);
  }
}

/** Agents and one operator around one API server, each seeing it late and writing to it with bad luck. */
export class IpamWorld {
  readonly server = new Server();
  readonly agents = new Map<string, Agent>();
  nowMs = 0;
  #assigner!: PoolAssigner;
  /** CiliumNodes as the operator's watch has brought them. */
  #seen = new Map<string, CiliumNode>();

  constructor(pools: Record<string, { cidrs: string[]; maskSize: number }>) {
    for (const [name, ipv4] of Object.entries(pools)) {
      this.server.pools.push({
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumPodIPPool',
        metadata: { name, creationTimestamp: '2026-01-01T00:00:00Z', finalizers: [POOL_FINALIZER] },
        spec: { ipv4 },
      });
    }
    this.#startOperator();
  }

  nodeJoins(name: string): void {
    if (!this.agents.has(name)) this.agents.set(name, new Agent(this, name));
  }

  /** The machine is gone with all that ran on it, and somebody deletes its CiliumNode. */
  nodeLeaves(name: string): void {
    this.agents.delete(name);
    this.server.nodes.delete(name);
  }

  /** Somebody deletes the CiliumNode of a node that works. */
  ciliumNodeDeleted(name: string): void {
    if (this.agents.has(name)) this.server.nodes.delete(name);
  }

  growPool(name: string, cidr: string): void {
    const pool = this.server.pools.find(p => p.metadata.name === name);
    if (pool?.spec.ipv4 && !pool.spec.ipv4.cidrs.includes(cidr)) {
      pool.spec = { ipv4: { ...pool.spec.ipv4, cidrs: [...pool.spec.ipv4.cidrs, cidr] } };
    }
    this.#assigner.poolsSeen(this.server.pools);
  }

  /** The operator's watch catches up on one node, or on all. */
  operatorSees(name?: string): void {
    for (const each of name === undefined
      ? [...new Set([...this.#seen.keys(), ...this.server.nodes.keys()])]
      : [name]) {
      const before = this.#seen.get(each);
      const now = this.server.nodes.get(each);
      if (before !== undefined && before.metadata.uid !== now?.metadata.uid) {
        this.#seen.delete(each);
        this.#assigner.nodeGone(before);
      }
      if (now === undefined || now.metadata.resourceVersion === before?.metadata.resourceVersion) continue;
      this.#seen.set(each, now);
      this.#assigner.nodeSeen(now);
    }
  }

  async operatorPass(fates: Fate[]): Promise<void> {
    this.server.fates = [...fates];
    await this.#assigner.pass().catch(error => {
      if (!(error instanceof FimbriaError)) throw error;
    });
  }

  /** The operator dies and another begins with a full list; an agent whose CiliumNode is missing makes it anew first. */
  async operatorRestarts(): Promise<void> {
    this.server.land();
    await this.#publishAll();
    this.#seen.clear();
    this.#startOperator();
  }

  async timePasses(ms: number): Promise<void> {
    await this.#publishAll();
    this.nowMs += ms;
  }

  /** Everybody works, nothing goes wrong. */
  async settle(): Promise<void> {
    this.server.land();
    for (let round = 0; round < 12; round++) {
      for (const agent of this.agents.values()) await agent.pass([]);
      this.operatorSees();
      await this.operatorPass([]);
      this.nowMs += RATE_MS;
    }
  }

  /** What does not hold now; by what agents use, and by what the cluster shows. */
  violations(): string[] {
    const used = [...this.agents.values()].map(agent => ({
      name: agent.name,
      blocks: agent.multi.blocks,
      addresses: agent.pools
        .allocations()
        .map(({ address, owner, pool }) => ({ address, pool, owner: ownerText(owner) })),
    }));
    const shown = [...this.server.nodes.values()].map(node => ({
      name: node.metadata.name,
      blocks: flatBlocks(node.spec.ipam?.pools?.allocated),
      addresses: [],
    }));
    const lost = [...this.agents.values()].flatMap(agent =>
      [...agent.running].flatMap(([id, { address, owner }]) => {
        const holder = agent.pools.ownerOf(address);
        return holder && ownerText(holder) === ownerText(owner)
          ? []
          : [`${id} on ${agent.name} lost ${address}`];
      }),
    );
    return [...ipamViolations(used), ...ipamViolations(shown).map(line => `shown: ${line}`), ...lost];
  }

  /** What is not as it must be when everything has settled. */
  unsettled(): string[] {
    const wrong: string[] = [];
    for (const agent of this.agents.values()) {
      const node = this.server.nodes.get(agent.name);
      const text = (blocks: readonly { pool: string; cidr: string }[]): string =>
        blocks
          .map(b => `${b.pool}=${b.cidr}`)
          .sort()
          .join(' ');
      const shown = text(flatBlocks(node?.spec.ipam?.pools?.allocated));
      if (shown !== text(agent.multi.blocks))
        wrong.push(`${agent.name} has ${text(agent.multi.blocks)}, shown ${shown}`);
      const told = new Map(
        node?.spec.ipam?.pools?.requested?.map(r => [r.pool, r.needed?.['ipv4-addrs'] ?? 0]),
      );
      const error = node?.status?.ipam?.['operator-status']?.error;
      const states = agent.pools.states([...agent.pending.pools(), 'default'], {
        pending: pool => agent.pending.count(pool),
        preAllocation: pool => (pool === 'default' ? PRE_ALLOCATION.default : 0),
      });
      let short = false;
      for (const state of states) {
        const needed = neededOf(state);
        if ((told.get(state.pool) ?? 0) !== needed)
          wrong.push(`${agent.name} needs ${needed} of ${state.pool}, told ${told.get(state.pool)}`);
        const usable = state.blocks.reduce((sum, b) => sum + b.usable, 0);
        if (usable < needed) short = true;
        if (state.blocks.some(b => b.used === 0 && usable - b.usable >= needed))
          wrong.push(`${agent.name} keeps more of ${state.pool} than it needs`);
      }
      if (short !== (error !== undefined))
        wrong.push(`${agent.name} is ${short ? '' : 'not '}short, error: ${error}`);
      if (agent.waiting.size > 0 && error === undefined)
        wrong.push(`${agent.name}: ${[...agent.waiting.keys()]} wait`);
    }
    return wrong;
  }

  /** Agents whose CiliumNode is missing make it anew. */
  async #publishAll(): Promise<void> {
    for (const agent of this.agents.values()) if (!this.server.nodes.has(agent.name)) await agent.pass([]);
  }

  #startOperator(): void {
    this.#assigner = new PoolAssigner({
      client: {
        get: async (_kind: string, name: string) => {
          const node = this.server.nodes.get(name);
          if (!node) throw failure('NOT_FOUND');
          return node as never;
        },
        patch: async (_kind, name, patch) => this.server.patch(name, patch as Patch) as never,
      },
      log: silent,
      signal: new AbortController().signal,
      now: () => this.nowMs,
    });
    this.#assigner.poolsSeen(this.server.pools);
    this.operatorSees();
  }
}
