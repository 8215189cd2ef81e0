import { namespace, type Template } from '../template.ts';
import { AGENT, labelsOf, OPERATOR } from './names.ts';

const READ = ['get', 'list', 'watch'];
const RBAC = 'rbac.authorization.k8s.io';

interface Rule {
  [key: string]: Template;
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

const rule = (group: string, resources: string[], verbs: string[]): Rule => ({
  apiGroups: [group],
  resources,
  verbs,
});

/** What an agent may do in the whole cluster: read what it routes by, write what its node is and has. */
const AGENT_RULES: Rule[] = [
  rule('', ['namespaces', 'nodes', 'pods'], READ),
  rule('', ['events'], ['create', 'patch']),
  rule('cilium.io', ['ciliumnodes'], [...READ, 'create', 'update', 'patch']),
  rule('cilium.io', ['ciliumnodes/status'], ['update', 'patch']),
  rule('cilium.io', ['ciliumendpoints'], [...READ, 'create', 'update', 'patch', 'delete']),
  rule('cilium.io', ['ciliumidentities'], [...READ, 'create']),
  rule('cilium.io', ['ciliumpodippools'], READ),
];

/** In its own namespace only. */
const AGENT_LOCAL_RULES: Rule[] = [rule('cilium.io', ['ciliumnodeconfigs'], READ)];

const OPERATOR_RULES: Rule[] = [
  rule('', ['nodes', 'pods'], READ),
  rule('', ['nodes', 'nodes/status'], ['patch']),
  rule('', ['events'], ['create', 'patch']),
  rule('cilium.io', ['ciliumnodes'], [...READ, 'update', 'patch', 'delete']),
  rule('cilium.io', ['ciliumnodes/status', 'ciliumpodippools/status'], ['update', 'patch']),
  rule('cilium.io', ['ciliumendpoints', 'ciliumidentities'], [...READ, 'delete']),
  rule('cilium.io', ['ciliumpodippools'], [...READ, 'create', 'update', 'patch', 'delete']),
];

const OPERATOR_LOCAL_RULES: Rule[] = [rule('coordination.k8s.io', ['leases'], ['get', 'create', 'update'])];

function account(name: string, rules: Rule[], local: Rule[]): Template[] {
  const labels = labelsOf(name);
  const subjects = [{ kind: 'ServiceAccount', name, namespace }];
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace, labels } },
    { apiVersion: `${RBAC}/v1`, kind: 'ClusterRole', metadata: { name, labels }, rules },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name, labels },
      roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name },
      subjects,
    },
    { apiVersion: `${RBAC}/v1`, kind: 'Role', metadata: { name, namespace, labels }, rules: local },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'RoleBinding',
      metadata: { name, namespace, labels },
      roleRef: { apiGroup: RBAC, kind: 'Role', name },
      subjects,
    },
  ];
}

/** Accounts and what they may do. */
export const agentAccount = account(AGENT, AGENT_RULES, AGENT_LOCAL_RULES);
export const operatorAccount = account(OPERATOR, OPERATOR_RULES, OPERATOR_LOCAL_RULES);
