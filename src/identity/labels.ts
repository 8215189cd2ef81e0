/** What of a pod and its namespace takes part in its identity. */
export interface LabelledPod {
  readonly metadata: { readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: { readonly serviceAccountName?: string };
}
export interface LabelledNamespace {
  readonly metadata: { readonly labels?: Readonly<Record<string, string>> };
}

/*
 * Which label keys make an identity, by Cilium's default filter: labels that controllers put on every pod anew
 * would give each pod an identity of its own. The longest prefix that fits decides; none means yes.
 */
const filter: readonly (readonly [prefix: string, relevant: boolean])[] = [
  ['io.kubernetes.pod.namespace', true],
  ['io.cilium.k8s.', true],
  ['app.kubernetes.io', true],
  ['io.kubernetes', false],
  ['kubernetes.io', false],
  ['k8s.io', false],
  ['node.kubernetes.io', false],
  ['statefulset.kubernetes.io/pod-name', false],
  ['apps.kubernetes.io/pod-index', false],
  ['batch.kubernetes.io/job-completion-index', false],
  ['batch.kubernetes.io/controller-uid', false],
  ['controller-uid', false],
  ['pod-template-generation', false],
  ['pod-template-hash', false],
  ['controller-revision-hash', false],
  ['annotation.', false],
  ['etcd_node', false],
];

function isRelevant(key: string): boolean {
  if (/^[^/]*beta\.kubernetes\.io/.test(key)) return false;
  let best: readonly [string, boolean] = ['', true];
  for (const rule of filter) {
    if (key.startsWith(rule[0]) && rule[0].length > best[0].length) best = rule;
  }
  return best[1];
}

/** Code-unit order, the same on every node whatever its locale. */
export function sortLabels(labels: Iterable<string>): string[] {
  return [...new Set(labels)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** `key=value`; a label without value is its key alone, as Cilium prints it. */
function labelText(key: string, value: string): string {
  return value === '' ? key : `${key}=${value}`;
}

/**
 * The security labels of a pod, `k8s:key=value`, sorted. Pure.
 * An unknown namespace contributes its name only.
 */
export function securityLabels(
  pod: LabelledPod,
  namespace: LabelledNamespace | undefined,
  clusterName: string,
): string[] {
  const labels = new Map<string, string>();
  for (const [key, value] of Object.entries(pod.metadata.labels ?? {})) {
    if (isRelevant(key)) labels.set(key, value);
  }
  for (const [key, value] of Object.entries(namespace?.metadata.labels ?? {})) {
    labels.set(`io.cilium.k8s.namespace.labels.${key}`, value);
  }
  // Set last: a pod cannot give itself another namespace by a label of that name.
  labels.set('io.cilium.k8s.policy.cluster', clusterName);
  labels.set('io.cilium.k8s.policy.serviceaccount', pod.spec?.serviceAccountName || 'default');
  labels.set('io.kubernetes.pod.namespace', pod.metadata.namespace ?? 'default');
  return sortLabels([...labels].map(([key, value]) => labelText(`k8s:${key}`, value)));
}

/** `k8s:app=x` to the map form of a CiliumIdentity's `security-labels`: source and key to value. */
export function labelsToMap(labels: Iterable<string>): Record<string, string> {
  return Object.fromEntries(
    sortLabels(labels).map(label => {
      const equals = label.indexOf('=');
      return equals < 0 ? [label, ''] : [label.slice(0, equals), label.slice(equals + 1)];
    }),
  );
}

/** What Kubernetes takes for a label's value; the name of a service account may be longer. */
const LONGEST_LABEL_VALUE = 63;

/**
 * The labels that a CiliumIdentity carries itself, so that selectors and its NAMESPACE column find it: those of the
 * pod, without their source. Labels of the namespace would be no valid keys. Pure.
 */
export function identityObjectLabels(labels: Iterable<string>): Record<string, string> {
  const ofPod = Object.entries(labelsToMap(labels)).flatMap(([key, value]) =>
    key.startsWith('k8s:') &&
    !key.startsWith('k8s:io.cilium.k8s.namespace.labels.') &&
    value.length <= LONGEST_LABEL_VALUE
      ? [[key.slice('k8s:'.length), value] as const]
      : [],
  );
  return Object.fromEntries(ofPod);
}

/** The texts of a CiliumIdentity's `security-labels`, sorted. */
export function labelsFromMap(map: Readonly<Record<string, string>>): string[] {
  return sortLabels(Object.entries(map).map(([key, value]) => labelText(key, value)));
}

/** Whether two label lists say the same, whatever their order. */
export function sameLabels(a: Iterable<string>, b: Iterable<string>): boolean {
  const [left, right] = [sortLabels(a), sortLabels(b)];
  return left.length === right.length && left.every((label, index) => label === right[index]);
}
