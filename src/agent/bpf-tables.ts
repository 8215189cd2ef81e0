import { existsSync } from 'node:fs';
import type {
  BpfEndpointRow,
  BpfIpcacheRow,
  BpfMetricsRow,
  BpfPolicyRow,
  BpfTable,
  MapModel,
} from '../api/types.ts';
import { FimbriaError } from '../base/errors.ts';
import { serviceMaps } from '../datapath/services/writes.ts';
import { BpfMap } from '../kernel/libbpf/index.ts';
import { metricsMap } from '../maps/metrics.ts';
import { endpointMap, ipcacheMap, policyMap } from '../maps/tables.ts';
import { l4ProtoText } from '../monitor/dissect.ts';
import { reasonText, sourceFileText } from '../monitor/index.ts';
import type { AgentParts } from './agent.ts';
import { labelsOf } from './lookups.ts';
import { ctRows, lbRows, natRows } from './service-views.ts';

const HOST_FLAG = 1;

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

  return {
    rows(table, argument) {
      if (table === 'endpoint') return endpointRows();
      if (table === 'ipcache') return ipcacheRows();
      if (table === 'metrics') return metricsRows();
      if (table === 'lb') return parts.datapath.services ? lbRows(serviceMaps(programs)) : [];
      if (table === 'ct')
        return ctRows(
          programs.map('cilium_ct4_global'),
          programs.map('cilium_ct_any4_global'),
          parts.monitor.clockOffsetS,
        );
      if (table === 'nat')
        return natRows(programs.map('cilium_snat_v4_external'), parts.monitor.clockOffsetS);
      return policyRows(argument);
    },
    maps: () => [
      { name: 'cilium_lxc', entries: endpointRows().length, errors: 0, cached: true },
      { name: 'cilium_ipcache', entries: ipcacheRows().length, errors: 0, cached: true },
      { name: 'cilium_metrics', errors: 0, cached: false },
      { name: 'cilium_policy_maps', errors: 0, cached: false },
      ...store.list().map(e => ({ name: `cilium_policy_${e.id}`, errors: 0, cached: false })),
    ],
  };
}
