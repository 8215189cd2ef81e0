import { FimbriaError } from '../base/errors.ts';
import type { AgentParts } from './agent.ts';
import { podCidrsOf } from './bootstrap.ts';
import type { Inbound } from './inbound.ts';
import { publishEndpoints, publishNode } from './publish.ts';

const PROBE_INTERVAL_MS = 10_000;
/** Pods of a burst are published together, after their ADDs were answered. */
const SPACING_MS = 100;

/**
 * Starts what tells the cluster of this node: its CiliumNode, the CiliumEndpoints of its pods; and the probes of all
 * nodes, which `status` shows. Each is repeated until it succeeds, and again when what it tells of changed.
 */
export function addPublishing(parts: AgentParts, inbound: Inbound): void {
  const { controllers, client, node, view, endpoints } = parts;
  const nodeSync = controllers.add({
    name: 'sync-cilium-node',
    intervalMs: 60_000,
    run: async () => {
      const object = await publishNode(client, {
        name: node.name,
        ipv4: node.ipv4,
        routerIpv4: parts.routerIpv4,
        healthIpv4: parts.healthIpv4,
        podCidrs: node.podCidrs,
      });
      const now = podCidrsOf(object);
      if (now && now.join() !== node.podCidrs.join()) {
        throw new FimbriaError({
          code: 'PODCIDR_CHANGED',
          op: 'use',
          object: `PodCIDR ${now.join(', ')}`,
          why: `this node already gives out addresses of ${node.podCidrs.join(', ')}`,
          hint: "drain the node, remove the agent's state folder and restart the agent",
        });
      }
    },
  });
  const endpointSync = controllers.add({
    name: 'sync-cilium-endpoints',
    intervalMs: 60_000,
    spacingMs: SPACING_MS,
    run: async () => {
      await view.synced();
      await publishEndpoints(client, view, endpoints.store.list(), node.ipv4);
    },
  });
  inbound.onEndpointsChanged(() => endpointSync.kick());
  view.endpoints.on({
    // Somebody deleted one, or it went with an earlier pod of the same name: it is made anew.
    deleted: ({ metadata: { namespace, name } }) =>
      void (endpoints.store.byPod(`${namespace}/${name}`) && endpointSync.kick()),
  });
  const probing = controllers.add({
    name: 'cilium-health-ep',
    intervalMs: PROBE_INTERVAL_MS,
    run: () => parts.prober.probe([inbound.self(), ...view.peers(node.name)], node.name),
  });
  view.nodes.on({ added: () => probing.kick(), updated: () => probing.kick() });
  for (const controller of [nodeSync, endpointSync, probing]) controller.kick();
}
