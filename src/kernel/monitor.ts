import { type Handle, type NetnsRef, native, type Watch } from './addon.ts';
import { attributes, messages, type NetlinkMessage } from './netlink/parse.ts';
import { decodeAddress, RTM_DELADDR, RTM_NEWADDR } from './rtnetlink/address.ts';
import { decodeLink, RTM_DELLINK, RTM_NEWLINK } from './rtnetlink/link.ts';
import { decodeNeighbour, RTM_DELNEIGH, RTM_NEWNEIGH } from './rtnetlink/neighbour.ts';
import { decodeRoute, RTM_DELROUTE, RTM_NEWROUTE } from './rtnetlink/route.ts';
import type { Address, Link, Neighbour, Route } from './rtnetlink/types.ts';

/** Multicast groups by the kernel's numbers (RTNLGRP_*). */
const GROUPS = { link: 1, neigh: 3, tc: 4, 'ipv4-ifaddr': 5, 'ipv4-route': 7, 'ipv4-netconf': 24 } as const;

const RTM_DELQDISC = 37;
const RTM_DELTFILTER = 45;
const RTM_NEWNETCONF = 80;
const NETCONFA = { IFINDEX: 1, FORWARDING: 2, RP_FILTER: 3 } as const;
const NETCONF_HEADER_BYTES = 4;

/** What to hear about. */
export type NetlinkGroup = keyof typeof GROUPS;

/** A change that has happened; `-new` also for changes of what is there. */
export type NetlinkEvent =
  | { type: 'link-new' | 'link-del'; link: Link }
  | { type: 'route-new' | 'route-del'; route: Route }
  | { type: 'address-new' | 'address-del'; address: Address }
  | { type: 'neighbour-new' | 'neighbour-del'; neighbour: Neighbour }
  /** A filter or a whole qdisc of a device was deleted. */
  | { type: 'filter-del'; ifindex: number }
  /** A device's sysctls were written; only those that the kernel tells of, and only the written ones. */
  | { type: 'sysctl'; ifindex: number; forwarding?: number; rpFilter?: number };

/** In place of an ifindex in `sysctl` events: `net.ipv4.conf.all`. */
export const ALL_DEVICES = -1;

/** The event a multicast message tells of, or undefined for messages that are not watched. */
export function decodeEvent(message: NetlinkMessage): NetlinkEvent | undefined {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return { type: message.type === RTM_NEWLINK ? 'link-new' : 'link-del', link: decodeLink(message) };
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return {
        type: message.type === RTM_NEWADDR ? 'address-new' : 'address-del',
        address: decodeAddress(message),
      };
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const route = decodeRoute(message);
      return route && { type: message.type === RTM_NEWROUTE ? 'route-new' : 'route-del', route };
    }
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      const neighbour = decodeNeighbour(message);
      return (
        neighbour && { type: message.type === RTM_NEWNEIGH ? 'neighbour-new' : 'neighbour-del', neighbour }
      );
    }
    case RTM_DELQDISC:
    case RTM_DELTFILTER:
      return { type: 'filter-del', ifindex: message.body.readInt32LE(4) };
    case RTM_NEWNETCONF:
      return decodeNetconf(message);
    default:
      return undefined;
  }
}

function decodeNetconf({ body }: NetlinkMessage): NetlinkEvent | undefined {
  const attrs = attributes(body, NETCONF_HEADER_BYTES);
  const number = (type: number): number | undefined => attrs.get(type)?.readInt32LE(0);
  const ifindex = number(NETCONFA.IFINDEX);
  if (ifindex === undefined) return undefined;
  const forwarding = number(NETCONFA.FORWARDING);
  const rpFilter = number(NETCONFA.RP_FILTER);
  return {
    type: 'sysctl',
    ifindex,
    ...(forwarding === undefined ? {} : { forwarding }),
    ...(rpFilter === undefined ? {} : { rpFilter }),
  };
}

/**
 * Tells of changes to a namespace's devices, addresses, routes and neighbours. Listening begins in the
 * constructor: what happens after it is told, so open the monitor first and list second.
 */
export class NetlinkMonitor {
  readonly #socket: Handle;
  readonly #watch: Watch;

  /**
   * @param options.netns namespace to listen in; the process's own when absent
   * @param options.onEvent called in order of the changes
   * @param options.onOverrun the kernel had to drop events: list everything again; what happens from now on is told
   */
  constructor(options: {
    netns?: NetnsRef;
    groups: NetlinkGroup[];
    onEvent(event: NetlinkEvent): void;
    onOverrun(): void;
  }) {
    const addon = native();
    const socket = addon.netlinkOpen(
      options.groups.map(group => GROUPS[group]),
      options.netns,
    );
    this.#socket = socket;
    this.#watch = addon.watch(socket, () => {
      const { data, overrun } = addon.netlinkReceive(socket);
      if (overrun) options.onOverrun();
      for (const message of messages(data)) {
        if (socket.closed) return;
        const event = decodeEvent(message);
        if (event !== undefined) options.onEvent(event);
      }
    });
  }

  /** Lets the process end while this is open. */
  unref(): this {
    this.#watch.unref();
    return this;
  }

  /** Stops; no event comes after it. A second call does nothing. */
  close(): void {
    this.#watch.close();
    this.#socket.close();
  }
}
