import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { timestamp } from '../base/time.ts';
import type { ClusterClient, EventRecorder } from '../cluster/index.ts';
import { type LbOutcome, type LbPlan, type LbPoolReport, planLoadBalancers } from '../ipam/lb/plan.ts';
import { type LbPool, parseAddress, poolHolds, readLbPool } from '../ipam/lb/ranges.ts';
import {
  type LbService,
  REQUEST_CONDITION,
  readLbService,
  wantsAddress,
  wasTold,
} from '../ipam/lb/service.ts';
import type { CiliumLoadBalancerIPPool, Condition, Service } from '../model/types.ts';

const CONFLICT = 'cilium.io/PoolConflict';
const TOTAL = 'cilium.io/IPsTotal';
const AVAILABLE = 'cilium.io/IPsAvailable';
const USED = 'cilium.io/IPsUsed';
const POOL_CONDITIONS: readonly string[] = [CONFLICT, TOTAL, AVAILABLE, USED];

export interface LoadBalancerIpamOptions {
  client: Pick<ClusterClient, 'patch'>;
  events?: Pick<EventRecorder, 'record'>;
  log: Logger;
  /** Aborted when this process may no longer write. */
  signal: AbortSignal;
  /** Told after each pass, whatever became of its writes. */
  onUsage?: (usage: LbUsage) => void;
}

/** How full the pools are, and whether Services have what they ask for. */
export interface LbUsage {
  readonly pools: readonly { name: string; available: number; used: number; conflicting: boolean }[];
  /** Services that have addresses of pools, or ask for them. */
  readonly matching: number;
  /** Of these: who lacks one. */
  readonly unsatisfied: number;
}

/** What was written on top of a version of a Service whose fate a watch has not told yet. */
interface Promised {
  readonly resourceVersion: string | undefined;
  readonly addresses: readonly string[];
}

/**
 * Gives Services of type LoadBalancer their addresses, and tells pools how full they are. Every write names the version
 * of the Service that it was decided on; until another version is seen, what it says counts as given, so a watch that
 * lags makes no address have two owners. Passes must not overlap.
 */
export class LoadBalancerIpam {
  readonly #options: LoadBalancerIpamOptions;
  readonly #promised = new Map<string, Promised>();

  constructor(options: LoadBalancerIpamOptions) {
    this.#options = options;
  }

  /** Tries every write; throws the first error of those that must be tried again. */
  async pass(pools: readonly CiliumLoadBalancerIPPool[], services: readonly Service[]): Promise<void> {
    const lbPools = pools.filter(({ metadata }) => metadata.deletionTimestamp === undefined).map(readLbPool);
    const seen = services.map(service => this.#withPromised(service));
    this.#forget(services);
    const managed = seen.filter(service => wantsAddress(service) && this.#isOurs(service, lbPools));
    const wanting = managed.map(readLbService);
    const plan = planLoadBalancers(lbPools, wanting);
    const failures: unknown[] = [];
    const attempt = (work: Promise<void>): Promise<void> =>
      work.catch(error => {
        if (codeOf(error) !== 'NOT_FOUND') failures.push(error);
      });
    for (const [index, service] of managed.entries()) {
      const { key } = wanting[index] as LbService;
      await attempt(this.#tell(service, key, plan.services.get(key) as LbOutcome));
    }
    for (const service of seen)
      if (!wantsAddress(service) && wasTold(service)) await attempt(this.#release(service));
    for (const pool of pools) await attempt(this.#report(pool, plan));
    this.#options.onUsage?.(usageOf(plan));
    if (failures.length > 0) throw failures[0];
  }

  /** Without pools nobody is told anything; an address that is of no pool and was there before us is somebody else's. */
  #isOurs(service: Service, pools: readonly LbPool[]): boolean {
    if (wasTold(service)) return true;
    if (pools.length === 0) return false;
    const present = readLbService(service).present;
    return present.every(({ family, value }) => pools.some(pool => poolHolds(pool, family, value)));
  }

  #withPromised(service: Service): Service {
    const promised = this.#promised.get(keyOf(service));
    if (promised === undefined || promised.resourceVersion !== service.metadata.resourceVersion)
      return service;
    const ingress = promised.addresses.map(ip => ({ ip }));
    return { ...service, status: { ...service.status, loadBalancer: { ingress } } };
  }

  #forget(services: readonly Service[]): void {
    const versions = new Map(services.map(service => [keyOf(service), service.metadata.resourceVersion]));
    for (const [key, { resourceVersion }] of this.#promised)
      if (versions.get(key) !== resourceVersion) this.#promised.delete(key);
  }

  async #tell(service: Service, key: string, outcome: LbOutcome): Promise<void> {
    const status = outcome.reason === 'satisfied' ? 'True' : 'False';
    const condition = {
      type: REQUEST_CONDITION,
      status,
      reason: outcome.reason,
      message: outcome.message,
    } as const;
    const present = service.status?.conditions?.find(({ type }) => type === REQUEST_CONDITION);
    if (sameAddresses(service, outcome.addresses) && present !== undefined && says(present, condition))
      return;
    await this.#write(service, outcome.addresses, stamped(present, condition));
    const { log, events } = this.#options;
    if (outcome.reason === 'satisfied')
      log.info('gave addresses to a Service', { service: key, addresses: outcome.addresses.join(' ') });
    else {
      log.warn('a Service does not get the addresses that it asks for', {
        service: key,
        why: outcome.message,
      });
      events?.record(service, {
        type: 'Warning',
        reason: 'IPAMRequestUnsatisfied',
        message: outcome.message,
      });
    }
  }

  /** A Service that wants no address of ours any more has none. */
  async #release(service: Service): Promise<void> {
    await this.#write(service, [], undefined);
    this.#options.log.info('took the addresses of a Service back', { service: keyOf(service) });
  }

  async #write(
    service: Service,
    addresses: readonly string[],
    condition: Condition | undefined,
  ): Promise<void> {
    const { client, signal } = this.#options;
    if (signal.aborted) return;
    const { name, namespace = 'default', resourceVersion } = service.metadata;
    const others = (service.status?.conditions ?? []).filter(({ type }) => type !== REQUEST_CONDITION);
    const conditions = condition === undefined ? others : [...others, condition];
    const ingress = addresses.map(ip => ({ ip }));
    this.#promised.set(keyOf(service), { resourceVersion, addresses });
    try {
      await client.patch(
        'Service',
        name,
        {
          metadata: { resourceVersion },
          status: { conditions, loadBalancer: { ingress: ingress.length === 0 ? null : ingress } },
        },
        { namespace, subresource: 'status' },
      );
    } catch (error) {
      // What it is now is on its way to us and starts the next pass.
      if (codeOf(error) !== 'CONFLICT') throw error;
    }
  }

  async #report(pool: CiliumLoadBalancerIPPool, plan: LbPlan): Promise<void> {
    const report = plan.pools.get(pool.metadata.name);
    if (report === undefined || this.#options.signal.aborted) return;
    const present = pool.status?.conditions ?? [];
    const ofType = (type: string): Condition | undefined => present.find(one => one.type === type);
    const wanted = poolConditions(report);
    if (wanted.every(one => says(ofType(one.type), one))) return;
    const others = present.filter(({ type }) => !POOL_CONDITIONS.includes(type));
    const conditions = [...others, ...wanted.map(one => stamped(ofType(one.type), one))];
    await this.#options.client.patch(
      'CiliumLoadBalancerIPPool',
      pool.metadata.name,
      { status: { conditions } },
      { subresource: 'status' },
    );
    if (report.conflict !== undefined && ofType(CONFLICT)?.message !== report.conflict)
      this.#options.log.warn('a pool gives no addresses', { pool: pool.metadata.name, why: report.conflict });
  }
}

function usageOf(plan: LbPlan): LbUsage {
  const outcomes = [...plan.services.values()];
  return {
    pools: [...plan.pools].map(([name, { available, used, conflict }]) => ({
      name,
      available: Number(available),
      used: Number(used),
      conflicting: conflict !== undefined,
    })),
    matching: outcomes.length,
    unsatisfied: outcomes.filter(({ reason }) => reason !== 'satisfied').length,
  };
}

type Said = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** Cilium's conditions of a pool; its counters are in the messages of conditions that are neither true nor false. */
function poolConditions({ total, available, used, conflict }: LbPoolReport): Said[] {
  const counter = (type: string, count: bigint): Said => ({
    type,
    status: 'Unknown',
    reason: 'noreason',
    message: `${count}`,
  });
  return [
    conflict === undefined
      ? // Kubernetes 1.20 takes an empty text in a custom resource for none, and refuses that.
        { type: CONFLICT, status: 'False', reason: 'resolved', message: 'no other pool has its addresses' }
      : { type: CONFLICT, status: 'True', reason: 'cidr_overlap', message: conflict },
    counter(TOTAL, total),
    counter(AVAILABLE, available),
    counter(USED, used),
  ];
}

function keyOf({ metadata }: Service): string {
  return `${metadata.namespace ?? 'default'}/${metadata.name}`;
}

function says(present: Condition | undefined, wanted: Said): boolean {
  return (
    present !== undefined &&
    present.status === wanted.status &&
    present.reason === wanted.reason &&
    (present.message ?? '') === wanted.message
  );
}

/** With the time since when it is so. */
function stamped(present: Condition | undefined, wanted: Said): Condition {
  const now = timestamp();
  const since = present?.status === wanted.status ? present.lastTransitionTime : undefined;
  return { ...wanted, lastTransitionTime: since ?? now };
}

function sameAddresses(service: Service, addresses: readonly string[]): boolean {
  const ingress = service.status?.loadBalancer?.ingress ?? [];
  const number = (text: string): string => {
    const { family, value } = parseAddress(text);
    return `${family} ${value}`;
  };
  return (
    ingress.length === addresses.length &&
    ingress.every(({ ip }, index) => {
      const other = addresses[index];
      try {
        return ip !== undefined && other !== undefined && number(ip) === number(other);
      } catch {
        return false;
      }
    })
  );
}
