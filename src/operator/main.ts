import { codeOf, messageOf } from '../base/errors.ts';
import { HealthServer } from '../base/health-server.ts';
import { createLogger } from '../base/log.ts';
import { createClient, daemonClusterConfig } from '../cluster/index.ts';
import { parseFlat, unknownFlatKeys } from '../config/index.ts';
import { ServiceNotifier } from '../kernel/notify.ts';
import { runOperator } from './operator.ts';
import { operatorUsage, parseOperatorOptions } from './options.ts';

/** How long an orderly stop may take before the process ends anyway. */
const STOP_TIMEOUT_MS = 5_000;

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
  const client = createClient(daemonClusterConfig(options.kubeconfig), {
    log,
    userAgent: 'fimbria-operator',
  });
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
  notifier.ready();
  try {
    const { identity, k8sNamespace, removeNodeTaints, setNodeNetworkStatus } = options;
    const readiness = { removeTaints: removeNodeTaints, setNetworkStatus: setNodeNetworkStatus };
    await runOperator({ client, config, identity, k8sNamespace, readiness, log }, abort.signal);
  } finally {
    await health.close();
    client.close();
  }
}

main().then(
  () => process.exit(0),
  error => {
    process.stderr.write(`fimbria-operator: ${messageOf(error)}\n`);
    process.exit(codeOf(error) === 'USAGE' ? 2 : 1);
  },
);
