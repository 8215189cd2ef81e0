import type { CiliumEndpoint } from '../model/types.ts';
import type { AgentParts } from './agent.ts';
import type { Inbound } from './inbound.ts';
import { publishEndpoints } from './publish.ts';

const PROBE_INTERVAL_MS = 10_000;
const AUDIT_INTERVAL_MS = 30_000;
/** Pods of a burst are published together, after their ADDs were answered. */
const SPACING_MS = 100;

/**
 * Starts what tells the cluster of this node: its CiliumNode, the CiliumEndpoints of its pods; and the probes of all
 * nodes, which `status` shows. Each is repeated until it succeeds, and again when what it tells of changed.
 */
export function addPublishing(parts: AgentParts, inbound: Inbound): void {
  const { controllers, client, node, view, endpoints } = parts;
  const { ipam } = parts;
  let timer: NodeJS.Timeout | undefined;
  const nodeSync = controllers.add({
    name: 'sync-cilium-node',
    intervalMs: 60_000,
    run: async () => {
      clearTimeout(timer);
      const dueMs = await ipam.pass();
      if (dueMs !== undefined) timer = setTimeout(() => nodeSync.kick(), dueMs).unref();
    },
  });
  ipam.connect({ view, onBlocks: () => inbound.route().catch(() => {}), kick: () => nodeSync.kick() });
  const ownChanged = ({ metadata }: { metadata: { name: string } }): void =>
    void (metadata.name === node.name && nodeSync.kick());
  view.nodes.on({ updated: ownChanged, deleted: ownChanged });
  view.pools?.on({ updated: () => nodeSync.kick() });
  view.synced().then(
    () => ipam.settle(),
    () => {},
  );
  controllers
    .add({ name: 'ipam-audit', intervalMs: AUDIT_INTERVAL_MS, run: async () => parts.audit.pass() })
    .kick();
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
  // Of a pod that went before the view had seen what was told of it: the pass after its DEL could not know of it.
  const seen = ({ metadata: { namespace, name }, status }: CiliumEndpoint): void =>
    void (
      status?.networking?.node === node.ipv4 &&
      !endpoints.store.byPod(`${namespace}/${name}`) &&
      endpointSync.kick()
    );
  view.endpoints.on({
    added: seen,
    updated: seen,
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
