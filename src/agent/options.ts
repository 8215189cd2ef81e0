import { hostname } from 'node:os';
import { parseListenAddress } from '../base/health-server.ts';
import type { LogLevel } from '../base/log.ts';
import { daemonUsage, parseDaemonCommandLine } from '../config/index.ts';

/** Where an agent keeps its things and whom it serves. Paths are those of the node it runs on. */
export interface AgentOptions {
  nodeName: string;
  /** Undefined in a Pod that is to use its service account. */
  kubeconfig: string | undefined;
  /** Reads the configuration's flat keys. */
  readFlat(): Record<string, string>;
  /** The node's address on the underlay; taken from the Node object when absent. */
  nodeIp?: string;
  socket: string;
  socketGroup?: string;
  stateDir: string;
  bpfRoot: string;
  /** Cgroup v2 whose processes are served at their sockets; the whole tree when absent. */
  cgroupRoot?: string;
  cniConfDir: string;
  /** Where the CNI plugin is installed when the datapath is ready; undefined: somebody else has installed it. */
  cniBinDir?: string;
  /** Where `/proc` of the node is, whose `sys/net` is written; a container's own is read-only. */
  procfs: string;
  /** File with the destinations that are not masqueraded; need not be there. */
  masqueradeList: string;
  /** Namespace of the installation, whose CiliumNodeConfigs count. */
  k8sNamespace: string;
  /** `[ADDRESS]:PORT` for probes; nowhere when undefined. */
  healthAddress?: string;
  /** `[ADDRESS]:PORT`; instead of what the configuration says. */
  metricsAddress?: string;
  logLevel: LogLevel;
}

const PROGRAM = 'fimbria-agent';

const FLAGS = {
  'node-name': ['NAME', "this node's name in the cluster (default: $K8S_NODE_NAME or the host name)"],
  'node-ip': ['IP', "this node's address (default: InternalIP of the Node object)"],
  socket: ['PATH', 'where the API is served (default: /run/fimbria/fimbria.sock)'],
  'socket-group': ['GROUP', 'group that may use the socket (default: root only)'],
  'state-dir': ['DIR', 'endpoint state, gone with a reboot (default: /run/fimbria/state)'],
  'bpf-root': ['DIR', 'where bpffs is mounted (default: /sys/fs/bpf)'],
  'cgroup-root': ['DIR', 'where cgroup2 is mounted (default: found by itself)'],
  'cni-conf-dir': ['DIR', 'where the CNI configuration goes (default: /etc/cni/net.d)'],
  'cni-bin-dir': ['DIR', 'where the CNI plugin is installed when ready (default: nowhere)'],
  'ip-masq-agent-config-path': [
    'PATH',
    'file with the destinations that are not masqueraded (default: /etc/config/ip-masq-agent)',
  ],
  procfs: ['DIR', "the node's /proc, for its sysctls (default: /proc)"],
  'k8s-namespace': ['NAME', 'where CiliumNodeConfigs are (default: $CILIUM_K8S_NAMESPACE or kube-system)'],
  'health-address': [
    'ADDR',
    'where /healthz and /livez are served, such as 127.0.0.1:9879 (default: nowhere)',
  ],
  'metrics-address': [
    'ADDR',
    'where metrics are served, such as :9962 (default: as configured, else nowhere)',
  ],
  lab: ['NAME', 'the lab this agent belongs to; only a mark on the command line'],
} as const;

/** The text of `fimbria-agent --help`. */
export function agentUsage(): string {
  return daemonUsage(PROGRAM, 'the daemon that runs on every node', FLAGS);
}

/**
 * Reads the command line. `undefined` when help was asked for.
 * @throws FimbriaError USAGE naming the flag
 */
export function parseAgentOptions(argv: string[], env: NodeJS.ProcessEnv): AgentOptions | undefined {
  const line = parseDaemonCommandLine(PROGRAM, FLAGS, argv, env);
  if (!line) return undefined;
  const { text, kubeconfig, readFlat, logLevel } = line;
  const nodeIp = text('node-ip');
  const socketGroup = text('socket-group');
  const metricsAddress = text('metrics-address');
  if (metricsAddress) parseListenAddress(metricsAddress, 'metrics address');
  const healthAddress = text('health-address');
  if (healthAddress) parseListenAddress(healthAddress, 'health address');
  const cniBinDir = text('cni-bin-dir');
  const cgroupRoot = text('cgroup-root');
  return {
    nodeName: text('node-name') ?? env['K8S_NODE_NAME'] ?? hostname(),
    kubeconfig,
    readFlat,
    ...(nodeIp ? { nodeIp } : {}),
    socket: text('socket') ?? '/run/fimbria/fimbria.sock',
    ...(socketGroup ? { socketGroup } : {}),
    stateDir: text('state-dir') ?? '/run/fimbria/state',
    bpfRoot: text('bpf-root') ?? '/sys/fs/bpf',
    ...(cgroupRoot ? { cgroupRoot } : {}),
    cniConfDir: text('cni-conf-dir') ?? '/etc/cni/net.d',
    ...(cniBinDir ? { cniBinDir } : {}),
    procfs: text('procfs') ?? '/proc',
    masqueradeList: text('ip-masq-agent-config-path') ?? '/etc/config/ip-masq-agent',
    k8sNamespace: text('k8s-namespace') ?? env['CILIUM_K8S_NAMESPACE'] ?? 'kube-system',
    ...(healthAddress ? { healthAddress } : {}),
    ...(metricsAddress ? { metricsAddress } : {}),
    logLevel,
  };
}
