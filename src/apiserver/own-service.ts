import type { Logger } from '../base/log.ts';
import { findKind, type Kind } from '../model/kinds.ts';
import { apiServerClusterIp } from '../model/service-range.ts';
import type { EndpointSlice, Endpoints, KubeObject, NewObject, Service } from '../model/types.ts';
import type { Registry } from './registry.ts';
import type { Store } from './store.ts';

/** Where nodes and pods reach this server. */
export interface Advertised {
  /** IPv4, not of the loopback. */
  address: string;
  port: number;
  /** The CIDR of ClusterIPs; its first address is the Service's. */
  clusterIps: string;
}

const NAME = 'kubernetes';
const NAMESPACE = 'default';
const REQUEST = { version: 'v1', dryRun: false, fieldValidation: 'Ignore', warn: () => {} } as const;

/** The objects by which clients in the cluster find its API server. */
function wantedObjects({ address, port, clusterIps }: Advertised): NewObject<KubeObject>[] {
  const clusterIP = apiServerClusterIp(clusterIps);
  const metadata = (labels: Record<string, string>) => ({ name: NAME, namespace: NAMESPACE, labels });
  const listener = { name: 'https', protocol: 'TCP' as const, port };
  const service: NewObject<Service> = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata({ component: 'apiserver', provider: 'kubernetes' }),
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'https', protocol: 'TCP', port: 443, targetPort: port }],
    },
  };
  const endpoints: NewObject<Endpoints> = {
    apiVersion: 'v1',
    kind: 'Endpoints',
    // No controller shall make slices of it: the server writes its own.
    metadata: metadata({ 'endpointslice.kubernetes.io/skip-mirror': 'true' }),
    subsets: [{ addresses: [{ ip: address }], ports: [listener] }],
  };
  const slice: NewObject<EndpointSlice> = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: metadata({ 'kubernetes.io/service-name': NAME }),
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: [listener],
  };
  return [service, endpoints, slice];
}

/**
 * Keeps the Service `default/kubernetes`, its Endpoints and its EndpointSlice leading to this server, whoever deletes or
 * changes them.
 * @returns how to stop it
 */
export function keepOwnService(
  store: Store,
  registry: Registry,
  advertised: Advertised,
  log: Logger,
): () => void {
  const wanted = wantedObjects(advertised).map(body => ({ kind: findKind(body.kind)!, body }));
  let scheduled = false;
  let stopped = false;
  const look = (): void => {
    scheduled = false;
    if (stopped) return;
    for (const { kind, body } of wanted) {
      try {
        put(store, registry, kind, body);
      } catch (error) {
        log.error('cannot write the Service of this server', { kind: kind.kind, error });
      }
    }
  };
  const stop = store.listen(({ kind, before, after }) => {
    const { name, namespace } = (after ?? before)!.metadata;
    if (name !== NAME || namespace !== NAMESPACE || scheduled) return;
    if (!wanted.some(one => one.kind === kind)) return;
    // Not within the change that called for it.
    scheduled = true;
    setImmediate(look);
  });
  look();
  return () => {
    stopped = true;
    stop();
  };
}

function put(store: Store, registry: Registry, kind: Kind, body: NewObject<KubeObject>): void {
  const key = { kind, namespace: NAMESPACE, name: NAME };
  const request = { ...REQUEST, version: kind.apiVersion.split('/').at(-1)! };
  if (!store.get(kind, NAMESPACE, NAME)) {
    registry.create(kind, NAMESPACE, body, request);
    return;
  }
  const { metadata, ...fields } = body as NewObject;
  registry.amend(
    key,
    object => {
      // What was defaulted stays.
      const spec = { ...(object['spec'] as object | undefined), ...(fields['spec'] as object | undefined) };
      Object.assign(object, fields, Object.keys(spec).length > 0 && { spec });
      object.metadata.labels = { ...object.metadata.labels, ...metadata.labels };
    },
    false,
  );
}
