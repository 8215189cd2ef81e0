import { codeOf } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/types.ts';
import type { Endpoint } from '../endpoint/types.ts';
import type { CiliumEndpoint, CiliumNode } from '../model/types.ts';
import type { ClusterView } from './cluster-view.ts';

/** What this node tells the cluster of itself. */
export interface NodeFacts {
  name: string;
  ipv4: string;
  routerIpv4?: string;
  healthIpv4?: string;
  /** Blocks in use: a CiliumNode that somebody deleted is made anew with them, so that nobody else gets them. */
  ipam?: NonNullable<CiliumNode['spec']['ipam']>;
}

/**
 * Creates this node's CiliumNode or brings what is ours of it up to date; the operator's part is left alone.
 * Idempotent: writes only when something differs. Returns the object as the server has it.
 */
export async function publishNode(client: ClusterClient, facts: NodeFacts): Promise<CiliumNode> {
  const addresses = [
    { type: 'InternalIP' as const, ip: facts.ipv4 },
    ...(facts.routerIpv4 ? [{ type: 'CiliumInternalIP' as const, ip: facts.routerIpv4 }] : []),
  ];
  const health = facts.healthIpv4 ? { ipv4: facts.healthIpv4 } : undefined;
  let present: CiliumNode;
  try {
    present = await client.get<CiliumNode>('CiliumNode', facts.name);
  } catch (error) {
    if (codeOf(error) !== 'NOT_FOUND') throw error;
    return client.create<CiliumNode>({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: { name: facts.name, labels: { 'kubernetes.io/hostname': facts.name } },
      spec: {
        addresses,
        ipam: facts.ipam ?? {},
        ...(health ? { health } : {}),
      },
    });
  }
  const same =
    JSON.stringify(present.spec.addresses) === JSON.stringify(addresses) &&
    (health === undefined || present.spec.health?.ipv4 === health.ipv4);
  if (same) return present;
  return client.patch<CiliumNode>('CiliumNode', facts.name, {
    spec: { addresses, ...(health ? { health } : {}) },
  });
}

/**
 * Makes the CiliumEndpoints of this node match its endpoints: one per pod, named as the pod. Idempotent.
 * Those of other nodes are never touched.
 */
export async function publishEndpoints(
  client: ClusterClient,
  view: ClusterView,
  endpoints: readonly Endpoint[],
  nodeIpv4: string,
): Promise<void> {
  const wanted = new Map(
    endpoints
      .filter(e => e.podName)
      .map(e => [`${e.podNamespace}/${e.podName}`, ciliumEndpoint(e, nodeIpv4)]),
  );
  for (const present of view.endpoints.list()) {
    const key = `${present.metadata.namespace}/${present.metadata.name}`;
    if (present.status?.networking?.node !== nodeIpv4 || wanted.has(key)) continue;
    await client.delete('CiliumEndpoint', present.metadata.name, {
      namespace: present.metadata.namespace!,
      ...(present.metadata.uid ? { uid: present.metadata.uid } : {}),
    });
  }
  for (const [key, object] of wanted) {
    const [namespace, name] = key.split('/') as [string, string];
    const present = view.endpoints.get(name, namespace);
    if (present && sameStatus(present, object)) continue;
    if (present) await client.patch('CiliumEndpoint', name, oursOf(object), { namespace });
    else await createOrPatch(client, object, name, namespace);
  }
}

async function createOrPatch(
  client: ClusterClient,
  object: CiliumEndpoint,
  name: string,
  namespace: string,
): Promise<void> {
  try {
    await client.create(object);
  } catch (error) {
    const code = codeOf(error);
    // The namespace or the pod is going away: there is nobody to tell about.
    if (code === 'NOT_FOUND' || code === 'FORBIDDEN') return;
    if (code !== 'ALREADY_EXISTS') throw error;
    await client.patch('CiliumEndpoint', name, oursOf(object), { namespace });
  }
}

function ciliumEndpoint(endpoint: Endpoint, nodeIpv4: string): CiliumEndpoint {
  const name = endpoint.podName!;
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumEndpoint',
    metadata: {
      name,
      namespace: endpoint.podNamespace!,
      ...(endpoint.podUid
        ? { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name, uid: endpoint.podUid }] }
        : {}),
    },
    status: {
      id: endpoint.id,
      state: 'ready',
      identity: { id: endpoint.identity, labels: endpoint.labels },
      networking: { node: nodeIpv4, addressing: [{ ipv4: endpoint.ipv4 }] },
      'external-identifiers': {
        'cni-attachment-id': `${endpoint.containerId}:${endpoint.ifname}`,
        'container-id': endpoint.containerId,
        'k8s-namespace': endpoint.podNamespace!,
        'k8s-pod-name': name,
        'pod-name': `${endpoint.podNamespace}/${name}`,
      },
    },
  };
}

/** What a pod's CiliumEndpoint must have; with the owner, since an earlier pod of that name may have had it. */
function oursOf({ metadata, status }: CiliumEndpoint): object {
  return { metadata: { ownerReferences: metadata.ownerReferences ?? null }, status };
}

function sameStatus(present: CiliumEndpoint, wanted: CiliumEndpoint): boolean {
  const owners = ({ metadata }: CiliumEndpoint): string | undefined =>
    metadata.ownerReferences?.map(o => o.uid).join();
  const [a, b] = [present.status, wanted.status];
  return (
    a?.id === b?.id &&
    a?.identity?.id === b?.identity?.id &&
    a?.networking?.node === b?.networking?.node &&
    a?.networking?.addressing?.[0]?.ipv4 === b?.networking?.addressing?.[0]?.ipv4 &&
    owners(present) === owners(wanted)
  );
}
