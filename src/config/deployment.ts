import { nonMasqueradeCidrsOf } from './masquerade-list.ts';
import { badValue } from './place.ts';
import { isTree, mergeValues, type Values } from './tree.ts';

/** The Lease of the operators: the name that Cilium's use, so that never both run. */
export const LEASE_NAME = 'cilium-operator-resource-lock';

/** One Helm value that says how agent and operator are deployed on Kubernetes; it has no flat key. */
export interface DeploymentSetting {
  /** Dotted Helm path, Cilium's. */
  readonly path: string;
  /** `table` and `list` are handed to Kubernetes as they are, which checks them. */
  readonly kind: 'boolean' | 'integer' | 'text' | 'list' | 'table';
  readonly default: boolean | number | string | readonly unknown[] | Values;
  readonly doc: string;
  /** It means something in a lab, too. */
  readonly lab?: boolean;
}

/** What `ip-masq-agent` is told; checked here, since agents that refuse it would only go on with what they had. */
export const MASQUERADE_LIST = 'ipMasqAgent.config';

const EVERYWHERE = [{ operator: 'Exists' }];
const LINUX = { 'kubernetes.io/os': 'linux' };

const row = (
  path: string,
  kind: DeploymentSetting['kind'],
  initial: DeploymentSetting['default'],
  doc: string,
): DeploymentSetting => ({ path, kind, default: initial, doc });

/** Every value of the deployment. Nothing of it means anything in a lab. */
export const deploymentSettings: readonly DeploymentSetting[] = [
  row('image.repository', 'text', 'fimbria', 'Image of agent and operator, as `scripts/image.mjs` names it.'),
  row('image.tag', 'text', '', 'Its tag; the version when empty.'),
  row('image.digest', 'text', '', 'Its digest, `sha256:…`; then the tag is only for people.'),
  row('image.pullPolicy', 'text', 'IfNotPresent', 'When it is pulled.'),
  row('imagePullSecrets', 'list', [], 'Secrets to pull it with.'),
  row(
    'k8sServiceHost',
    'text',
    '',
    "The API server's address where no kube-proxy serves the Service `kubernetes`. `fimbria install` finds it by itself.",
  ),
  row('k8sServicePort', 'integer', 6443, 'Its port.'),
  row('healthPort', 'integer', 9879, "The agent's /healthz and /livez, on 127.0.0.1 of the node."),
  {
    ...row(
      MASQUERADE_LIST,
      'table',
      {},
      'What the ConfigMap `ip-masq-agent` says: `nonMasqueradeCIDRs` and `masqLinkLocal`. Without it that ConfigMap is yours.',
    ),
    lab: true,
  },
  row('debug.enabled', 'boolean', false, 'Verbose logs.'),
  row('rollOutCiliumPods', 'boolean', true, 'Restart agents when the configuration changes.'),
  // Measured, 30 pods on a node: 84 MB and 4 m of CPU at rest; 100 MB at 250 pods; the rest is for bursts of pods.
  row('resources', 'table', { requests: { cpu: '25m', memory: '128Mi' } }, 'Of the agent.'),
  row('nodeSelector', 'table', LINUX, 'Nodes that get an agent.'),
  row('tolerations', 'list', EVERYWHERE, 'Taints that do not keep it away.'),
  row('affinity', 'table', {}, 'Of the agent.'),
  row('priorityClassName', 'text', 'system-node-critical', 'Of the agent.'),
  row('podAnnotations', 'table', {}, "More annotations of the agent's Pods."),
  row('podLabels', 'table', {}, "More labels of the agent's Pods."),
  row(
    'updateStrategy',
    'table',
    { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 2 } },
    'How a new version comes to the nodes.',
  ),
  row('terminationGracePeriodSeconds', 'integer', 10, 'It ends within 5 s by itself.'),
  row('extraArgs', 'list', [], 'More arguments of the agent.'),
  row('extraEnv', 'list', [], 'More environment of the agent.'),
  row('cni.install', 'boolean', true, 'The agent installs the CNI plugin when it is ready.'),
  row('cni.binPath', 'text', '/opt/cni/bin', 'Folder of CNI plugins on the nodes.'),
  row('cni.confPath', 'text', '/etc/cni/net.d', 'Folder of CNI configurations on the nodes.'),
  row('securityContext.privileged', 'boolean', false, 'Run the agent privileged instead of by capabilities.'),
  row(
    'securityContext.capabilities.ciliumAgent',
    'list',
    // Measured: the first three are needed. The last is for CNI folders on the node that somebody else owns.
    ['NET_ADMIN', 'NET_RAW', 'SYS_ADMIN', 'DAC_OVERRIDE'],
    'Capabilities of the agent.',
  ),
  row('startupProbe.periodSeconds', 'integer', 2, 'Of the agent.'),
  row('startupProbe.failureThreshold', 'integer', 150, 'Of the agent.'),
  row('livenessProbe.periodSeconds', 'integer', 30, 'Of the agent.'),
  row('livenessProbe.failureThreshold', 'integer', 10, 'Of the agent.'),
  row('readinessProbe.periodSeconds', 'integer', 5, 'Of the agent.'),
  row('readinessProbe.failureThreshold', 'integer', 3, 'Of the agent.'),
  row('operator.enabled', 'boolean', true, 'Deploy the operator.'),
  row('operator.replicas', 'integer', 2, 'Operators; one leads.'),
  row('operator.resources', 'table', { requests: { cpu: '10m', memory: '96Mi' } }, 'Of the operator.'),
  row('operator.nodeSelector', 'table', LINUX, 'Nodes that may run the operator.'),
  row('operator.tolerations', 'list', EVERYWHERE, 'Taints that do not keep it away.'),
  row(
    'operator.affinity',
    'table',
    {
      podAntiAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [
          {
            labelSelector: { matchLabels: { 'io.cilium/app': 'operator' } },
            topologyKey: 'kubernetes.io/hostname',
          },
        ],
      },
    },
    'One operator a node.',
  ),
  row('operator.priorityClassName', 'text', 'system-cluster-critical', 'Of the operator.'),
  row('operator.podAnnotations', 'table', {}, "More annotations of the operator's Pods."),
  row('operator.podLabels', 'table', {}, "More labels of the operator's Pods."),
  row('operator.extraArgs', 'list', [], 'More arguments of the operator.'),
  row('operator.extraEnv', 'list', [], 'More environment of the operator.'),
  row('operator.healthPort', 'integer', 9234, "The operator's /healthz and /livez, on 127.0.0.1."),
  row(
    'operator.removeNodeTaints',
    'boolean',
    true,
    'Take `node.cilium.io/agent-not-ready` off a node whose agent is ready.',
  ),
  row(
    'operator.setNodeNetworkStatus',
    'boolean',
    true,
    'Set the condition NetworkUnavailable of a node whose agent is ready to False.',
  ),
];

/** Rows by path. */
export const deploymentByPath: ReadonlyMap<string, DeploymentSetting> = new Map(
  deploymentSettings.map(setting => [setting.path, setting]),
);

/** The value at a dotted path; undefined when any step is missing. Pure. */
export function valueAt(values: Values, path: string): unknown {
  let at: unknown = values;
  for (const step of path.split('.')) {
    if (!isTree(at)) return undefined;
    at = at[step];
  }
  return at;
}

/**
 * The deployment's values with defaults filled in, as a tree of its own. What else is in `values` is not looked at: see
 * `valuesToFlat`. Tables go over their defaults, as Helm has it. Pure. @throws FimbriaError BAD_VALUES with the path
 */
export function deploymentValues(values: Values): Values {
  const result: Values = {};
  for (const setting of deploymentSettings) {
    const steps = setting.path.split('.');
    const last = steps.pop()!;
    let at = result;
    for (const step of steps) {
      at[step] ??= {};
      at = at[step] as Values;
    }
    at[last] = read(setting, valueAt(values, setting.path));
  }
  return result;
}

function read(setting: DeploymentSetting, raw: unknown): unknown {
  if (raw === undefined || raw === null) return setting.default;
  const refuse = (what: string) =>
    badValue({ source: 'values', key: setting.path }, `${JSON.stringify(raw)} is not ${what}`);
  switch (setting.kind) {
    case 'boolean':
      if (raw === true || raw === 'true') return true;
      if (raw === false || raw === 'false') return false;
      throw refuse('true or false');
    case 'integer': {
      const number = typeof raw === 'string' && /^\d{1,9}$/.test(raw) ? Number(raw) : raw;
      if (typeof number === 'number' && Number.isInteger(number) && number >= 0) return number;
      throw refuse('a whole number');
    }
    case 'text':
      if (typeof raw === 'string') return raw;
      if (typeof raw === 'number') return String(raw);
      throw refuse('a text');
    case 'list':
      return Array.isArray(raw) ? raw : [raw];
    case 'table':
      if (setting.path === MASQUERADE_LIST) nonMasqueradeCidrsOf(raw);
      if (isTree(raw)) return mergeValues(setting.default as Values, raw);
      throw refuse('a table');
  }
}
