import { z } from 'zod';
import {
  cidr,
  condition,
  ip,
  ipv4OrEmpty,
  ipv6OrEmpty,
  labelSelector,
  nonEmpty,
  rules,
  stringMap,
} from './common.ts';

/** Cilium's kinds without apiVersion, kind and metadata. Fields that are not named here are not kept. */

/** The most ranges of a pool: what a rule about each two of them may cost in Kubernetes sets it. */
const MAX_RANGES = 100;
/** `ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128` */
const LONGEST_CIDR = 43;

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

export const ciliumIdentity = z.object({
  'security-labels': z
    .record(z.string(), z.string())
    .describe('Labels, each with its source before it (`k8s:app`), that endpoints of this identity have.')
    .meta(rules({ rule: 'self == oldSelf', message: 'field is immutable' })),
});

function poolFamily(family: 4 | 6, widestMask: number) {
  const range = cidr.max(LONGEST_CIDR).meta(
    rules(
      {
        rule: `!isCIDR(self) || cidr(self).ip().family() == ${family}`,
        message: `must be an IPv${family} range`,
      },
      {
        rule: '!isCIDR(self) || cidr(self) == cidr(self).masked()',
        message: 'must not have bits set behind the prefix',
      },
    ),
  );
  const cidrs = z
    .array(range)
    .min(1)
    .max(MAX_RANGES)
    .describe(
      'Ranges that blocks are cut from, in this order. More may be appended; those that are there stay.',
    )
    .meta(
      rules(
        {
          rule: '!self.all(a, isCIDR(a)) || self.all(a, self.exists_one(b, cidr(a).containsCIDR(b) || cidr(b).containsCIDR(a)))',
          message: 'ranges must not overlap',
        },
        { rule: 'oldSelf.all(a, a in self)', message: 'ranges can be appended, but not removed or changed' },
      ),
    );
  const maskSize = z
    .int()
    .min(1)
    .max(widestMask)
    .describe('Prefix length of the blocks that nodes get. Cannot be changed.')
    .meta(rules({ rule: 'self == oldSelf', message: 'maskSize is immutable' }));
  return z.object({ cidrs, maskSize }).meta(
    rules({
      rule: 'self.cidrs.all(a, !isCIDR(a) || cidr(a).prefixLength() <= self.maskSize)',
      message: 'blocks must not be larger than the ranges that they are cut from',
      fieldPath: '.maskSize',
    }),
  );
}

export const ciliumPodIpPool = z.object({
  spec: z
    .object({
      ipv4: poolFamily(4, 32).optional(),
      ipv6: poolFamily(6, 128).optional(),
    })
    .meta(
      rules(
        { rule: '!has(oldSelf.ipv4) || has(self.ipv4)', message: 'ipv4 cannot be removed' },
        { rule: '!has(oldSelf.ipv6) || has(self.ipv6)', message: 'ipv6 cannot be removed' },
      ),
    ),
  status: conditions.optional(),
});

export const ciliumNodeConfig = z.object({
  spec: z.object({ defaults: stringMap, nodeSelector: labelSelector }),
});

/** Every address and range is shorter: that bounds what rules may cost in Kubernetes. */
const shortIp = ip.max(LONGEST_CIDR).optional();
const loadBalancerBlock = z
  .object({ cidr: cidr.max(LONGEST_CIDR).optional(), start: shortIp, stop: shortIp })
  .meta(
    rules(
      {
        rule: 'has(self.cidr) ? !has(self.start) && !has(self.stop) : has(self.start)',
        message: 'must have either cidr, or start and perhaps stop',
      },
      {
        rule: '!has(self.start) || !has(self.stop) || !isIP(self.start) || !isIP(self.stop) || ip(self.start).family() == ip(self.stop).family()',
        message: 'start and stop must be of one family',
        fieldPath: '.stop',
      },
    ),
  );

export const ciliumLoadBalancerIpPool = z.object({
  spec: z.object({
    blocks: z.array(loadBalancerBlock).max(MAX_RANGES).optional(),
    cidrs: z.array(loadBalancerBlock).max(MAX_RANGES).optional(),
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
