import { codeOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { type Clock, LeaderElection, type LeaderTimings } from '../../cluster/leader.ts';
import type { ClusterClient } from '../../cluster/types.ts';

export interface LeaseHolderOptions {
  client: Pick<ClusterClient, 'get' | 'create' | 'update' | 'delete'>;
  /** Name and namespace of the Lease. */
  name: string;
  namespace: string;
  /** Who asks: the node, so that an agent that was started anew has what it had. */
  identity: string;
  timings: LeaderTimings;
  log: Logger;
  clock?: Clock;
  /** See {@link LeaderElection}: tells when another's lease may have become free. */
  freed?: (signal: AbortSignal) => Promise<void>;
  /** The lease was got or renewed; nobody else has it before `untilMs` of the clock. */
  onHeld(untilMs: number): void;
  /** Called before a lease that is ours is given back: what stands on it goes first. */
  onGiveBack(): Promise<void>;
}

/** One candidacy for one lease, from `new` until `end`. */
export class LeaseHolder {
  readonly #options: LeaseHolderOptions;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  #how: 'give back' | 'delete' | 'leave' = 'leave';

  constructor(options: LeaseHolderOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  get ended(): boolean {
    return this.#abort.signal.aborted;
  }

  /**
   * No longer a candidate. `give back`: another may have it at once; `delete`: nobody needs it any more; `leave`: it stays
   * ours until it runs out, so that an agent that comes back soon goes on. Never rejects.
   */
  async end(how: 'give back' | 'delete' | 'leave'): Promise<void> {
    this.#how = how;
    this.#abort.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { client, name, namespace, identity, timings, log, clock, freed, onHeld, onGiveBack } =
      this.#options;
    const { signal } = this.#abort;
    const election = new LeaderElection({
      client,
      name,
      namespace,
      identity,
      timings,
      log,
      ...(clock && { clock }),
      ...(freed && { freed }),
      onHeld: askedAtMs => onHeld(askedAtMs + timings.leaseMs),
    });
    while (!signal.aborted) {
      const term = await election.acquire(signal).catch(() => undefined);
      if (term === undefined) return;
      await new Promise<void>(resolve => {
        if (term.signal.aborted) resolve();
        else term.signal.addEventListener('abort', () => resolve(), { once: true });
      });
      if (!signal.aborted || this.#how === 'leave') continue;
      await onGiveBack().catch(error =>
        log.warn('could not take announced addresses away', { lease: name, error }),
      );
      await term.release();
      if (this.#how === 'delete')
        await client.delete('Lease', name, { namespace }).catch(error => {
          if (codeOf(error) !== 'NOT_FOUND') log.info('could not delete a lease', { lease: name, error });
        });
    }
  }
}
