import { codeOf, FimbriaError } from '../../base/errors.ts';
import type { Journal } from '../../base/journal.ts';
import type { Logger } from '../../base/log.ts';
import { EventRecorder } from '../../cluster/index.ts';
import type { ClusterClient } from '../../cluster/types.ts';
import type { AgentConfig } from '../../config/types.ts';
import type { EndpointAddresses, PodRef } from '../../endpoint/deps.ts';
import { type Endpoint, HEALTH_CONTAINER } from '../../endpoint/types.ts';
import { blockFills, clusterAddresses } from '../../ipam/cluster.ts';
import { ownerKey, ownerText } from '../../ipam/owner.ts';
import { PendingRequests } from '../../ipam/pending.ts';
import { AddressPools } from '../../ipam/pools.ts';
import { holdsAddress, tryParsePrefix } from '../../ipam/prefix.ts';
import { type AddressOwner, DEFAULT_POOL, type PoolBlock } from '../../ipam/types.ts';
import type { CiliumNode, CiliumPodIPPool, Node } from '../../model/types.ts';
import type { NodeIdentity } from '../bootstrap.ts';
import { until } from '../bootstrap.ts';
import type { ClusterView } from '../cluster-view.ts';
import { publishNode } from '../publish.ts';
import { MultiPool, poolNotAvailable, storedBlocks } from './multi-pool.ts';
import { claimOwnAddress, forgetOwnAddress, storedAddress } from './own-addresses.ts';
import { poolOfPod } from './pod-pool.ts';
import { SinglePool } from './single-pool.ts';

/** How long an ADD waits for a block that the operator is asked for. */
const WAIT_FOR_BLOCK_MS = 3_000;
/** How long a change of demand that nobody waits for may wait for others. */
const SOON_MS = 500;
/** How long a start waits for the pools' ranges when it could do without. */
const ASK_TIMEOUT_MS = 2_000;

export interface NodeIpamDeps {
  client: ClusterClient;
  config: AgentConfig;
  journal: Journal;
  node: NodeIdentity;
  log: Logger;
  signal: AbortSignal;
}

/** What exists only after the addresses do. */
export interface NodeIpamLinks {
  view: ClusterView;
  /** Routes and ipcache follow the own blocks; resolves when they have. */
  onBlocks(): Promise<void>;
  /** Asks for a pass at once: somebody waits. */
  kick(): void;
}

/**
 * The addresses of this node, in whichever mode: blocks, who has which address, and what the cluster is told of both.
 * Router and health endpoint come first and keep their addresses while a pod lives. Owner: the agent.
 */
export class NodeIpam implements EndpointAddresses {
  readonly pools: AddressPools;
  readonly pending = new PendingRequests();
  readonly multi: MultiPool | undefined;
  readonly #single: SinglePool | undefined;
  readonly #deps: NodeIpamDeps;
  readonly #events: EventRecorder;
  #links: NodeIpamLinks | undefined;
  /** Ranges by pool as asked for at start, until the view brings them. */
  #ranges: ReadonlyMap<string, readonly string[]> | undefined;
  #soon: NodeJS.Timeout | undefined;
  #router: string | undefined;
  #health: string | undefined;

  private constructor(deps: NodeIpamDeps) {
    const { client, config, journal, node, log } = deps;
    this.#deps = deps;
    this.#events = new EventRecorder(client, 'fimbria-agent', log, node.name);
    this.pools = new AddressPools(storedBlocks(journal));
    const common = {
      client,
      nodeName: node.name,
      store: journal,
      pools: this.pools,
      publish: (ipam: NonNullable<CiliumNode['spec']['ipam']>) => this.#publish(ipam),
      onBlocks: () => this.#links?.onBlocks() ?? Promise.resolve(),
      log,
    };
    if (config.ipamMode === 'multi-pool') {
      this.multi = new MultiPool({
        ...common,
        nodeIpv4: node.ipv4,
        pending: this.pending,
        preAllocation: config.preAllocation,
        rangesOf: pool => this.#rangesOf(pool),
        updateRateMs: config.ciliumNodeUpdateRateMs,
      });
    } else {
      this.#single = new SinglePool({
        ...common,
        growFullNodes: config.growFullNodes,
        ...(config.ipamMode === 'kubernetes' ? { nodePodCidrs: () => this.#nodePodCidrs() } : {}),
      });
    }
  }

  /**
   * Blocks by the journal when an agent ran here before (so that a restart needs no API server), else from the
   * cluster, waiting for as long as it takes and saying what for; then the node's own addresses.
   * @throws FimbriaError ABORTED when `signal` ends the wait
   */
  static async start(deps: NodeIpamDeps): Promise<NodeIpam> {
    const ipam = new NodeIpam(deps);
    if (ipam.multi) await ipam.#startMultiPool(ipam.multi);
    else if (ipam.pools.blocks().length === 0) {
      const from = deps.config.ipamMode === 'kubernetes' ? 'its Node object' : 'the operator';
      await until(deps, `a PodCIDR for node ${deps.node.name} from ${from}`, async () => {
        await ipam.pass();
        return ipam.pools.blocks().length > 0 ? true : undefined;
      });
    }
    ipam.#claimOwn();
    return ipam;
  }

  /** The pool of Pods that name none, and of the node's own addresses. */
  get defaultPool(): string {
    return this.multi ? this.#deps.config.defaultIpPool : DEFAULT_POOL;
  }

  get routerIpv4(): string {
    return this.#router!;
  }

  get healthIpv4(): string {
    return this.#health!;
  }

  /** Every block of this node. */
  get podCidrs(): string[] {
    return this.multi?.blocks.map(({ cidr }) => cidr) ?? this.#single!.podCidrs;
  }

  get blocks(): PoolBlock[] {
    return this.multi?.blocks ?? this.podCidrs.map(cidr => ({ pool: DEFAULT_POOL, cidr }));
  }

  /** Blocks that cannot be used, and why. */
  get problems(): readonly string[] {
    return this.multi?.problems ?? [];
  }

  connect(links: NodeIpamLinks): void {
    this.#links = links;
    links.view.pods.on({
      deleted: ({ metadata: { namespace, name } }) => {
        if (this.pending.delete(`${namespace}/${name}`)) this.#kickSoon();
      },
    });
  }

  /** Restore has finished and the cluster's view is whole: what is not used may be given back. */
  settle(): void {
    if (this.multi) this.multi.settled = true;
    this.#links?.kick();
  }

  /** Brings the CiliumNode and this node's blocks in line. Returns in how many milliseconds it is worth while again. */
  async pass(): Promise<number | undefined> {
    if (this.multi) return await this.multi.pass();
    await this.#single!.pass();
    return undefined;
  }

  /**
   * An address for a pod, of the pool that it asks for. Where the operator can give another block it is asked at once
   * and waited for a while. @throws FimbriaError RANGE_FULL, UNKNOWN_POOL, NO_POOL_MATCH, POOL_NOT_AVAILABLE
   */
  async allocate(owner: AddressOwner, pod?: PodRef): Promise<{ address: string; pool: string }> {
    const pool = this.multi ? await this.#poolOf(pod) : DEFAULT_POOL;
    const key = pod ? `${pod.namespace}/${pod.name}` : ownerKey(owner);
    try {
      const address = this.#take(pool, owner, key) ?? (await this.#waitFor(pool, owner, key));
      return { address, pool };
    } catch (error) {
      if (pod && (codeOf(error) === 'RANGE_FULL' || codeOf(error) === 'POOL_NOT_AVAILABLE'))
        this.#warn(pod, 'IPPoolExhausted', this.#whyFull(pool));
      throw error;
    }
  }

  /** An address of a given pool at once. @throws FimbriaError RANGE_FULL */
  allocateNow(owner: AddressOwner, pool: string = this.defaultPool): { address: string; pool: string } {
    return { address: this.pools.allocate(pool, owner), pool };
  }

  claim(address: string, owner: AddressOwner): void {
    this.pools.claim(address, owner);
  }

  release(address: string, owner: AddressOwner): boolean {
    const released = this.pools.release(address, owner);
    if (released) this.#kickSoon();
    return released;
  }

  /** What is needed changed and nobody waits for it: not one pass for each pod of many. */
  #kickSoon(): void {
    if (this.multi === undefined && !this.#deps.config.growFullNodes) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#links?.kick();
    }, SOON_MS).unref();
  }

  async #poolOf(pod: PodRef | undefined): Promise<string> {
    const { client } = this.#deps;
    const { view } = this.#links!;
    try {
      const { pods, namespaces, pools } = view;
      return (
        await poolOfPod({ client, pods, namespaces, pools: pools!, defaultPool: this.defaultPool }, pod)
      ).pool;
    } catch (error) {
      if (pod && error instanceof FimbriaError && error.code !== 'POOL_UNDECIDED')
        this.#warn(pod, error.code === 'UNKNOWN_POOL' ? 'UnknownIPPool' : 'NoIPPoolMatch', error.message);
      throw error;
    }
  }

  /** On the Pod itself, where people look why it does not start. */
  #warn({ name, namespace, uid }: PodRef, reason: string, message: string): void {
    const metadata = { name, namespace, ...(uid === undefined ? {} : { uid }) };
    this.#events.record({ apiVersion: 'v1', kind: 'Pod', metadata }, { type: 'Warning', reason, message });
  }

  /** Waiting ends in the same step, or a pass in between would count both the wait and the use. */
  #take(pool: string, owner: AddressOwner, key: string): string | undefined {
    try {
      const address = this.pools.allocate(pool, owner);
      this.pending.delete(key);
      this.#kickSoon();
      return address;
    } catch (error) {
      if (codeOf(error) !== 'RANGE_FULL') throw error;
      return undefined;
    }
  }

  async #waitFor(pool: string, owner: AddressOwner, key: string): Promise<string> {
    const canGrow = this.multi !== undefined || this.#deps.config.growFullNodes;
    if (canGrow) {
      this.pending.add(pool, key);
      this.#links?.kick();
      const deadline = performance.now() + WAIT_FOR_BLOCK_MS;
      for (let left = WAIT_FOR_BLOCK_MS; left > 0; left = deadline - performance.now()) {
        await this.#room(left);
        const address = this.#take(pool, owner, key);
        if (address !== undefined) return address;
      }
    }
    if (this.multi && this.pools.usage(pool).capacity === 0 && !this.#operatorError(pool))
      throw poolNotAvailable(pool, ownerText(owner));
    const address = this.pools.allocate(pool, owner);
    this.pending.delete(key);
    return address;
  }

  /** Resolves when an address may have become free, or after `timeoutMs`. */
  #room(timeoutMs: number): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        clearTimeout(timer);
        end();
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      const end = this.pools.onRoom(done);
    });
  }

  /** What the operator says of a pool on this node. */
  #operatorError(pool: string): string | undefined {
    const error = this.#links?.view.nodes.get(this.#deps.node.name)?.status?.ipam?.['operator-status']?.error;
    return (
      error?.split(/; (?=pool )/).find(part => part.startsWith(`pool ${pool}:`)) ??
      (this.multi ? undefined : error)
    );
  }

  /** Which pool, which node, what is free elsewhere, and what to do. */
  #whyFull(pool: string): string {
    const said = this.#operatorError(pool);
    if (said !== undefined) return said;
    const { node } = this.#deps;
    const { used, capacity } = this.pools.usage(pool);
    const view = this.#links?.view;
    const fills = view
      ? blockFills(clusterAddresses(view.nodes.list(), view.endpoints.list(), this.multi !== undefined))
      : [];
    const free = new Map<string, number>();
    for (const fill of fills)
      if (fill.pool === pool && fill.node !== node.name && fill.used < fill.usable)
        free.set(fill.node, (free.get(fill.node) ?? 0) + fill.usable - fill.used);
    const elsewhere = [...free].map(([name, count]) => `${count} on node ${name}`).join(', ') || 'nothing';
    return (
      `pool ${pool} is full on node ${node.name}: ${used} of ${capacity} addresses are in use; ` +
      `free elsewhere: ${elsewhere}; delete Pods of this node, or let the Pod run on another`
    );
  }

  async #startMultiPool(multi: MultiPool): Promise<void> {
    const { journal, log } = this.#deps;
    await this.#askRanges();
    multi.closeOutdated();
    const before = storedAddress(journal, 'router');
    if (before !== undefined && this.pools.poolOf(before) !== undefined) {
      if (!this.#mayMove(before)) return;
      // The pool has other ranges now and nobody routes by the old address: a new one, when it can be had.
      try {
        await this.#awaitRoom(multi, AbortSignal.timeout(15_000));
        forgetOwnAddress(journal, 'router');
        forgetOwnAddress(journal, 'health');
      } catch (error) {
        log.warn('the router keeps its address although its pool has other ranges', {
          address: before,
          error,
        });
      }
      return;
    }
    await this.#awaitRoom(multi, this.#deps.signal);
  }

  /** Whether the router's address is of a block that its pool has no more, and no pod lives. */
  #mayMove(router: string): boolean {
    const pods = this.#deps.journal
      .entries<Endpoint>('endpoint/')
      .filter(([, endpoint]) => endpoint.containerId !== HEALTH_CONTAINER);
    if (pods.length > 0) return false;
    const pool = this.pools.poolOf(router);
    if (pool !== this.defaultPool) return true;
    const ranges = this.#rangesOf(pool)?.flatMap(text => tryParsePrefix(text) ?? []);
    return ranges !== undefined && !ranges.some(range => holdsAddress(range, router));
  }

  /** Resolves when the default pool has room for router and health endpoint. */
  async #awaitRoom(multi: MultiPool, signal: AbortSignal): Promise<void> {
    const pool = this.defaultPool;
    for (const kind of ['router', 'health'] as const) this.pending.add(pool, kind);
    const free = (): number =>
      this.pools
        .states([], { pending: () => 0, preAllocation: () => 0 })
        .filter(state => state.pool === pool)
        .flatMap(state => state.blocks)
        .reduce((sum, block) => sum + (block.outdated ? 0 : block.usable - block.used), 0);
    await until(
      { log: this.#deps.log, signal },
      `a block of pool ${pool} for node ${this.#deps.node.name} from the operator`,
      async () => {
        await multi.pass();
        return free() >= 2 ? true : undefined;
      },
    );
  }

  #claimOwn(): void {
    const { journal } = this.#deps;
    this.#router = claimOwnAddress(this.pools, this.defaultPool, journal, 'router');
    this.#health = claimOwnAddress(this.pools, this.defaultPool, journal, 'health');
    for (const kind of ['router', 'health'] as const) this.pending.delete(kind);
  }

  #publish(ipam: NonNullable<CiliumNode['spec']['ipam']>): Promise<CiliumNode> {
    const { client, node } = this.#deps;
    return publishNode(client, {
      name: node.name,
      ipv4: node.ipv4,
      ...(this.#router ? { routerIpv4: this.#router } : {}),
      ...(this.#health ? { healthIpv4: this.#health } : {}),
      ipam,
    });
  }

  async #nodePodCidrs(): Promise<string[]> {
    const { client, node } = this.#deps;
    const { spec } = await client.get<Node>('Node', node.name);
    return spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []);
  }

  #rangesOf(pool: string): readonly string[] | undefined {
    const view = this.#links?.view.pools;
    return view?.get(pool)?.spec.ipv4?.cidrs ?? this.#ranges?.get(pool);
  }

  async #askRanges(): Promise<void> {
    const { client, log } = this.#deps;
    const timeout = new Promise<undefined>(resolve => setTimeout(resolve, ASK_TIMEOUT_MS, undefined).unref());
    const asked = client.list<CiliumPodIPPool>('CiliumPodIPPool').catch(error => {
      log.debug('could not ask for the pools yet', { error });
      return undefined;
    });
    const found = await Promise.race([asked, timeout]);
    if (found)
      this.#ranges = new Map(
        found.items.map(({ metadata, spec }) => [metadata.name, spec.ipv4?.cidrs ?? []]),
      );
  }
}
