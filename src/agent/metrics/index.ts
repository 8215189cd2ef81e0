import { renderMetrics } from '../../base/metrics/text.ts';
import { packageVersion } from '../../base/paths.ts';
import { reservedIdentities } from '../../identity/index.ts';
import { l2ResponderMap } from '../../maps/l2.ts';
import { metricsMap } from '../../maps/metrics.ts';
import { mapOps } from '../../maps/ops.ts';
import type { AgentParts } from '../agent.ts';
import { metricFamilies } from './families.ts';
import { Histogram } from './histogram.ts';
import { LogCounts } from './log-counts.ts';
import type { AnnouncedFacts, ServiceFacts } from './service-families.ts';

export { MetricsServer } from '../../base/metrics/server.ts';

/** What is counted while the agent runs, beside what can be asked of its parts at any time. */
export class AgentMetrics {
  readonly apiTimes = new Histogram();
  readonly logs = new LogCounts();

  /** The text of one scrape. Milliseconds at most: nothing is walked that grows with the cluster. */
  render(parts: AgentParts): string {
    const { datapath, endpoints, view } = parts;
    const { user, system } = process.cpuUsage();
    const { bootstrapSeconds } = parts.readiness;
    return renderMetrics(
      metricFamilies({
        version: packageVersion(),
        nodeName: parts.node.name,
        clusterName: parts.config.clusterName,
        // What is in the store was admitted; the node itself has a place in `endpoint list`, too.
        endpointStates: { ready: endpoints.store.list().length + 1 },
        ipam: parts.ipam.pools.usage(),
        flowGc: {
          runs: parts.flowGc.runs,
          results: parts.flowGc.results,
          durations: parts.flowGc.durations.samples(),
        },
        services: serviceFacts(parts),
        announced: announcedFacts(parts),
        ipamViolations: parts.audit.problems.length,
        maps: parts.maps.list(),
        mapOps: datapath.programs.pinnedMaps.flatMap(map => {
          const ops = mapOps(datapath.programs.map(map).id);
          return ops ? [{ map, ops }] : [];
        }),
        datapath: metricsMap(datapath.programs.map('cilium_metrics')).rows(),
        controllers: parts.controllers.status(),
        ...(bootstrapSeconds === undefined ? {} : { bootstrapSeconds }),
        apiTimes: this.apiTimes.samples(),
        logLines: this.logs.samples(),
        client: parts.client,
        cluster: parts.prober.summary(),
        identities: {
          reserved: Object.keys(reservedIdentities).length,
          cluster_local: view.identities.list().length,
        },
        repaired: parts.drift.summary,
        eventsLost: parts.monitor.lost,
        monitorClients: parts.monitor.clients,
        process: {
          residentBytes: process.memoryUsage.rss(),
          cpuSeconds: (user + system) / 1e6,
          startSeconds: performance.timeOrigin / 1000,
        },
      }),
    );
  }
}

function serviceFacts({ datapath, services }: AgentParts): ServiceFacts | undefined {
  const table = datapath.services;
  if (!table || !services) return undefined;
  const { events, delays } = services.times;
  return { events, delays: delays.samples(), entries: { ...table.entries }, refused: table.refused.length };
}

function announcedFacts({ datapath }: AgentParts): AnnouncedFacts | undefined {
  if (!datapath.announced) return undefined;
  const entries = [...l2ResponderMap(datapath.programs.map('cilium_l2_responder_v4')).entries()];
  return {
    addresses: entries.length,
    responses: entries.reduce((sum, [, { responses }]) => sum + Number(responses), 0),
  };
}
