import type { Condition, KubeObject, LabelSelector } from './meta.ts';

/** Cilium's kinds, with Cilium's field names. */

export interface CiliumNodeAddress {
  type: 'InternalIP' | 'ExternalIP' | 'CiliumInternalIP' | 'Hostname' | 'InternalDNS' | 'ExternalDNS';
  ip: string;
}

export interface CiliumNode extends KubeObject {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumNode';
  spec: {
    addresses?: CiliumNodeAddress[];
    health?: { ipv4?: string; ipv6?: string };
    ingress?: { ipv4?: string; ipv6?: string };
    encryption?: { key?: number };
    'instance-id'?: string;
    bootid?: string;
    nodeidentity?: number;
    ipam?: {
      podCIDRs?: string[];
      pool?: Record<string, { owner?: string; resource?: string }>;
      pools?: {
        requested?: { pool: string; needed?: { 'ipv4-addrs'?: number; 'ipv6-addrs'?: number } }[];
        allocated?: { pool: string; cidrs?: string[] }[];
      };
      'min-allocate'?: number;
      'max-allocate'?: number;
      'pre-allocate'?: number;
      'max-above-watermark'?: number;
      'static-ip-tags'?: Record<string, string>;
    };
  };
  status?: {
    ipam?: {
      used?: Record<string, { owner?: string; resource?: string }>;
      'pod-cidrs'?: Record<string, { status?: 'released' | 'depleted' | 'in-use' }>;
      'release-ips'?: Record<string, string>;
      'operator-status'?: { error?: string };
    };
  };
}

export type EndpointState =
  | 'creating'
  | 'waiting-for-identity'
  | 'not-ready'
  | 'waiting-to-regenerate'
  | 'regenerating'
  | 'restoring'
  | 'ready'
  | 'disconnecting'
  | 'disconnected'
  | 'invalid';

export interface CiliumEndpoint extends KubeObject {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumEndpoint';
  /** There is no status subresource: create, update and patch write it like any other field. */
  status?: {
    /** Node-local endpoint id. */
    id?: number;
    state?: EndpointState;
    identity?: { id?: number; labels?: string[] };
    networking?: {
      /** The IP of the node that the endpoint is on. */
      node?: string;
      addressing: { ipv4?: string; ipv6?: string }[];
    };
    encryption?: { key?: number };
    'external-identifiers'?: {
      'container-id'?: string;
      'container-name'?: string;
      'cni-attachment-id'?: string;
      'docker-endpoint-id'?: string;
      'docker-network-id'?: string;
      'k8s-namespace'?: string;
      'k8s-pod-name'?: string;
      'pod-name'?: string;
    };
    'named-ports'?: { name?: string; port?: number; protocol?: string }[];
    policy?: Record<string, unknown>;
    health?: Record<string, unknown>;
    log?: Record<string, unknown>[];
    controllers?: Record<string, unknown>[];
  };
}

export interface CiliumIdentity extends KubeObject {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumIdentity';
  /** Sorted by nobody: label with source prefix (`k8s:app`) to value. */
  'security-labels': Record<string, string>;
}

export interface CiliumPodIPPool extends KubeObject {
  apiVersion: 'cilium.io/v2alpha1';
  kind: 'CiliumPodIPPool';
  spec: {
    ipv4?: { cidrs: string[]; maskSize: number };
    ipv6?: { cidrs: string[]; maskSize: number };
  };
  /** Ours: conditions `cilium.io/InUse` and `cilium.io/PoolConflict`, while there is something to say. */
  status?: { conditions?: Condition[] };
}

export interface CiliumNodeConfig extends KubeObject {
  apiVersion: 'cilium.io/v2' | 'cilium.io/v2alpha1';
  kind: 'CiliumNodeConfig';
  spec: { defaults: Record<string, string>; nodeSelector: LabelSelector };
}

export interface CiliumLoadBalancerIPPool extends KubeObject {
  apiVersion: 'cilium.io/v2alpha1' | 'cilium.io/v2';
  kind: 'CiliumLoadBalancerIPPool';
  spec: {
    blocks?: { cidr?: string; start?: string; stop?: string }[];
    /** The name that `blocks` had before Cilium 1.16. */
    cidrs?: { cidr?: string; start?: string; stop?: string }[];
    serviceSelector?: LabelSelector;
    allowFirstLastIPs?: 'Yes' | 'No';
    disabled?: boolean;
  };
  status?: { conditions?: Condition[] };
}

export interface CiliumL2AnnouncementPolicy extends KubeObject {
  apiVersion: 'cilium.io/v2alpha1';
  kind: 'CiliumL2AnnouncementPolicy';
  spec: {
    serviceSelector?: LabelSelector;
    nodeSelector?: LabelSelector;
    interfaces?: string[];
    externalIPs?: boolean;
    loadBalancerIPs?: boolean;
  };
  status?: { conditions?: Condition[] };
}
