import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/types.ts';
import type { PodRef } from '../endpoint/deps.ts';
import type { ResolvedIdentity } from '../endpoint/types.ts';
import {
  IDENTITY,
  IdentityAllocator,
  type IdentityStore,
  identityObjectLabels,
  labelsFromMap,
  labelsToMap,
  reservedLabels,
  sameLabels,
  securityLabels,
} from '../identity/index.ts';
import type { CiliumIdentity, Namespace, Pod } from '../model/types.ts';
import type { ClusterView } from './cluster-view.ts';

/** How long an ADD waits for the API server before the pod starts as `reserved:init` and converges later. */
const RESOLVE_TIMEOUT_MS = 2_000;

const INIT: ResolvedIdentity = { identity: IDENTITY.init, labels: reservedLabels(IDENTITY.init)! };

/** CiliumIdentity objects as the allocator's store. */
export class ClusterIdentityStore implements IdentityStore {
  readonly #client: ClusterClient;
  readonly #view: ClusterView;

  constructor(client: ClusterClient, view: ClusterView) {
    this.#client = client;
    this.#view = view;
  }

  find(labels: readonly string[]): number | undefined {
    const found = this.#view.identities
      .list()
      .find(i => sameLabels(labelsFromMap(i['security-labels']), labels));
    return found && Number(found.metadata.name);
  }

  async get(id: number): Promise<readonly string[] | undefined> {
    try {
      return labelsFromMap(
        (await this.#client.get<CiliumIdentity>('CiliumIdentity', `${id}`))['security-labels'],
      );
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  async create(id: number, labels: readonly string[]): Promise<boolean> {
    try {
      await this.#client.create<CiliumIdentity>({
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumIdentity',
        metadata: { name: `${id}`, labels: identityObjectLabels(labels) },
        'security-labels': labelsToMap(labels),
      });
      return true;
    } catch (error) {
      if (codeOf(error) === 'ALREADY_EXISTS') return false;
      throw error;
    }
  }
}

/** Gives pods their identities. One per agent. */
export class PodIdentities {
  readonly #client: ClusterClient;
  readonly #view: ClusterView;
  readonly #clusterName: string;
  readonly #allocator: IdentityAllocator;
  readonly #log: Logger;

  constructor(client: ClusterClient, view: ClusterView, clusterName: string, log: Logger) {
    this.#client = client;
    this.#view = view;
    this.#clusterName = clusterName;
    this.#allocator = new IdentityAllocator(new ClusterIdentityStore(client, view));
    this.#log = log;
  }

  /** Never throws and never waits long: a pod that cannot be resolved is `reserved:init` until it can. */
  async resolve(pod: PodRef | undefined): Promise<ResolvedIdentity> {
    if (!pod) return INIT;
    try {
      return (await withTimeout(this.#resolve(pod), RESOLVE_TIMEOUT_MS)) ?? INIT;
    } catch (error) {
      this.#log.warn('could not resolve the identity of a pod yet', {
        pod: `${pod.namespace}/${pod.name}`,
        error: messageOf(error),
      });
      return INIT;
    }
  }

  /**
   * Identity of a pod by its labels now; undefined when the pod or its namespace is not known.
   * @throws FimbriaError UNAVAILABLE and the like from the API server
   */
  async current(pod: PodRef): Promise<ResolvedIdentity | undefined> {
    const object = this.#view.pods.get(pod.name, pod.namespace);
    const namespace = this.#view.namespaces.get(pod.namespace);
    return object && namespace ? this.#allocate(object, namespace) : undefined;
  }

  /** To be called for each endpoint that leaves or changes its identity. */
  release(identity: number): void {
    this.#allocator.release(identity);
  }

  /** Puts a CiliumIdentity back that somebody deleted although a pod here uses it. */
  async restore(identity: number): Promise<void> {
    if (await this.#allocator.restore(identity))
      this.#log.warn('put back an identity that was deleted in use', { identity });
  }

  async #resolve(pod: PodRef): Promise<ResolvedIdentity> {
    // The watch may be a moment behind the runtime: ask the server for what it has not brought yet.
    const object =
      this.#view.pods.get(pod.name, pod.namespace) ??
      (await this.#client.get<Pod>('Pod', pod.name, pod.namespace));
    const namespace =
      this.#view.namespaces.get(pod.namespace) ??
      (await this.#client.get<Namespace>('Namespace', pod.namespace));
    return this.#allocate(object, namespace);
  }

  async #allocate(pod: Pod, namespace: Namespace): Promise<ResolvedIdentity> {
    const labels = securityLabels(pod, namespace, this.#clusterName);
    return { identity: await this.#allocator.allocate(labels), labels };
  }
}

async function withTimeout<T>(work: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>(resolve => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {});
  }
}
