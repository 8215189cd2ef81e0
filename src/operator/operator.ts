import { Controller } from '../base/controller.ts';
import type { Logger } from '../base/log.ts';
import { EventRecorder } from '../cluster/index.ts';
import { LEASE_NAMESPACE, LeaderElection, type LeaderTimings, type Term } from '../cluster/leader.ts';
import type { ClusterClient, Informer } from '../cluster/types.ts';
import type { AgentConfig } from '../config/types.ts';
import type {
  CiliumLoadBalancerIPPool,
  CiliumNode,
  CiliumPodIPPool,
  KubeObject,
  Node,
  Pod,
  Service,
} from '../model/types.ts';
import { BlockAssigner } from './blocks.ts';
import { Collector, type GraceTimes } from './collector.ts';
import { writesWhile } from './guard.ts';
import { type LbUsage, LoadBalancerIpam } from './lb-ipam.ts';
import { NodeReadiness, type ReadinessOptions } from './node-readiness.ts';
import { PoolAssigner } from './pool-assigner.ts';
import { PoolKeeper } from './pool-keeper.ts';
import { podReadiness, watchCluster, withoutManagers } from './view.ts';

/** A full pass this often even when nothing happens, so that nothing missed stays missed. */
const ASSIGN_INTERVAL_MS = 60_000;
const COLLECT_INTERVAL_MS = 10_000;
const RETRY = { baseMs: 100, maxMs: 5_000 };

export interface OperatorDeps {
  client: ClusterClient;
  /** For the lease: its requests end soon, so that there is time for another. The same unless given. */
  leaseClient?: ClusterClient;
  config: AgentConfig;
  /** This process's name among several operators. */
  identity: string;
  /** Namespace of the installation; kube-system unless given. */
  k8sNamespace?: string;
  /** What to tell of nodes whose agent, a Pod of the DaemonSet, is ready; nothing unless given. */
  readiness?: Pick<ReadinessOptions, 'removeTaints' | 'setNetworkStatus'>;
  log: Logger;
  timings?: LeaderTimings;
  grace?: GraceTimes;
  /** Told when this process begins and ceases to act. */
  onLeading?: (leading: boolean) => void;
  /** Told how full pools of Services' addresses are, after each look at them. */
  onLbUsage?: (usage: LbUsage) => void;
}

/**
 * The operator of a cluster: waits for the lease, then works until it is lost, and so on until `signal` aborts.
 * Every term begins with a full list of everything, since another operator may have written in between.
 * Resolves when the last write has ended and the lease is given back.
 */
export async function runOperator(deps: OperatorDeps, signal: AbortSignal): Promise<void> {
  const { client, identity, log } = deps;
  const election = new LeaderElection({
    client: deps.leaseClient ?? client,
    identity,
    log: log.for('leader'),
    ...(deps.k8sNamespace === undefined ? {} : { namespace: deps.k8sNamespace }),
    ...(deps.timings === undefined ? {} : { timings: deps.timings }),
  });
  while (!signal.aborted) {
    let term: Term;
    try {
      term = await election.acquire(signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    try {
      deps.onLeading?.(true);
      await lead({ ...deps, client: writesWhile(client, () => term.mayWrite()) }, term.signal);
    } finally {
      deps.onLeading?.(false);
      await term.release();
    }
  }
}

/** One term: from the full list to the loss of the lease. */
async function lead(deps: OperatorDeps, signal: AbortSignal): Promise<void> {
  const { client, log } = deps;
  const view = watchCluster(client);
  const { nodes, ciliumNodes, endpoints } = view;
  const informers = Object.values(view) as Informer<KubeObject>[];
  const controllers: Controller[] = [];
  try {
    // Only when every CiliumNode is known can a block be called free.
    if (!(await reached(ciliumNodes.synced, signal))) return;
    log.info('the list of nodes is complete', {
      nodes: ciliumNodes.list().length,
      ipam: deps.config.ipamMode,
    });
    const giver = await startGiving(deps, ciliumNodes, signal);
    if (giver === undefined) return;
    controllers.push(...giver.controllers);
    informers.push(...giver.informers);

    if (!(await reached(Promise.all(informers.map(informer => informer.synced)), signal))) return;
    const collector = new Collector({
      client,
      view,
      log: log.for('gc'),
      signal,
      ...(deps.grace === undefined ? {} : { grace: deps.grace }),
    });
    const collect = new Controller({
      name: 'collect-garbage',
      run: () => collector.pass(),
      log,
      intervalMs: COLLECT_INTERVAL_MS,
      retry: RETRY,
    });
    controllers.push(collect);
    const kickCollect = (): void => collect.kick();
    nodes.on({ deleted: kickCollect });
    endpoints.on({ deleted: kickCollect });
    kickCollect();
    const telling = tellReadiness(deps, nodes, signal);
    if (telling) {
      controllers.push(telling.controller);
      informers.push(telling.agents as unknown as Informer<KubeObject>);
    }
    const balancing = giveServiceAddresses(deps, signal);
    controllers.push(balancing.controller);
    informers.push(...balancing.informers);
    await reached(new Promise<never>(() => {}), signal);
  } finally {
    await Promise.all(controllers.map(controller => controller.stop()));
    for (const informer of informers) informer.close();
  }
}

/** Changes of many Services become one pass. */
const SERVICES_SPACING_MS = 20;

/** Addresses of Services of type LoadBalancer, whatever gives Pods theirs. */
function giveServiceAddresses(
  { client, log, onLbUsage }: OperatorDeps,
  signal: AbortSignal,
): { controller: Controller; informers: Informer<KubeObject>[] } {
  const pools = client.informer<CiliumLoadBalancerIPPool>('CiliumLoadBalancerIPPool', {
    pick: withoutManagers,
  });
  const services = client.informer<Service>('Service', { pick: withoutManagers });
  const giver = new LoadBalancerIpam({
    client,
    events: new EventRecorder(client, 'fimbria-operator', log.for('events')),
    log: log.for('lb-ipam'),
    signal,
    ...(onLbUsage ? { onUsage: onLbUsage } : {}),
  });
  const controller = new Controller({
    name: 'assign-service-addresses',
    run: async () => {
      // Before all Services are known no address can be called free.
      if (await reached(Promise.all([pools.synced, services.synced]), signal))
        await giver.pass(pools.list(), services.list());
    },
    log,
    intervalMs: ASSIGN_INTERVAL_MS,
    spacingMs: SERVICES_SPACING_MS,
    retry: RETRY,
  });
  const kick = (): void => controller.kick();
  pools.on({ added: kick, updated: kick, deleted: kick });
  services.on({ added: kick, updated: kick, deleted: kick });
  kick();
  return { controller, informers: [pools, services] as unknown as Informer<KubeObject>[] };
}

/** Pods of the agents' DaemonSet. */
const AGENTS = 'k8s-app=cilium';
/** Heartbeats of many nodes become one pass. */
const READINESS_SPACING_MS = 200;

function tellReadiness(
  { client, readiness, k8sNamespace, log }: OperatorDeps,
  nodes: Informer<Node>,
  signal: AbortSignal,
): { controller: Controller; agents: Informer<Pod> } | undefined {
  if (!readiness?.removeTaints && !readiness?.setNetworkStatus) return undefined;
  const teller = new NodeReadiness({ client, ...readiness, log: log.for('nodes') });
  const agents = client.informer<Pod>('Pod', {
    namespace: k8sNamespace ?? LEASE_NAMESPACE,
    labelSelector: AGENTS,
    pick: podReadiness,
  });
  const controller = new Controller({
    name: 'node-readiness',
    run: () => teller.pass(nodes.list(), agents.list(), signal),
    log,
    intervalMs: ASSIGN_INTERVAL_MS,
    spacingMs: READINESS_SPACING_MS,
    retry: RETRY,
  });
  const kick = (): void => controller.kick();
  agents.on({ added: kick, updated: kick });
  nodes.on({ added: kick, updated: kick });
  return { controller, agents };
}

/** What hands out blocks in the mode that is configured; undefined when the term ended meanwhile. */
async function startGiving(
  { client, config, grace, log }: OperatorDeps,
  ciliumNodes: Informer<CiliumNode>,
  signal: AbortSignal,
): Promise<{ controllers: Controller[]; informers: Informer<KubeObject>[] } | undefined> {
  // Host-scope: the Node object says it, and the agent reads it.
  if (config.ipamMode === 'kubernetes') return { controllers: [], informers: [] };
  const events = new EventRecorder(client, 'fimbria-operator', log.for('events'));
  const controller = (name: string, run: () => Promise<void>): Controller =>
    new Controller({ name, run, log, intervalMs: ASSIGN_INTERVAL_MS, retry: RETRY });
  if (config.ipamMode === 'cluster-pool') {
    const pool = { cidrs: config.clusterPoolIpv4Cidrs, maskSize: config.clusterPoolIpv4MaskSize };
    const assigner = new BlockAssigner({
      client,
      events,
      nodes: ciliumNodes,
      pool,
      growFullNodes: config.growFullNodes,
      log: log.for('ipam'),
      signal,
    });
    const assign = controller('assign-pod-cidrs', () => assigner.pass());
    const kick = (): void => assign.kick();
    ciliumNodes.on({ added: kick, updated: kick, deleted: kick });
    kick();
    return { controllers: [assign], informers: [] };
  }
  const pools = client.informer<CiliumPodIPPool>('CiliumPodIPPool');
  const informers = [pools] as unknown as Informer<KubeObject>[];
  if (!(await reached(pools.synced, signal))) {
    pools.close();
    return undefined;
  }
  const assigner = new PoolAssigner({
    client,
    events,
    log: log.for('ipam'),
    signal,
    ...(grace?.blocksMs === undefined ? {} : { goneGraceMs: grace.blocksMs }),
  });
  const keeper = new PoolKeeper({
    client,
    autoCreate: config.autoCreatePools,
    log: log.for('ipam'),
    signal,
  });
  let timer: NodeJS.Timeout | undefined;
  const assign = controller('assign-pod-blocks', async () => {
    // Pools that are being made are no reason to tell every node that there are none.
    const known = new Set(pools.list().map(pool => pool.metadata.name));
    const making = config.autoCreatePools.some(({ name }) => !known.has(name));
    if (making && keep.status().consecutiveErrors === 0) return;
    await assigner.pass();
    // What was given or came free may be the last of a pool.
    keep.kick();
    clearTimeout(timer);
    const dueMs = assigner.nextDueMs;
    if (dueMs !== undefined) timer = setTimeout(() => assign.kick(), dueMs).unref();
  });
  const keep = controller('keep-pools', () => keeper.pass(pools.list(), assigner.plan));
  const poolsChanged = (): void => {
    assigner.poolsSeen(pools.list());
    keep.kick();
    assign.kick();
  };
  const seen = (node: CiliumNode): void => {
    assigner.nodeSeen(node);
    assign.kick();
    if (pools.list().some(pool => pool.metadata.deletionTimestamp !== undefined)) keep.kick();
  };
  assigner.poolsSeen(pools.list());
  // All of them before the first is acted on: a kick begins its pass at once, and what a node that was not told of yet
  // holds would be given to another.
  for (const node of ciliumNodes.list()) assigner.nodeSeen(node);
  ciliumNodes.on({
    added: seen,
    updated: seen,
    deleted: node => {
      assigner.nodeGone(node);
      assign.kick();
    },
  });
  pools.on({ added: poolsChanged, updated: poolsChanged, deleted: poolsChanged });
  poolsChanged();
  return { controllers: [assign, keep], informers };
}

/** True when the promise was kept, false when the signal aborted first. */
function reached(promise: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => resolve(false);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(() => resolve(true), reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
