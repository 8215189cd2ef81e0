import type { Journal } from '../base/journal.ts';
import type { Target } from '../base/reconcile.ts';
import type { NewRoute, Route, Rtnetlink } from '../kernel/rtnetlink.ts';

/** A route in the main table, `proto kernel`, keyed by its destination. */
export type RouteSpec = Pick<Route, 'dst' | 'ifindex' | 'scope'> &
  Partial<Pick<Route, 'gateway' | 'src' | 'mtu'>>;

/** The route of one local pod with endpoint routes on: `<pod ip> dev lxc… scope link`. */
export function endpointRoute(ipv4: string, ifindex: number): RouteSpec {
  return { dst: `${ipv4}/32`, ifindex, scope: 'link' };
}

const MAIN_TABLE = 254;
/** Prefix of the journal's notes of routes with a gateway. */
export const ROUTE_NOTES = 'route/';

/**
 * The node's own routes. Since they carry `proto kernel` as Cilium's do, ours are told apart by where they go:
 * out of a device of ours (`lxc…`, `cilium_…`), or by a gateway and noted in the journal before they were made.
 * The kernel's own `<subnet> dev eth0 proto kernel` has no gateway and is never looked at.
 */
export class RouteTarget implements Target<RouteSpec, Route> {
  readonly name = 'routes';
  readonly #rtnl: Rtnetlink;
  readonly #journal: Journal;
  #usable: ReadonlySet<number> = new Set();
  /** What this process wrote last, by destination: to delete one route, nobody has to list them all. */
  readonly #written = new Map<string, RouteSpec>();

  constructor(rtnl: Rtnetlink, journal: Journal) {
    this.#rtnl = rtnl;
    this.#journal = journal;
  }

  async read(): Promise<Map<string, Route>> {
    const links = await this.#rtnl.links();
    const ours = new Set(links.filter(l => isOurDevice(l.name)).map(l => l.ifindex));
    this.#usable = new Set(links.filter(l => l.up).map(l => l.ifindex));
    const routes = (await this.#rtnl.routes({ table: MAIN_TABLE })).filter(
      r =>
        r.protocol === 'kernel' &&
        !r.dst.includes(':') &&
        ((r.ifindex !== undefined && ours.has(r.ifindex)) ||
          (r.gateway !== undefined && this.#journal.get(ROUTE_NOTES + r.dst) !== undefined)),
    );
    return new Map(routes.map(r => [r.dst, r]));
  }

  same = (want: RouteSpec, have: Route): boolean =>
    want.ifindex === have.ifindex &&
    want.scope === have.scope &&
    (want.gateway ?? '') === (have.gateway ?? '') &&
    (want.src ?? have.src ?? '') === (have.src ?? '') &&
    (want.mtu ?? 0) === (have.mtu ?? 0);

  blocked = (want: RouteSpec): boolean => want.ifindex !== undefined && !this.#usable.has(want.ifindex);

  async update(_key: string, want: RouteSpec): Promise<void> {
    if (want.gateway !== undefined) this.#journal.put(ROUTE_NOTES + want.dst, { gateway: want.gateway });
    await this.#rtnl.replaceRoute(asRoute(want));
    this.#written.set(want.dst, want);
  }

  async delete(key: string, have: Route | undefined): Promise<void> {
    // What somebody put in its place meanwhile is the next pass's to judge.
    const written = this.#written.get(key);
    const present = have ?? (written ? asRoute(written) : (await this.read()).get(key));
    if (present) await this.#rtnl.deleteRoute(present);
    this.#written.delete(key);
    this.#journal.delete(ROUTE_NOTES + key);
  }
}

function asRoute(spec: RouteSpec): NewRoute {
  return { ...spec, protocol: 'kernel', table: MAIN_TABLE, type: 'unicast' };
}

/** Whether a device name is one that only we make. */
export function isOurDevice(name: string): boolean {
  return /^(lxc[0-9a-f]{12}|lxc_health|cilium_(host|net|vxlan))$/.test(name);
}
