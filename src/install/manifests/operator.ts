import { Builtin, items, MERGE, namespace, type Template, text, value, when } from '../template.ts';
import { CONFIG_MAP, labelsOf, OPERATOR } from './names.ts';
import { environment, image, probe, pullSecrets } from './parts.ts';

const SELECTOR = { 'io.cilium/app': 'operator', name: OPERATOR } as const;
/** Nobody that any node knows. */
const UNPRIVILEGED_ID = 65532;

const timing = { periodSeconds: 10, failureThreshold: 3 };

const operator: Template = {
  name: OPERATOR,
  image,
  imagePullPolicy: value('image.pullPolicy'),
  command: ['fimbria-operator'],
  args: [
    '--config-dir=/etc/fimbria/config',
    text`--health-address=127.0.0.1:${value('operator.healthPort')}`,
    when('operator.removeNodeTaints', '--remove-node-taints=true', '--remove-node-taints=false'),
    when(
      'operator.setNodeNetworkStatus',
      '--set-node-network-status=true',
      '--set-node-network-status=false',
    ),
    when('debug.enabled', '--log-level=debug'),
    items('operator.extraArgs'),
  ],
  env: [...environment, items('operator.extraEnv')],
  livenessProbe: probe('/livez', 'operator.healthPort', { initialDelaySeconds: 10, ...timing }),
  readinessProbe: probe('/healthz', 'operator.healthPort', timing),
  resources: value('operator.resources'),
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    runAsNonRoot: true,
    runAsUser: UNPRIVILEGED_ID,
    runAsGroup: UNPRIVILEGED_ID,
    capabilities: { drop: ['ALL'] },
  },
  terminationMessagePolicy: 'FallbackToLogsOnError',
  volumeMounts: [{ name: 'config', mountPath: '/etc/fimbria/config', readOnly: true }],
};

/** The operators; one of them leads. In the network of their nodes, since there may be no other yet. */
export const operatorDeployment: Template = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: OPERATOR, namespace, labels: { ...labelsOf(OPERATOR), ...SELECTOR } },
  spec: {
    replicas: value('operator.replicas'),
    selector: { matchLabels: SELECTOR },
    // One a node: an additional one would have no place.
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
    template: {
      metadata: {
        annotations: {
          'cilium.io/cilium-configmap-checksum': new Builtin('configChecksum'),
          [MERGE]: items('operator.podAnnotations'),
        },
        labels: { ...labelsOf(OPERATOR), ...SELECTOR, [MERGE]: items('operator.podLabels') },
      },
      spec: {
        serviceAccountName: OPERATOR,
        automountServiceAccountToken: true,
        hostNetwork: true,
        dnsPolicy: 'ClusterFirstWithHostNet',
        restartPolicy: 'Always',
        terminationGracePeriodSeconds: 10,
        priorityClassName: text`${value('operator.priorityClassName')}`,
        nodeSelector: value('operator.nodeSelector'),
        tolerations: value('operator.tolerations'),
        affinity: when('operator.affinity', value('operator.affinity')),
        imagePullSecrets: pullSecrets,
        containers: [operator],
        volumes: [{ name: 'config', configMap: { name: CONFIG_MAP } }],
      },
    },
  },
};
