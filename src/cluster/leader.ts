import { setTimeout as delay } from 'node:timers/promises';
import { Backoff } from '../base/backoff.ts';
import { codeOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { LEASE_NAME } from '../config/index.ts';
import type { Lease } from '../model/types.ts';
import type { ClusterClient } from './types.ts';

/** Where it is unless the installation is elsewhere. */
export const LEASE_NAMESPACE = 'kube-system';

/** All in milliseconds. */
export interface LeaderTimings {
  /** How long others respect a lease that is not renewed. */
  leaseMs: number;
  /**
   * How long after it asked for its last renewal the holder may begin to write. What is left to `leaseMs` is for writes that
   * are under way, and for clocks that do not run alike.
   */
  deadlineMs: number;
  /** Between renewals, and between looks at somebody else's lease. */
  renewMs: number;
}

/** Kubernetes' own. */
export const TIMINGS: LeaderTimings = { leaseMs: 15_000, deadlineMs: 10_000, renewMs: 2_000 };

const RELEASE_TIMEOUT_MS = 2_000;

/** Where time comes from; a simulated one in tests. */
export interface Clock {
  /** Milliseconds that only go forward. */
  nowMs(): number;
  /** Rejects when `signal` aborts. */
  delay(delayMs: number, signal?: AbortSignal): Promise<void>;
}

const realClock: Clock = {
  nowMs: () => performance.now(),
  delay: (delayMs, signal) =>
    delay(delayMs, undefined, { ...(signal && { signal }), ref: signal !== undefined }),
};

/** One time of leading: from getting the lease until it may have been lost. */
export interface Term {
  /** Aborts when the lease may be lost, or the election ends. */
  readonly signal: AbortSignal;
  /** Whether a write may begin, by the clock: also where the process was held up so that `signal` comes late. */
  mayWrite(): boolean;
  /** Gives the lease back, so that the next operator need not wait. */
  release(): Promise<void>;
}

export interface LeaderOptions {
  /** For the lease only; its requests must end well within `deadlineMs`. */
  client: Pick<ClusterClient, 'get' | 'create' | 'update'>;
  identity: string;
  log: Logger;
  /** The Lease; the operators' unless given. */
  name?: string;
  namespace?: string;
  /**
   * Told each time that the lease was got or renewed, with the moment of `clock` when it was asked for: nobody else has it
   * before `leaseMs` later.
   */
  onHeld?: (askedAtMs: number) => void;
  /**
   * Resolves when somebody else's lease may have become free: it is looked at then, and not only every `renewMs`. Rejects,
   * or never settles, when `signal` aborts.
   */
  freed?: (signal: AbortSignal) => Promise<void>;
  timings?: LeaderTimings;
  clock?: Clock;
}

/** Who may act, such as the one operator of several: decided by a Lease of the cluster. One per process and Lease. */
export class LeaderElection {
  readonly #client: LeaderOptions['client'];
  readonly #identity: string;
  readonly #log: Logger;
  readonly #name: string;
  readonly #namespace: string;
  readonly #onHeld: (askedAtMs: number) => void;
  readonly #freed: LeaderOptions['freed'];
  readonly #timings: LeaderTimings;
  readonly #clock: Clock;
  /** Somebody else's lease as last seen, and when by our own clock: clocks of machines differ. */
  #seen: { key: string; atMs: number } | undefined;
  /** As the server gave it back when we wrote it last: renewing it needs no look. */
  #held: Lease | undefined;

  constructor(options: LeaderOptions) {
    this.#client = options.client;
    this.#identity = options.identity;
    this.#log = options.log;
    this.#name = options.name ?? LEASE_NAME;
    this.#onHeld = options.onHeld ?? (() => {});
    this.#freed = options.freed;
    this.#namespace = options.namespace ?? LEASE_NAMESPACE;
    this.#timings = options.timings ?? TIMINGS;
    this.#clock = options.clock ?? realClock;
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
      const askedAtMs = this.#clock.nowMs();
      try {
        const holder = await this.#attempt();
        if (holder === undefined) {
          // Got so late that it may be gone again: as good as not got.
          if (this.#clock.nowMs() - askedAtMs >= this.#timings.deadlineMs) continue;
          this.#log.info('leading', { identity: this.#identity });
          this.#onHeld(askedAtMs);
          return this.#hold(signal, askedAtMs);
        }
        say('another leads, waiting', { holder });
        backoff.reset();
        await this.#untilNextLook(signal);
      } catch (error) {
        if (signal.aborted) throw error;
        say('cannot take the lease yet, waiting', { error: messageOf(error) });
        await this.#clock.delay(backoff.next(), signal);
      }
    }
  }

  async #untilNextLook(signal: AbortSignal): Promise<void> {
    const seen = new AbortController();
    const end = AbortSignal.any([signal, seen.signal]);
    const waits = [this.#clock.delay(this.#timings.renewMs, end)];
    if (this.#freed) waits.push(this.#freed(end));
    for (const wait of waits) wait.catch(() => {});
    await Promise.race(waits);
    seen.abort();
  }

  /** Takes or renews the lease. The holder's name when somebody else has it. */
  async #attempt(): Promise<string | undefined> {
    if (this.#held !== undefined) {
      try {
        await this.#write(this.#held);
        return undefined;
      } catch (error) {
        // Somebody has written it, or our last write arrived although its answer did not: see who.
        if (codeOf(error) !== 'CONFLICT' && codeOf(error) !== 'NOT_FOUND') throw error;
        this.#held = undefined;
      }
    }
    let lease: Lease;
    try {
      lease = await this.#client.get<Lease>('Lease', this.#name, this.#namespace);
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
      this.#held = await this.#client.create<Lease>({
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: this.#name, namespace: this.#namespace },
        spec: this.#spec(undefined),
      });
      return undefined;
    }
    const holder = lease.spec?.holderIdentity ?? '';
    if (holder !== '' && holder !== this.#identity && !this.#expired(lease)) return holder;
    await this.#write(lease);
    return undefined;
  }

  /** The resourceVersion goes along: of two that try at once, one gets CONFLICT. */
  async #write(lease: Lease): Promise<void> {
    this.#held = await this.#client.update<Lease>({ ...lease, spec: this.#spec(lease) });
  }

  #expired(lease: Lease): boolean {
    const key = `${lease.metadata.uid} ${lease.metadata.resourceVersion}`;
    const nowMs = this.#clock.nowMs();
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

  /** @param askedAtMs when the lease was asked for: others count from when they see it, which is never before that */
  #hold(signal: AbortSignal, askedAtMs: number): Term {
    const lost = new AbortController();
    const end = AbortSignal.any([signal, lost.signal]);
    const clock = this.#clock;
    const { deadlineMs, renewMs } = this.#timings;
    let untilMs = askedAtMs + deadlineMs;
    const lose = (why: string): void => {
      if (end.aborted) return;
      this.#log.warn('no longer leading', { why });
      lost.abort();
    };
    const pause = (delayMs: number): Promise<void> => clock.delay(delayMs, end).catch(() => {});
    // Beside the renewals: a request that hangs must not keep us acting.
    const deadline = (async () => {
      while (!end.aborted) {
        const leftMs = untilMs - clock.nowMs();
        if (leftMs <= 0) lose('the lease could not be renewed in time');
        else await pause(leftMs);
      }
    })();
    const renewing = (async () => {
      for (;;) {
        await pause(renewMs);
        if (end.aborted) return;
        const renewedAtMs = clock.nowMs();
        try {
          const holder = await this.#attempt();
          if (holder === undefined) {
            untilMs = renewedAtMs + deadlineMs;
            this.#onHeld(renewedAtMs);
          } else lose(`${holder} has the lease`);
        } catch (error) {
          this.#log.debug('could not renew the lease', { error: messageOf(error) });
        }
      }
    })();
    return {
      signal: end,
      mayWrite: () => !end.aborted && clock.nowMs() < untilMs,
      release: async () => {
        lost.abort();
        // Whoever stops does not wait long for a server that is away: the lease runs out by itself.
        const patience = new AbortController();
        const released = Promise.all([renewing, deadline]).then(() => this.#release(patience.signal));
        await Promise.race([released, clock.delay(RELEASE_TIMEOUT_MS)]);
        patience.abort();
      },
    };
  }

  /** @param signal aborts when nobody waits any more: by then we may have got the lease anew, and must not give that away */
  async #release(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#held = undefined;
    try {
      const lease = await this.#client.get<Lease>('Lease', this.#name, this.#namespace);
      if (signal.aborted || lease.spec?.holderIdentity !== this.#identity) return;
      await this.#client.update<Lease>({ ...lease, spec: { ...lease.spec, holderIdentity: '' } });
    } catch (error) {
      this.#log.info('could not give the lease back, it will run out', { error: messageOf(error) });
    }
  }
}
