import { z } from 'zod';
import {
  cidr,
  condition,
  ip,
  ipv4Cidr,
  ipv4OrEmpty,
  ipv6Cidr,
  ipv6OrEmpty,
  labelSelector,
  nonEmpty,
  stringMap,
} from './common.ts';

/** Cilium's kinds without apiVersion, kind and metadata. Fields that are not named here are not kept. */

const allocation = z.object({ owner: z.string().optional(), resource: z.string().optional() });
const addresses = z.object({ ipv4: ipv4OrEmpty.optional(), ipv6: ipv6OrEmpty.optional() });
const conditions = z.object({ conditions: z.array(condition).optional() });

export const ciliumNode = z.object({
  spec: z.object({
    addresses: z
      .array(
        z.object({
          type: z.enum([
            'InternalIP',
            'ExternalIP',
            'CiliumInternalIP',
            'Hostname',
            'InternalDNS',
            'ExternalDNS',
          ]),
          ip,
        }),
      )
      .optional(),
    health: addresses.optional(),
    ingress: addresses.optional(),
    encryption: z.object({ key: z.int().optional() }).optional(),
    'instance-id': z.string().optional(),
    bootid: z.string().optional(),
    nodeidentity: z.int().optional(),
    ipam: z
      .object({
        podCIDRs: z.array(cidr).optional(),
        pool: z.record(z.string(), allocation).optional(),
        'ipv6-pool': z.record(z.string(), allocation).optional(),
        pools: z
          .object({
            requested: z
              .array(
                z.object({
                  pool: nonEmpty,
                  needed: z
                    .object({
                      'ipv4-addrs': z.int().min(0).optional(),
                      'ipv6-addrs': z.int().min(0).optional(),
                    })
                    .optional(),
                }),
              )
              .optional(),
            allocated: z.array(z.object({ pool: nonEmpty, cidrs: z.array(cidr).optional() })).optional(),
          })
          .optional(),
        'min-allocate': z.int().min(0).optional(),
        'max-allocate': z.int().min(0).optional(),
        'pre-allocate': z.int().min(0).optional(),
        'max-above-watermark': z.int().min(0).optional(),
        'static-ip-tags': stringMap.optional(),
      })
      .optional(),
    eni: z.looseObject({}).optional(),
    azure: z.looseObject({}).optional(),
    'alibaba-cloud': z.looseObject({}).optional(),
  }),
  status: z
    .object({
      ipam: z
        .object({
          used: z.record(z.string(), allocation).optional(),
          'ipv6-used': z.record(z.string(), allocation).optional(),
          'pod-cidrs': z
            .record(z.string(), z.object({ status: z.enum(['released', 'depleted', 'in-use']).optional() }))
            .optional(),
          'release-ips': stringMap.optional(),
          'operator-status': z.object({ error: z.string().optional() }).optional(),
        })
        .optional(),
      eni: z.looseObject({}).optional(),
      azure: z.looseObject({}).optional(),
      'alibaba-cloud': z.looseObject({}).optional(),
    })
    .optional(),
});

export const ciliumEndpoint = z.object({
  status: z
    .object({
      id: z.int().optional(),
      state: z
        .enum([
          'creating',
          'waiting-for-identity',
          'not-ready',
          'waiting-to-regenerate',
          'regenerating',
          'restoring',
          'ready',
          'disconnecting',
          'disconnected',
          'invalid',
        ])
        .optional(),
      identity: z.object({ id: z.int().optional(), labels: z.array(z.string()).optional() }).optional(),
      networking: z.object({ node: z.string().optional(), addressing: z.array(addresses) }).optional(),
      encryption: z.object({ key: z.int().optional() }).optional(),
      'external-identifiers': z
        .object({
          'container-id': z.string().optional(),
          'container-name': z.string().optional(),
          'cni-attachment-id': z.string().optional(),
          'docker-endpoint-id': z.string().optional(),
          'docker-network-id': z.string().optional(),
          'k8s-namespace': z.string().optional(),
          'k8s-pod-name': z.string().optional(),
          'pod-name': z.string().optional(),
        })
        .optional(),
      'named-ports': z
        .array(
          z.object({
            name: z.string().optional(),
            port: z.int().min(0).max(65535).optional(),
            protocol: z.string().optional(),
          }),
        )
        .optional(),
      'service-account': z.string().optional(),
      'visibility-policy-status': z.string().optional(),
      policy: z.looseObject({}).optional(),
      health: z.looseObject({}).optional(),
      log: z.array(z.looseObject({})).optional(),
      controllers: z.array(z.looseObject({})).optional(),
    })
    .optional(),
});

export const ciliumIdentity = z.object({ 'security-labels': stringMap });

export const ciliumPodIpPool = z.object({
  spec: z.object({
    ipv4: z.object({ cidrs: z.array(ipv4Cidr).min(1), maskSize: z.int().min(1).max(32) }).optional(),
    ipv6: z.object({ cidrs: z.array(ipv6Cidr).min(1), maskSize: z.int().min(1).max(128) }).optional(),
  }),
  status: conditions.optional(),
});

export const ciliumNodeConfig = z.object({
  spec: z.object({ defaults: stringMap, nodeSelector: labelSelector }),
});

const loadBalancerBlock = z.object({ cidr: cidr.optional(), start: ip.optional(), stop: ip.optional() });

export const ciliumLoadBalancerIpPool = z.object({
  spec: z.object({
    blocks: z.array(loadBalancerBlock).optional(),
    cidrs: z.array(loadBalancerBlock).optional(),
    serviceSelector: labelSelector.optional(),
    allowFirstLastIPs: z.enum(['Yes', 'No']).optional(),
    disabled: z.boolean().optional(),
  }),
  status: conditions.optional(),
});

export const ciliumL2AnnouncementPolicy = z.object({
  spec: z.object({
    serviceSelector: labelSelector.optional(),
    nodeSelector: labelSelector.optional(),
    interfaces: z.array(z.string()).optional(),
    externalIPs: z.boolean().optional(),
    loadBalancerIPs: z.boolean().optional(),
  }),
  status: conditions.optional(),
});
