import { identified } from '../cluster/identified.ts';
import { SERVICE_NAME_LABEL } from '../model/labels.ts';
import type {
  CiliumEndpoint,
  CiliumIdentity,
  CiliumNode,
  Container,
  EndpointSlice,
  Namespace,
  Pod,
  Service,
} from '../model/types.ts';

/*
 * What an agent keeps of each object that it watches. Large clusters have tens of thousands of them in every agent, and
 * most of what a server sends of one is for others: managedFields, containers, labels that nobody here reads.
 */

/** Where a CiliumNode is and what it holds; and its own error, for `status`. */
export function pickNode(node: CiliumNode): CiliumNode {
  const { addresses, health, ipam } = node.spec;
  const { podCIDRs, pools } = ipam ?? {};
  const error = node.status?.ipam?.['operator-status']?.error;
  return {
    ...identified(node),
    spec: {
      ...(addresses ? { addresses } : {}),
      ...(health ? { health } : {}),
      ...(ipam
        ? {
            ipam: {
              ...(podCIDRs ? { podCIDRs } : {}),
              ...(pools?.allocated ? { pools: { allocated: pools.allocated } } : {}),
            },
          }
        : {}),
    },
    ...(error ? { status: { ipam: { 'operator-status': { error } } } } : {}),
  } as CiliumNode;
}

/** Address, node and identity of an endpoint, and whose it is. */
export function pickEndpoint(endpoint: CiliumEndpoint): CiliumEndpoint {
  const { id, identity, networking } = endpoint.status ?? {};
  const { ownerReferences } = endpoint.metadata;
  const slim = identified(endpoint);
  return {
    ...slim,
    metadata: { ...slim.metadata, ...(ownerReferences ? { ownerReferences } : {}) },
    status: {
      ...(id === undefined ? {} : { id }),
      ...(identity?.id === undefined ? {} : { identity: { id: identity.id } }),
      ...(networking ? { networking } : {}),
    },
  } as CiliumEndpoint;
}

/** Number and labels of an identity. */
export function pickIdentity(identity: CiliumIdentity): CiliumIdentity {
  return { ...identified(identity), 'security-labels': identity['security-labels'] } as CiliumIdentity;
}

/** What identity and pool of a Pod are decided by. */
export function pickPod(pod: Pod): Pod {
  const { labels, annotations, deletionTimestamp, creationTimestamp } = pod.metadata;
  const { status } = pod;
  const { nodeName, serviceAccountName, hostNetwork } = pod.spec;
  const slim = identified(pod);
  return {
    ...slim,
    metadata: {
      ...slim.metadata,
      ...(labels ? { labels } : {}),
      ...(annotations ? { annotations } : {}),
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
      ...(creationTimestamp ? { creationTimestamp } : {}),
    },
    spec: {
      containers: hostPortContainers(pod),
      ...(nodeName ? { nodeName } : {}),
      ...(serviceAccountName ? { serviceAccountName } : {}),
      ...(hostNetwork ? { hostNetwork: true } : {}),
    },
    ...(status
      ? {
          status: {
            ...(status.phase ? { phase: status.phase } : {}),
            ...(status.podIP ? { podIP: status.podIP } : {}),
          },
        }
      : {}),
  } as Pod;
}

/** Containers with the ports that they have on the node; most have none. */
function hostPortContainers({ spec }: Pod): Container[] {
  return spec.containers.flatMap(({ name, ports }) => {
    const onHost = ports?.filter(port => port.hostPort);
    return onHost?.length ? [{ name, ports: onHost }] : [];
  });
}

/** All that balancing depends on. */
export function pickService(service: Service): Service {
  const { creationTimestamp, annotations, labels, deletionTimestamp } = service.metadata;
  const slim = identified(service);
  const { selector: _, ...spec } = service.spec;
  const ingress = service.status?.loadBalancer?.ingress;
  return {
    ...slim,
    metadata: {
      ...slim.metadata,
      ...(creationTimestamp ? { creationTimestamp } : {}),
      ...(annotations ? { annotations } : {}),
      ...(labels ? { labels } : {}),
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
    },
    spec,
    ...(ingress ? { status: { loadBalancer: { ingress } } } : {}),
  } as Service;
}

/** What `conditions` say that say nothing unusual; one object for all. */
const READY = Object.freeze({ ready: true });

/** Addresses, nodes and conditions of a slice, and whose it is. */
export function pickSlice(slice: EndpointSlice): EndpointSlice {
  const slim = identified(slice);
  const name = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  return {
    ...slim,
    metadata: { ...slim.metadata, ...(name ? { labels: { [SERVICE_NAME_LABEL]: name } } : {}) },
    addressType: slice.addressType,
    endpoints: (slice.endpoints ?? []).map(({ addresses, conditions, nodeName }) => {
      const { ready = true, serving = ready, terminating = false } = conditions ?? {};
      const usual = ready && !terminating;
      return {
        addresses: addresses.slice(0, 1),
        conditions: usual ? READY : { ready, serving, terminating },
        ...(nodeName ? { nodeName } : {}),
      };
    }),
    ...(slice.ports ? { ports: slice.ports } : {}),
  } as EndpointSlice;
}

/** What a Namespace adds to the identity and pool of its Pods. */
export function pickNamespace(namespace: Namespace): Namespace {
  const { labels, annotations } = namespace.metadata;
  const slim = identified(namespace);
  return {
    ...slim,
    metadata: {
      ...slim.metadata,
      ...(labels ? { labels } : {}),
      ...(annotations ? { annotations } : {}),
    },
  } as Namespace;
}
