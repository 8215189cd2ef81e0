import type { Family } from '../base/metrics/text.ts';
import type { CallCount } from './calls.ts';
import type { ClusterClient } from './types.ts';

/** What is asked of the API server, in the words of Cilium's metric of that name. All clients have the same server. */
export function clientFamilies(clients: readonly Pick<ClusterClient, 'calls' | 'config'>[]): Family[] {
  const sums = new Map<string, CallCount>();
  for (const call of clients.flatMap(client => client.calls())) {
    const key = `${call.method} ${call.returnCode}`;
    sums.set(key, { ...call, count: call.count + (sums.get(key)?.count ?? 0) });
  }
  const host = hostOf(clients[0]?.config.server ?? '');
  return [
    {
      name: 'cilium_k8s_client_api_calls_total',
      help: 'Requests to the Kubernetes API by method and HTTP status; a watch is one.',
      type: 'counter',
      samples: [...sums.values()].map(({ method, returnCode, count }) => ({
        labels: { host, method, return_code: returnCode },
        value: count,
      })),
    },
  ];
}

function hostOf(server: string): string {
  if (!URL.canParse(server)) return server;
  const { host, pathname } = new URL(server);
  return host || pathname;
}
