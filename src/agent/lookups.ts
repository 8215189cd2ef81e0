import type { EndpointStore } from '../endpoint/store.ts';
import { IDENTITY, identityText, labelsFromMap, reservedLabels } from '../identity/index.ts';
import type { Rtnetlink } from '../kernel/rtnetlink.ts';
import type { EventLookups } from '../monitor/index.ts';
import type { ClusterView } from './cluster-view.ts';

/**
 * Names for the numbers in events. Endpoints know their devices; other names are learnt in the background, as an
 * event never waits for them.
 */
export function monitorLookups(rtnl: Rtnetlink, store: EndpointStore): EventLookups {
  let names = new Map<number, string>();
  const refresh = async (): Promise<void> => {
    names = new Map((await rtnl.links()).map(link => [link.ifindex, link.name]));
  };
  refresh().catch(() => {});
  return {
    ifname: ifindex => {
      const known = names.get(ifindex);
      if (known !== undefined) return known;
      const ours = store.list().find(endpoint => endpoint.ifindex === ifindex)?.hostIfname;
      if (ours !== undefined) names.set(ifindex, ours);
      else refresh().catch(() => {});
      return ours;
    },
    identityText,
  };
}

/** Labels of an identity as far as this node knows: reserved, of the cluster, or of its own endpoints. */
export function labelsOf(view: ClusterView, store: EndpointStore, identity: number): string[] {
  const reserved = reservedLabels(identity);
  if (reserved) return reserved;
  if (identity === IDENTITY.unknown) return ['reserved:unknown'];
  const object = view.identities.get(`${identity}`);
  if (object) return labelsFromMap(object['security-labels']);
  return store.list().find(e => e.identity === identity)?.labels ?? [];
}
