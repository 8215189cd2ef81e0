import type { Target } from '../base/reconcile.ts';
import { getSysctl, setSysctl } from '../kernel/netns.ts';
import type { Rtnetlink } from '../kernel/rtnetlink.ts';
import type { Devconf } from '../kernel/steps.ts';

/**
 * Of a device that carries pod traffic: asymmetric paths are normal, so no reverse-path filter; forwarding on; no
 * redirects.
 */
const OF_DEVICES = { rp_filter: '0', forwarding: '1', accept_local: '1', send_redirects: '0' } as const;

/** The same as numbers, for the request that makes a pod's device. */
export const POD_DEVCONF: Devconf = Object.fromEntries(
  Object.entries(OF_DEVICES).map(([name, value]) => [name, Number(value)]),
);

/** Of the node as a whole. The kernel takes the greater of `all` and the device's rp_filter. */
const OF_NODE = {
  'net.ipv4.ip_forward': '1',
  'net.ipv4.conf.all.rp_filter': '0',
  'net.ipv4.conf.default.rp_filter': '0',
} as const;

/** One sysctl as it must be. */
export interface SysctlSpec {
  value: string;
  /** The device it belongs to; absent for the node's. */
  device?: string;
}

/** The sysctls of a device by full name. Pure. */
export function deviceSysctls(device: string): Map<string, SysctlSpec> {
  // As for sysctl(8): a dot in the device's name is written as a slash.
  const name = device.replaceAll('.', '/');
  return new Map(
    Object.entries(OF_DEVICES).map(([key, value]) => [`net.ipv4.conf.${name}.${key}`, { value, device }]),
  );
}

/** The sysctls of the node by full name. Pure. */
export function nodeSysctls(): Map<string, SysctlSpec> {
  return new Map(Object.entries(OF_NODE).map(([name, value]) => [name, { value }]));
}

/** Sets the node's sysctls, at start. */
export async function setNodeSysctls(): Promise<void> {
  for (const [name, { value }] of nodeSysctls()) await setSysctl(name, value);
}

/** Sets a new device's sysctls. @throws FimbriaError ENOENT when the device is gone */
export async function setDeviceSysctls(device: string): Promise<void> {
  for (const [name, { value }] of deviceSysctls(device)) await setSysctl(name, value);
}

/** Sysctls as a reconciler's target. Those of a device that is gone wait for it. */
export class SysctlTarget implements Target<SysctlSpec, string> {
  readonly name = 'sysctls';
  readonly #rtnl: Rtnetlink;
  readonly #desired: () => ReadonlyMap<string, SysctlSpec>;
  #devices: ReadonlySet<string> = new Set();

  /** @param desired what to read: there is no list of those that are ours */
  constructor(rtnl: Rtnetlink, desired: () => ReadonlyMap<string, SysctlSpec>) {
    this.#rtnl = rtnl;
    this.#desired = desired;
  }

  async read(): Promise<Map<string, string>> {
    this.#devices = new Set((await this.#rtnl.links()).map(l => l.name));
    const present = [...this.#desired()].filter(([, spec]) => !this.blocked(spec));
    return new Map(await Promise.all(present.map(async ([name]) => [name, await getSysctl(name)] as const)));
  }

  same = (want: SysctlSpec, have: string): boolean => want.value === have;

  blocked = (want: SysctlSpec): boolean => want.device !== undefined && !this.#devices.has(want.device);

  async update(name: string, want: SysctlSpec): Promise<void> {
    await setSysctl(name, want.value);
  }

  /** What is not ours any more stays as it is: it goes with its device. */
  async delete(): Promise<void> {}
}
