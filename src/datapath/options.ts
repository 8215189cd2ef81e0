import { tcxSupported } from '../kernel/libbpf/index.ts';
import type { Link } from '../kernel/rtnetlink.ts';
import type { DeviceOptions } from './devices.ts';
import type { FlowOptions } from './programs.ts';

/** Everything that decides what the node's datapath looks like. Bytes for MTUs. */
export interface NodeDatapathOptions {
  bpfRoot: string;
  routerIpv4: string;
  nodeIpv4: string;
  /** Devices that carry the node's traffic; the first has the node's address. */
  networkDevices: readonly Link[];
  tunnelPort?: number;
  endpointRoutes: boolean;
  hostRouting: boolean;
  deviceMtu: number;
  routeMtu: number;
  tcx: 'always' | 'devices' | 'never';
  /** Services and masquerade packet by packet; absent when neither is wanted. */
  flows?: FlowOptions;
  /** The node's netfilter masquerades; see `DatapathOptions`. */
  stackMasquerade?: { nativeRoutingCidr?: string };
  /** ARP is answered for what `announced` says. */
  l2Announcements?: boolean;
  /** Services are balanced; at the sockets of this cgroup and below. */
  services?: { cgroup: string; frontends: number };
}

/** What the node's own devices are made with. Pure. */
export function deviceOptions(options: NodeDatapathOptions): DeviceOptions {
  return {
    routerIpv4: options.routerIpv4,
    mtu: options.deviceMtu,
    ...(options.tunnelPort === undefined ? {} : { tunnelPort: options.tunnelPort }),
  };
}

/** Whether programs are attached by TCX: at devices of pods, or at those that stay. */
export function usesTcx({ tcx }: Pick<NodeDatapathOptions, 'tcx'>, at: 'pods' | 'node'): boolean {
  if (tcx === 'never' || !tcxSupported()) return false;
  return at === 'node' || tcx === 'always';
}
