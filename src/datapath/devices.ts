import { FimbriaError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { randomMac } from '../base/mac.ts';
import type { Link, Rtnetlink } from '../kernel/rtnetlink.ts';
import { setDeviceSysctls } from './sysctls.ts';

/** Names on a node that runbooks know. */
export const HOST_DEVICE = 'cilium_host';
export const NET_DEVICE = 'cilium_net';
export const OVERLAY_DEVICE = 'cilium_vxlan';
export const HEALTH_DEVICE = 'lxc_health';

/** Bytes that VXLAN adds: 20 outer IPv4 + 8 UDP + 8 VXLAN + 14 inner Ethernet. */
export const VXLAN_OVERHEAD = 50;

/** The node's devices, once they are there. */
export interface NodeDevices {
  host: Link;
  net: Link;
  overlay?: Link;
}

/** What the node's devices must look like. */
export interface DeviceOptions {
  routerIpv4: string;
  mtu: number;
  /** Tunnel mode's UDP port; no overlay device when absent. */
  tunnelPort?: number;
  /** How they were before: numbers and MACs are kept, since programs, routes and filters go by them. */
  before?: NodeDevices;
}

/**
 * Brings `cilium_host`, `cilium_net` and, in tunnel mode, `cilium_vxlan` into the wanted state, creating what is
 * missing and leaving what is right untouched. Repeatable; the agent is the one caller.
 * @throws FimbriaError with the kernel's words when a device cannot be made
 */
export async function ensureDevices(
  rtnl: Rtnetlink,
  options: DeviceOptions,
  log: Logger,
): Promise<NodeDevices> {
  await ensurePair(rtnl, options, log);
  const host = await mustFind(rtnl, HOST_DEVICE);
  const net = await mustFind(rtnl, NET_DEVICE);
  await ensureRouterAddress(rtnl, host.ifindex, options.routerIpv4);
  for (const name of [HOST_DEVICE, NET_DEVICE]) await setDeviceSysctls(name);
  const overlay = await ensureOverlay(rtnl, options, log);
  return overlay ? { host, net, overlay } : { host, net };
}

async function ensurePair(rtnl: Rtnetlink, { mtu, before }: DeviceOptions, log: Logger): Promise<void> {
  const host = await rtnl.link(HOST_DEVICE);
  const net = await rtnl.link(NET_DEVICE);
  if (host && host.kind !== 'veth') throw notOurs(HOST_DEVICE, host.kind);
  if (!host || !net) {
    // Half a pair cannot exist; a stray device of the other name would refuse the new one.
    if (host) await rtnl.deleteLink(HOST_DEVICE);
    if (net) await rtnl.deleteLink(NET_DEVICE);
    await rtnl.createVeth({
      name: HOST_DEVICE,
      ...sameAs(before?.host),
      mtu,
      noarp: true,
      peer: { name: NET_DEVICE, ...sameAs(before?.net), mtu, noarp: true },
    });
    log.info('created devices', { devices: `${HOST_DEVICE} ${NET_DEVICE}`, mtu });
  }
  for (const name of [HOST_DEVICE, NET_DEVICE]) await rtnl.setLink(name, { up: true, mtu, noarp: true });
}

/** Number and MAC of a device that is made anew. */
function sameAs(before: Link | undefined): { ifindex?: number; mac: string } {
  return before ? { ifindex: before.ifindex, mac: before.mac } : { mac: randomMac() };
}

async function ensureRouterAddress(rtnl: Rtnetlink, ifindex: number, routerIpv4: string): Promise<void> {
  const present = (await rtnl.addresses({ ifindex })).filter(a => a.address.includes('.'));
  for (const stale of present) {
    if (stale.address === routerIpv4 && stale.prefixLength === 32) continue;
    await rtnl.deleteAddress({ ifindex, address: stale.address, prefixLength: stale.prefixLength });
  }
  if (!present.some(a => a.address === routerIpv4 && a.prefixLength === 32)) {
    await rtnl.addAddress({ ifindex, address: routerIpv4, prefixLength: 32, scope: 'global' });
  }
}

async function ensureOverlay(
  rtnl: Rtnetlink,
  options: DeviceOptions,
  log: Logger,
): Promise<Link | undefined> {
  if (options.tunnelPort === undefined) return undefined;
  const present = await rtnl.link(OVERLAY_DEVICE);
  if (present && present.kind !== 'vxlan') throw notOurs(OVERLAY_DEVICE, present.kind);
  if (!present) {
    await rtnl.createVxlan({
      name: OVERLAY_DEVICE,
      external: true,
      port: options.tunnelPort,
      mtu: options.mtu,
      ...sameAs(options.before?.overlay),
    });
    log.info('created device', { device: OVERLAY_DEVICE, port: options.tunnelPort });
  }
  await rtnl.setLink(OVERLAY_DEVICE, { up: true, mtu: options.mtu });
  await setDeviceSysctls(OVERLAY_DEVICE);
  return mustFind(rtnl, OVERLAY_DEVICE);
}

/** Takes away the overlay device of an earlier configuration; one of another kind is somebody else's. */
export async function removeOverlay(rtnl: Rtnetlink): Promise<void> {
  const present = await rtnl.link(OVERLAY_DEVICE);
  if (present?.kind === 'vxlan') await rtnl.deleteLink(OVERLAY_DEVICE);
}

async function mustFind(rtnl: Rtnetlink, name: string): Promise<Link> {
  const link = await rtnl.link(name);
  if (link) return link;
  throw new FimbriaError({
    code: 'ENODEV',
    op: 'find',
    object: `link ${name}`,
    why: 'it vanished while being set up',
  });
}

function notOurs(name: string, kind: string | undefined): FimbriaError {
  return new FimbriaError({
    code: 'EEXIST',
    op: 'create',
    object: `link ${name}`,
    why: `a device of that name and kind ${kind ?? 'unknown'} is not ours`,
    hint: `rename or delete it: ip link delete ${name}`,
  });
}

/** The device that carries `address`, with its MTU. @throws FimbriaError ENODEV when none does */
export async function deviceOf(rtnl: Rtnetlink, address: string): Promise<Link> {
  const owner = (await rtnl.addresses()).find(a => a.address === address);
  const link = owner && (await rtnl.link(owner.ifindex));
  if (link) return link;
  throw new FimbriaError({
    code: 'ENODEV',
    op: 'find',
    object: `device of node address ${address}`,
    why: 'no device of this node has that address',
    hint: 'set --node-ip to an address of this node',
  });
}
