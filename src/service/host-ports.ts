import { isIpv4 } from '../base/addr.ts';
import type { LbFrontend } from '../datapath/services/types.ts';
import type { Pod } from '../model/types.ts';
import { ANY_ADDRESS } from './frontends.ts';

const L4_PROTOS: Record<string, number> = { TCP: 6, UDP: 17 };
const LOOPBACK = /^127\./;

/**
 * Ports of this node that lead to a Pod of it (`hostPort` of its containers). Pure.
 * @param nodeAddresses where a port without `hostIP` is served
 */
export function hostPortFrontends(pod: Pod, nodeAddresses: readonly string[]): LbFrontend[] {
  const { spec, status, metadata } = pod;
  const ip = status?.podIP;
  if (!ip || !isIpv4(ip) || spec.hostNetwork) return [];
  if (['Succeeded', 'Failed'].includes(status?.phase ?? '')) return [];
  return spec.containers
    .flatMap(({ ports }) => ports ?? [])
    .flatMap(({ hostPort, hostIP, containerPort, protocol = 'TCP' }) => {
      const l4Proto = L4_PROTOS[protocol];
      if (!hostPort || l4Proto === undefined) return [];
      const isAny = !hostIP || hostIP === ANY_ADDRESS;
      // On loopback only sockets of this node ask for it.
      if (!isAny && (!isIpv4(hostIP) || !(nodeAddresses.includes(hostIP) || LOOPBACK.test(hostIP))))
        return [];
      return (isAny ? nodeAddresses : [hostIP]).map(
        (address): LbFrontend => ({
          address,
          port: hostPort,
          l4Proto,
          type: 'HostPort',
          group: `pod:${metadata.namespace ?? 'default'}/${metadata.name}/${l4Proto}/${hostPort}`,
          external: { local: false, backends: [{ address: ip, port: containerPort }] },
          terminating: [],
        }),
      );
    });
}
