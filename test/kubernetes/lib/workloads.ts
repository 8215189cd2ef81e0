import type { NewObject } from '../../../src/model/types.ts';
import { BUSYBOX_IMAGE } from './image.ts';

interface DeploymentOptions {
  namespace?: string;
  /** Value of the label `app`; the name unless given. */
  app?: string;
  replicas?: number;
  node?: string;
  annotations?: Record<string, string>;
  hostNetwork?: boolean;
  /** The port that is served and probed. */
  port?: number;
  /** Serves on for a while after it was told to go, as what must not lose a client does. */
  leaveSlowly?: boolean;
}

/**
 * Pods that serve their own name over HTTP and are probed by the kubelet; of label `app=<app>`. They end at once, since
 * nobody waits for what they serve.
 */
export function server(name: string, options: DeploymentOptions = {}): NewObject {
  const { port = 8080 } = options;
  const get = { httpGet: { path: '/', port }, periodSeconds: 2 };
  const serve = `mkdir -p /tmp/www && hostname >/tmp/www/index.html && echo serving && exec httpd -f -p ${port} -h /tmp/www`;
  const container = {
    name: 'server',
    image: BUSYBOX_IMAGE,
    imagePullPolicy: 'Never',
    command: ['sh', '-c', serve],
    readinessProbe: get,
    livenessProbe: { ...get, periodSeconds: 5 },
    ...(options.leaveSlowly && { lifecycle: { preStop: { exec: { command: ['sleep', '15'] } } } }),
  };
  return deployment(name, container, options);
}

/** Pods that only are there. */
export function sleeper(name: string, options: DeploymentOptions = {}): NewObject {
  const container = { name: 'sleeper', image: BUSYBOX_IMAGE, imagePullPolicy: 'Never' };
  return deployment(name, container, options);
}

function deployment(name: string, container: object, options: DeploymentOptions): NewObject {
  const {
    app = name,
    namespace = 'default',
    replicas = 1,
    node,
    annotations,
    hostNetwork,
    leaveSlowly,
  } = options;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: { app, deployment: name } },
      template: {
        metadata: { labels: { app, deployment: name }, ...(annotations && { annotations }) },
        spec: {
          terminationGracePeriodSeconds: leaveSlowly ? 30 : 0,
          containers: [container],
          ...(node && { nodeSelector: { 'kubernetes.io/hostname': node } }),
          ...(hostNetwork && { hostNetwork }),
        },
      },
    },
  } as NewObject;
}
