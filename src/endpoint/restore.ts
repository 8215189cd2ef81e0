import { codeOf, messageOf } from '../base/errors.ts';
import type { Link } from '../kernel/rtnetlink.ts';
import type { EndpointDeps } from './deps.ts';
import { remakeDevice } from './remake.ts';
import { removeEndpoint } from './remove.ts';
import { type Endpoint, HEALTH_CONTAINER } from './types.ts';

/**
 * Splits what the journal holds into what still stands and what has gone while nobody looked. Pure.
 * An endpoint stands while its host side device is there under the number it had.
 */
export function partitionEndpoints(
  endpoints: readonly Endpoint[],
  links: readonly Link[],
): { alive: Endpoint[]; gone: Endpoint[] } {
  const byIfindex = new Map(links.map(l => [l.ifindex, l.name]));
  const stands = (e: Endpoint): boolean => byIfindex.get(e.ifindex) === e.hostIfname;
  return { alive: endpoints.filter(stands), gone: endpoints.filter(e => !stands(e)) };
}

/** Host side devices of ours that no endpoint owns: of ADDs that were killed before the journal knew them. Pure. */
export function orphanedLinks(endpoints: readonly Endpoint[], links: readonly Link[]): string[] {
  const owned = new Set(endpoints.map(e => e.hostIfname));
  return links.map(l => l.name).filter(name => /^lxc[0-9a-f]{12}$/.test(name) && !owned.has(name));
}

/**
 * Brings the endpoints of the last run back: claims their addresses, puts the new programs in place of the old
 * without a gap and fills the tables; makes devices anew that somebody deleted, forgets the endpoint when the pod has
 * ended, and deletes devices that nobody owns. Runs before the API is served. Ids and addresses stay.
 */
export async function restoreEndpoints(
  deps: EndpointDeps,
  links: readonly Link[],
): Promise<{ restored: number; gone: number; swept: number }> {
  const pods = deps.store.list().filter(e => e.containerId !== HEALTH_CONTAINER);
  const { alive, gone } = partitionEndpoints(pods, links);
  const forget = async (endpoint: Endpoint, why: unknown): Promise<void> => {
    await (await removeEndpoint(deps, endpoint)).finished;
    deps.log.warn('forgot endpoint: its device is gone', {
      endpoint: endpoint.id,
      device: endpoint.hostIfname,
      why: messageOf(why),
    });
  };
  const restored: Endpoint[] = [];
  for (const endpoint of alive) {
    claim(deps, endpoint);
    try {
      await deps.datapath.attach(endpoint);
      await deps.datapath.admit(endpoint);
    } catch (error) {
      if (codeOf(error) !== 'ENODEV') throw error;
      // The pod has ended since the devices were listed: no reason to be without an agent.
      await forget(endpoint, error);
      continue;
    }
    restored.push(endpoint);
    await deps.datapath
      .refreshPodRoutes(endpoint.netns, endpoint.ifname)
      .catch(error =>
        deps.log.warn('could not refresh the routes of a pod', { endpoint: endpoint.id, error }),
      );
  }
  for (const endpoint of gone) {
    claim(deps, endpoint);
    try {
      restored.push(await remakeDevice(deps, endpoint));
      deps.log.warn('made the device of a pod anew: somebody deleted it while no agent ran', {
        endpoint: endpoint.id,
        device: endpoint.hostIfname,
      });
    } catch (error) {
      await forget(endpoint, error);
    }
  }
  const orphans = orphanedLinks([...alive, ...restored], links);
  await Promise.all(orphans.map(name => deps.datapath.deleteLinkSoon(name)));
  return { restored: restored.length, gone: pods.length - restored.length, swept: orphans.length };
}

function claim({ pool }: EndpointDeps, endpoint: Endpoint): void {
  pool.claim(endpoint.ipv4, {
    kind: 'endpoint',
    containerId: endpoint.containerId,
    ifname: endpoint.ifname,
    ...(endpoint.podName ? { podName: `${endpoint.podNamespace}/${endpoint.podName}` } : {}),
  });
}
