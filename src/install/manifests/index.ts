import { MASQUERADE_LIST } from '../../config/deployment.ts';
import { Builtin, json, namespace, type Template, when } from '../template.ts';
import { agentDaemonSet } from './agent.ts';
import { CONFIG_MAP, labelsOf, MASQUERADE_LIST_MAP } from './names.ts';
import { operatorDeployment } from './operator.ts';
import { agentAccount, operatorAccount } from './rbac.ts';

const configMap: Template = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: CONFIG_MAP, namespace, labels: labelsOf(CONFIG_MAP) },
  data: new Builtin('flat'),
};

/** Cilium's, and of the same form; without the value it is left to whoever makes one. */
const masqueradeList: Template = when(MASQUERADE_LIST, {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: MASQUERADE_LIST_MAP, namespace, labels: labelsOf(MASQUERADE_LIST_MAP) },
  data: { config: json(MASQUERADE_LIST) },
});

/** Everything of an installation but the CustomResourceDefinitions, by the file of the chart that it is in, in order. */
export const manifests: Readonly<Record<string, readonly Template[]>> = {
  'cilium-configmap': [configMap],
  'cilium-ip-masq-agent': [masqueradeList],
  'cilium-agent-rbac': agentAccount,
  'cilium-agent-daemonset': [agentDaemonSet],
  'cilium-operator-rbac': operatorAccount.map(object => when('operator.enabled', object)),
  'cilium-operator-deployment': [when('operator.enabled', operatorDeployment)],
};
