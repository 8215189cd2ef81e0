import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createApiServer } from '../api/server.ts';
import { refuseIfAnswered } from '../api/socket.ts';
import type { CniRequest } from '../api/types.ts';
import { ControllerSet } from '../base/controller.ts';
import { DriftLedger } from '../base/drift.ts';
import { messageOf } from '../base/errors.ts';
import { HealthServer } from '../base/health-server.ts';
import { Journal } from '../base/journal.ts';
import type { Logger } from '../base/log.ts';
import { packageVersion } from '../base/paths.ts';
import { createClient, daemonClusterConfig, EventRecorder } from '../cluster/index.ts';
import type { ClusterClient } from '../cluster/types.ts';
import { type AgentConfig, parseFlat, unknownFlatKeys } from '../config/index.ts';
import { Datapath } from '../datapath/datapath.ts';
import { VXLAN_OVERHEAD } from '../datapath/devices.ts';
import type { EndpointDeps } from '../endpoint/deps.ts';
import { EndpointMender } from '../endpoint/mend.ts';
import { restoreEndpoints } from '../endpoint/restore.ts';
import { EndpointStore } from '../endpoint/store.ts';
import { HEALTH_CONTAINER } from '../endpoint/types.ts';
import { cgroup2At, findCgroup2Root } from '../kernel/cgroup.ts';
import { useProcfs } from '../kernel/netns.ts';
import type { ServiceNotifier } from '../kernel/notify.ts';
import { type Link, Rtnetlink } from '../kernel/rtnetlink.ts';
import { socketMap } from '../maps/services.ts';
import { learnNode, type NodeIdentity } from './bootstrap.ts';
import { ClusterView } from './cluster-view.ts';
import { CniHandler } from './cni.ts';
import { CniWatch } from './cni-watch.ts';
import { hasQueuedDeletes, replayDeleteQueue } from './delete-queue.ts';
import { DriftWatch } from './drift.ts';
import { FlowGc, scheduleFlowGc } from './flow-gc.ts';
import { flowOptions, nativeRange } from './flow-options.ts';
import { agentHandlers } from './handlers.ts';
import { ensureHealthEndpoint, HealthProber, HealthResponder } from './health.ts';
import { PodIdentities } from './identities.ts';
import { Inbound } from './inbound.ts';
import { IpamAudit } from './ipam/audit.ts';
import { NodeIpam } from './ipam/node-ipam.ts';
import { L2Announcer } from './l2/announcer.ts';
import { monitorLookups } from './lookups.ts';
import { MapUsages } from './map-usage.ts';
import { MasqueradeSync } from './masquerade.ts';
import { MasqueradeList } from './masquerade-list.ts';
import { AgentMetrics, MetricsServer } from './metrics/index.ts';
import { MonitorHub } from './monitor-hub.ts';
import {
  addressesToLeaveWith,
  connectedNetworks,
  deviceAddresses,
  findNetworkDevices,
} from './network-devices.ts';
import { readNodeConfig } from './node-config.ts';
import { healthNetnsPath } from './node-mounts.ts';
import { claimNode } from './one-per-node.ts';
import type { AgentOptions } from './options.ts';
import { checkPrivileges, preflight, refuseOverlap } from './preflight.ts';
import { addPublishing } from './publishing.ts';
import { becomeReady } from './ready.ts';
import { ServiceSync } from './services.ts';
import { StaleSockets } from './stale-sockets.ts';

const QUEUE_INTERVAL_MS = 5_000;

/** The parts of a running agent, as the handlers see them. */
export interface AgentParts {
  options: AgentOptions;
  config: AgentConfig;
  node: NodeIdentity;
  routerIpv4: string;
  healthIpv4: string;
  /** The node's own number in `endpoint list`. */
  hostEndpointId: number;
  deviceMtu: number;
  routeMtu: number;
  networkDevices: readonly Link[];
  client: ClusterClient;
  view: ClusterView;
  ipam: NodeIpam;
  audit: IpamAudit;
  datapath: Datapath;
  drift: DriftLedger;
  endpoints: EndpointDeps;
  controllers: ControllerSet;
  prober: HealthProber;
  monitor: MonitorHub;
  cni: CniHandler;
  startedAt: string;
  maps: MapUsages;
  metrics: AgentMetrics;
  readiness: Readiness;
  flowGc: FlowGc;
  /** Where services are served, and by which addresses; none where they are not balanced here. */
  serviceDevices: readonly { name: string; addresses: readonly string[] }[];
  /** Absent where services are not balanced here. */
  services?: ServiceSync;
}

/** Whether pods can be set up, and why not. */
export interface Readiness {
  why: string | undefined;
  /** A probe packet did not cross the datapath: pods that run may be cut off as well. */
  limited?: boolean;
  cniConfig: string | undefined;
  /** From the process's start until it was ready for the first time. */
  bootstrapSeconds?: number;
}

/**
 * A running agent. Starts in the order that a restart under traffic needs: claim what is ours, put new programs in
 * place of old ones, bring endpoints back, serve the API, and only when the cluster's view is whole, prune.
 * `stop` leaves the datapath working.
 */
export class Agent {
  readonly #closers: { what: string; close: () => unknown }[] = [];
  readonly #log: Logger;
  readonly #metrics = new AgentMetrics();
  readonly #notifier: ServiceNotifier;

  constructor(log: Logger, notifier: ServiceNotifier) {
    this.#log = this.#metrics.logs.wrap(log);
    this.#notifier = notifier;
  }

  /** Resolves when the API is served. @throws FimbriaError when the node cannot be brought up; nothing is half left */
  async start(options: AgentOptions, signal: AbortSignal): Promise<void> {
    const log = this.#log;
    const startedAt = new Date().toISOString();
    checkPrivileges();
    useProcfs(options.procfs);
    const readiness: Readiness = { why: 'starting', cniConfig: undefined };
    if (options.healthAddress) {
      const health = this.#own('health server', new HealthServer(() => readiness.why));
      await health.listen(options.healthAddress);
    }
    let config = parseFlat(options.readFlat());
    const unknown = unknownFlatKeys(config.flat);
    if (unknown.length > 0) log.warn('keys of the configuration have no effect', { keys: unknown.join(' ') });
    await preflight(options, log);
    await refuseIfAnswered(options.socket);
    this.#own('claim of the node', await claimNode());
    const journal = this.#own('journal', new Journal(join(options.stateDir, 'journal'), { fsync: false }));
    if (journal.lostBytes > 0)
      log.warn('cut off a damaged tail of the journal', { bytes: journal.lostBytes });
    const client = this.#own(
      'cluster client',
      createClient(daemonClusterConfig(options.kubeconfig), {
        log: log.for('cluster'),
        userAgent: `fimbria-agent/${packageVersion()}`,
      }),
    );
    const node = await learnNode(client, { ...options, journal, log, signal });
    const overrides = await readNodeConfig(client, {
      nodeName: node.name,
      k8sNamespace: options.k8sNamespace,
      journal,
      log,
    });
    if (Object.keys(overrides).length > 0) config = parseFlat({ ...options.readFlat(), ...overrides });
    refuseOverlap(node.ipv4, [
      ...config.clusterPoolIpv4Cidrs,
      ...config.autoCreatePools.flatMap(pool => pool.ipv4?.cidrs ?? []),
    ]);
    const ipam = await NodeIpam.start({ client, config, journal, node, log: log.for('ipam'), signal });
    const { routerIpv4, healthIpv4 } = ipam;
    refuseOverlap(node.ipv4, ipam.podCidrs);

    const rtnl = this.#own('rtnetlink', Rtnetlink.open());
    const networkDevices = await findNetworkDevices(rtnl, config, node.ipv4);
    const deviceMtu = config.mtu || networkDevices[0]!.mtu;
    const tunnel = config.routingMode === 'tunnel';
    const routeMtu = tunnel ? deviceMtu - VXLAN_OVERHEAD : deviceMtu;
    const serviceDevices = config.kubeProxyReplacement
      ? await deviceAddresses(rtnl, networkDevices, node.ipv4)
      : [];
    const drift = new DriftLedger(log.for('drift'));
    const datapath = await Datapath.start(
      rtnl,
      {
        bpfRoot: options.bpfRoot,
        routerIpv4,
        nodeIpv4: node.ipv4,
        networkDevices,
        ...(tunnel ? { tunnelPort: config.tunnelPort } : {}),
        endpointRoutes: config.endpointRoutes,
        hostRouting: !config.hostLegacyRouting,
        deviceMtu,
        routeMtu,
        tcx: config.tcx,
        ...(config.masquerade === 'netfilter' ? { stackMasquerade: nativeRange(config) } : {}),
        ...(config.kubeProxyReplacement
          ? {
              services: {
                cgroup: options.cgroupRoot ? cgroup2At(options.cgroupRoot) : findCgroup2Root(),
                frontends: config.lbMapMax,
              },
              flows: flowOptions(config, addressesToLeaveWith(networkDevices, serviceDevices)),
              ...(config.l2Announcements ? { l2Announcements: true } : {}),
            }
          : {}),
      },
      journal,
      log.for('datapath'),
      (table, found) => drift.note(table, found),
    );
    this.#own('datapath', datapath);

    const controllers = new ControllerSet(log.for('controller'));
    this.#closers.push({ what: 'controllers', close: () => controllers.stop() });
    const store = new EndpointStore(journal);
    // The view exists before anything kicks the controllers that read it, and only then starts to call back.
    let inbound: Inbound | undefined;
    const view = this.#own(
      'cluster view',
      new ClusterView(
        client,
        node.name,
        { multiPool: config.ipamMode === 'multi-pool', services: config.kubeProxyReplacement },
        what => inbound?.changed(what),
      ),
    );
    const identities = new PodIdentities(client, view, config.clusterName, log.for('identity'));
    const endpoints: EndpointDeps = {
      store,
      pool: ipam,
      datapath: datapath.pods,
      resolveIdentity: pod => identities.resolve(pod),
      onChange: () => inbound?.endpointsChanged(),
      log: log.for('endpoint'),
    };
    // Before anything else asks for an id, so that it stays this one.
    const hostEndpoint = hostEndpointId(store, journal);
    const restored = await restoreEndpoints(endpoints, await rtnl.links());
    if (restored.restored + restored.gone + restored.swept > 0)
      log.info('restored endpoints', { ...restored });
    const healthNetns = healthNetnsPath(options.stateDir);
    const ensureHealth = () =>
      ensureHealthEndpoint(endpoints, rtnl, healthNetns, healthIpv4, ipam.defaultPool);
    await ensureHealth();
    datapath.finishUpgrade();
    datapath.sweep(new Set(store.list().map(e => e.id)));

    const responder = this.#own('health responder', new HealthResponder());
    await responder.listen({ netns: healthNetns, address: '0.0.0.0' });
    await responder.listen({ address: node.ipv4 });

    const prober = new HealthProber();
    readiness.why = 'the datapath was not probed yet';
    const masquerade = new MasqueradeSync({
      config,
      datapath,
      devices: networkDevices.map(device => device.name),
      list: this.#own('list of ip-masq-agent', new MasqueradeList(options.masqueradeList)),
      controllers,
    });
    inbound = new Inbound({
      config,
      node,
      ipam,
      view,
      datapath,
      endpoints,
      identities,
      controllers,
      networkDevices,
      directNetworks: await connectedNetworks(rtnl, networkDevices[0]!),
      routeMtu,
      masquerade,
      log: log.for('inbound'),
    });
    const serviceEvents = new EventRecorder(client, 'fimbria-agent', log.for('services'), node.name);
    const services =
      datapath.services &&
      new ServiceSync({
        view,
        table: datapath.services,
        sockets: new StaleSockets({
          table: datapath.services,
          translations: socketMap(datapath.programs.map('cilium_lb4_reverse_sk')),
          podNetns: () => store.list().map(({ netns }) => netns),
          controllers,
          log: log.for('services'),
        }),
        node: {
          name: node.name,
          addresses: [...new Set(serviceDevices.flatMap(device => device.addresses))],
          maglev: config.loadBalancerAlgorithm === 'maglev',
          dsr: config.loadBalancerMode === 'dsr',
        },
        controllers,
        log: log.for('services'),
        onProblems: (service, problems) => {
          // All nodes see the same: one of them says so.
          if (view.peers(node.name).some(peer => peer.name < node.name)) return;
          for (const message of problems)
            serviceEvents.record(service, { type: 'Warning', reason: 'ServiceNotBalanced', message });
        },
      });
    if (services) this.#own('services', services);
    if (config.l2Announcements && datapath.announced && view.services && view.slices)
      this.#own(
        'L2 announcements',
        new L2Announcer({
          client,
          nodeName: node.name,
          k8sNamespace: options.k8sNamespace,
          timings: config.l2Announcements,
          services: view.services,
          slices: view.slices,
          networkDevices,
          rtnl,
          table: datapath.announced,
          controllers,
          log: log.for('l2'),
        }),
      );
    const queue = join(dirname(options.socket), 'deleteQueue');
    // One replay at a time, whoever asks for it: a file is done once.
    const replay = controllers.add({
      name: 'delete-queue',
      intervalMs: QUEUE_INTERVAL_MS,
      run: async () =>
        void (await replayDeleteQueue(queue, (request: CniRequest) => cni.handle(request), log)),
    });
    const cni = new CniHandler({
      endpoints,
      addressing: () => ({ routerIpv4, routeMtu, deviceMtu }),
      notReady: () =>
        readiness.why === undefined ? undefined : { why: readiness.why, limited: readiness.limited ?? false },
      queuedDeletes: () => (hasQueuedDeletes(queue) ? replay.trigger() : undefined),
    });
    const monitor = this.#own(
      'monitor',
      new MonitorHub(
        {
          events: datapath.programs.map('cilium_events'),
          runtime: datapath.programs.map('cilium_runtime'),
          eventsLost: datapath.programs.map('cilium_events_lost'),
        },
        monitorLookups(rtnl, store),
      ),
    );
    const flowGc = new FlowGc(
      name => datapath.programs.map(name),
      () => monitor.clockOffsetS,
      datapath.services?.backends,
    );
    scheduleFlowGc(controllers, flowGc);
    const parts: AgentParts = {
      options,
      config,
      node,
      routerIpv4,
      healthIpv4,
      hostEndpointId: hostEndpoint,
      deviceMtu,
      routeMtu,
      networkDevices,
      client,
      view,
      ipam,
      audit: new IpamAudit(
        () => ({
          nodeName: node.name,
          nodeIpv4: node.ipv4,
          multiPool: config.ipamMode === 'multi-pool',
          pools: ipam.pools,
          blocks: ipam.blocks,
          endpoints: store.list().filter(endpoint => endpoint.containerId !== HEALTH_CONTAINER),
          nodes: view.nodes.list(),
          ciliumEndpoints: view.endpoints.list(),
        }),
        log.for('ipam-audit'),
      ),
      datapath,
      drift,
      endpoints,
      controllers,
      prober,
      monitor,
      cni,
      startedAt,
      maps: new MapUsages({ datapath, endpoints, flowGc }),
      metrics: this.#metrics,
      readiness,
      flowGc,
      serviceDevices,
      ...(services ? { services } : {}),
    };
    addPublishing(parts, inbound);
    const mender = new EndpointMender({
      ...endpoints,
      links: () => rtnl.links(),
      exclusive: (containerId, work) => cni.exclusive(containerId, work),
    });
    const watch = new DriftWatch({
      datapath,
      controllers,
      ledger: drift,
      mender,
      ensureHealth: async () => {
        const made = await ensureHealth();
        if (made.netns) await responder.listen({ netns: healthNetns, address: '0.0.0.0' });
        return made.link;
      },
    });
    this.#own('drift watch', watch);
    await inbound.first();
    services?.first();
    // Before the first ADD can come, so that none waits for it.
    await replay.trigger().catch(() => {});
    mkdirSync(dirname(options.socket), { recursive: true });
    const server = await createApiServer({
      handlers: agentHandlers(parts, log.for('api')),
      socketPath: options.socket,
      mode: options.socketGroup ? 0o660 : 0o600,
      ...(options.socketGroup ? { group: options.socketGroup } : {}),
      log: log.for('api'),
      observe: ({ method, path, status, seconds }) =>
        this.#metrics.apiTimes.observe({ path, method, return_code: String(status) }, seconds),
    });
    this.#own('API', server);
    this.#serveMetrics(parts);
    const cniWatch = this.#own(
      'CNI watch',
      new CniWatch({
        confDir: options.cniConfDir,
        ...(options.cniBinDir ? { binDir: options.cniBinDir } : {}),
        socket: options.socket,
        exclusive: config.cniExclusive,
        written: path => (readiness.cniConfig = path),
        controllers,
        log: log.for('cni'),
      }),
    );
    await becomeReady(parts, cniWatch, this.#notifier, log);
  }

  /** Orderly stop: no new work, work under way ends, handles close. The datapath goes on by itself. */
  async stop(): Promise<void> {
    for (const { what, close } of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        this.#log.warn(`could not close ${what}`, { error: messageOf(error) });
      }
    }
  }

  #own<T extends { close(): unknown }>(what: string, thing: T): T {
    this.#closers.push({ what, close: () => thing.close() });
    return thing;
  }

  /** A port that is taken is said in status and tried again: no reason to be without a network. */
  #serveMetrics(parts: AgentParts): void {
    const address = parts.options.metricsAddress ?? parts.config.prometheusServeAddr;
    if (address === undefined) return;
    const log = this.#log.for('metrics');
    const server = this.#own('metrics', new MetricsServer(() => parts.metrics.render(parts), log));
    parts.controllers
      .add({
        name: 'metrics-server',
        run: async () => log.info('serving metrics', { address, port: await server.listen(address) }),
      })
      .kick();
  }
}

/** The node's own endpoint id, the same for as long as the journal lives. */
function hostEndpointId(store: EndpointStore, journal: Journal): number {
  const key = 'hostEndpointId';
  const { id } = store.reserveId(journal.get<number>(key));
  journal.put(key, id);
  return id;
}
