import { setTimeout as delay } from 'node:timers/promises';
import { Backoff } from '../base/backoff.ts';
import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterClient } from '../cluster/types.ts';
import type { Lease } from '../model/types.ts';

/** The name that Cilium's operators use, so that never both run. */
export const LEASE_NAME = 'cilium-operator-resource-lock';
/** Where it is unless the installation is elsewhere. */
export const LEASE_NAMESPACE = 'kube-system';

/** All in milliseconds; `leaseMs` > `renewMs` + the time of one request. */
export interface LeaderTimings {
  /** How long others respect a lease that is not renewed. */
  leaseMs: number;
  /** How long the holder may fail to renew before it stops acting; shorter than `leaseMs`. */
  deadlineMs: number;
  /** Between renewals, and between looks at somebody else's lease. */
  renewMs: number;
}

const TIMINGS: LeaderTimings = { leaseMs: 15_000, deadlineMs: 10_000, renewMs: 2_000 };

const RELEASE_TIMEOUT_MS = 2_000;

/** One time of leading: from getting the lease until it may have been lost. */
export interface Term {
  /** Aborts when the lease may be lost, or the election ends. No write may begin after that. */
  readonly signal: AbortSignal;
  /** Gives the lease back, so that the next operator need not wait. */
  release(): Promise<void>;
}

/** Who may act as operator: decided by a Lease of the cluster. One per process. */
export class LeaderElection {
  readonly #client: ClusterClient;
  readonly #identity: string;
  readonly #log: Logger;
  readonly #namespace: string;
  readonly #timings: LeaderTimings;
  /** Somebody else's lease as last seen, and when by our own clock: clocks of machines differ. */
  #seen: { key: string; atMs: number } | undefined;

  constructor(options: {
    client: ClusterClient;
    identity: string;
    log: Logger;
    namespace?: string;
    timings?: LeaderTimings;
  }) {
    this.#client = options.client;
    this.#identity = options.identity;
    this.#log = options.log;
    this.#namespace = options.namespace ?? LEASE_NAMESPACE;
    this.#timings = options.timings ?? TIMINGS;
  }

  /** Waits for the lease. Goes on through errors, telling what it waits for; rejects only when `signal` aborts. */
  async acquire(signal: AbortSignal): Promise<Term> {
    const backoff = new Backoff({ baseMs: 200, maxMs: this.#timings.renewMs });
    let said = '';
    const say = (text: string, fields: Record<string, unknown>): void => {
      const line = `${text} ${JSON.stringify(fields)}`;
      if (line !== said) this.#log.info(text, fields);
      said = line;
    };
    for (;;) {
      signal.throwIfAborted();
      try {
        const holder = await this.#attempt();
        if (holder === undefined) break;
        say('another operator leads, waiting', { holder });
        backoff.reset();
        await delay(this.#timings.renewMs, undefined, { signal });
      } catch (error) {
        if (signal.aborted) throw error;
        say('cannot take the lease yet, waiting', { error: messageOf(error) });
        await delay(backoff.next(), undefined, { signal });
      }
    }
    this.#log.info('leading', { identity: this.#identity });
    return this.#hold(signal);
  }

  /** Takes or renews the lease. The holder's name when somebody else has it. */
  async #attempt(): Promise<string | undefined> {
    let lease: Lease;
    try {
      lease = await this.#client.get<Lease>('Lease', LEASE_NAME, this.#namespace);
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
      await this.#client.create<Lease>({
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: LEASE_NAME, namespace: this.#namespace },
        spec: this.#spec(undefined),
      });
      return undefined;
    }
    const holder = lease.spec?.holderIdentity ?? '';
    if (holder !== '' && holder !== this.#identity && !this.#expired(lease)) return holder;
    // The resourceVersion goes along: of two that try at once, one gets CONFLICT.
    await this.#client.update<Lease>({ ...lease, spec: this.#spec(lease) });
    return undefined;
  }

  #expired(lease: Lease): boolean {
    const key = `${lease.metadata.uid} ${lease.metadata.resourceVersion}`;
    const nowMs = performance.now();
    if (this.#seen?.key !== key) this.#seen = { key, atMs: nowMs };
    const leaseMs = (lease.spec?.leaseDurationSeconds ?? this.#timings.leaseMs / 1000) * 1000;
    return nowMs - this.#seen.atMs > leaseMs;
  }

  #spec(before: Lease | undefined): NonNullable<Lease['spec']> {
    const now = new Date().toISOString().replace('Z', '000Z');
    const ours = before?.spec?.holderIdentity === this.#identity;
    return {
      holderIdentity: this.#identity,
      leaseDurationSeconds: Math.ceil(this.#timings.leaseMs / 1000),
      acquireTime: (ours ? before.spec?.acquireTime : undefined) ?? now,
      renewTime: now,
      leaseTransitions: (before?.spec?.leaseTransitions ?? 0) + (before === undefined || ours ? 0 : 1),
    };
  }

  #hold(signal: AbortSignal): Term {
    const lost = new AbortController();
    const end = AbortSignal.any([signal, lost.signal]);
    const { deadlineMs, renewMs } = this.#timings;
    const lose = (why: string): void => {
      if (end.aborted) return;
      this.#log.warn('no longer leading', { why });
      lost.abort();
    };
    // The deadline has its own timer: a request that hangs must not keep us acting.
    const deadline = setTimeout(() => lose('the lease could not be renewed in time'), deadlineMs);
    const renewing = (async () => {
      while (!end.aborted) {
        await delay(renewMs, undefined, { signal: end }).catch(() => {});
        if (end.aborted) return;
        try {
          const holder = await this.#attempt();
          if (holder === undefined) deadline.refresh();
          else lose(`${holder} has the lease`);
        } catch (error) {
          this.#log.debug('could not renew the lease', { error: messageOf(error) });
        }
      }
    })().finally(() => clearTimeout(deadline));
    return {
      signal: end,
      release: async () => {
        lost.abort();
        await renewing;
        // Whoever stops does not wait long for a server that is away: the lease runs out by itself.
        await Promise.race([this.#release(), delay(RELEASE_TIMEOUT_MS, undefined, { ref: false })]);
      },
    };
  }

  async #release(): Promise<void> {
    try {
      const lease = await this.#client.get<Lease>('Lease', LEASE_NAME, this.#namespace);
      if (lease.spec?.holderIdentity !== this.#identity) return;
      await this.#client.update<Lease>({ ...lease, spec: { ...lease.spec, holderIdentity: '' } });
    } catch (error) {
      this.#log.info('could not give the lease back, it will run out', { error: messageOf(error) });
    }
  }
}
