import type { Kind } from '../model/kinds.ts';
import type {
  AnyObject,
  Container,
  Deployment,
  Namespace,
  Pod,
  PodSpec,
  ReplicaSet,
  Service,
} from '../model/types.ts';

/**
 * Fills what Kubernetes fills where a client says nothing, in place. Expects an object of the right structure. Repeatable.
 */
export function applyDefaults(kind: Kind, object: AnyObject): void {
  DEFAULTS[kind.kind]?.(object as never);
}

/** Sets what only the server may say about a new object, in place. */
export function resetForCreate(kind: Kind, object: AnyObject): void {
  // A kubelet reports its node's status with the node itself.
  if (kind.hasStatus && kind.kind !== 'Node') delete object['status'];
  if (kind.kind === 'Namespace') {
    Object.assign(object, { spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } });
  } else if (kind.kind === 'Pod') {
    Object.assign(object, {
      status: { phase: 'Pending', qosClass: qosClass((object as unknown as Pod).spec) },
    });
  } else if (kind.kind === 'Service') {
    Object.assign(object, { status: { loadBalancer: {} } });
  } else if (kind.kind === 'ReplicaSet') {
    Object.assign(object, { status: { replicas: 0 } });
  } else if (kind.kind === 'Deployment') {
    Object.assign(object, { status: {} });
  }
}

const DEFAULTS: Record<string, (object: never) => void> = {
  Namespace: (namespace: Namespace) => {
    const { metadata } = namespace;
    metadata.labels = { ...metadata.labels, 'kubernetes.io/metadata.name': metadata.name };
  },
  Pod: (pod: Pod) => {
    podDefaults(pod.spec);
    pod.spec['serviceAccountName'] ??= 'default';
    pod.spec['serviceAccount'] ??= pod.spec.serviceAccountName;
    pod.spec['enableServiceLinks'] ??= true;
  },
  Service: (service: Service) => {
    const { spec } = service;
    spec.type ??= 'ClusterIP';
    spec.sessionAffinity ??= 'None';
    if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster';
    if (spec.type === 'NodePort' || spec.type === 'LoadBalancer') spec.externalTrafficPolicy ??= 'Cluster';
    if (spec.type === 'LoadBalancer') spec['allocateLoadBalancerNodePorts'] ??= true;
    for (const port of spec.ports ?? []) {
      port.protocol ??= 'TCP';
      port.targetPort ??= port.port;
    }
  },
  Deployment: (deployment: Deployment) => {
    const { spec } = deployment;
    spec.replicas ??= 1;
    const strategy = { ...spec.strategy, type: spec.strategy?.type ?? ('RollingUpdate' as const) };
    if (strategy.type === 'RollingUpdate') {
      strategy.rollingUpdate = { maxSurge: '25%', maxUnavailable: '25%', ...strategy.rollingUpdate };
    }
    spec.strategy = strategy;
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    podDefaults(spec.template.spec);
  },
  ReplicaSet: (replicaSet: ReplicaSet) => {
    replicaSet.spec.replicas ??= 1;
    if (replicaSet.spec.template) podDefaults(replicaSet.spec.template.spec);
  },
  NetworkPolicy: (policy: { spec?: { policyTypes?: string[]; egress?: unknown[] } }) => {
    if (!policy.spec) return;
    policy.spec.policyTypes ??= policy.spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress'];
  },
};

function podDefaults(spec: PodSpec): void {
  spec.restartPolicy ??= 'Always';
  spec.terminationGracePeriodSeconds ??= 30;
  spec['dnsPolicy'] ??= 'ClusterFirst';
  spec['schedulerName'] ??= 'default-scheduler';
  spec['securityContext'] ??= {};
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) containerDefaults(container);
}

function containerDefaults(container: Container): void {
  container['resources'] ??= {};
  container['terminationMessagePath'] ??= '/dev/termination-log';
  container['terminationMessagePolicy'] ??= 'File';
  container['imagePullPolicy'] ??= /(^|\/)[^:@]+(:latest)?$/.test(container.image ?? '')
    ? 'Always'
    : 'IfNotPresent';
  for (const port of container.ports ?? []) port.protocol ??= 'TCP';
}

function qosClass(spec: PodSpec): string {
  type Amounts = Record<string, string> | undefined;
  const resources = [...(spec.initContainers ?? []), ...spec.containers].map(
    container => (container['resources'] ?? {}) as { limits?: Amounts; requests?: Amounts },
  );
  const guaranteed = resources.every(({ limits = {}, requests = limits }) =>
    ['cpu', 'memory'].every(name => limits[name] !== undefined && limits[name] === requests[name]),
  );
  if (guaranteed) return 'Guaranteed';
  const any = resources.some(({ limits, requests }) => Object.keys({ ...limits, ...requests }).length > 0);
  return any ? 'Burstable' : 'BestEffort';
}
