/** Of an EndpointSlice: the Service that it belongs to, by name; the namespace is the slice's own. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
