import { codeOf, FimbriaError } from '../base/errors.ts';
import type { Target } from '../base/reconcile.ts';
import { Identity } from '../maps/abi.gen.ts';
import { deviceAddressMap, ipmasqMap } from '../maps/flows.ts';
import { type EndpointEntry, endpointMap, type IpcacheRecord, ipcacheMap } from '../maps/tables.ts';
import type { RawMap, TypedMap } from '../maps/typed.ts';
import type { Programs } from './programs.ts';

/** A local address as the datapath must know it: the node's own, or a pod's. */
export type LocalEntry =
  | { host: true }
  | { host: false; id: number; ifindex: number; identity: number; mac: string; hostMac: string };

/** What the datapath knows of a prefix. `tunnelEndpoint` is an underlay address; absent means none. */
export interface IpcacheSpec {
  identity: number;
  tunnelEndpoint?: string;
  /** A block of this node: an address in it without endpoint is nobody's (drop 151). */
  ownPodCidr?: boolean;
  /** In the cluster's pod ranges: in tunnel mode nothing leaves without a tunnel endpoint (drop 160). */
  cluster?: boolean;
  /** The tunnel endpoint is a neighbour: in native mode packets go there without a route look-up. */
  neighbour?: boolean;
}

const ENDPOINTS_HINT = 'move pods to other nodes';
const IPCACHE_HINT = 'what is in it stays; the cluster has more addresses than a node can hold';

const NO_MAC = '00:00:00:00:00:00';
const NO_ADDRESS = '0.0.0.0';

/** `cilium_lxc`, keyed by address. */
export function endpointTarget(programs: Pick<Programs, 'map'>): Target<LocalEntry, EndpointEntry> {
  return mapTarget('endpoint entries', endpointMap(programs.map('cilium_lxc')), ENDPOINTS_HINT, local => ({
    ifindex: local.host ? 0 : local.ifindex,
    identity: local.host ? Identity.IDENTITY_HOST : local.identity,
    endpointId: local.host ? 0 : local.id,
    host: local.host,
    policyIngress: false,
    policyEgress: false,
    mac: local.host ? NO_MAC : local.mac,
    nodeMac: local.host ? NO_MAC : local.hostMac,
  }));
}

/** `cilium_ipcache`, keyed by prefix with length. */
export function ipcacheTarget(programs: Pick<Programs, 'map'>): Target<IpcacheSpec, IpcacheRecord> {
  return mapTarget('ipcache entries', ipcacheMap(programs.map('cilium_ipcache')), IPCACHE_HINT, spec => ({
    identity: spec.identity,
    tunnelEndpoint: spec.tunnelEndpoint ?? NO_ADDRESS,
    ownPodCidr: spec.ownPodCidr ?? false,
    cluster: spec.cluster ?? false,
    neighbour: spec.neighbour ?? false,
  }));
}

/** `cilium_ipmasq_v4`, keyed by prefix: destinations that pods reach with their own address. */
export function ipmasqTarget(programs: Pick<Programs, 'map'>): Target<true> {
  const map = ipmasqMap(programs.map('cilium_ipmasq_v4'));
  return {
    name: 'destinations that are not masqueraded',
    read: async () => new Map(map.entries()),
    same: () => true,
    update: async prefix => map.set(prefix, true),
    delete: async prefix => void map.delete(prefix),
  };
}

/** `cilium_device_addresses`, keyed by the ifindex as text. */
export function deviceAddressTarget(programs: Pick<Programs, 'map'>): Target<string> {
  const map = deviceAddressMap(programs.map('cilium_device_addresses'));
  return {
    name: 'addresses of network devices',
    read: async () => new Map([...map.entries()].map(([ifindex, address]) => [String(ifindex), address])),
    same: (desired, actual) => desired === actual,
    update: async (ifindex, address) => map.set(Number(ifindex), address),
    delete: async ifindex => void map.delete(Number(ifindex)),
  };
}

/** A hash says E2BIG, a trie ENOSPC. */
function isFull(error: unknown): boolean {
  return ['E2BIG', 'ENOSPC'].includes(codeOf(error) ?? '');
}

function mapFull(map: RawMap, hint: string, cause: unknown): FimbriaError {
  return new FimbriaError({
    code: 'MAP_FULL',
    op: 'write',
    object: `map ${map.name}`,
    why: 'all its entries are in use',
    hint,
    cause,
  });
}

/** A whole kernel map as a reconciler's target: whatever is in it and not desired goes. */
function mapTarget<D, V extends object>(
  name: string,
  map: TypedMap<string, V>,
  hint: string,
  render: (desired: D) => V,
): Target<D, V> {
  const same = (a: V, b: V): boolean => (Object.keys(a) as (keyof V)[]).every(field => a[field] === b[field]);
  return {
    name,
    read: async () => new Map(map.entries()),
    same: (desired, actual) => same(render(desired), actual),
    update: async (key, desired) => {
      try {
        map.set(key, render(desired));
      } catch (error) {
        throw isFull(error) ? mapFull(map.map, hint, error) : error;
      }
    },
    delete: async key => {
      map.delete(key);
    },
  };
}
