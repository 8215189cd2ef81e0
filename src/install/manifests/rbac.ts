import { LEASE_NAME } from '../../config/index.ts';
import { namespace, type Template } from '../template.ts';
import { AGENT, labelsOf, OPERATOR } from './names.ts';

const RBAC = 'rbac.authorization.k8s.io';

/** A rule of RBAC. */
export type Rule = {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
  /** Only objects of these names. */
  resourceNames?: string[];
};

/** What a service account may do: in the whole cluster, and in the namespace of the installation only. */
export interface Rights {
  readonly cluster: readonly Rule[];
  readonly home: readonly Rule[];
}

const rule = (group: string, resources: string[], verbs: string[]): Rule => ({
  apiGroups: [group],
  resources,
  verbs,
});

/**
 * Agents read what they route by, and write what their node is and has. RBAC cannot say "its own" of a DaemonSet, whose
 * Pods share one account. Every verb here is used, and no other: tests hold agent and operator to it.
 */
export const AGENT_RIGHTS: Rights = {
  cluster: [
    rule('', ['namespaces', 'pods'], ['get', 'list', 'watch']),
    rule('', ['nodes'], ['get', 'list', 'watch']),
    rule('', ['services'], ['list', 'watch']),
    rule('discovery.k8s.io', ['endpointslices'], ['list', 'watch']),
    rule('', ['events'], ['create', 'patch']),
    rule('cilium.io', ['ciliumnodes'], ['get', 'list', 'watch', 'create', 'patch']),
    rule('cilium.io', ['ciliumnodes/status'], ['patch']),
    rule('cilium.io', ['ciliumendpoints'], ['list', 'watch', 'create', 'patch', 'delete']),
    rule('cilium.io', ['ciliumidentities'], ['get', 'list', 'watch', 'create']),
    rule('cilium.io', ['ciliumpodippools'], ['get', 'list', 'watch']),
    rule('cilium.io', ['ciliuml2announcementpolicies'], ['list', 'watch']),
    rule('cilium.io', ['ciliuml2announcementpolicies/status'], ['patch']),
  ],
  home: [
    rule('cilium.io', ['ciliumnodeconfigs'], ['list']),
    // One for each Service that is announced: their names are not known before.
    rule('coordination.k8s.io', ['leases'], ['get', 'list', 'watch', 'create', 'update', 'delete']),
  ],
};

export const OPERATOR_RIGHTS: Rights = {
  cluster: [
    rule('', ['nodes'], ['get', 'list', 'watch', 'patch']),
    rule('', ['nodes/status'], ['patch']),
    rule('', ['pods'], ['get', 'list', 'watch']),
    rule('', ['events'], ['create', 'patch']),
    rule('cilium.io', ['ciliumnodes'], ['get', 'list', 'watch', 'patch', 'delete']),
    rule('cilium.io', ['ciliumnodes/status', 'ciliumpodippools/status'], ['patch']),
    rule('cilium.io', ['ciliumendpoints', 'ciliumidentities'], ['list', 'watch', 'delete']),
    rule('cilium.io', ['ciliumpodippools'], ['list', 'watch', 'create', 'patch']),
    rule('', ['services'], ['list', 'watch']),
    rule('', ['services/status'], ['patch']),
    rule('cilium.io', ['ciliumloadbalancerippools'], ['list', 'watch']),
    rule('cilium.io', ['ciliumloadbalancerippools/status'], ['patch']),
  ],
  home: [
    rule('coordination.k8s.io', ['leases'], ['create']),
    { ...rule('coordination.k8s.io', ['leases'], ['get', 'update']), resourceNames: [LEASE_NAME] },
  ],
};

function account(name: string, { cluster, home }: Rights): Template[] {
  const labels = labelsOf(name);
  const subjects = [{ kind: 'ServiceAccount', name, namespace }];
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace, labels } },
    { apiVersion: `${RBAC}/v1`, kind: 'ClusterRole', metadata: { name, labels }, rules: [...cluster] },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name, labels },
      roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name },
      subjects,
    },
    { apiVersion: `${RBAC}/v1`, kind: 'Role', metadata: { name, namespace, labels }, rules: [...home] },
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
export const agentAccount = account(AGENT, AGENT_RIGHTS);
export const operatorAccount = account(OPERATOR, OPERATOR_RIGHTS);
