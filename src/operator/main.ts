import { codeOf, messageOf } from '../base/errors.ts';
import { HealthServer } from '../base/health-server.ts';
import { createLogger } from '../base/log.ts';
import { MetricsServer } from '../base/metrics/server.ts';
import { packageVersion } from '../base/paths.ts';
import { createClient, daemonClusterConfig } from '../cluster/index.ts';
import { TIMINGS } from '../cluster/leader.ts';
import { parseFlat, unknownFlatKeys } from '../config/index.ts';
import { ServiceNotifier } from '../kernel/notify.ts';
import type { LbUsage } from './lb-ipam.ts';
import { operatorMetrics } from './metrics.ts';
import { runOperator } from './operator.ts';
import { operatorUsage, parseOperatorOptions } from './options.ts';

/** How long an orderly stop may take before the process ends anyway. */
const STOP_TIMEOUT_MS = 5_000;
/** A renewal that hangs leaves time for two more before the lease is taken for lost. */
const LEASE_TIMEOUT_MS = 3_000;

async function main(): Promise<void> {
  const options = parseOperatorOptions(process.argv.slice(2), process.env);
  if (!options) {
    process.stdout.write(operatorUsage());
    return;
  }
  const log = createLogger(options.logLevel).for('operator');
  const flat = options.readFlat();
  const config = parseFlat(flat);
  for (const key of unknownFlatKeys(flat)) log.warn('configuration key has no effect', { key });
  const cluster = daemonClusterConfig(options.kubeconfig);
  const common = { log: log.for('cluster'), userAgent: `fimbria-operator/${packageVersion()}` };
  const client = createClient(cluster, {
    ...common,
    // A write that begins in the last moment of a term has ended, one way or the other, before another term can begin.
    writeTimeoutMs: TIMINGS.leaseMs - TIMINGS.deadlineMs,
  });
  const leaseClient = createClient(cluster, { ...common, timeoutMs: LEASE_TIMEOUT_MS });
  const notifier = new ServiceNotifier(process.env);
  const abort = new AbortController();
  const stop = (signal: string): void => {
    if (abort.signal.aborted) return;
    log.info('stopping; nodes keep their ranges', { signal });
    notifier.stopping();
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
    abort.abort();
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  log.info('starting', { server: client.config.server, identity: options.identity });
  // Waiting for the lease is this process's work, too.
  const health = new HealthServer(() => undefined);
  if (options.healthAddress) await health.listen(options.healthAddress);
  let leading = false;
  let lbUsage: LbUsage | undefined;
  const metrics = new MetricsServer(() => operatorMetrics([client, leaseClient], leading, lbUsage), log);
  if (options.metricsAddress) await metrics.listen(options.metricsAddress);
  notifier.ready();
  try {
    const { identity, k8sNamespace, removeNodeTaints, setNodeNetworkStatus } = options;
    const readiness = { removeTaints: removeNodeTaints, setNetworkStatus: setNodeNetworkStatus };
    const onLeading = (now: boolean): void => {
      leading = now;
      // Another one knows better from now on.
      if (!now) lbUsage = undefined;
    };
    const onLbUsage = (usage: LbUsage): void => {
      lbUsage = usage;
    };
    await runOperator(
      { client, leaseClient, config, identity, k8sNamespace, readiness, onLeading, onLbUsage, log },
      abort.signal,
    );
  } finally {
    await health.close();
    if (options.metricsAddress) await metrics.close();
    client.close();
    leaseClient.close();
  }
}

main().then(
  () => process.exit(0),
  error => {
    process.stderr.write(`fimbria-operator: ${messageOf(error)}\n`);
    process.exit(codeOf(error) === 'USAGE' ? 2 : 1);
  },
);
