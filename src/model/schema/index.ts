import type { z } from 'zod';
import type { Kind } from '../kinds.ts';
import * as cilium from './cilium.ts';
import { dns1035LabelRule, dnsLabelRule, dnsSubdomainRule, type TextRule } from './common.ts';
import * as core from './core.ts';

export { objectMeta } from './common.ts';

const SCHEMAS: Record<string, z.ZodType> = {
  ConfigMap: core.configMap,
  Deployment: core.workload,
  Endpoints: core.endpoints,
  EndpointSlice: core.endpointSlice,
  Event: core.event,
  Lease: core.lease,
  Namespace: core.namespace,
  NetworkPolicy: core.networkPolicy,
  Node: core.node,
  Pod: core.pod,
  ReplicaSet: core.workload,
  Service: core.service,
  CiliumEndpoint: cilium.ciliumEndpoint,
  CiliumIdentity: cilium.ciliumIdentity,
  CiliumL2AnnouncementPolicy: cilium.ciliumL2AnnouncementPolicy,
  CiliumLoadBalancerIPPool: cilium.ciliumLoadBalancerIpPool,
  CiliumNode: cilium.ciliumNode,
  CiliumNodeConfig: cilium.ciliumNodeConfig,
  CiliumPodIPPool: cilium.ciliumPodIpPool,
};

/**
 * The structure of a kind's objects, beside apiVersion, kind and metadata; undefined where any is taken.
 * Those of custom kinds name every field there is, and parsing leaves others out; those of Kubernetes' own let others pass.
 */
export function schemaOf(kind: Kind): z.ZodType | undefined {
  return SCHEMAS[kind.kind];
}

/** The rule for names of a kind. */
export function nameRule(kind: Kind): TextRule {
  if (kind.kind === 'Namespace') return dnsLabelRule;
  return kind.kind === 'Service' ? dns1035LabelRule : dnsSubdomainRule;
}
