import type {
  CiliumEndpoint,
  CiliumIdentity,
  CiliumNode,
  KubeObject,
  Namespace,
  Pod,
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
  const { labels, annotations, deletionTimestamp } = pod.metadata;
  const { nodeName, serviceAccountName, hostNetwork } = pod.spec;
  const slim = identified(pod);
  return {
    ...slim,
    metadata: {
      ...slim.metadata,
      ...(labels ? { labels } : {}),
      ...(annotations ? { annotations } : {}),
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
    },
    spec: {
      containers: [],
      ...(nodeName ? { nodeName } : {}),
      ...(serviceAccountName ? { serviceAccountName } : {}),
      ...(hostNetwork ? { hostNetwork: true } : {}),
    },
  } as Pod;
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

function identified({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  const { name, namespace, uid } = metadata;
  return {
    apiVersion,
    kind,
    metadata: { name, ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) },
  };
}
