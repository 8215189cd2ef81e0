import type { EndpointDeps } from './deps.ts';
import type { Endpoint } from './types.ts';

/**
 * Takes an endpoint away. When the promise resolves nothing finds the pod any more and its address is free; the
 * device follows in `finished` (deleting a veth holds the kernel's RTNL lock for tens of milliseconds, so those of pods
 * that go together are deleted together). Repeatable; an endpoint that left meanwhile is left alone, whoever has its id.
 */
export async function removeEndpoint(
  deps: EndpointDeps,
  endpoint: Endpoint,
): Promise<{ finished: Promise<void> }> {
  await deps.datapath.expel(endpoint);
  const known = deps.store.get(endpoint.id);
  if (known?.hostIfname !== endpoint.hostIfname || known.createdAt !== endpoint.createdAt) {
    return { finished: Promise.resolve() };
  }
  deps.store.delete(endpoint.id);
  deps.pool.release(endpoint.ipv4, {
    kind: 'endpoint',
    containerId: endpoint.containerId,
    ifname: endpoint.ifname,
  });
  deps.onChange();
  deps.log.info('removed endpoint', {
    endpoint: endpoint.id,
    ipv4: endpoint.ipv4,
    device: endpoint.hostIfname,
  });
  const finished = deps.datapath
    .detach(endpoint)
    .then(() => deps.datapath.deleteLinkSoon(endpoint.hostIfname))
    .catch(error =>
      deps.log.error('could not delete link; the next start sweeps it', {
        device: endpoint.hostIfname,
        error,
      }),
    );
  deps.store.leaving(endpoint, finished);
  return { finished };
}
