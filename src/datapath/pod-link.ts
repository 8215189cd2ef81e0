import { FimbriaError, messageOf } from '../base/errors.ts';
import { randomMac } from '../base/mac.ts';
import { type Link, Rtnetlink } from '../kernel/rtnetlink.ts';
import { setDeviceSysctls } from './sysctls.ts';

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

/**
 * Creates the veth pair with its far end born inside the pod, and the pod's address and routes:
 * `<ip>/32`, `<router> dev eth0 scope link`, `default via <router> dev eth0 mtu N`.
 * On failure the pair is deleted again. The caller owns the link.
 * @throws FimbriaError ENOENT when the namespace is gone, EEXIST when it already has the interface
 */
export async function createPodLink(rtnl: Rtnetlink, options: PodLinkOptions): Promise<PodLink> {
  const { hostMac, mac } = options.macs ?? { hostMac: randomMac(), mac: randomMac() };
  const pod = openNetns(options.netns);
  try {
    const taken = await pod.link(options.ifname);
    if (taken) {
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
    await rtnl.createVeth({
      name: options.hostName,
      mac: hostMac,
      mtu: options.deviceMtu,
      up: true,
      peer: { name: options.ifname, mac, mtu: options.deviceMtu, netns: options.netns },
    });
    try {
      const link = await requireLink(rtnl, options.hostName);
      await setDeviceSysctls(options.hostName);
      await configurePodSide(pod, options);
      return { ifindex: link.ifindex, hostMac, mac };
    } catch (error) {
      await rtnl.deleteLink(options.hostName);
      throw error;
    }
  } finally {
    pod.close();
  }
}

/** The addresses and MAC of the pod's side, for CHECK. Undefined when the interface is gone. */
export async function inspectPodSide(
  netns: string,
  ifname: string,
): Promise<{ link: Link; ipv4: string[] } | undefined> {
  const pod = openNetns(netns);
  try {
    const link = await pod.link(ifname);
    if (!link) return undefined;
    const addresses = await pod.addresses({ ifindex: link.ifindex });
    return { link, ipv4: addresses.map(a => a.address).filter(a => a.includes('.')) };
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
    if (link) await setPodRoutes(pod, link.ifindex, options);
  } finally {
    pod.close();
  }
}

async function configurePodSide(pod: Rtnetlink, options: PodLinkOptions): Promise<void> {
  await pod.setLink('lo', { up: true });
  const { ifindex } = await requireLink(pod, options.ifname);
  await pod.addAddress({ ifindex, address: options.ipv4, prefixLength: 32 });
  await pod.setLink(ifindex, { up: true });
  await setPodRoutes(pod, ifindex, options);
}

async function setPodRoutes(pod: Rtnetlink, ifindex: number, options: PodRoutes): Promise<void> {
  const common = { ifindex, table: 254, type: 'unicast', protocol: 'boot' } as const;
  await pod.replaceRoute({ ...common, dst: `${options.routerIpv4}/32`, scope: 'link' });
  await pod.replaceRoute({
    ...common,
    dst: 'default',
    gateway: options.routerIpv4,
    scope: 'global',
    mtu: options.routeMtu,
  });
}

function openNetns(netns: string): Rtnetlink {
  try {
    return Rtnetlink.open({ netns });
  } catch (error) {
    throw new FimbriaError({
      code: 'ENOENT',
      op: 'open',
      object: `network namespace ${netns}`,
      why: error instanceof FimbriaError ? error.why : messageOf(error),
      hint: 'the container is gone; let the runtime create it again',
      cause: error,
    });
  }
}

async function requireLink(rtnl: Rtnetlink, name: string): Promise<Link> {
  const link = await rtnl.link(name);
  if (link) return link;
  throw new FimbriaError({
    code: 'ENODEV',
    op: 'find',
    object: `link ${name}`,
    why: 'it vanished while being set up',
  });
}
