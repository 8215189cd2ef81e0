import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient, Informer } from '../cluster/types.ts';
import type { CiliumEndpoint, CiliumIdentity, CiliumNode, KubeObject, Node, Pod } from '../model/types.ts';
import { AbsenceTimer } from './absence.ts';
import { keyOf, orphanedEndpoints, orphanedNodes, ownsEndpoint, unusedIdentities } from './garbage.ts';

/** How long things may be left over, in milliseconds. */
export interface GraceTimes {
  /** Identities that no endpoint uses. */
  identityMs: number;
  /** CiliumNodes whose Node this process has never seen; those whose Node it saw go are not waited for. */
  nodeMs: number;
  /** Blocks of pools on a CiliumNode that is gone; half a minute when absent. */
  blocksMs?: number;
}

export const GRACE: GraceTimes = { identityMs: 15 * 60_000, nodeMs: 5 * 60_000 };

/** The part of the cluster that is looked at. All must be in sync before the first pass. */
export interface CollectorView {
  nodes: Pick<Informer<Node>, 'list' | 'get' | 'on'>;
  ciliumNodes: Pick<Informer<CiliumNode>, 'list'>;
  pods: Pick<Informer<Pod>, 'get'>;
  endpoints: Pick<Informer<CiliumEndpoint>, 'list'>;
  identities: Pick<Informer<CiliumIdentity>, 'list'>;
}

export interface CollectorOptions {
  client: Pick<ClusterClient, 'get' | 'delete'>;
  view: CollectorView;
  log: Logger;
  /** Aborted when this process may no longer write. */
  signal: AbortSignal;
  grace?: GraceTimes;
  /** Milliseconds of a monotonic clock, for tests. */
  now?: () => number;
}

/**
 * Removes what outlived its reason: CiliumEndpoints without Pod, CiliumNodes without Node, CiliumIdentities that
 * nobody uses. Watches may lag, so the server is asked once more before anything goes, and every delete names the
 * uid it means. Passes must not overlap.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #now: () => number;
  readonly #idleIdentities: AbsenceTimer;
  readonly #lonelyNodes: AbsenceTimer;
  /** Nodes that were seen going. */
  readonly #departed = new Set<string>();

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const grace = options.grace ?? GRACE;
    this.#idleIdentities = new AbsenceTimer(grace.identityMs);
    this.#lonelyNodes = new AbsenceTimer(grace.nodeMs);
    options.view.nodes.on({
      added: node => this.#departed.delete(node.metadata.name),
      deleted: node => this.#departed.add(node.metadata.name),
    });
  }

  /** One pass. Tries everything; throws the first error of what must be tried again. */
  async pass(): Promise<void> {
    const failures: unknown[] = [];
    for (const work of [() => this.#endpoints(), () => this.#nodes(), () => this.#identities()]) {
      await work().catch(error => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  async #endpoints(): Promise<void> {
    const { view } = this.#options;
    const orphans = orphanedEndpoints(view.endpoints.list(), (name, namespace) =>
      view.pods.get(name, namespace),
    );
    for (const endpoint of orphans) {
      const { name, namespace } = endpoint.metadata;
      const pod = await this.#fresh<Pod>('Pod', name, namespace);
      if (!ownsEndpoint(pod, endpoint)) await this.#remove(endpoint, 'its pod is gone');
    }
  }

  async #nodes(): Promise<void> {
    const { view } = this.#options;
    // The last Node may go too: what was seen going counts also where no Node is left.
    const orphans = new Map(
      [
        ...orphanedNodes(view.ciliumNodes.list(), view.nodes.list()),
        ...view.ciliumNodes.list().filter(node => this.#departed.has(node.metadata.name)),
      ].map(node => [node.metadata.name, node]),
    );
    const patient = new Set(this.#lonelyNodes.due(orphans.keys(), this.#now()));
    for (const [name, node] of orphans) {
      if (!patient.has(name) && !this.#departed.has(name)) continue;
      if ((await this.#fresh<Node>('Node', name)) === undefined) await this.#remove(node, 'its node is gone');
    }
  }

  async #identities(): Promise<void> {
    const { view } = this.#options;
    const unused = new Map(
      unusedIdentities(view.identities.list(), view.endpoints.list()).map(identity => [
        keyOf(identity),
        identity,
      ]),
    );
    for (const key of this.#idleIdentities.due(unused.keys(), this.#now())) {
      await this.#remove(unused.get(key)!, 'nobody has used it for a while');
    }
  }

  async #fresh<T extends KubeObject>(kind: string, name: string, namespace?: string): Promise<T | undefined> {
    try {
      return await this.#options.client.get<T>(kind, name, namespace);
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  async #remove(object: KubeObject, why: string): Promise<void> {
    const { client, log, signal } = this.#options;
    const { name, namespace, uid } = object.metadata;
    if (signal.aborted) return;
    try {
      const removed = await client.delete(object.kind, name, {
        ...(namespace === undefined ? {} : { namespace }),
        ...(uid === undefined ? {} : { uid }),
      });
      if (removed) log.info(`removed ${object.kind}`, { name, namespace, why });
    } catch (error) {
      // Another object of that name by now: not the one that was meant.
      if (codeOf(error) !== 'CONFLICT') throw error;
    }
  }
}
