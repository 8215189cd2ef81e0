import { Builtin, items, MERGE, namespace, type Template, text, value, when } from '../template.ts';
import { AGENT, AGENT_CONTAINER, CONFIG_MAP, labelsOf, MASQUERADE_LIST_MAP } from './names.ts';
import { environment, hostPath, image, probe, pullSecrets } from './parts.ts';

/** Where folders of the node are in the container when they would be in the way under their own path. */
export const HOST = {
  procfs: '/host/proc',
  cgroup: '/host/sys/fs/cgroup',
  cniBin: '/host/opt/cni/bin',
  cniConf: '/host/etc/cni/net.d',
} as const;

/** Mounts of the node that the agent makes or sees: as they come and go there, they do here. */
const seen = { mountPropagation: 'HostToContainer' };
const shared = { mountPropagation: 'Bidirectional' };

const VOLUMES: Template[] = [
  // Pins, journal and the health endpoint's namespace: what a restart finds again.
  hostPath('bpf-maps', '/sys/fs/bpf', 'DirectoryOrCreate'),
  hostPath('run', '/run/fimbria', 'DirectoryOrCreate'),
  hostPath('lib', '/var/lib/fimbria', 'DirectoryOrCreate'),
  // Namespaces of pods, by the paths that the runtime gives the plugin.
  hostPath('netns', '/var/run/netns', 'DirectoryOrCreate'),
  // A container's own is read-only.
  hostPath('proc-sys-net', '/proc/sys/net', 'Directory'),
  // The whole tree, to serve the sockets of every pod and of the node.
  hostPath('cgroup', '/sys/fs/cgroup', 'Directory'),
  hostPath('cni-bin', value('cni.binPath'), 'DirectoryOrCreate'),
  hostPath('cni-conf', value('cni.confPath'), 'DirectoryOrCreate'),
  { name: 'config', configMap: { name: CONFIG_MAP } },
  {
    name: 'ip-masq-agent',
    configMap: {
      name: MASQUERADE_LIST_MAP,
      optional: true,
      items: [{ key: 'config', path: 'ip-masq-agent' }],
    },
  },
];

const mount = (name: string, mountPath: string, more: { [key: string]: Template } = {}): Template => ({
  name,
  mountPath,
  ...more,
});

/** Mounts that outlive the agent: only a privileged container may make them, so one does and ends. */
const nodeMounts: Template = {
  name: 'mount-node',
  image,
  imagePullPolicy: value('image.pullPolicy'),
  command: ['fimbria', 'node-mounts'],
  securityContext: { privileged: true },
  terminationMessagePolicy: 'FallbackToLogsOnError',
  volumeMounts: [mount('bpf-maps', '/sys/fs/bpf', shared), mount('run', '/run/fimbria', shared)],
};

const agent: Template = {
  name: AGENT_CONTAINER,
  image,
  imagePullPolicy: value('image.pullPolicy'),
  command: ['fimbria-agent'],
  args: [
    '--config-dir=/etc/fimbria/config',
    `--procfs=${HOST.procfs}`,
    `--cgroup-root=${HOST.cgroup}`,
    `--cni-conf-dir=${HOST.cniConf}`,
    when('cni.install', `--cni-bin-dir=${HOST.cniBin}`),
    text`--health-address=127.0.0.1:${value('healthPort')}`,
    when('debug.enabled', '--log-level=debug'),
    items('extraArgs'),
  ],
  env: [...environment, items('extraEnv')],
  startupProbe: probe('/livez', 'healthPort', {
    periodSeconds: value('startupProbe.periodSeconds'),
    failureThreshold: value('startupProbe.failureThreshold'),
  }),
  livenessProbe: probe('/livez', 'healthPort', {
    periodSeconds: value('livenessProbe.periodSeconds'),
    failureThreshold: value('livenessProbe.failureThreshold'),
  }),
  readinessProbe: probe('/healthz', 'healthPort', {
    periodSeconds: value('readinessProbe.periodSeconds'),
    failureThreshold: value('readinessProbe.failureThreshold'),
  }),
  resources: value('resources'),
  securityContext: when(
    'securityContext.privileged',
    { privileged: true },
    {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      seLinuxOptions: { level: 's0', type: 'spc_t' },
      // Setting up namespaces and mounts is what the default profile is there to forbid.
      appArmorProfile: when({ kubernetes: '1.30' }, { type: 'Unconfined' }),
      capabilities: { drop: ['ALL'], add: value('securityContext.capabilities.ciliumAgent') },
    },
  ),
  terminationMessagePolicy: 'FallbackToLogsOnError',
  volumeMounts: [
    mount('bpf-maps', '/sys/fs/bpf', seen),
    mount('run', '/run/fimbria', seen),
    mount('lib', '/var/lib/fimbria'),
    mount('netns', '/var/run/netns', seen),
    mount('proc-sys-net', `${HOST.procfs}/sys/net`),
    mount('cgroup', HOST.cgroup, seen),
    when('cni.install', mount('cni-bin', HOST.cniBin)),
    mount('cni-conf', HOST.cniConf),
    mount('config', '/etc/fimbria/config', { readOnly: true }),
    mount('ip-masq-agent', '/etc/config', { readOnly: true }),
  ],
};

const SELECTOR = { 'k8s-app': 'cilium' } as const;

/** One agent on every node. */
export const agentDaemonSet: Template = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: AGENT, namespace, labels: { ...labelsOf('cilium-agent'), ...SELECTOR } },
  spec: {
    selector: { matchLabels: SELECTOR },
    updateStrategy: value('updateStrategy'),
    template: {
      metadata: {
        annotations: {
          'cilium.io/cilium-configmap-checksum': when('rollOutCiliumPods', new Builtin('configChecksum')),
          [`container.apparmor.security.beta.kubernetes.io/${AGENT_CONTAINER}`]: when(
            { not: { any: ['securityContext.privileged', { kubernetes: '1.30' }] } },
            'unconfined',
          ),
          [MERGE]: items('podAnnotations'),
        },
        labels: { ...labelsOf('cilium-agent'), ...SELECTOR, [MERGE]: items('podLabels') },
      },
      spec: {
        serviceAccountName: AGENT,
        automountServiceAccountToken: true,
        hostNetwork: true,
        dnsPolicy: 'ClusterFirstWithHostNet',
        restartPolicy: 'Always',
        terminationGracePeriodSeconds: value('terminationGracePeriodSeconds'),
        priorityClassName: text`${value('priorityClassName')}`,
        nodeSelector: value('nodeSelector'),
        tolerations: value('tolerations'),
        affinity: when('affinity', value('affinity')),
        imagePullSecrets: pullSecrets,
        initContainers: [nodeMounts],
        containers: [agent],
        volumes: VOLUMES,
      },
    },
  },
};
