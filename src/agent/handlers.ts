import type { BpfTable, BpfTables } from '../api/bpf.ts';
import type { AgentHandlers, EndpointModel } from '../api/types.ts';
import { parseEndpointId } from '../api/types.ts';
import { FimbriaError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { packageVersion } from '../base/paths.ts';
import { HOST_DEVICE } from '../datapath/devices.ts';
import { removeEndpoint } from '../endpoint/remove.ts';
import { type Endpoint, HEALTH_CONTAINER, podFullName } from '../endpoint/types.ts';
import { IDENTITY, labelsFromMap, reservedIdentities, reservedLabels } from '../identity/index.ts';
import { ownerText } from '../ipam/owner.ts';
import type { AgentParts } from './agent.ts';
import { bpfTables } from './bpf-tables.ts';
import { endpointModel, hostEndpointModel } from './endpoint-model.ts';
import { labelsOf } from './lookups.ts';
import { mapWarnings } from './map-usage.ts';
import { serviceModels } from './service-views.ts';
import { statusResponse } from './status.ts';

/** What the REST API answers from. */
export function agentHandlers(parts: AgentParts, log: Logger): AgentHandlers {
  const { config, datapath, endpoints, ipam, node, view } = parts;
  const { store } = endpoints;
  const tables = bpfTables(parts);
  let server = 'not asked yet';
  const askVersion = async (): Promise<void> => {
    const { major, minor, gitVersion, platform } = await parts.client.serverVersion();
    server = `${major}.${minor} (${gitVersion}) [${platform}]`;
  };

  const hostModel = (): EndpointModel => {
    const { ifindex, mac } = datapath.devices.host;
    return hostEndpointModel(
      { id: parts.hostEndpointId, ifname: HOST_DEVICE, ifindex, mac },
      parts.startedAt,
    );
  };
  const models = (): EndpointModel[] =>
    [hostModel(), ...store.list().map(endpointModel)].sort((a, b) => a.id - b.id);
  const hostAddressing = () => ({
    ipv4: { enabled: true, ip: parts.routerIpv4, 'alloc-range': ipam.podCidrs.join(',') },
  });
  const ipamReply = (ip: string): Awaited<ReturnType<AgentHandlers['ipamAllocate']>> => ({
    address: { ipv4: ip, 'ipv4-pool-name': ipam.pools.poolOf(ip) ?? ipam.defaultPool },
    ipv4: { ip, cidrs: null, gateway: parts.routerIpv4 },
    'host-addressing': hostAddressing(),
  });

  return {
    async healthz(brief) {
      if (!brief)
        await askVersion().catch(error => log.debug('could not ask the API server its version', { error }));
      const maps = parts.maps.list();
      const failing = parts.controllers.status().filter(c => c.consecutiveErrors > 0);
      return statusResponse({
        config,
        version: packageVersion(),
        kubernetes: view.connected
          ? { ok: true, message: server }
          : { ok: false, message: 'the API server cannot be reached; pods go on with what is known' },
        cniFile: parts.readiness.cniConfig
          ? { ok: true, message: `successfully wrote CNI configuration file to ${parts.readiness.cniConfig}` }
          : { ok: false, message: 'not written before the datapath is ready' },
        problems: [
          ...(parts.readiness.why ? [parts.readiness.why] : []),
          ...failing.map(c => `${c.name}: ${c.message}`),
          ...parts.drift.quarrels,
          ...ipam.problems,
          ...parts.audit.problems,
          ...mapWarnings(maps),
          ...(datapath.services?.refused ?? []).map(r => `service ${r.owner}: ${r.why}`),
        ],
        allocations: ipam.pools.allocations(),
        defaultPool: ipam.defaultPool,
        usage: ipam.pools.usage(),
        podCidrs: ipam.podCidrs,
        pools: ipam.pools.names.length,
        ownerText,
        serviceDevices: parts.serviceDevices,
        attachMode: datapath.tcxAvailable && config.tcx !== 'never' ? 'tcx' : 'tc',
        controllers: parts.controllers.status(),
        routerIpv4: parts.routerIpv4,
        monitorClients: parts.monitor.clients,
        eventsLost: parts.monitor.lost.ringBuffer + parts.monitor.lost.client,
        cluster: parts.prober.summary(),
        maps,
        drift: parts.drift.summary,
      });
    },

    async config() {
      return {
        flat: { ...config.flat },
        status: {
          addressing: hostAddressing(),
          deviceMTU: parts.deviceMtu,
          routeMTU: parts.routeMtu,
          datapathMode: 'veth',
          'ipam-mode': config.ipamMode,
          nodeName: node.name,
          realized: { options: models()[0]!.status.realized.options, 'policy-enforcement': 'never' },
        },
      };
    },

    endpoints: () => models(),

    endpoint(id) {
      const found = find(id);
      return found === 'host' ? hostModel() : found && endpointModel(found);
    },

    async endpointDelete(id) {
      const found = find(id);
      if (!found) return false;
      if (found === 'host' || found.containerId === HEALTH_CONTAINER) {
        throw new FimbriaError({
          code: 'FORBIDDEN',
          op: 'delete',
          object: `endpoint ${id}`,
          why: "it is the node's own",
        });
      }
      await removeEndpoint(endpoints, found);
      return true;
    },

    async ipamAllocate({ owner, pool }) {
      return ipamReply(ipam.allocateNow({ kind: 'named', name: owner }, pool).address);
    },

    async ipamClaim(ip, owner) {
      ipam.claim(ip, { kind: 'named', name: owner });
      return ipamReply(ip);
    },

    async ipamRelease(ip) {
      const owner = ipam.pools.ownerOf(ip);
      if (!owner) return false;
      if (owner.kind !== 'named') {
        throw new FimbriaError({
          code: 'FORBIDDEN',
          op: 'release',
          object: `address ${ip}`,
          why: `${ownerText(owner)} uses it`,
          hint: 'delete its owner instead',
        });
      }
      return ipam.release(ip, owner);
    },

    cni: request => parts.cni.handle(request),

    async nodes() {
      const self = {
        name: node.name,
        ipv4: node.ipv4,
        podCidrs: ipam.podCidrs,
        healthIpv4: parts.healthIpv4,
      };
      return [
        { ...self, source: 'local' },
        ...view.peers(node.name).map(p => ({ ...p, source: 'custom-resource' })),
      ]
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .map(n => ({
          name: n.name,
          'primary-address': { ipv4: { ip: n.ipv4, 'alloc-range': n.podCidrs[0] ?? '', enabled: true } },
          'pod-cidrs': [...n.podCidrs],
          ...(n.healthIpv4 ? { 'health-endpoint-address': { ipv4: { ip: n.healthIpv4 } } } : {}),
          source: n.source,
        }));
    },

    async identities() {
      const reserved = Object.keys(reservedIdentities)
        .map(Number)
        .flatMap(id => {
          const labels = reservedLabels(id);
          return labels ? [{ id, labels }] : [];
        });
      const cluster = view.identities
        .list()
        .map(i => ({ id: Number(i.metadata.name), labels: labelsFromMap(i['security-labels']) }));
      return [...reserved, ...cluster].sort((a, b) => a.id - b.id);
    },

    async ips() {
      const names = new Map(store.list().map(e => [`${e.ipv4}/32`, e]));
      return [...datapath.ipcache.desired].map(([cidr, entry]) => {
        const local = names.get(cidr);
        return {
          cidr,
          identity: entry.identity,
          labels: labelsOf(view, store, entry.identity),
          ...(entry.tunnelEndpoint ? { hostIP: entry.tunnelEndpoint } : {}),
          metadata: {
            source:
              entry.tunnelEndpoint || entry.identity === IDENTITY.remoteNode ? 'custom-resource' : 'local',
            ...(local?.podName ? { namespace: local.podNamespace!, name: local.podName } : {}),
          },
        };
      });
    },

    metrics: () => parts.metrics.render(parts),
    services: async () => serviceModels(parts),
    maps: async () => tables.maps(),
    bpf: <T extends BpfTable>(table: T, argument?: string) =>
      Promise.resolve(tables.rows(table, argument) as BpfTables[T][]),
    bpfFlush: async table => parts.flowGc.flush(table),
    monitor: (filter, signal) => parts.monitor.subscribe(filter, signal),
  };

  function find(id: string): Endpoint | 'host' | undefined {
    const parsed = parseEndpointId(id);
    if (!parsed) {
      throw new FimbriaError({
        code: 'INVALID',
        op: 'find',
        object: `endpoint ${id}`,
        why: 'not a number and no known prefix',
        hint: 'use an id, pod-name:NAMESPACE/NAME, ipv4:ADDRESS or container-id:ID',
      });
    }
    switch (parsed.prefix) {
      case 'cilium-local':
        return Number(parsed.value) === parts.hostEndpointId ? 'host' : store.get(Number(parsed.value));
      case 'ipv4':
        return store.byIpv4(parsed.value);
      case 'container-id':
        return store.byContainer(parsed.value)[0];
      case 'cni-attachment-id':
        return store.list().find(e => `${e.containerId}:${e.ifname}` === parsed.value);
      case 'pod-name':
      case 'cep-name':
        return store.list().find(e => podFullName(e) === parsed.value);
    }
  }
}
