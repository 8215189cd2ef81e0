const free = { type: 'array', items: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };

/**
 * EndpointSlices of discovery.k8s.io/v1 for an API server that has only v1beta1, with that one switched off: paths and
 * fields are those of every later Kubernetes.
 */
export const ENDPOINT_SLICES = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {
    name: 'endpointslices.discovery.k8s.io',
    annotations: { 'api-approved.kubernetes.io': 'unapproved, test only' },
  },
  spec: {
    group: 'discovery.k8s.io',
    scope: 'Namespaced',
    names: {
      kind: 'EndpointSlice',
      listKind: 'EndpointSliceList',
      plural: 'endpointslices',
      singular: 'endpointslice',
    },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            required: ['addressType', 'endpoints'],
            properties: { addressType: { type: 'string' }, endpoints: free, ports: free },
          },
        },
      },
    ],
  },
};
