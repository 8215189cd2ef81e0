import type { Endpoint } from '../endpoint/types.ts';

/** Versions of the CNI specification that are spoken, oldest first. */
export const CNI_VERSIONS = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

/** What an ADD result needs beside the endpoint. */
export interface CniAddressing {
  routerIpv4: string;
  /** Bytes; of the pod's default route. */
  routeMtu: number;
}

/**
 * ADD's result in the caller's version (CNI specification 1.1.0, section "Success"; up to 0.4.0 an address names
 * its version). Pure.
 */
export function addResult(
  cniVersion: string,
  endpoint: Endpoint,
  addressing: CniAddressing,
): Record<string, unknown> {
  const legacy = cniVersion.startsWith('0.');
  return {
    cniVersion,
    interfaces: [
      { name: endpoint.hostIfname, mac: endpoint.hostMac },
      { name: endpoint.ifname, mac: endpoint.mac, sandbox: endpoint.netns },
    ],
    ips: [
      {
        ...(legacy ? { version: '4' } : {}),
        interface: 1,
        address: `${endpoint.ipv4}/32`,
        gateway: addressing.routerIpv4,
      },
    ],
    routes: [
      { dst: `${addressing.routerIpv4}/32` },
      { dst: '0.0.0.0/0', gw: addressing.routerIpv4, mtu: addressing.routeMtu },
    ],
    dns: {},
  };
}
