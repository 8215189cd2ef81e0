import type { KubeObject } from '../../model/meta.ts';
import { HOST } from './agent.ts';
import { OURS } from './names.ts';

/** The DaemonSet that takes everything off the nodes, and its label. */
export const CLEANUP = 'cilium-cleanup';

/** What the cleaner is told of the installation that goes. */
export interface CleanupTarget {
  namespace: string;
  image: string;
  imagePullPolicy: string;
  imagePullSecrets?: unknown[];
  /** Folders of the nodes. */
  cniBinPath: string;
  cniConfPath: string;
}

/**
 * Cleans every node once: its first container does it and ends, so a Pod is ready when its node is clean. Privileged, since
 * mounts of the node go. Pure.
 */
export function cleanupDaemonSet(target: CleanupTarget): KubeObject {
  const { namespace, image, imagePullPolicy } = target;
  const labels = { ...OURS, 'app.kubernetes.io/name': CLEANUP, 'k8s-app': CLEANUP };
  const mount = (name: string, mountPath: string, shared = false) => ({
    name,
    mountPath,
    ...(shared ? { mountPropagation: 'Bidirectional' } : {}),
  });
  const volume = (name: string, path: string) => ({ name, hostPath: { path, type: 'DirectoryOrCreate' } });
  const program = { image, imagePullPolicy, terminationMessagePolicy: 'FallbackToLogsOnError' };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: CLEANUP, namespace, labels },
    spec: {
      selector: { matchLabels: { 'k8s-app': CLEANUP } },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '100%' } },
      template: {
        metadata: { labels },
        spec: {
          automountServiceAccountToken: false,
          hostNetwork: true,
          terminationGracePeriodSeconds: 0,
          priorityClassName: 'system-node-critical',
          tolerations: [{ operator: 'Exists' }],
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          ...(target.imagePullSecrets ? { imagePullSecrets: target.imagePullSecrets } : {}),
          initContainers: [
            {
              ...program,
              name: 'cleanup',
              command: [
                'fimbria',
                'cleanup',
                `--cni-conf-dir=${HOST.cniConf}`,
                `--cni-bin-dir=${HOST.cniBin}`,
              ],
              securityContext: { privileged: true },
              volumeMounts: [
                mount('bpf-maps', '/sys/fs/bpf', true),
                mount('run', '/run/fimbria', true),
                mount('cni-bin', HOST.cniBin),
                mount('cni-conf', HOST.cniConf),
              ],
            },
          ],
          containers: [{ ...program, name: 'done', command: ['sleep', '2147483647'] }],
          volumes: [
            volume('bpf-maps', '/sys/fs/bpf'),
            volume('run', '/run/fimbria'),
            volume('cni-bin', target.cniBinPath),
            volume('cni-conf', target.cniConfPath),
          ],
        },
      },
    },
  } as KubeObject;
}
