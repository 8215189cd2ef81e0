import { Builtin, namespace, type Template, when } from '../template.ts';
import { agentDaemonSet } from './agent.ts';
import { CONFIG_MAP, labelsOf } from './names.ts';
import { operatorDeployment } from './operator.ts';
import { agentAccount, operatorAccount } from './rbac.ts';

const configMap: Template = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: CONFIG_MAP, namespace, labels: labelsOf(CONFIG_MAP) },
  data: new Builtin('flat'),
};

/** Everything of an installation but the CustomResourceDefinitions, by the file of the chart that it is in, in order. */
export const manifests: Readonly<Record<string, readonly Template[]>> = {
  'cilium-configmap': [configMap],
  'cilium-agent-rbac': agentAccount,
  'cilium-agent-daemonset': [agentDaemonSet],
  'cilium-operator-rbac': operatorAccount.map(object => when('operator.enabled', object)),
  'cilium-operator-deployment': [when('operator.enabled', operatorDeployment)],
};
