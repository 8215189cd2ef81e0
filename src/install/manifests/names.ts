import { managedBy, type Template, version } from '../template.ts';

/** Names that runbooks know: Cilium's. */
export const AGENT = 'cilium';
export const OPERATOR = 'cilium-operator';
export const CONFIG_MAP = 'cilium-config';
export const MASQUERADE_LIST_MAP = 'ip-masq-agent';
export const AGENT_CONTAINER = 'cilium-agent';

/** Who has installed what has this in its label `app.kubernetes.io/managed-by`. */
export const MANAGER = 'fimbria';

/** Labels by which everything of an installation is found again. */
export const OURS = {
  'app.kubernetes.io/part-of': 'cilium',
  'app.kubernetes.io/managed-by': MANAGER,
} as const;

/** The same as a selector. */
export const OURS_SELECTOR = Object.entries(OURS)
  .map(([key, value]) => `${key}=${value}`)
  .join(',');

export const labelsOf = (name: string): { [key: string]: Template } => ({
  'app.kubernetes.io/part-of': 'cilium',
  'app.kubernetes.io/managed-by': managedBy,
  'app.kubernetes.io/name': name,
  'app.kubernetes.io/version': version,
});
