import type { Endpoint } from '../endpoint/types.ts';

/** Versions of the CNI specification that are spoken, oldest first. */
export const CNI_VERSIONS = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

/** What an ADD result needs beside the endpoint. */
export interface CniAddressing {
  routerIpv4: string;
  /** Bytes; of the pod's default route. */
  routeMtu: number;
  /** Bytes; of the pod's devices. */
  deviceMtu: number;
}

/** A result of ADD as the specification has it, as far as we look at one of others. */
export interface CniResult {
  interfaces?: Record<string, unknown>[];
  ips?: ({ address?: unknown } & Record<string, unknown>)[];
  routes?: ({ dst?: unknown } & Record<string, unknown>)[];
  dns?: Record<string, unknown>;
  [field: string]: unknown;
}

/**
 * ADD's result in the caller's version (CNI specification 1.1.0, section "Success"): up to 0.4.0 an address names its
 * version, from 1.1.0 on an interface its MTU. The route's MTU is there in every version, as with Cilium. What plugins
 * before ours made stands before what is ours, so that their numbers of interfaces stay right. Pure.
 */
export function addResult(
  cniVersion: string,
  endpoint: Endpoint,
  addressing: CniAddressing,
  previous: CniResult = {},
): CniResult {
  const legacy = cniVersion.startsWith('0.');
  const mtu = cniVersion === '1.1.0' ? { mtu: addressing.deviceMtu } : {};
  const interfaces = previous.interfaces ?? [];
  return {
    ...previous,
    cniVersion,
    interfaces: [
      ...interfaces,
      { name: endpoint.hostIfname, mac: endpoint.hostMac, ...mtu },
      { name: endpoint.ifname, mac: endpoint.mac, ...mtu, sandbox: endpoint.netns },
    ],
    ips: [
      ...(previous.ips ?? []),
      {
        ...(legacy ? { version: '4' } : {}),
        interface: interfaces.length + 1,
        address: `${endpoint.ipv4}/32`,
        gateway: addressing.routerIpv4,
      },
    ],
    routes: [
      ...(previous.routes ?? []),
      { dst: `${addressing.routerIpv4}/32` },
      { dst: '0.0.0.0/0', gw: addressing.routerIpv4, mtu: addressing.routeMtu },
    ],
    dns: previous.dns ?? {},
  };
}
