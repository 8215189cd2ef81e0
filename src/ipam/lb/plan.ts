import { matchesLabels } from '../../model/selectors.ts';
import { byAge } from '../pool-overlap.ts';
import type { Family } from '../prefix.ts';
import {
  type AddressRange,
  conflictingLbPools,
  formatAddress,
  type LbPool,
  poolHolds,
  rangeHolds,
  rangeSize,
} from './ranges.ts';
import { type LbAddress, type LbService, mayShare } from './service.ts';

/** Cilium's words for why a request is satisfied or not. */
export type LbReason =
  | 'satisfied'
  | 'no_pool'
  | 'out_of_ips'
  | 'already_allocated'
  | 'already_allocated_incompatible_service'
  | 'invalid_request';

/** What becomes of one Service. */
export interface LbOutcome {
  /** Texts, in the order of its families or of its requests. */
  readonly addresses: readonly string[];
  readonly reason: LbReason;
  /** For people: what is missing and what to do; empty when satisfied. */
  readonly message: string;
}

/** What is told of one pool. */
export interface LbPoolReport {
  readonly total: bigint;
  readonly used: bigint;
  readonly available: bigint;
  /** Why it gives nothing, when another pool has its addresses or it cannot be read. */
  readonly conflict: string | undefined;
}

export interface LbPlan {
  readonly services: ReadonlyMap<string, LbOutcome>;
  readonly pools: ReadonlyMap<string, LbPoolReport>;
}

/**
 * Which Service has which addresses. What a Service has it keeps, as long as a pool has it for it and nobody older has
 * it too; pools that are disabled or in conflict keep what was given and give nothing new. Then those are served that
 * ask for an address by name, then all others, the oldest first: from the smallest range that has room its lowest
 * free address. The same inputs give the same plan, and what it says, once written, is what it says again. Pure.
 */
export function planLoadBalancers(pools: readonly LbPool[], services: readonly LbService[]): LbPlan {
  const conflicts = conflictingLbPools(pools);
  const ledger = new Ledger();
  const outcomes = new Map<string, LbOutcome>();
  const kept = new Map<string, LbAddress[]>();
  const ordered = [...services].sort(byAge);
  for (const service of ordered) kept.set(service.key, keep(service, pools, ledger));

  const giving = pools.filter(
    pool => !pool.disabled && !conflicts.has(pool.name) && pool.fault === undefined,
  );
  const finder = new Finder(ledger);
  for (const asking of [true, false]) {
    for (const service of ordered) {
      if (service.requested.length + service.unreadable.length > 0 !== asking) continue;
      const own = kept.get(service.key) ?? [];
      const pick = asking
        ? requested(service, own, giving, ledger)
        : any(service, own, giving, ledger, finder);
      outcomes.set(service.key, pick);
    }
  }
  return { services: outcomes, pools: report(pools, conflicts, ledger) };
}

/** Who has which address. */
class Ledger {
  readonly #owners = new Map<string, LbService[]>();
  readonly #byKey = new Map<string, LbAddress[]>();

  owners({ family, value }: LbAddress): readonly LbService[] {
    return this.#owners.get(`${family} ${value}`) ?? [];
  }

  /** Addresses of Services with this sharing key, in the order in which they were given. */
  shared(key: string): readonly LbAddress[] {
    return this.#byKey.get(key) ?? [];
  }

  canTake(address: LbAddress, service: LbService): boolean {
    return this.owners(address).every(other => mayShare(other, service));
  }

  take(address: LbAddress, service: LbService): void {
    const id = `${address.family} ${address.value}`;
    this.#owners.set(id, [...this.owners(address), service]);
    if (service.sharingKey !== undefined)
      this.#byKey.set(service.sharingKey, [...this.shared(service.sharingKey), address]);
  }

  /** Distinct addresses in a range that somebody has. */
  *taken(range: AddressRange): Generator<bigint> {
    for (const id of this.#owners.keys()) {
      const [family, value] = id.split(' ') as [Family, string];
      if (rangeHolds(range, family, BigInt(value))) yield BigInt(value);
    }
  }
}

/** Free addresses of ranges, lowest first. Addresses are only taken while it lives, so it need not look back. */
class Finder {
  readonly #ledger: Ledger;
  readonly #next = new Map<AddressRange, bigint>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  free(range: AddressRange): LbAddress | undefined {
    let value = this.#next.get(range) ?? range.first;
    while (value <= range.last && this.#ledger.owners({ family: range.family, value }).length > 0) value++;
    this.#next.set(range, value);
    return value <= range.last ? { family: range.family, value } : undefined;
  }
}

function serves(pool: LbPool, service: LbService): boolean {
  return pool.selector === undefined || matchesLabels(pool.selector, service.labels);
}

function same(a: LbAddress, b: LbAddress): boolean {
  return a.family === b.family && a.value === b.value;
}

/** What of its present addresses a Service may keep; notes them. */
function keep(service: LbService, pools: readonly LbPool[], ledger: Ledger): LbAddress[] {
  const named = service.requested.length + service.unreadable.length > 0;
  const kept: LbAddress[] = [];
  for (const address of service.present) {
    const wanted = named
      ? service.requested.some(one => same(one, address))
      : service.families.includes(address.family) && !kept.some(({ family }) => family === address.family);
    const has = pools.some(pool => serves(pool, service) && poolHolds(pool, address.family, address.value));
    if (!wanted || !has || kept.some(one => same(one, address)) || !ledger.canTake(address, service))
      continue;
    ledger.take(address, service);
    kept.push(address);
  }
  return kept;
}

const textOf = ({ family, value }: LbAddress): string => formatAddress(family, value);

function requested(
  service: LbService,
  kept: readonly LbAddress[],
  pools: readonly LbPool[],
  ledger: Ledger,
): LbOutcome {
  const has: LbAddress[] = [];
  let failure: { reason: LbReason; message: string } | undefined;
  for (const text of service.unreadable)
    failure ??= {
      reason: 'invalid_request',
      message: `'${text}' is no address; write IPv4 or IPv6 addresses`,
    };
  for (const address of service.requested) {
    if (has.some(one => same(one, address))) continue;
    if (kept.some(one => same(one, address))) {
      has.push(address);
      continue;
    }
    const text = textOf(address);
    const owners = ledger.owners(address);
    if (!pools.some(pool => serves(pool, service) && poolHolds(pool, address.family, address.value)))
      failure ??= {
        reason: 'no_pool',
        message: `no pool that is for this Service has ${text}; add it to one`,
      };
    else if (!ledger.canTake(address, service))
      failure ??= {
        reason:
          service.sharingKey === undefined ? 'already_allocated' : 'already_allocated_incompatible_service',
        message: `${owners.map(({ key }) => key).join(', ')} has ${text}; ask for another, or share it: the same sharing key, other ports, the same traffic policy`,
      };
    else {
      ledger.take(address, service);
      has.push(address);
    }
  }
  return { addresses: has.map(textOf), reason: 'satisfied', message: '', ...failure };
}

function any(
  service: LbService,
  kept: readonly LbAddress[],
  pools: readonly LbPool[],
  ledger: Ledger,
  finder: Finder,
): LbOutcome {
  const has: LbAddress[] = [];
  let failure: { reason: LbReason; message: string } | undefined;
  const candidates = pools.filter(pool => serves(pool, service));
  for (const family of service.families) {
    const own = kept.find(address => address.family === family);
    if (own !== undefined) {
      has.push(own);
      continue;
    }
    const ranges = candidates.flatMap(pool => pool.ranges.filter(range => range.family === family));
    const shared = ledger
      .shared(service.sharingKey ?? '')
      .find(
        address =>
          address.family === family &&
          ranges.some(range => rangeHolds(range, family, address.value)) &&
          ledger.canTake(address, service),
      );
    const address = shared ?? lowestFree(ranges, finder);
    if (address !== undefined) {
      ledger.take(address, service);
      has.push(address);
    } else if (ranges.length === 0)
      failure ??= {
        reason: 'no_pool',
        message: `no pool is for this Service and has ${family === 'ipv4' ? 'IPv4' : 'IPv6'} addresses; create a CiliumLoadBalancerIPPool or change a serviceSelector`,
      };
    else
      failure ??= {
        reason: 'out_of_ips',
        message: `all addresses of ${candidates.map(({ name }) => name).join(', ')} are given; add a block`,
      };
  }
  return { addresses: has.map(textOf), reason: 'satisfied', message: '', ...failure };
}

/** Small ranges first, so that large ones stay whole. */
function lowestFree(ranges: readonly AddressRange[], finder: Finder): LbAddress | undefined {
  const bySize = [...ranges].sort((a, b) => {
    const [sizeA, sizeB] = [rangeSize(a), rangeSize(b)];
    if (sizeA !== sizeB) return sizeA < sizeB ? -1 : 1;
    return a.first < b.first ? -1 : a.first > b.first ? 1 : 0;
  });
  for (const range of bySize) {
    const address = finder.free(range);
    if (address !== undefined) return address;
  }
  return undefined;
}

function report(
  pools: readonly LbPool[],
  conflicts: ReadonlyMap<string, string>,
  ledger: Ledger,
): Map<string, LbPoolReport> {
  return new Map(
    pools.map(pool => {
      const used = new Set(
        pool.ranges.flatMap(range => [...ledger.taken(range)].map(value => `${range.family} ${value}`)),
      );
      const total = pool.ranges.reduce((sum, range) => sum + rangeSize(range), 0n);
      const count = BigInt(used.size);
      const available = total > count ? total - count : 0n;
      const conflict = pool.fault ?? conflicts.get(pool.name);
      return [pool.name, { total, used: count, available, conflict }];
    }),
  );
}
