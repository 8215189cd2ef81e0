import type { Target } from '../base/reconcile.ts';
import { type EndpointEntry, endpointMap, type IpcacheRecord, ipcacheMap } from '../maps/tables.ts';
import type { TypedMap } from '../maps/typed.ts';
import type { Programs } from './programs.ts';

/** A local address as the datapath must know it: the node's own, or a pod's. */
export type LocalEntry =
  | { host: true }
  | { host: false; id: number; ifindex: number; identity: number; mac: string; hostMac: string };

/** Who is behind a prefix. Absent means none or no. */
export interface IpcacheSpec {
  identity: number;
  tunnelEndpoint?: string;
  ownPodCidr?: boolean;
  cluster?: boolean;
}

const HOST_IDENTITY = 1;
const NO_MAC = '00:00:00:00:00:00';
const NO_ADDRESS = '0.0.0.0';

/** `cilium_lxc`, keyed by address. */
export function endpointTarget(programs: Programs): Target<LocalEntry, EndpointEntry> {
  return mapTarget('endpoint entries', endpointMap(programs.map('cilium_lxc')), local => ({
    ifindex: local.host ? 0 : local.ifindex,
    identity: local.host ? HOST_IDENTITY : local.identity,
    endpointId: local.host ? 0 : local.id,
    host: local.host,
    policyIngress: false,
    policyEgress: false,
    mac: local.host ? NO_MAC : local.mac,
    nodeMac: local.host ? NO_MAC : local.hostMac,
  }));
}

/** `cilium_ipcache`, keyed by prefix with length. */
export function ipcacheTarget(programs: Programs): Target<IpcacheSpec, IpcacheRecord> {
  return mapTarget('ipcache entries', ipcacheMap(programs.map('cilium_ipcache')), spec => ({
    identity: spec.identity,
    tunnelEndpoint: spec.tunnelEndpoint ?? NO_ADDRESS,
    ownPodCidr: spec.ownPodCidr ?? false,
    cluster: spec.cluster ?? false,
  }));
}

/** A whole kernel map as a reconciler's target: whatever is in it and not desired goes. */
function mapTarget<D, V extends object>(
  name: string,
  map: TypedMap<string, V>,
  render: (desired: D) => V,
): Target<D, V> {
  const same = (a: V, b: V): boolean => (Object.keys(a) as (keyof V)[]).every(field => a[field] === b[field]);
  return {
    name,
    read: async () => new Map(map.entries()),
    same: (desired, actual) => same(render(desired), actual),
    update: async (key, desired) => map.set(key, render(desired)),
    delete: async key => {
      map.delete(key);
    },
  };
}
