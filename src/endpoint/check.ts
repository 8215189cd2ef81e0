import { FimbriaError } from '../base/errors.ts';
import { inspectPodSide } from '../datapath/pod-link.ts';
import type { EndpointDeps } from './deps.ts';
import type { Endpoint } from './types.ts';

/** CHECK: the endpoint is as ADD left it. @throws FimbriaError naming what is not */
export async function checkEndpoint(
  deps: EndpointDeps,
  request: { containerId: string; ifname: string; netns: string },
): Promise<Endpoint> {
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
  if (!side.ipv4.includes(endpoint.ipv4)) throw wrong(`it does not have the address ${endpoint.ipv4}`);
  // Puts back what may be missing on the host side, which is ours alone.
  await deps.datapath.attach(endpoint);
  await deps.datapath.admit(endpoint);
  return endpoint;
}
