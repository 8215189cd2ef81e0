import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { parseListenAddress } from '../base/health-server.ts';
import type { LogLevel } from '../base/log.ts';
import { daemonUsage, parseDaemonCommandLine } from '../config/index.ts';

/** How one operator process is run. */
export interface OperatorOptions {
  /** Undefined in a Pod that is to use its service account. */
  kubeconfig: string | undefined;
  /** Reads the configuration's flat keys. */
  readFlat(): Record<string, string>;
  /** Who this process is among several operators; the lease carries it. */
  identity: string;
  /** Namespace of the installation: the lease and the agents' Pods are there. */
  k8sNamespace: string;
  /** `[ADDRESS]:PORT` for probes; nowhere when undefined. */
  healthAddress?: string;
  /** `[ADDRESS]:PORT` for metrics; nowhere when undefined. */
  metricsAddress?: string;
  /** Take the taint off nodes whose agent is ready. */
  removeNodeTaints: boolean;
  /** Say on a node whose agent is ready that its network is available. */
  setNodeNetworkStatus: boolean;
  logLevel: LogLevel;
}

const PROGRAM = 'fimbria-operator';

const FLAGS = {
  identity: ['NAME', "this operator's name among several (default: host name and a random part)"],
  'k8s-namespace': ['NAME', 'of lease and agents (default: $CILIUM_K8S_NAMESPACE or kube-system)'],
  'health-address': [
    'ADDR',
    'where /healthz and /livez are served, such as 127.0.0.1:9234 (default: nowhere)',
  ],
  'metrics-address': ['ADDR', 'where metrics are served, such as :9963 (default: nowhere)'],
  'remove-node-taints': [
    'true|false',
    'take agent-not-ready off nodes whose agent is ready (default: false)',
  ],
  'set-node-network-status': ['true|false', 'set NetworkUnavailable of such nodes to False (default: false)'],
  lab: ['NAME', 'the lab this operator belongs to; it has one operator only'],
} as const;

/** The text of `fimbria-operator --help`. */
export function operatorUsage(): string {
  return daemonUsage(
    PROGRAM,
    'hands out pod ranges and clears away what is left over, once per cluster',
    FLAGS,
  );
}

/** Reads the command line; undefined when help was asked for. Throws USAGE that names the flag. */
export function parseOperatorOptions(argv: string[], env: NodeJS.ProcessEnv): OperatorOptions | undefined {
  const line = parseDaemonCommandLine(PROGRAM, FLAGS, argv, env);
  if (!line) return undefined;
  const lab = line.text('lab');
  const healthAddress = line.text('health-address');
  if (healthAddress) parseListenAddress(healthAddress, 'health address');
  const metricsAddress = line.text('metrics-address');
  if (metricsAddress) parseListenAddress(metricsAddress, 'metrics address');
  return {
    kubeconfig: line.kubeconfig,
    readFlat: line.readFlat,
    // A lab starts one operator at a time: with a name of its own the next one need not wait for the lease to end.
    identity: line.text('identity') ?? (lab ? `lab ${lab}` : `${hostname()}_${randomUUID()}`),
    k8sNamespace: line.text('k8s-namespace') ?? env['CILIUM_K8S_NAMESPACE'] ?? 'kube-system',
    ...(healthAddress ? { healthAddress } : {}),
    ...(metricsAddress ? { metricsAddress } : {}),
    removeNodeTaints: line.text('remove-node-taints') === 'true',
    setNodeNetworkStatus: line.text('set-node-network-status') === 'true',
    logLevel: line.logLevel,
  };
}
