import type { Controller, ControllerSet } from '../base/controller.ts';
import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AgentConfig } from '../config/types.ts';
import type { Datapath } from '../datapath/datapath.ts';
import { endpointRoute } from '../datapath/route-table.ts';
import type { EndpointDeps } from '../endpoint/deps.ts';
import type { Link } from '../kernel/rtnetlink.ts';
import { ipcacheEntries, sameIpcacheEntry } from '../routing/ipcache.ts';
import type { NodeView } from '../routing/nodes.ts';
import { nodeRoutes } from '../routing/routes.ts';
import type { NodeIdentity } from './bootstrap.ts';
import type { ClusterView } from './cluster-view.ts';
import type { PodIdentities } from './identities.ts';
import type { NodeIpam } from './ipam/node-ipam.ts';
import type { MasqueradeSync } from './masquerade.ts';

/** A pass looks at the whole cluster: changes that come in a burst share one. */
const SPACING_MS = 50;

/** What the cluster's changes flow into. */
export interface InboundDeps {
  config: AgentConfig;
  node: NodeIdentity;
  ipam: Pick<NodeIpam, 'podCidrs' | 'routerIpv4' | 'healthIpv4'>;
  view: ClusterView;
  datapath: Datapath;
  endpoints: EndpointDeps;
  identities: PodIdentities;
  controllers: ControllerSet;
  networkDevices: readonly Link[];
  /** Networks that the first of them is connected to. */
  directNetworks: readonly string[];
  routeMtu: number;
  masquerade: MasqueradeSync;
  log: Logger;
}

/**
 * The second walk: the cluster changed -> pure functions -> desired tables -> reconcilers. Any number of changes
 * while one pass runs become one more pass. Nothing is pruned before the first full view.
 */
export class Inbound {
  readonly #deps: InboundDeps;
  readonly #routing: Controller;
  readonly #labels: Controller;
  readonly #listeners: (() => void)[] = [];
  /** The cluster's view is all that there is. */
  #whole = false;

  constructor(deps: InboundDeps) {
    this.#deps = deps;
    this.#routing = deps.controllers.add({
      name: 'sync-routing',
      intervalMs: 60_000,
      spacingMs: SPACING_MS,
      run: () => this.#syncRouting(),
    });
    this.#labels = deps.controllers.add({
      name: 'sync-identities',
      intervalMs: 60_000,
      run: () => this.#syncLabels(),
    });
    deps.view.identities.on({
      deleted: identity => {
        deps.identities
          .restore(Number(identity.metadata.name))
          .catch(error =>
            deps.log.warn('could not put an identity back', { identity: identity.metadata.name, error }),
          );
      },
    });
  }

  /** Something that was watched changed. */
  changed(what: 'routing' | 'labels'): void {
    (what === 'routing' ? this.#routing : this.#labels).kick();
  }

  endpointsChanged(): void {
    for (const listener of this.#listeners) listener();
  }

  onEndpointsChanged(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** This node as others see it. */
  self(): NodeView {
    const { node, ipam } = this.#deps;
    const { podCidrs, routerIpv4, healthIpv4 } = ipam;
    return { name: node.name, ipv4: node.ipv4, podCidrs, routerIpv4, healthIpv4 };
  }

  /** Routes and ipcache by what is known now. @throws FimbriaError of the kernel; tried again by itself */
  route(): Promise<void> {
    return this.#routing.trigger();
  }

  /**
   * Routes and ipcache from what this node knows by itself, at once; then again with the cluster's view as soon as
   * that is whole, from when on what nobody desires is deleted.
   */
  async first(): Promise<void> {
    await this.#routing.trigger().catch(() => {});
    const { view, datapath, log } = this.#deps;
    view
      .synced()
      .then(async () => {
        this.#whole = true;
        await this.#routing.trigger();
        // Before its rules of an earlier run are nobody's wish.
        await this.#deps.masquerade.settled();
        datapath.allowPrune();
        await datapath.resync();
        this.#labels.kick();
        log.info('in sync with the cluster', {
          nodes: view.nodes.list().length,
          endpoints: view.endpoints.list().length,
        });
      })
      .catch(error => {
        if (codeOf(error) !== 'ABORTED') log.warn('first sync failed, will be retried', { error });
      });
  }

  async #syncRouting(): Promise<void> {
    const { config, view, datapath, node, networkDevices, routeMtu } = this.#deps;
    const self = this.self();
    const peers = view.peers(node.name);
    const local = datapath.pods.admitted;
    const clusterCidrs = config.ipamMode === 'cluster-pool' ? config.clusterPoolIpv4Cidrs : view.poolRanges();
    const ipcache = ipcacheEntries({
      self,
      peers,
      localEndpoints: new Map([...local.values()].map(e => [e.ipv4, e.identity])),
      remoteEndpoints: view.remoteEndpoints(node.ipv4),
      clusterCidrs,
      directNetworks: this.#directNetworks(),
    });
    datapath.ipcache.replace(ipcache, () => true, sameIpcacheEntry);

    const routes = nodeRoutes(
      self,
      peers,
      { hostIfindex: datapath.devices.host.ifindex, directIfindex: networkDevices[0]!.ifindex },
      {
        routingMode: config.routingMode,
        endpointRoutes: config.endpointRoutes,
        autoDirectNodeRoutes: config.autoDirectNodeRoutes,
        tunnelMtu: routeMtu,
      },
    );
    if (config.endpointRoutes)
      for (const e of local.values()) routes.set(`${e.ipv4}/32`, endpointRoute(e.ipv4, e.ifindex));
    datapath.routes.replace(
      routes,
      () => true,
      (a, b) => JSON.stringify(a) === JSON.stringify(b),
    );
    this.#deps.masquerade.cluster({ self, peers, clusterCidrs, whole: this.#whole });
    // A full ipcache is no reason to leave routes out.
    const outcomes = await Promise.allSettled([datapath.ipcache.commit(), datapath.routes.commit()]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** Connected networks of the device that carries the node's address, where peers are routed to directly. */
  #directNetworks(): readonly string[] {
    const { config, directNetworks } = this.#deps;
    return config.routingMode === 'native' && config.autoDirectNodeRoutes ? directNetworks : [];
  }

  /** Gives local pods the identity that their labels say now. */
  async #syncLabels(): Promise<void> {
    const { endpoints, identities, datapath, view, log } = this.#deps;
    await view.synced();
    for (const endpoint of endpoints.store.list()) {
      if (!endpoint.podName || !endpoint.podNamespace) continue;
      const now = await identities.current({ name: endpoint.podName, namespace: endpoint.podNamespace });
      if (!now || now.identity === endpoint.identity) continue;
      if (endpoints.store.get(endpoint.id) !== endpoint) continue;
      const changed = { ...endpoint, ...now };
      endpoints.store.put(changed);
      await datapath.pods.relabel(endpoint.ipv4, now.identity);
      log.info('endpoint has another identity', {
        endpoint: endpoint.id,
        from: endpoint.identity,
        to: now.identity,
      });
      this.endpointsChanged();
    }
  }
}
