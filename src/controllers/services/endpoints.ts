import { SERVICE_NAME_LABEL } from '../../model/labels.ts';
import type {
  EndpointAddress,
  EndpointSlice,
  Endpoints,
  NewObject,
  Pod,
  Service,
  ServicePort,
} from '../../model/types.ts';
import { controllerReference, hashText, isLeaving, uidOf } from '../objects.ts';

/** As many endpoints as one slice holds, and one Endpoints object. */
const MOST_IN_SLICE = 100;
const MOST_IN_ENDPOINTS = 1000;

export const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
export const MANAGER = 'endpointslice-controller.k8s.io';
const HEADLESS = 'service.kubernetes.io/headless';

/** One Pod behind a Service. */
interface Backend {
  pod: Pod;
  ip: string;
  ready: boolean;
  terminating: boolean;
  ports: Port[];
}

interface Port {
  name: string;
  protocol: string;
  port: number;
  appProtocol?: string;
}

/** What there shall be for a Service. */
export interface ServiceEndpoints {
  slices: NewObject<EndpointSlice>[];
  endpoints: NewObject<Endpoints>;
}

function portOf(port: ServicePort, pod: Pod): Port | undefined {
  const { protocol = 'TCP', targetPort = port.port } = port;
  const named = (): number | undefined =>
    pod.spec.containers
      .flatMap(container => container.ports ?? [])
      .find(own => own.name === targetPort && (own.protocol ?? 'TCP') === protocol)?.containerPort;
  const number = typeof targetPort === 'number' ? targetPort : named();
  if (number === undefined) return undefined;
  const { name = '', appProtocol } = port;
  return { name, protocol, port: number, ...(appProtocol === undefined ? {} : { appProtocol }) };
}

function backendOf(service: Service, pod: Pod): Backend | undefined {
  const { status, metadata } = pod;
  const selector = Object.entries(service.spec.selector ?? {});
  if (metadata.namespace !== service.metadata.namespace) return undefined;
  if (!selector.every(([key, value]) => metadata.labels?.[key] === value)) return undefined;
  const ip = status?.podIP;
  if (!ip || ['Succeeded', 'Failed'].includes(status?.phase ?? '')) return undefined;
  const ready = status?.conditions?.some(c => c.type === 'Ready' && c.status === 'True') === true;
  return {
    pod,
    ip,
    ready: ready || service.spec['publishNotReadyAddresses'] === true,
    terminating: isLeaving(pod),
    ports: (service.spec.ports ?? []).map(port => portOf(port, pod)).filter(port => port !== undefined),
  };
}

/** Pods behind a Service, told apart by the ports that they listen on (a named port may be another in each). */
function groups(service: Service, pods: readonly Pod[]): Backend[][] {
  const byPorts = new Map<string, Backend[]>();
  const backends = pods.map(pod => backendOf(service, pod)).filter(backend => backend !== undefined);
  // The oldest first: what comes is appended, so that few slices change.
  backends.sort((a, b) => (orderOf(a.pod) < orderOf(b.pod) ? -1 : 1));
  for (const backend of backends) {
    const key = JSON.stringify(backend.ports);
    byPorts.set(key, [...(byPorts.get(key) ?? []), backend]);
  }
  return [...byPorts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
}

const orderOf = ({ metadata }: Pod): string => `${metadata.creationTimestamp} ${metadata.name}`;

function targetOf({ pod }: Backend) {
  const { name, namespace = '', uid = '' } = pod.metadata;
  return {
    ...(pod.spec.nodeName !== undefined && { nodeName: pod.spec.nodeName }),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}

function sliceEndpoint(backend: Backend): EndpointSlice['endpoints'][number] {
  const { ip, ready, terminating } = backend;
  return {
    addresses: [ip],
    conditions: { ready: ready && !terminating, serving: ready, terminating },
    ...targetOf(backend),
  };
}

function labelsOf(service: Service): Record<string, string> {
  const { labels = {} } = service.metadata;
  return service.spec.clusterIP === 'None' ? { ...labels, [HEADLESS]: '' } : labels;
}

/** Whether endpoints of a Service follow Pods; those of others are somebody else's. Pure. */
export function followsPods({ spec }: Service): boolean {
  return spec.type !== 'ExternalName' && Object.keys(spec.selector ?? {}).length > 0;
}

/**
 * EndpointSlices and Endpoints of a Service that follows Pods. Named after the Service, so that none is made twice;
 * owned by it, so that they go with it. Pure.
 * @param pods of any namespace and labels
 */
export function endpointsOf(service: Service, pods: readonly Pod[]): ServiceEndpoints {
  const { name, namespace = '' } = service.metadata;
  const ownerReferences = [controllerReference(service)];
  const found = groups(service, pods);
  const chunks = found.flatMap(group =>
    Array.from({ length: Math.ceil(group.length / MOST_IN_SLICE) }, (_, i) =>
      group.slice(i * MOST_IN_SLICE, (i + 1) * MOST_IN_SLICE),
    ),
  );
  // One that is empty says that there is nobody; none at all would say that nobody has looked.
  if (chunks.length === 0) chunks.push([]);
  const slices = chunks.map(
    (chunk, i): NewObject<EndpointSlice> => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: `${name}-${hashText(`${uidOf(service)} ${i}`)}`,
        namespace,
        labels: { ...labelsOf(service), [SERVICE_NAME_LABEL]: name, [MANAGED_BY]: MANAGER },
        ownerReferences,
      },
      addressType: 'IPv4',
      endpoints: chunk.map(sliceEndpoint),
      ports: chunk[0]?.ports ?? [],
    }),
  );
  const endpoints: NewObject<Endpoints> = {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name, namespace, labels: labelsOf(service), ownerReferences },
    subsets: subsetsOf(found),
  };
  return { slices, endpoints };
}

function subsetsOf(found: readonly Backend[][]): NonNullable<Endpoints['subsets']> {
  let room = MOST_IN_ENDPOINTS;
  return found.flatMap(group => {
    const staying = group.filter(({ terminating }) => !terminating).slice(0, room);
    room -= staying.length;
    if (staying.length === 0) return [];
    const addressOf = (backend: Backend): EndpointAddress => ({ ip: backend.ip, ...targetOf(backend) });
    const addresses = staying.filter(({ ready }) => ready).map(addressOf);
    const notReadyAddresses = staying.filter(({ ready }) => !ready).map(addressOf);
    const ports = staying[0]!.ports.map(({ name, ...port }) => (name === '' ? port : { name, ...port }));
    return [
      {
        ...(addresses.length > 0 && { addresses }),
        ...(notReadyAddresses.length > 0 && { notReadyAddresses }),
        ...(ports.length > 0 && { ports }),
      },
    ];
  });
}
