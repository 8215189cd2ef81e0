import { codeOf } from '../base/errors.ts';
import type { ClusterClient } from '../cluster/index.ts';
import { mergeValues, type Values } from '../config/index.ts';
import type { KubeObject } from '../model/meta.ts';
import type { Resources } from './resources.ts';

interface Endpoints extends KubeObject {
  subsets?: { addresses?: { ip: string }[]; ports?: { port: number }[] }[];
}

/**
 * Agents begin before there is any network for pods. Where no kube-proxy serves the Service `kubernetes`, they need the API
 * server's own address: unless values name one, it is what the Service stands for. The values as given stay as they are.
 */
export async function reachableApiServer(
  client: ClusterClient,
  resources: Resources,
  values: Values,
  say: (line: string) => void,
): Promise<Values> {
  const given = values['k8sServiceHost'];
  if (given !== undefined && given !== '' && given !== 'auto') return values;
  const { k8sServiceHost: _, ...rest } = values;
  if ((await resources.get('DaemonSet', 'kube-proxy', 'kube-system')) !== undefined) return rest;
  let endpoints: Endpoints;
  try {
    endpoints = await client.get<Endpoints>('Endpoints', 'kubernetes', 'default');
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return rest;
    throw error;
  }
  const [subset] = endpoints.subsets ?? [];
  const host = subset?.addresses?.[0]?.ip;
  const port = subset?.ports?.[0]?.port;
  if (host === undefined || port === undefined) return rest;
  say(
    `there is no kube-proxy: agents reach the API server at ${host}:${port} (k8sServiceHost, k8sServicePort)`,
  );
  return mergeValues({ k8sServicePort: port }, { ...rest, k8sServiceHost: host });
}
