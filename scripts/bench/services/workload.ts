import { formatIpv4, parseIpv4 } from '../../../src/base/addr.ts';
import type { LbFrontend } from '../../../src/datapath/services/types.ts';
import type { EndpointSlice, NewObject, Service } from '../../../src/model/types.ts';
import type { RuleService } from './kube-proxy-rules.ts';

const TCP = 6;
const FIRST_CLUSTER_IP = parseIpv4('10.100.0.1');
const FIRST_BACKEND = parseIpv4('10.200.0.0');
const PORT = 80;
const NODE_PORT = 30_080;
export const NAMESPACE = 'default';

/** The service that is measured, wherever its number stands among the others. */
export const MEASURED = { name: 'measured', port: PORT, nodePort: NODE_PORT } as const;

export type Backend = RuleService['backends'][number];

const clusterIp = (i: number): string => formatIpv4(FIRST_CLUSTER_IP + i);

/** Service `i` of those that are only there, with two backends that are nobody. */
function bulk(i: number): RuleService {
  const backends = [0, 1].map(n => ({ address: formatIpv4(FIRST_BACKEND + 2 * i + n), port: 8080 }));
  return { name: `bulk-${i}`, clusterIp: clusterIp(i), port: PORT, backends };
}

/**
 * So many services; the measured one is in the middle, where it costs a list of rules what it costs on average. The
 * first of them are the same for every number. Pure.
 * @param backends of the measured one
 */
export function workload(count: number, backends: readonly Backend[]): RuleService[] {
  const all = Array.from({ length: count - 1 }, (_, i) => bulk(i));
  all.splice(Math.floor(count / 2), 0, measured(backends));
  return all;
}

/** Of the measured service, behind all addresses of the others. */
export const MEASURED_CLUSTER_IP = formatIpv4(parseIpv4('10.99.0.1'));

function measured(backends: readonly Backend[]): RuleService {
  return { ...MEASURED, clusterIp: MEASURED_CLUSTER_IP, backends };
}

/** A Service without selector and its slices, one for every port that backends have. Pure. */
export function objectsOf(
  service: RuleService,
  nodeName?: string,
): { service: NewObject<Service>; slices: NewObject<EndpointSlice>[] } {
  const { name, clusterIp: ip, port, nodePort, backends } = service;
  const ports = [...new Set(backends.map(b => b.port))];
  return {
    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: NAMESPACE },
      spec: {
        clusterIP: ip,
        ...(nodePort === undefined ? {} : { type: 'NodePort' }),
        ports: [{ name: 'http', port, ...(nodePort === undefined ? {} : { nodePort }) }],
      },
    } as NewObject<Service>,
    slices: ports.map(
      (to, i) =>
        ({
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: {
            name: `${name}-${i}`,
            namespace: NAMESPACE,
            labels: { 'kubernetes.io/service-name': name },
          },
          addressType: 'IPv4',
          ports: [{ name: 'http', port: to, protocol: 'TCP' }],
          endpoints: backends
            .filter(b => b.port === to)
            .map(b => ({
              addresses: [b.address],
              conditions: { ready: true },
              ...(nodeName ? { nodeName } : {}),
            })),
        }) as NewObject<EndpointSlice>,
    ),
  };
}

/** The frontend that the agent makes of such a service inside the cluster. Pure. */
export function frontendOf({ name, clusterIp: address, port, backends }: RuleService): LbFrontend {
  return {
    address,
    port,
    l4Proto: TCP,
    type: 'ClusterIP',
    group: `${NAMESPACE}/${name} http`,
    external: { local: false, backends },
    terminating: [],
  };
}
