import { identified } from '../../cluster/identified.ts';
import type { ClusterClient, Informer } from '../../cluster/types.ts';
import type { Lease } from '../../model/types.ts';

/** What is kept of a lease: that it is there, and whose it is. */
function pickHolder(lease: Lease): Lease {
  return { ...identified(lease), spec: { holderIdentity: lease.spec?.holderIdentity } } as Lease;
}

/** Tells candidates at once when a lease of a namespace is given back or deleted; one watch for all of them. */
export class LeaseWatch {
  readonly #leases: Informer<Lease>;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(client: Pick<ClusterClient, 'informer'>, namespace: string) {
    this.#leases = client.informer<Lease>('Lease', { namespace, pick: pickHolder });
    const wake = ({ metadata }: Lease): void => {
      for (const resolve of this.#waiting.get(metadata.name) ?? []) resolve();
      this.#waiting.delete(metadata.name);
    };
    this.#leases.on({
      updated: (lease, before) => {
        if (!lease.spec?.holderIdentity && before.spec?.holderIdentity) wake(lease);
      },
      deleted: wake,
    });
  }

  /** Resolves at the next change by which the lease called `name` is nobody's; never when `signal` aborts before. */
  freed(name: string, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const waiting = this.#waiting.get(name) ?? new Set();
      this.#waiting.set(name, waiting);
      waiting.add(resolve);
      signal.addEventListener(
        'abort',
        () => {
          waiting.delete(resolve);
          if (waiting.size === 0 && this.#waiting.get(name) === waiting) this.#waiting.delete(name);
        },
        { once: true },
      );
    });
  }

  close(): void {
    this.#leases.close();
  }
}
