import { existsSync } from 'node:fs';
import type {
  BpfEndpointRow,
  BpfIpcacheRow,
  BpfMetricsRow,
  BpfPolicyRow,
  BpfResponderRow,
  BpfTable,
} from '../api/bpf.ts';
import type { MapModel } from '../api/types.ts';
import { FimbriaError } from '../base/errors.ts';
import { serviceMaps } from '../datapath/services/writes.ts';
import { BpfMap } from '../kernel/libbpf/index.ts';
import { ipmasqMap } from '../maps/flows.ts';
import { l2ResponderMap } from '../maps/l2.ts';
import { metricsMap } from '../maps/metrics.ts';
import { affinityMap } from '../maps/services.ts';
import { endpointMap, ipcacheMap, policyMap } from '../maps/tables.ts';
import { l4ProtoText } from '../monitor/dissect.ts';
import { reasonText, sourceFileText } from '../monitor/index.ts';
import type { AgentParts } from './agent.ts';
import { affinityRows, backendRows, maglevRows, revNatRows, sourceRangeRows } from './lb-views.ts';
import { labelsOf } from './lookups.ts';
import { ctRows, lbRows, natRows } from './service-views.ts';

const HOST_FLAG = 1;
/** Maps whose content the agent holds and repairs. */
const CACHED: ReadonlySet<string> = new Set([
  'cilium_ipcache',
  'cilium_l2_responder_v4',
  'cilium_lb4_backends_v3',
  'cilium_lb4_maglev',
  'cilium_lb4_reverse_nat',
  'cilium_lb4_services_v2',
  'cilium_lb4_source_range',
  'cilium_lxc',
]);

/** Reads the kernel's maps, not what we wish were in them: `bpf … list`. */
export function bpfTables(parts: AgentParts): {
  rows(table: BpfTable, argument?: string): unknown[];
  maps(): MapModel[];
} {
  const { programs } = parts.datapath;
  const { store } = parts.endpoints;

  const endpointRows = (): BpfEndpointRow[] =>
    [...endpointMap(programs.map('cilium_lxc')).entries()].map(([ip, e]) => ({
      ip,
      host: e.host,
      id: e.endpointId,
      identity: e.identity,
      flags: e.host ? HOST_FLAG : 0,
      ifindex: e.ifindex,
      mac: e.mac,
      nodeMac: e.nodeMac,
    }));

  const ipcacheRows = (): BpfIpcacheRow[] =>
    [...ipcacheMap(programs.map('cilium_ipcache')).entries()].map(([prefix, e]) => ({
      prefix,
      identity: e.identity,
      encryptKey: 0,
      tunnelEndpoint: e.tunnelEndpoint,
      flags: e.tunnelEndpoint === '0.0.0.0' ? [] : ['hastunnel'],
    }));

  const metricsRows = (): BpfMetricsRow[] =>
    metricsMap(programs.map('cilium_metrics'))
      .rows()
      .map(r => ({
        reason: r.reason,
        text: reasonText(r.reason),
        direction: r.direction.toUpperCase() as BpfMetricsRow['direction'],
        packets: Number(r.packets),
        bytes: Number(r.bytes),
        line: r.sourceLine,
        file: sourceFileText(r.sourceFile),
      }));

  const policyRows = (argument: string | undefined): BpfPolicyRow[] => {
    const ids = argument === undefined ? store.list().map(e => e.id) : [Number(argument)];
    return ids.flatMap(id => {
      // The node itself has a place in the list and no policy of its own.
      if (id === parts.hostEndpointId) return [];
      const path = parts.datapath.policyMapPath(id);
      if (!existsSync(path)) {
        throw new FimbriaError({
          code: 'NOT_FOUND',
          op: 'read',
          object: `policy of endpoint ${id}`,
          why: 'no such endpoint',
          hint: 'see `fimbria endpoint list`',
        });
      }
      const map = BpfMap.fromPin(path);
      try {
        return [...policyMap(map).entries()]
          .map(
            ([key, verdict]): BpfPolicyRow => ({
              endpoint: id,
              action: verdict.deny ? 'Deny' : 'Allow',
              direction: key.direction === 'ingress' ? 'Ingress' : 'Egress',
              identity: key.identity,
              labels: key.identity === 0 ? [] : labelsOf(parts.view, store, key.identity),
              port: key.l4Proto === undefined ? 'ANY' : `${key.dport ?? 'ANY'}/${l4ProtoText(key.l4Proto)}`,
              proxyPort: 0,
              authType: 'disabled',
              prefixLen: 0,
              cookie: 0,
            }),
          )
          .sort((a, b) =>
            a.direction === b.direction ? a.identity - b.identity : a.direction === 'Ingress' ? -1 : 1,
          );
      } finally {
        map.close();
      }
    });
  };

  const responderRows = (): BpfResponderRow[] => {
    const now = process.hrtime.bigint();
    const { networkDevices } = parts;
    return [...l2ResponderMap(programs.map('cilium_l2_responder_v4')).entries()].map(
      ([{ ipv4, ifindex }, { mac, responses, validUntilNs }]) => {
        const device = networkDevices.find(known => known.ifindex === ifindex)?.name;
        return {
          address: ipv4,
          ifindex,
          ...(device === undefined ? {} : { device }),
          mac,
          responses: Number(responses),
          validS: Math.floor(Number(validUntilNs - now) / 1e9),
        };
      },
    );
  };

  return {
    rows(table, argument) {
      const { services } = parts.datapath;
      switch (table) {
        case 'endpoint':
          return endpointRows();
        case 'ipcache':
          return ipcacheRows();
        case 'metrics':
          return metricsRows();
        case 'policy':
          return policyRows(argument);
        case 'ct':
          return ctRows(
            programs.map('cilium_ct4_global'),
            programs.map('cilium_ct_any4_global'),
            parts.monitor.clockOffsetS,
          );
        case 'nat':
          return natRows(programs.map('cilium_snat_v4_external'), parts.monitor.clockOffsetS);
        case 'ipmasq':
          return [...ipmasqMap(programs.map('cilium_ipmasq_v4')).entries()].map(([prefix]) => ({ prefix }));
        case 'l2-responder':
          return parts.datapath.announced ? responderRows() : [];
        case 'lb':
          return services ? lbRows(serviceMaps(programs)) : [];
        case 'lb-backends':
          return services ? backendRows(serviceMaps(programs)) : [];
        case 'lb-revnat':
          return services ? revNatRows(serviceMaps(programs)) : [];
        case 'lb-source-ranges':
          return services ? sourceRangeRows(serviceMaps(programs)) : [];
        case 'lb-maglev':
          return services ? maglevRows(serviceMaps(programs)) : [];
        case 'lb-affinity':
          return services
            ? affinityRows(serviceMaps(programs), affinityMap(programs.map('cilium_lb4_affinity')))
            : [];
      }
    },
    maps: () => {
      const counted = new Map(parts.maps.list().map(({ map, entries }) => [map, entries]));
      const named = ({ name, cached }: { name: string; cached: boolean }): MapModel => {
        const entries = counted.get(name);
        return { name, ...(entries === undefined ? {} : { entries }), errors: 0, cached };
      };
      return [
        ...programs.pinnedMaps.toSorted().map(name => ({ name, cached: CACHED.has(name) })),
        ...store.list().map(e => ({ name: `cilium_policy_${e.id}`, cached: false })),
      ].map(named);
    },
  };
}
