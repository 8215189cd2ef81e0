import { randomInt } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import type { NetnsRef } from './addon.ts';
import { NetlinkSocket, type Reply, type Request, refused } from './netlink/socket.ts';
import type { Train } from './netlink/train.ts';
import { decodeAddress, encodeAddressDelete, encodeAddressDump } from './rtnetlink/address.ts';
import { AF_INET, AF_INET6 } from './rtnetlink/codec.ts';
import {
  decodeLink,
  encodeGroupDelete,
  encodeLinkChange,
  encodeLinkDelete,
  encodeLinkDump,
  encodeLinkGet,
  encodeLinkGroup,
  encodePlainLink,
  encodeVxlan,
} from './rtnetlink/link.ts';
import {
  decodeNeighbour,
  encodeNeighbourDelete,
  encodeNeighbourDump,
  encodeNeighbourReplace,
} from './rtnetlink/neighbour.ts';
import { decodeRoute, encodeRouteDelete, encodeRouteDump } from './rtnetlink/route.ts';
import { decodeRule, encodeRuleAdd, encodeRuleDelete, encodeRuleDump } from './rtnetlink/rule.ts';
import type {
  Address,
  Link,
  LinkChange,
  LinkRef,
  Neighbour,
  NewAddress,
  NewNeighbour,
  NewRoute,
  Route,
  Rule,
  VethOptions,
  VxlanOptions,
} from './rtnetlink/types.ts';
import { type StepRequest, step } from './steps.ts';

export { ALL_DEVICES, type NetlinkEvent, type NetlinkGroup, NetlinkMonitor } from './monitor.ts';
export type * from './rtnetlink/types.ts';

/** errnos with which the kernel says that what should go is not there. */
const GONE = {
  link: [19 /* ENODEV */],
  address: [99 /* EADDRNOTAVAIL */, 19],
  route: [3 /* ESRCH */, 19],
  neighbour: [2 /* ENOENT */, 19],
  rule: [2],
};
const FAMILY = { 4: AF_INET, 6: AF_INET6 } as const;
const FAMILIES: (4 | 6)[] = [4, 6];

/**
 * Devices, addresses, routes, neighbours and rules of one network namespace, spoken to the kernel directly.
 * Requests of one instance are answered in the order they were made. Every refusal is a FimbriaError whose
 * `code` is the errno's name and whose `extack` are the kernel's own words. Deletes return false for what is
 * not there; adding an address, replacing a route or neighbour is repeatable.
 */
export class Rtnetlink {
  readonly #socket: NetlinkSocket;
  /** The namespace it was opened for, as it was named then; undefined for the process's own. */
  readonly netns: NetnsRef | undefined;

  private constructor(socket: NetlinkSocket, netns: NetnsRef | undefined) {
    this.#socket = socket;
    this.netns = netns;
  }

  /** @param options.netns namespace to work in; it is not kept alive by the instance's path, only by its socket */
  static open(options: { netns?: NetnsRef } = {}): Rtnetlink {
    return new Rtnetlink(NetlinkSocket.open(options.netns), options.netns);
  }

  /** Frees the socket; requests under way still finish. A second call does nothing. */
  close(): void {
    this.#socket.close();
  }

  async links(): Promise<Link[]> {
    return (await this.#dump('links', encodeLinkDump)).messages.map(decodeLink);
  }

  async link(ref: LinkRef): Promise<Link | undefined> {
    const reply = await this.#ask(train => encodeLinkGet(train, ref));
    if (GONE.link.includes(reply.errno)) return undefined;
    if (reply.errno !== 0) throw refused(reply, { op: 'get', object: `link ${ref}` });
    return reply.messages.map(decodeLink)[0];
  }

  /**
   * Creates a veth pair. The peer is born in its namespace, never seen elsewhere, and down: the kernel
   * refuses to create it up.
   * @throws FimbriaError EEXIST when either name is taken
   */
  async createVeth(options: VethOptions): Promise<void> {
    await withNetnsFd(options.peer.netns, fd => this.#carryOut(step.createVeth(options, fd)));
    if (options.alias === undefined) return;
    try {
      await this.setLink(options.name, { alias: options.alias });
    } catch (error) {
      await this.deleteLink(options.name);
      throw error;
    }
  }

  async createVxlan(options: VxlanOptions): Promise<void> {
    await this.#do('create', `vxlan ${options.name}`, train => encodeVxlan(train, options));
  }

  async createBridge(options: { name: string; mac?: string; mtu?: number; up?: boolean }): Promise<void> {
    await this.#do('create', `bridge ${options.name}`, train => encodePlainLink(train, 'bridge', options));
  }

  /** Changes a device; what is absent stays as it is. */
  async setLink(ref: LinkRef, change: LinkChange): Promise<void> {
    const object = `link ${ref}`;
    let target = ref;
    if (change.name !== undefined && typeof ref === 'string') {
      const link = await this.link(ref);
      if (link !== undefined) target = link.ifindex;
    }
    await withNetnsFd(change.netns, fd =>
      this.#do('change', object, train => encodeLinkChange(train, target, change, fd)),
    );
  }

  /** Deletes a device; of a veth both ends go. */
  async deleteLink(ref: LinkRef): Promise<boolean> {
    return this.#drop('link', String(ref), train => encodeLinkDelete(train, ref));
  }

  /**
   * Deletes devices, all in one step of the kernel: deleting a device waits for every CPU to be done with it, some 40 ms,
   * and for many devices at once it waits no longer than for one. They get a group that nothing else has. Names of
   * nothing are fine.
   * @throws FimbriaError ENOTSUP when one of them cannot be deleted, such as `lo`; then none is
   */
  async deleteLinks(names: readonly string[]): Promise<void> {
    const [only] = names;
    if (only === undefined) return;
    if (names.length === 1) {
      await this.deleteLink(only);
      return;
    }
    const group = randomInt(1 << 16, 2 ** 31);
    const replies = await this.#socket.transact([
      ...names.map(name => (train: Train) => encodeLinkGroup(train, name, group)),
      train => encodeGroupDelete(train, group),
    ]);
    replies.forEach((reply, i) => {
      const object = names[i] === undefined ? `links ${names.join(' ')}` : `link ${names[i]}`;
      if (reply.errno !== 0 && !GONE.link.includes(reply.errno))
        throw refused(reply, { op: 'delete', object });
    });
  }

  /** Addresses of both families. */
  async addresses(filter: { ifindex?: number; family?: 4 | 6 } = {}): Promise<Address[]> {
    const family = filter.family === undefined ? 0 : FAMILY[filter.family];
    const reply = await this.#dump(
      'addresses',
      train => encodeAddressDump(train, family, filter.ifindex),
      [19],
    );
    return reply.messages
      .map(decodeAddress)
      .filter(address => filter.ifindex === undefined || address.ifindex === filter.ifindex);
  }

  async addAddress(address: NewAddress): Promise<void> {
    await this.#carryOut(step.addAddress(address));
  }

  async deleteAddress(address: NewAddress): Promise<boolean> {
    return this.#drop('address', `${address.address}/${address.prefixLength}`, train =>
      encodeAddressDelete(train, address),
    );
  }

  /** Routes of one family, IPv4 unless said otherwise; of every table unless one is named. */
  async routes(filter: { table?: number; ifindex?: number; family?: 4 | 6 } = {}): Promise<Route[]> {
    // ENOENT: the table does not exist, so it has no routes. ENODEV: the device does not.
    const reply = await this.#dump(
      'routes',
      train => encodeRouteDump(train, FAMILY[filter.family ?? 4], filter),
      [2, 19],
    );
    return reply.messages
      .map(decodeRoute)
      .filter(
        (route): route is Route =>
          route !== undefined &&
          (filter.table === undefined || route.table === filter.table) &&
          (filter.ifindex === undefined || route.ifindex === filter.ifindex),
      );
  }

  /** Creates the route, or replaces the one with the same destination, table and priority. */
  async replaceRoute(route: NewRoute): Promise<void> {
    await this.#carryOut(step.replaceRoute(route));
  }

  /** `replaceRoute` for many, in few system calls. All are tried; the first refusal is thrown. */
  async replaceRoutes(routes: NewRoute[]): Promise<void> {
    const requests = routes.map(step.replaceRoute);
    const replies = await this.#socket.transact(requests.map(({ encode }) => encode));
    replies.forEach((reply, i) => {
      if (reply.errno !== 0) throw refused(reply, requests[i]!);
    });
  }

  /** Deletes the first route that has everything that is given (`mtu` is not compared). */
  async deleteRoute(route: NewRoute): Promise<boolean> {
    return this.#drop('route', route.dst, train => encodeRouteDelete(train, route));
  }

  async neighbours(filter: { ifindex?: number; family?: 4 | 6 } = {}): Promise<Neighbour[]> {
    const reply = await this.#dump(
      'neighbours',
      train => encodeNeighbourDump(train, FAMILY[filter.family ?? 4], filter.ifindex),
      [19],
    );
    return reply.messages
      .map(decodeNeighbour)
      .filter(
        (entry): entry is Neighbour =>
          entry !== undefined && (filter.ifindex === undefined || entry.ifindex === filter.ifindex),
      );
  }

  async replaceNeighbour(neighbour: NewNeighbour): Promise<void> {
    await this.#do('replace', `neighbour ${neighbour.address}`, train =>
      encodeNeighbourReplace(train, neighbour),
    );
  }

  async deleteNeighbour(neighbour: { ifindex: number; address: string }): Promise<boolean> {
    return this.#drop('neighbour', neighbour.address, train => encodeNeighbourDelete(train, neighbour));
  }

  /** Policy routing rules of both families, or of one. */
  async rules(filter: { family?: 4 | 6 } = {}): Promise<Rule[]> {
    const result: Rule[] = [];
    for (const family of filter.family === undefined ? FAMILIES : [filter.family]) {
      // EAFNOSUPPORT, EOPNOTSUPP: a kernel without IPv6 or without policy routing has no rules.
      const reply = await this.#dump('rules', train => encodeRuleDump(train, FAMILY[family]), [95, 97]);
      result.push(...reply.messages.map(decodeRule));
    }
    return result;
  }

  /** @throws FimbriaError EEXIST when the same rule is there */
  async addRule(rule: Rule): Promise<void> {
    await this.#do('add', `rule ${rule.priority}`, train => encodeRuleAdd(train, rule));
  }

  async deleteRule(rule: Rule): Promise<boolean> {
    return this.#drop('rule', String(rule.priority), train => encodeRuleDelete(train, rule));
  }

  async #ask(request: Request): Promise<Reply> {
    return (await this.#socket.transact([request]))[0]!;
  }

  async #do(op: string, object: string, request: Request): Promise<void> {
    const reply = await this.#ask(request);
    if (reply.errno !== 0) throw refused(reply, { op, object });
  }

  #carryOut({ op, object, encode }: StepRequest): Promise<void> {
    return this.#do(op, object, encode);
  }

  async #drop(kind: keyof typeof GONE, name: string, request: Request): Promise<boolean> {
    const reply = await this.#ask(request);
    if (GONE[kind].includes(reply.errno)) return false;
    if (reply.errno !== 0) throw refused(reply, { op: 'delete', object: `${kind} ${name}` });
    return true;
  }

  async #dump(object: string, request: Request, none: number[] = []): Promise<Reply> {
    const reply = await this.#socket.dump(request);
    if (reply.errno !== 0 && !none.includes(reply.errno)) throw refused(reply, { op: 'list', object });
    return reply;
  }
}

/** Runs `use` with a descriptor of the namespace, which stays open until `use` has settled. */
async function withNetnsFd<T>(
  netns: NetnsRef | undefined,
  use: (fd: number | undefined) => Promise<T>,
): Promise<T> {
  if (typeof netns !== 'string') return use(netns);
  const fd = openSync(netns, 'r');
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
}
