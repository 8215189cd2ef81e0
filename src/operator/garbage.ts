import type { CiliumEndpoint, CiliumIdentity, CiliumNode, Node, Pod } from '../model/types.ts';

/** `namespace/name` of an object. */
export function keyOf(object: { metadata: { namespace?: string; name: string } }): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

/** The uid of the Pod that an endpoint says it belongs to, where it says so. */
export function podUidOf(endpoint: CiliumEndpoint): string | undefined {
  return endpoint.metadata.ownerReferences?.find(owner => owner.kind === 'Pod')?.uid;
}

/** Whether `pod`, found under an endpoint's name, is the one that the endpoint belongs to. Pure. */
export function ownsEndpoint(pod: Pod | undefined, endpoint: CiliumEndpoint): boolean {
  if (pod === undefined) return false;
  const uid = podUidOf(endpoint);
  return uid === undefined || uid === pod.metadata.uid;
}

/** CiliumEndpoints whose Pod is not among `pods`. Pure. */
export function orphanedEndpoints(
  endpoints: readonly CiliumEndpoint[],
  pods: (name: string, namespace: string) => Pod | undefined,
): CiliumEndpoint[] {
  return endpoints.filter(endpoint => {
    const { name, namespace = '' } = endpoint.metadata;
    return !ownsEndpoint(pods(name, namespace), endpoint);
  });
}

/** CiliumIdentities that no endpoint has. Pure. */
export function unusedIdentities(
  identities: readonly CiliumIdentity[],
  endpoints: readonly CiliumEndpoint[],
): CiliumIdentity[] {
  const used = new Set(endpoints.map(endpoint => String(endpoint.status?.identity?.id ?? '')));
  return identities.filter(identity => !used.has(identity.metadata.name));
}

/**
 * CiliumNodes without Node. A cluster that has no Nodes at all is one that does not keep any: nothing is orphaned
 * there. Pure.
 */
export function orphanedNodes(ciliumNodes: readonly CiliumNode[], nodes: readonly Node[]): CiliumNode[] {
  if (nodes.length === 0) return [];
  const names = new Set(nodes.map(node => node.metadata.name));
  return ciliumNodes.filter(node => !names.has(node.metadata.name));
}
