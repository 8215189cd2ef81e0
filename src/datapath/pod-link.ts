import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { randomMac } from '../base/mac.ts';
import type { NetnsRef } from '../kernel/addon.ts';
import { openNetnsFd } from '../kernel/netns.ts';
import { type Link, type NewRoute, Rtnetlink } from '../kernel/rtnetlink.ts';
import { inSteps, type NewFilter, type Step, step } from '../kernel/steps.ts';
import { POD_DEVCONF } from './sysctls.ts';

const MAIN_TABLE = 254;

/** What the routes inside a pod say. */
export interface PodRoutes {
  routerIpv4: string;
  /** Bytes; of the pod's default route. */
  routeMtu: number;
}

/** How a pod's interface is made. */
export interface PodLinkOptions extends PodRoutes {
  /** Host side: `lxc` + 12 hex digits, or `lxc_health`. */
  hostName: string;
  /** Path of the pod's network namespace. */
  netns: string;
  /** Pod side: `eth0` as a rule. */
  ifname: string;
  ipv4: string;
  /** Bytes; of both devices. */
  deviceMtu: number;
  /** Of a pair that is made anew; random when absent. */
  macs?: { mac: string; hostMac: string };
}

/** What was made, as the kernel numbers it. */
export interface PodLink {
  ifindex: number;
  hostMac: string;
  mac: string;
}

/** Numbers for new devices, upwards from what a node has: the kernel takes them as long as they are free. */
export class Ifindexes {
  #last = 0;

  /** Two numbers that follow each other: of the pod's end and of the host's, as if the kernel had counted. */
  pair(): { pod: number; host: number } {
    this.#last += 2;
    return { pod: this.#last - 1, host: this.#last };
  }

  /** From now on above all of these. */
  above(links: readonly Link[]): void {
    for (const { ifindex } of links) this.#last = Math.max(this.#last, ifindex);
  }
}

/** Numbers or names that were taken are met again only when others make devices at the same moment. */
const ATTEMPTS = 5;

/**
 * Creates the veth pair with its far end born inside the pod, its host side with sysctls and `programs`, and the pod's
 * address and routes: `<ip>/32`, `<router> dev eth0 scope link`, `default via <router> dev eth0 mtu N`. The pod's end
 * goes up last, so no packet meets the pair before its programs. One hop to a thread, since every hop waits for the
 * event loop. On failure the pair is deleted again. The caller owns the link.
 * @throws FimbriaError ENOENT when the namespace is gone, EEXIST when it already has the interface
 */
export async function createPodLink(
  rtnl: Rtnetlink,
  ifindexes: Ifindexes,
  options: PodLinkOptions,
  programs: readonly Omit<NewFilter, 'ifindex'>[] = [],
): Promise<PodLink> {
  const { hostMac, mac } = options.macs ?? { hostMac: randomMac(), mac: randomMac() };
  const netns = openFd(options.netns);
  try {
    for (let attempt = 1; ; attempt++) {
      const ifindex = ifindexes.pair();
      try {
        await inSteps(podSteps(rtnl.netns, netns, { ...options, hostMac, mac, ifindex, programs }));
        return { ifindex: ifindex.host, hostMac, mac };
      } catch (error) {
        const code = error instanceof FimbriaError && error.op === 'create' ? error.code : '';
        if (attempt === ATTEMPTS || !['EEXIST', 'EBUSY'].includes(code)) {
          await rtnl.deleteLink(options.hostName);
          throw error;
        }
        await makeWay(rtnl, ifindexes, options);
      }
    }
  } finally {
    closeSync(netns);
  }
}

interface NewPodLink extends PodLinkOptions {
  hostMac: string;
  mac: string;
  ifindex: { pod: number; host: number };
  programs: readonly Omit<NewFilter, 'ifindex'>[];
}

/** @param pod descriptor of the pod's namespace */
function podSteps(host: NetnsRef | undefined, pod: number, options: NewPodLink): Step[] {
  const { hostName, ifname, ipv4, deviceMtu: mtu, hostMac, mac, ifindex, programs } = options;
  const peer = { name: ifname, ifindex: ifindex.pod, mac, mtu };
  const pair = { name: hostName, ifindex: ifindex.host, mac: hostMac, mtu, up: true, peer };
  return [
    // Alone: were it refused, what follows would hit whoever has that number.
    { netns: host, requests: [step.createVeth(pair, pod)] },
    {
      netns: host,
      requests: [
        step.setDevconf(ifindex.host, POD_DEVCONF),
        ...(programs.length > 0 ? [step.addClsact(ifindex.host)] : []),
        ...programs.map(program => step.addFilter({ ...program, ifindex: ifindex.host })),
      ],
    },
    {
      netns: pod,
      requests: [
        step.setUp('lo'),
        step.addAddress({ ifindex: ifindex.pod, address: ipv4, prefixLength: 32 }),
        step.setUp(ifindex.pod),
        ...podRoutes({ name: ifname, ifindex: ifindex.pod }, options).map(step.replaceRoute),
      ],
    },
  ];
}

/** A name or a number was taken: says so if it is the pod's name, else removes what is in the way. */
async function makeWay(rtnl: Rtnetlink, ifindexes: Ifindexes, options: PodLinkOptions): Promise<void> {
  const pod = openNetns(options.netns);
  try {
    const links = await pod.links();
    if (links.some(link => link.name === options.ifname)) {
      throw new FimbriaError({
        code: 'EEXIST',
        op: 'create',
        object: `interface ${options.ifname} in ${options.netns}`,
        why: 'the namespace already has one',
        hint: 'delete the container first',
      });
    }
    // A device of that name is left over from an attempt that was killed: its container never got an answer.
    await rtnl.deleteLink(options.hostName);
    ifindexes.above([...links, ...(await rtnl.links())]);
  } finally {
    pod.close();
  }
}

/** Link, addresses and routes of the pod's side, for CHECK. Undefined when the interface is gone. */
export async function inspectPodSide(
  netns: string,
  ifname: string,
): Promise<{ link: Link; ipv4: string[]; routes: string[] } | undefined> {
  const pod = openNetns(netns);
  try {
    const link = await pod.link(ifname);
    if (!link) return undefined;
    const addresses = await pod.addresses({ ifindex: link.ifindex });
    const routes = (await pod.routes({ table: MAIN_TABLE })).filter(r => r.ifindex === link.ifindex);
    return {
      link,
      ipv4: addresses.map(a => a.address).filter(a => a.includes('.')),
      routes: routes.map(r => r.dst),
    };
  } finally {
    pod.close();
  }
}

/**
 * Puts a running pod's routes in line with another router address or MTU. A pod without the interface is left alone.
 * @throws FimbriaError ENOENT when the namespace is gone
 */
export async function refreshPodRoutes(netns: string, ifname: string, options: PodRoutes): Promise<void> {
  const pod = openNetns(netns);
  try {
    const link = await pod.link(ifname);
    if (link) await pod.replaceRoutes(podRoutes(link, options));
  } finally {
    pod.close();
  }
}

/** The interface that every pod has; its routes have no metric, as Cilium's. */
const FIRST_INTERFACE = 'eth0';

/**
 * A container may have several interfaces: each but the first has a metric of its own, so that none takes the other's
 * routes, now or when it goes. Pure.
 */
function metricOf(ifname: string): { priority?: number } {
  if (ifname === FIRST_INTERFACE) return {};
  return { priority: 1 + createHash('sha256').update(ifname).digest().readUInt16BE() };
}

/** The routes inside a pod. Pure. */
function podRoutes({ name, ifindex }: Pick<Link, 'name' | 'ifindex'>, options: PodRoutes): NewRoute[] {
  const common: Omit<NewRoute, 'dst'> = {
    ...metricOf(name),
    ifindex,
    table: MAIN_TABLE,
    type: 'unicast',
    protocol: 'boot',
  };
  return [
    { ...common, dst: `${options.routerIpv4}/32`, scope: 'link' },
    {
      ...common,
      dst: 'default',
      gateway: options.routerIpv4,
      scope: 'global',
      mtu: options.routeMtu,
    },
  ];
}

const isGone = (netns: string, cause: unknown): FimbriaError =>
  new FimbriaError({
    code: 'ENOENT',
    op: 'open',
    object: `network namespace ${netns}`,
    why: cause instanceof FimbriaError ? cause.why : messageOf(cause),
    hint: 'the container is gone; let the runtime create it again',
    cause,
  });

function openFd(netns: string): number {
  try {
    return openNetnsFd(netns);
  } catch (error) {
    throw isGone(netns, error);
  }
}

function openNetns(netns: string): Rtnetlink {
  try {
    return Rtnetlink.open({ netns });
  } catch (error) {
    throw isGone(netns, error);
  }
}
