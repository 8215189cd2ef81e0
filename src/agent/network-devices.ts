import { formatIpv4Cidr, ipv4CidrOf, parseIpv4 } from '../base/addr.ts';
import { FimbriaError } from '../base/errors.ts';
import type { AgentConfig } from '../config/index.ts';
import { deviceOf } from '../datapath/devices.ts';
import type { Link, Rtnetlink } from '../kernel/rtnetlink.ts';

/** IPv4 networks that a device is connected to: whoever is in them is reached without a router. */
export async function connectedNetworks(rtnl: Rtnetlink, device: Link): Promise<string[]> {
  const addresses = await rtnl.addresses({ ifindex: device.ifindex, family: 4 });
  return addresses.map(({ address, prefixLength }) =>
    formatIpv4Cidr(ipv4CidrOf(parseIpv4(address), prefixLength)),
  );
}

/** The devices whose traffic is the pods': those named in the configuration, else the one with the node's address. */
export async function findNetworkDevices(
  rtnl: Rtnetlink,
  config: AgentConfig,
  nodeIpv4: string,
): Promise<Link[]> {
  const direct = await deviceOf(rtnl, nodeIpv4);
  const others = (await rtnl.links()).filter(
    l => config.devices.includes(l.name) && l.ifindex !== direct.ifindex,
  );
  const missing = config.devices.filter(name => name !== direct.name && !others.some(l => l.name === name));
  if (missing.length > 0) {
    throw new FimbriaError({
      code: 'ENODEV',
      op: 'use',
      object: `devices ${missing.join(', ')}`,
      why: 'this node has no such device',
      hint: 'correct the option devices',
    });
  }
  return [direct, ...others];
}

/**
 * What each of several devices masquerades with, by ifindex: its first address. Undefined where the node has one device:
 * then it is the node's. One without an address uses the node's as well. Pure.
 */
export function addressesToLeaveWith(
  links: readonly Pick<Link, 'name' | 'ifindex'>[],
  devices: readonly { name: string; addresses: readonly string[] }[],
): ReadonlyMap<number, string> | undefined {
  if (links.length < 2) return undefined;
  return new Map(
    links.flatMap(({ name, ifindex }) => {
      const [address] = devices.find(device => device.name === name)?.addresses ?? [];
      return address === undefined ? [] : [[ifindex, address] as const];
    }),
  );
}

/** IPv4 addresses of these devices, where services are served; the node's own first. */
export async function deviceAddresses(
  rtnl: Rtnetlink,
  devices: readonly Link[],
  nodeIpv4: string,
): Promise<{ name: string; addresses: string[] }[]> {
  return Promise.all(
    devices.map(async ({ name, ifindex }) => {
      const found = (await rtnl.addresses({ ifindex, family: 4 })).map(({ address }) => address);
      const isOwn = (address: string): boolean => address === nodeIpv4;
      return { name, addresses: [...found.filter(isOwn), ...found.filter(a => !isOwn(a))] };
    }),
  );
}
