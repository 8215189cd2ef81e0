import { FimbriaError } from '../base/errors.ts';
import { netnsIdentity } from '../kernel/netns.ts';
import type { EndpointDeps } from './deps.ts';
import type { Endpoint } from './types.ts';

/**
 * Makes the pair of a pod anew whose host side device is gone while its namespace lives, with the addresses, MACs and
 * the id it had, and lets packets find it again. Returns the endpoint as the journal has it now.
 * @throws FimbriaError ENOENT when the namespace is gone, or the kernel's error; a device may be left then
 */
export async function remakeDevice(
  deps: Pick<EndpointDeps, 'datapath' | 'store'>,
  endpoint: Endpoint,
): Promise<Endpoint> {
  const { hostIfname: hostName, netns, ifname, ipv4, mac, hostMac } = endpoint;
  refuseOwnNamespace(netns);
  const link = await deps.datapath.createLink({ hostName, netns, ifname, ipv4, macs: { mac, hostMac } });
  const anew = { ...endpoint, ...link };
  await deps.datapath.attach(anew);
  await deps.datapath.admit(anew);
  deps.store.put(anew);
  return anew;
}

/** A path with a pid may name another process's namespace by now: a pod's routes must never come into the node's own. */
function refuseOwnNamespace(netns: string): void {
  const own = netnsIdentity('/proc/self/ns/net');
  const { dev, ino } = netnsIdentity(netns);
  if (dev !== own.dev || ino !== own.ino) return;
  throw new FimbriaError({
    code: 'ENOENT',
    op: 'open',
    object: `network namespace ${netns}`,
    why: 'the pod has ended: the path leads to the node itself',
  });
}
