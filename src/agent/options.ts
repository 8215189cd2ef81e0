import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { FimbriaError } from '../base/errors.ts';
import { LOG_LEVELS, type LogLevel } from '../base/log.ts';
import { parseMetricsAddress } from './metrics/server.ts';

/** Where an agent keeps its things and whom it serves. Paths are those of the node it runs on. */
export interface AgentOptions {
  nodeName: string;
  kubeconfig: string;
  configDir: string;
  /** The node's address on the underlay; taken from the Node object when absent. */
  nodeIp?: string;
  socket: string;
  socketGroup?: string;
  stateDir: string;
  bpfRoot: string;
  cniConfDir: string;
  /** `[ADDRESS]:PORT`; instead of what the configuration says. */
  metricsAddress?: string;
  logLevel: LogLevel;
}

const FLAGS = {
  'node-name': ['NAME', "this node's name in the cluster (default: $K8S_NODE_NAME or the host name)"],
  kubeconfig: ['FILE', 'how to reach the API server (default: $KUBECONFIG)'],
  'config-dir': ['DIR', 'folder of flat keys, as a mounted ConfigMap (default: /etc/fimbria/config)'],
  'node-ip': ['IP', "this node's address (default: InternalIP of the Node object)"],
  socket: ['PATH', 'where the API is served (default: /run/fimbria/fimbria.sock)'],
  'socket-group': ['GROUP', 'group that may use the socket (default: root only)'],
  'state-dir': ['DIR', 'endpoint state, gone with a reboot (default: /run/fimbria/state)'],
  'bpf-root': ['DIR', 'where bpffs is mounted (default: /sys/fs/bpf)'],
  'cni-conf-dir': ['DIR', 'where the CNI configuration goes (default: /etc/cni/net.d)'],
  'metrics-address': [
    'ADDR',
    'where metrics are served, such as :9962 (default: as configured, else nowhere)',
  ],
  lab: ['NAME', 'the lab this agent belongs to; only a mark on the command line'],
  'log-level': ['LEVEL', `${LOG_LEVELS.join(', ')} (default: info)`],
} as const;

/** The text of `fimbria-agent --help`. */
export function agentUsage(): string {
  const rows = Object.entries(FLAGS).map(
    ([flag, [value, text]]) => `  ${`--${flag} ${value}`.padEnd(24)}${text}`,
  );
  return `fimbria-agent: the daemon that runs on every node\n\nFlags:\n${rows.join('\n')}\n  --help                  this text\n`;
}

/**
 * Reads the command line. `undefined` when help was asked for.
 * @throws FimbriaError USAGE naming the flag
 */
export function parseAgentOptions(argv: string[], env: NodeJS.ProcessEnv): AgentOptions | undefined {
  const options = Object.fromEntries(Object.keys(FLAGS).map(flag => [flag, { type: 'string' as const }]));
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({ args: argv, options: { ...options, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error));
  }
  if (values['help']) return undefined;
  const text = (flag: keyof typeof FLAGS): string | undefined => values[flag] as string | undefined;
  const kubeconfig = text('kubeconfig') ?? env['KUBECONFIG'];
  if (!kubeconfig) throw usage('--kubeconfig is missing');
  const logLevel = text('log-level') ?? 'info';
  if (!LOG_LEVELS.includes(logLevel as LogLevel))
    throw usage(`--log-level ${logLevel} is not one of ${LOG_LEVELS.join(', ')}`);
  const nodeIp = text('node-ip');
  const socketGroup = text('socket-group');
  const metricsAddress = text('metrics-address');
  if (metricsAddress) parseMetricsAddress(metricsAddress);
  return {
    nodeName: text('node-name') ?? env['K8S_NODE_NAME'] ?? hostname(),
    kubeconfig,
    configDir: text('config-dir') ?? '/etc/fimbria/config',
    ...(nodeIp ? { nodeIp } : {}),
    socket: text('socket') ?? '/run/fimbria/fimbria.sock',
    ...(socketGroup ? { socketGroup } : {}),
    stateDir: text('state-dir') ?? '/run/fimbria/state',
    bpfRoot: text('bpf-root') ?? '/sys/fs/bpf',
    cniConfDir: text('cni-conf-dir') ?? '/etc/cni/net.d',
    ...(metricsAddress ? { metricsAddress } : {}),
    logLevel: logLevel as LogLevel,
  };
}

function usage(why: string): FimbriaError {
  return new FimbriaError({
    code: 'USAGE',
    op: 'read',
    object: 'command line',
    why,
    hint: 'see fimbria-agent --help',
  });
}
