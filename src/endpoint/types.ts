/**
 * A pod's attachment to the network on this node, or the health endpoint. The unit of ADD and DEL.
 * What the journal holds of it is exactly this object.
 */
export interface Endpoint {
  /** 1..4095, unique on the node, kept over restarts. */
  id: number;
  containerId: string;
  /** Interface name inside the pod; empty for the health endpoint. */
  ifname: string;
  /** Path of the pod's network namespace. */
  netns: string;
  /** Name of the CNI network that it is attached to; absent in what versions before 0.2 wrote, and of the health endpoint. */
  network?: string;
  podNamespace?: string;
  podName?: string;
  podUid?: string;
  ipv4: string;
  poolName: string;
  /** Host side device. */
  hostIfname: string;
  ifindex: number;
  hostMac: string;
  mac: string;
  identity: number;
  /** Security-relevant labels, sorted. */
  labels: string[];
  /** RFC 3339. */
  createdAt: string;
}

/** Identity and labels of a pod, and whether they are final (the API server was reachable). */
export interface ResolvedIdentity {
  identity: number;
  labels: string[];
}

/** `namespace/name`, or `/` when the runtime named no pod, as Cilium prints it. */
export function podFullName(endpoint: Pick<Endpoint, 'podNamespace' | 'podName'>): string {
  return `${endpoint.podNamespace ?? ''}/${endpoint.podName ?? ''}`;
}

/** `container:interface`: what makes two CNI calls speak of the same attachment. */
export function attachmentId(containerId: string, ifname: string): string {
  return `${containerId}:${ifname}`;
}

export const HEALTH_CONTAINER = 'cilium-health';
