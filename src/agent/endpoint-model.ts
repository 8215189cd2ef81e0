import type { EndpointModel, EndpointPolicy } from '../api/types.ts';
import { attachmentId, type Endpoint, HEALTH_CONTAINER } from '../endpoint/types.ts';

const OPTIONS = {
  ConntrackAccounting: 'Disabled',
  Debug: 'Disabled',
  DebugLB: 'Disabled',
  DebugPolicy: 'Disabled',
  DropNotification: 'Enabled',
  MonitorAggregationLevel: 'None',
  PolicyAccounting: 'Disabled',
  PolicyAuditMode: 'Disabled',
  PolicyVerdictNotification: 'Disabled',
  SourceIPVerification: 'Enabled',
  TraceNotification: 'Enabled',
};

/** The node's own place in `endpoint list`: it has an identity and no address of its own. */
export interface HostEndpoint {
  id: number;
  ifname: string;
  ifindex: number;
  mac: string;
}

/** An endpoint as `endpoint get` shows it. Pure. */
export function endpointModel(endpoint: Endpoint): EndpointModel {
  const health = endpoint.containerId === HEALTH_CONTAINER;
  return model({
    id: endpoint.id,
    identity: endpoint.identity,
    labels: endpoint.labels,
    createdAt: endpoint.createdAt,
    external: health
      ? {}
      : {
          'cni-attachment-id': attachmentId(endpoint.containerId, endpoint.ifname),
          'container-id': endpoint.containerId,
          ...(endpoint.podName
            ? {
                'k8s-namespace': endpoint.podNamespace!,
                'k8s-pod-name': endpoint.podName,
                'pod-name': `${endpoint.podNamespace}/${endpoint.podName}`,
              }
            : { 'pod-name': '/' }),
        },
    networking: {
      addressing: [{ ipv4: endpoint.ipv4, 'ipv4-pool-name': endpoint.poolName }],
      ...(health ? {} : { 'container-interface-name': endpoint.ifname }),
      'host-mac': endpoint.hostMac,
      'interface-index': endpoint.ifindex,
      'interface-name': endpoint.hostIfname,
      mac: endpoint.mac,
    },
  });
}

/** The node itself as an endpoint. Pure. */
export function hostEndpointModel(host: HostEndpoint, createdAt: string): EndpointModel {
  return model({
    id: host.id,
    identity: 1,
    labels: ['reserved:host'],
    createdAt,
    external: {},
    networking: {
      addressing: [],
      'host-mac': host.mac,
      'interface-index': host.ifindex,
      'interface-name': host.ifname,
      mac: host.mac,
    },
  });
}

function model(o: {
  id: number;
  identity: number;
  labels: string[];
  createdAt: string;
  external: EndpointModel['status']['external-identifiers'];
  networking: EndpointModel['status']['networking'];
}): EndpointModel {
  const spec = { 'label-configuration': {}, options: OPTIONS };
  return {
    id: o.id,
    spec,
    status: {
      controllers: [],
      'external-identifiers': o.external,
      health: { bpf: 'OK', connected: true, overallHealth: 'OK', policy: 'OK' },
      identity: { id: o.identity, labels: o.labels },
      labels: { realized: {}, 'security-relevant': o.labels },
      log: [
        {
          code: 'OK',
          message: 'Successfully attached endpoint programs',
          state: 'ready',
          timestamp: o.createdAt,
        },
      ],
      networking: o.networking,
      policy: {
        'proxy-policy-revision': 0,
        'proxy-statistics': [],
        realized: allowAll(o.identity),
        spec: allowAll(o.identity),
      },
      realized: spec,
      state: 'ready',
    },
  };
}

function allowAll(identity: number): EndpointPolicy {
  return {
    'allowed-egress-identities': [0],
    'allowed-ingress-identities': [0],
    build: 1,
    'denied-egress-identities': null,
    'denied-ingress-identities': null,
    id: identity,
    l4: { egress: [], ingress: [] },
    'policy-enabled': 'none',
    'policy-revision': 1,
  };
}
