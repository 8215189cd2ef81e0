import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient, Informer } from '../cluster/index.ts';
import type { Namespace, ServiceAccount } from '../model/types.ts';

const RETRY_MS = 1000;

/** Gives every namespace the ServiceAccount `default`, as Kubernetes' controller manager does. */
export class ServiceAccounts {
  readonly #client: ClusterClient;
  readonly #namespaces: Informer<Namespace>;
  readonly #log: Logger;

  /** The informer is the caller's. */
  constructor(client: ClusterClient, namespaces: Informer<Namespace>, log: Logger) {
    this.#client = client;
    this.#namespaces = namespaces;
    this.#log = log.for('service-accounts');
    namespaces.on({ added: namespace => void this.#ensure(namespace.metadata.name) });
  }

  async #ensure(namespace: string): Promise<void> {
    try {
      await this.#client.create<ServiceAccount>({
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: 'default', namespace },
      });
    } catch (error) {
      if (codeOf(error) === 'ALREADY_EXISTS' || !this.#namespaces.get(namespace)) return;
      this.#log.warn('creating a service account failed', { namespace, error: messageOf(error) });
      setTimeout(() => void this.#ensure(namespace), RETRY_MS).unref();
    }
  }
}
