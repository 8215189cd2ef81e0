import type { Target } from '../base/reconcile.ts';
import type { Link, Rtnetlink } from '../kernel/rtnetlink.ts';

/** A device of ours as it must be. */
export interface DeviceSpec {
  /** The node's own are made again when they are gone; a pod's needs its pod (`endpoint/mend.ts`). */
  owner: 'node' | 'pod';
  ifindex: number;
  mtu: number;
  noarp?: boolean;
  /** Its one IPv4 address, /32. */
  ipv4?: string;
}

/** What the kernel has. */
export interface ActualDevice extends Link {
  /** With prefix lengths; only of devices that must have an address. */
  ipv4: string[];
}

/**
 * The devices of ours as a reconciler's target: there, up, with their MTU and address. Making the node's own is
 * one step for all of them (`ensureDevices`), handed in as `remake`.
 */
export class DeviceTarget implements Target<DeviceSpec, ActualDevice> {
  readonly name = 'devices';
  readonly #rtnl: Rtnetlink;
  readonly #desired: () => ReadonlyMap<string, DeviceSpec>;
  readonly #remake: () => Promise<unknown>;
  #names: ReadonlyMap<string, number> = new Map();

  constructor(
    rtnl: Rtnetlink,
    desired: () => ReadonlyMap<string, DeviceSpec>,
    remake: () => Promise<unknown>,
  ) {
    this.#rtnl = rtnl;
    this.#desired = desired;
    this.#remake = remake;
  }

  async read(): Promise<Map<string, ActualDevice>> {
    const links = await this.#rtnl.links();
    this.#names = new Map(links.map(l => [l.name, l.ifindex]));
    const result = new Map<string, ActualDevice>();
    for (const link of links) {
      const want = this.#desired().get(link.name);
      if (want === undefined || this.blocked(want, link.name)) continue;
      const addresses = want.ipv4 === undefined ? [] : await this.#rtnl.addresses({ ifindex: link.ifindex });
      const ipv4 = addresses.filter(a => a.address.includes('.'));
      result.set(link.name, { ...link, ipv4: ipv4.map(a => `${a.address}/${a.prefixLength}`) });
    }
    return result;
  }

  same = (want: DeviceSpec, have: ActualDevice): boolean =>
    want.ifindex === have.ifindex &&
    want.mtu === have.mtu &&
    have.up &&
    (want.noarp ?? have.noarp) === have.noarp &&
    (want.ipv4 === undefined || have.ipv4.join() === `${want.ipv4}/32`);

  blocked = (want: DeviceSpec, name: string): boolean =>
    want.owner === 'pod' && this.#names.get(name) !== want.ifindex;

  async update(name: string, want: DeviceSpec): Promise<void> {
    if (want.owner === 'node') await this.#remake();
    else await this.#rtnl.setLink(name, { up: true, mtu: want.mtu });
  }

  /** Whoever made a device deletes it. */
  async delete(): Promise<void> {}
}
