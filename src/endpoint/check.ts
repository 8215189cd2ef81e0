import { FimbriaError } from '../base/errors.ts';
import { inspectPodSide } from '../datapath/pod-link.ts';
import type { EndpointDeps } from './deps.ts';
import type { Endpoint } from './types.ts';

/** One CHECK: an attachment, and what the result of all plugins lists. */
export interface CheckRequest {
  containerId: string;
  ifname: string;
  netns: string;
  /** `10.0.0.7/32`. */
  addresses: readonly string[];
  /** Destinations: `0.0.0.0/0`. */
  routes: readonly string[];
}

/**
 * CHECK: what of the endpoint's is listed is as ADD left it. Plugins behind ours may have added to the list or taken
 * from it; what it has besides is theirs. @throws FimbriaError naming what is not as it should be
 */
export async function checkEndpoint(deps: EndpointDeps, request: CheckRequest): Promise<Endpoint> {
  const endpoint = deps.store.byAttachment(request.containerId, request.ifname);
  const object = `container ${request.containerId} interface ${request.ifname}`;
  if (!endpoint) throw new FimbriaError({ code: 'NOT_FOUND', op: 'check', object, why: 'no such endpoint' });
  const side = await inspectPodSide(request.netns, request.ifname);
  const wrong = (why: string): FimbriaError =>
    new FimbriaError({
      code: 'MISMATCH',
      op: 'check',
      object,
      why,
      hint: 'delete the pod; it will be set up anew',
    });
  if (!side) throw wrong('the interface is gone');
  if (!side.link.up) throw wrong('the interface is down');
  if (side.link.mac !== endpoint.mac) throw wrong(`its MAC is ${side.link.mac}, not ${endpoint.mac}`);
  if (!request.addresses.includes(`${endpoint.ipv4}/32`))
    throw wrong(`prevResult does not list its address ${endpoint.ipv4}/32`);
  if (!side.ipv4.includes(endpoint.ipv4)) throw wrong(`it does not have the address ${endpoint.ipv4}`);
  if (request.routes.includes('0.0.0.0/0') && !side.routes.includes('default'))
    throw wrong('it has no default route');
  // Puts back what may be missing on the host side, which is ours alone.
  await deps.datapath.attach(endpoint);
  await deps.datapath.admit(endpoint);
  return endpoint;
}
