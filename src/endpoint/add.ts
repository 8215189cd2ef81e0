import { createHash } from 'node:crypto';
import { FimbriaError } from '../base/errors.ts';
import { withUndo } from '../base/undo.ts';
import { type EndpointDeps, type PodRef, revertErrors } from './deps.ts';
import type { Endpoint } from './types.ts';

/** One ADD. */
export interface AddRequest {
  containerId: string;
  ifname: string;
  netns: string;
  /** Name of the CNI network, which GC asks for. */
  network?: string;
  pod?: PodRef;
}

/** Host side device of an attachment: `lxc` and 12 hex digits, the same for the same attachment. */
export function hostIfname(containerId: string, ifname: string): string {
  return `lxc${createHash('sha256').update(`${containerId}:${ifname}`).digest('hex').slice(0, 12)}`;
}

/**
 * Sets a pod up. One direction, every step pushes its undo; the pod is admitted (entry and route) only after its
 * programs run, so no packet meets a pod without them; the journal is written before the caller is told.
 * Calls for one attachment must not overlap (the agent holds a lock per container).
 * @throws FimbriaError EEXIST for a second ADD, RANGE_FULL, ENOENT for a dead namespace, or the kernel's error;
 *   nothing is left then
 */
export async function addEndpoint(deps: EndpointDeps, request: AddRequest): Promise<Endpoint> {
  const { store, pool, datapath } = deps;
  await store.left(request.containerId, request.ifname);
  const existing = store.byAttachment(request.containerId, request.ifname);
  if (existing) {
    throw new FimbriaError({
      code: 'EEXIST',
      op: 'add',
      object: `container ${request.containerId} interface ${request.ifname}`,
      why: `it is endpoint ${existing.id} with ${existing.ipv4} already`,
      hint: 'DEL it first',
    });
  }
  return withUndo(async undo => {
    const owner = {
      kind: 'endpoint',
      containerId: request.containerId,
      ifname: request.ifname,
      ...(request.pod ? { podName: `${request.pod.namespace}/${request.pod.name}` } : {}),
    } as const;
    const { address: ipv4, pool: poolName } = await pool.allocate(owner, request.pod);
    undo.push(`address ${ipv4}`, () => pool.release(ipv4, owner));

    const reserved = store.reserveId();
    undo.push(`endpoint id ${reserved.id}`, reserved.release);

    const hostName = hostIfname(request.containerId, request.ifname);
    // The label look-up may ask the API server: run it beside the device's creation.
    const identity = deps.resolveIdentity(request.pod);
    const link = await datapath.createLink({ hostName, netns: request.netns, ifname: request.ifname, ipv4 });
    undo.push(`link ${hostName}`, () => datapath.deleteLink(hostName));

    const endpoint: Endpoint = {
      id: reserved.id,
      containerId: request.containerId,
      ifname: request.ifname,
      netns: request.netns,
      ...(request.network ? { network: request.network } : {}),
      ...(request.pod ? { podNamespace: request.pod.namespace, podName: request.pod.name } : {}),
      ...(request.pod?.uid ? { podUid: request.pod.uid } : {}),
      ipv4,
      poolName,
      hostIfname: hostName,
      ...link,
      ...(await identity),
      createdAt: new Date().toISOString(),
    };
    undo.push(`programs of ${hostName}`, () => datapath.detach(endpoint));
    await datapath.attach(endpoint);
    undo.push(`entries of ${ipv4}`, () => datapath.expel(endpoint));
    await datapath.admit(endpoint);
    store.put(endpoint);
    deps.onChange();
    deps.log.info('added endpoint', {
      endpoint: endpoint.id,
      ipv4,
      device: hostName,
      identity: endpoint.identity,
    });
    return endpoint;
  }, revertErrors(deps));
}
