import { items, type Template, text, value, version, when } from '../template.ts';

/** `repository:tag@digest`. */
export const image = text`${value('image.repository')}:${when('image.tag', value('image.tag'), version)}${when('image.digest', text`@${value('image.digest')}`)}`;

/** How agent and operator find the API server, and who they are. */
export const environment: Template[] = [
  { name: 'K8S_NODE_NAME', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'spec.nodeName' } } },
  {
    name: 'CILIUM_K8S_NAMESPACE',
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } },
  },
  when('k8sServiceHost', { name: 'KUBERNETES_SERVICE_HOST', value: text`${value('k8sServiceHost')}` }),
  when('k8sServiceHost', { name: 'KUBERNETES_SERVICE_PORT', value: text`${value('k8sServicePort')}` }),
];

/** A probe of the port on which the kubelet's node itself answers. */
export function probe(path: string, port: string, timing: { [key: string]: Template }): Template {
  return {
    httpGet: { host: '127.0.0.1', path, port: value(port), scheme: 'HTTP' },
    timeoutSeconds: 5,
    successThreshold: 1,
    ...timing,
  };
}

export const pullSecrets = when('imagePullSecrets', [items('imagePullSecrets')]);

/** A folder or file of the node. */
export const hostPath = (name: string, path: Template, type?: string): Template => ({
  name,
  hostPath: { path, ...(type ? { type } : {}) },
});
