import { FimbriaError } from '../base/errors.ts';
import type { ClusterClient, Informer } from '../cluster/types.ts';
import { blocksOfNode } from '../ipam/cluster.ts';
import type {
  CiliumEndpoint,
  CiliumIdentity,
  CiliumNode,
  CiliumPodIPPool,
  EndpointSlice,
  Namespace,
  Pod,
  Service,
} from '../model/types.ts';
import type { NodeView, RemoteEndpointView } from '../routing/nodes.ts';
import {
  pickEndpoint,
  pickIdentity,
  pickNamespace,
  pickNode,
  pickPod,
  pickService,
  pickSlice,
} from './narrow.ts';

/**
 * The part of the cluster that one agent watches: all CiliumNodes and CiliumEndpoints, the Pods of its own node,
 * and what identities are made from. Owner: the agent.
 */
export class ClusterView {
  readonly nodes: Informer<CiliumNode>;
  readonly endpoints: Informer<CiliumEndpoint>;
  readonly identities: Informer<CiliumIdentity>;
  readonly pods: Informer<Pod>;
  readonly namespaces: Informer<Namespace>;
  /** Only in multi-pool mode. */
  readonly pools: Informer<CiliumPodIPPool> | undefined;
  /** Only where services are balanced, as are the slices. */
  readonly services: Informer<Service> | undefined;
  readonly slices: Informer<EndpointSlice> | undefined;
  readonly #multiPool: boolean;
  readonly #whole: Promise<void>;
  #abandon: (why: Error) => void = () => {};

  /** @param onChange called after anything that routing or identities depend on changed */
  constructor(
    client: ClusterClient,
    nodeName: string,
    { multiPool, services }: { multiPool: boolean; services: boolean },
    onChange: (what: 'routing' | 'labels') => void,
  ) {
    this.#multiPool = multiPool;
    this.services = services ? client.informer<Service>('Service', { pick: pickService }) : undefined;
    this.slices = services ? client.informer<EndpointSlice>('EndpointSlice', { pick: pickSlice }) : undefined;
    this.pools = multiPool ? client.informer<CiliumPodIPPool>('CiliumPodIPPool') : undefined;
    this.nodes = client.informer<CiliumNode>('CiliumNode', { pick: pickNode });
    this.endpoints = client.informer<CiliumEndpoint>('CiliumEndpoint', { pick: pickEndpoint });
    this.identities = client.informer<CiliumIdentity>('CiliumIdentity', { pick: pickIdentity });
    this.pods = client.informer<Pod>('Pod', { fieldSelector: `spec.nodeName=${nodeName}`, pick: pickPod });
    this.namespaces = client.informer<Namespace>('Namespace', { metadataOnly: true, pick: pickNamespace });
    this.#whole = new Promise((resolve, reject) => {
      this.#abandon = reject;
      Promise.all(this.#informers().map(i => i.synced)).then(() => resolve(), reject);
    });
    // That nobody waits is no fault.
    this.#whole.catch(() => {});
    const notify = (what: 'routing' | 'labels') => (): void => onChange(what);
    for (const [informer, what] of [
      [this.nodes, 'routing'],
      [this.endpoints, 'routing'],
      [this.pods, 'labels'],
      [this.namespaces, 'labels'],
    ] as const) {
      informer.on({ added: notify(what), updated: notify(what), deleted: notify(what) });
    }
    const ranges = notify('routing');
    this.pools?.on({ added: ranges, updated: ranges, deleted: ranges });
  }

  /**
   * Resolves when the first full view is there, which may be never: `status` says while the API server cannot be
   * reached. @throws FimbriaError ABORTED when the view is closed before
   */
  synced(): Promise<void> {
    return this.#whole;
  }

  get connected(): boolean {
    return this.#informers().every(i => i.connected);
  }

  /** The other nodes of the cluster that can be reached: those with an address. */
  peers(selfName: string): NodeView[] {
    return this.nodes
      .list()
      .filter(n => n.metadata.name !== selfName)
      .flatMap(n => {
        const view = nodeView(n, this.#multiPool);
        return view ? [view] : [];
      });
  }

  /** Endpoints on other nodes. */
  remoteEndpoints(selfIpv4: string): RemoteEndpointView[] {
    return this.endpoints.list().flatMap(endpoint => {
      const { networking, identity } = endpoint.status ?? {};
      const node = networking?.node;
      if (!node || node === selfIpv4 || identity?.id === undefined) return [];
      return (networking?.addressing ?? []).flatMap(a =>
        a.ipv4 ? [{ ipv4: a.ipv4, identity: identity.id!, nodeIpv4: node }] : [],
      );
    });
  }

  /** Ranges that pods may have addresses from, in multi-pool mode. */
  poolRanges(): string[] {
    return (this.pools?.list() ?? []).flatMap(pool => pool.spec.ipv4?.cidrs ?? []);
  }

  close(): void {
    this.#abandon(
      new FimbriaError({
        code: 'ABORTED',
        op: 'wait for',
        object: "the cluster's view",
        why: 'the agent was told to stop',
      }),
    );
    for (const informer of this.#informers()) informer.close();
  }

  #informers(): Informer<never>[] {
    return [
      this.nodes,
      this.endpoints,
      this.identities,
      this.pods,
      this.namespaces,
      ...(this.pools ? [this.pools] : []),
      ...(this.services ? [this.services] : []),
      ...(this.slices ? [this.slices] : []),
    ] as unknown as Informer<never>[];
  }
}

/** A CiliumNode as routing sees it; undefined while it has no address. Pure. */
export function nodeView(node: CiliumNode, multiPool: boolean): NodeView | undefined {
  const address = (type: string): string | undefined => node.spec.addresses?.find(a => a.type === type)?.ip;
  const ipv4 = address('InternalIP');
  if (!ipv4) return undefined;
  const router = address('CiliumInternalIP');
  const health = node.spec.health?.ipv4;
  return {
    name: node.metadata.name,
    ipv4,
    // Pods have IPv4 only.
    podCidrs: blocksOfNode(node, multiPool).flatMap(({ cidr }) => (cidr.includes(':') ? [] : [cidr])),
    ...(router ? { routerIpv4: router } : {}),
    ...(health ? { healthIpv4: health } : {}),
  };
}
