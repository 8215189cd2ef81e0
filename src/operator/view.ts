import { identified } from '../cluster/identified.ts';
import type { ClusterClient, Informer } from '../cluster/types.ts';
import type { CiliumEndpoint, CiliumIdentity, CiliumNode, KubeObject, Node, Pod } from '../model/types.ts';

/** The part of the cluster that an operator watches whatever it is configured to do. */
export interface OperatorView {
  nodes: Informer<Node>;
  pods: Informer<Pod>;
  ciliumNodes: Informer<CiliumNode>;
  endpoints: Informer<CiliumEndpoint>;
  identities: Informer<CiliumIdentity>;
}

/**
 * Starts the watches. The whole cluster is in them, so of each object only that is asked for and kept that is looked at:
 * of most that it exists.
 */
export function watchCluster(client: ClusterClient): OperatorView {
  const exists = { metadataOnly: true, pick: identified } as const;
  return {
    nodes: client.informer<Node>('Node', { pick: nodeReadiness }),
    pods: client.informer<Pod>('Pod', exists),
    ciliumNodes: client.informer<CiliumNode>('CiliumNode', { pick: withoutManagers }),
    endpoints: client.informer<CiliumEndpoint>('CiliumEndpoint', { pick: identityOnly }),
    identities: client.informer<CiliumIdentity>('CiliumIdentity', exists),
  };
}

/** Of a Pod of the agents what tells whether it is ready, and where. */
export function podReadiness(pod: Pod): Pod {
  const { deletionTimestamp } = pod.metadata;
  const slim = identified(pod);
  return {
    ...slim,
    metadata: { ...slim.metadata, ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }) },
    spec: { nodeName: pod.spec?.nodeName },
    status: { conditions: pod.status?.conditions?.filter(({ type }) => type === 'Ready') },
  } as Pod;
}

/** Of a node what is told of its network, besides that it exists. */
function nodeReadiness(node: Node): Node {
  const taints = node.spec?.taints;
  const conditions = node.status?.conditions?.filter(({ type }) => type === 'NetworkUnavailable');
  return {
    ...identified(node),
    ...(taints === undefined ? {} : { spec: { taints } }),
    ...(conditions === undefined ? {} : { status: { conditions } }),
  } as Node;
}

/** A whole object, but for the server's book-keeping: half of it. */
export function withoutManagers<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata as T['metadata'] & { managedFields?: unknown };
  return { ...object, metadata };
}

function identityOnly(endpoint: CiliumEndpoint): CiliumEndpoint {
  const owners = endpoint.metadata.ownerReferences;
  const identity = endpoint.status?.identity?.id;
  const slim = identified(endpoint);
  return {
    ...slim,
    metadata: { ...slim.metadata, ...(owners === undefined ? {} : { ownerReferences: owners }) },
    ...(identity === undefined ? {} : { status: { identity: { id: identity } } as CiliumEndpoint['status'] }),
  } as CiliumEndpoint;
}
