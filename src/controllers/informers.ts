import type { ClusterClient, Informer } from '../cluster/index.ts';
import { KINDS } from '../model/kinds.ts';
import type { KubeObject } from '../model/types.ts';

/** Kinds that some controller reads whole. */
const WHOLE = [
  'Deployment',
  'Endpoints',
  'EndpointSlice',
  'Namespace',
  'Node',
  'Pod',
  'ReplicaSet',
  'Service',
];
/** Kinds that nobody reads here: Events are many and own nothing, definitions cannot be deleted. */
const UNREAD = ['Event', 'CustomResourceDefinition'];

/** Kinds whose objects may own others or be owned. */
export const OWNING_KINDS = KINDS.filter(kind => !UNREAD.includes(kind.kind));

/** One watch per kind for all controllers of the process. Of kinds that only the garbage collector reads, metadata alone. */
export class Informers {
  readonly #client: ClusterClient;
  readonly #open = new Map<string, Informer<KubeObject>>();

  constructor(client: ClusterClient) {
    this.#client = client;
  }

  of<T extends KubeObject>(kind: string): Informer<T> {
    const known = this.#open.get(kind);
    if (known) return known as unknown as Informer<T>;
    const informer = this.#client.informer<KubeObject>(
      kind,
      WHOLE.includes(kind)
        ? {}
        : {
            pick: ({ apiVersion, kind: name, metadata }) => ({ apiVersion, kind: name, metadata }),
          },
    );
    this.#open.set(kind, informer);
    return informer as unknown as Informer<T>;
  }

  /** Resolves when the first full list of each of these kinds is there. */
  async synced(kinds: readonly string[]): Promise<void> {
    await Promise.all(kinds.map(kind => this.of(kind).synced));
  }

  close(): void {
    for (const informer of this.#open.values()) informer.close();
  }
}
