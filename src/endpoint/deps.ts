import type { Logger } from '../base/log.ts';
import type { PodLink, PodLinkOptions } from '../datapath/pod-link.ts';
import type { AddressOwner } from '../ipam/types.ts';
import type { EndpointStore } from './store.ts';
import type { Endpoint, ResolvedIdentity } from './types.ts';

/** What the runtime said of a pod. */
export interface PodRef {
  namespace: string;
  name: string;
  uid?: string;
}

/** The part of the datapath that endpoints go through. Every method is idempotent. */
export interface EndpointDatapath {
  /** Makes the pod's interface; the caller pushes its undo. */
  createLink(o: Pick<PodLinkOptions, 'hostName' | 'netns' | 'ifname' | 'ipv4' | 'macs'>): Promise<PodLink>;
  deleteLink(hostName: string): Promise<void>;
  /** As `deleteLink`, a moment later and together with others that go, which costs no more than one. */
  deleteLinkSoon(hostName: string): Promise<void>;
  /** Router address and MTU may differ from those of the run that made the pod. */
  refreshPodRoutes(netns: string, ifname: string): Promise<void>;
  /** Policy map and programs: from now on a packet of the pod meets its program. */
  attach(endpoint: Endpoint): Promise<void>;
  /** Nobody watches over programs and policy map any more; they go with the device, which is gone or is deleted next. */
  detach(endpoint: Endpoint): Promise<void>;
  /** Addresses of the endpoints that packets find now. */
  readonly admitted: ReadonlyMap<string, unknown>;
  /** Endpoints entry, ipcache entry and route: from now on packets find the pod. */
  admit(endpoint: Endpoint): Promise<void>;
  /** Takes back what admit did. */
  expel(endpoint: Endpoint): Promise<void>;
}

/** Where endpoints have their addresses from. Releasing what somebody else has by now changes nothing. */
export interface EndpointAddresses {
  /** @throws FimbriaError RANGE_FULL (`range is full`), or what is wrong with the pool that the pod asks for */
  allocate(
    owner: AddressOwner,
    pod?: PodRef,
  ): { address: string; pool: string } | Promise<{ address: string; pool: string }>;
  /** @throws FimbriaError IN_USE, NOT_IN_RANGE */
  claim(address: string, owner: AddressOwner): void;
  release(address: string, owner: AddressOwner): boolean;
}

/** What the endpoint operations stand on; handed in by the agent. */
export interface EndpointDeps {
  store: EndpointStore;
  pool: EndpointAddresses;
  datapath: EndpointDatapath;
  /** Identity of a pod, `reserved:init` when there is no pod or the API server is away. Never throws. */
  resolveIdentity(pod: PodRef | undefined): Promise<ResolvedIdentity>;
  /** Called after the set of endpoints or one of them changed. */
  onChange(): void;
  log: Logger;
}

/** Logs a step that could not be taken back; the next start's sweep finds what it left. */
export function revertErrors(deps: EndpointDeps): (what: string, error: unknown) => void {
  return (what, error) => deps.log.error(`could not take back: ${what}`, { error });
}
