import { z } from 'zod';
import { matchesLabels } from '../selectors.ts';
import {
  cidr,
  condition,
  dateTime,
  dnsLabelRule,
  duplicates,
  ip,
  labelMap,
  labelSelector,
  nonEmpty,
  objectMeta,
  portNumber,
  protocol,
  stringMap,
  text,
} from './common.ts';

/** The structure of Kubernetes' own kinds, without apiVersion, kind and metadata, as far as it matters here. Other fields pass. */

const duplicate = (path: (string | number)[], value: unknown) => ({
  code: 'custom' as const,
  message: '',
  path,
  input: value,
  params: { type: 'Duplicate value', value },
});
const required = (path: (string | number)[], message = '') => ({
  code: 'custom' as const,
  message,
  path,
  input: undefined,
  params: { type: 'Required value' },
});

const envVariable = z.looseObject({ name: nonEmpty, value: z.string().optional() });
const container = z.looseObject({
  name: text(dnsLabelRule),
  image: nonEmpty,
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  env: z.array(envVariable).optional(),
  ports: z
    .array(
      z.looseObject({
        containerPort: portNumber,
        name: z.string().optional(),
        protocol: protocol.optional(),
        hostPort: portNumber.optional(),
      }),
    )
    .optional(),
});

const podSpec = z
  .looseObject({
    containers: z.array(container).min(1),
    initContainers: z.array(container).optional(),
    nodeName: z.string().optional(),
    nodeSelector: labelMap.optional(),
    hostNetwork: z.boolean().optional(),
    restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).optional(),
    serviceAccountName: z.string().optional(),
    terminationGracePeriodSeconds: z.int().min(0).optional(),
    tolerations: z.array(z.looseObject({ operator: z.enum(['Exists', 'Equal']).optional() })).optional(),
  })
  .check(({ value, issues }) => {
    for (const field of ['containers', 'initContainers'] as const) {
      duplicates(value[field], 'name', (at, name) => issues.push(duplicate([field, at, 'name'], name)));
    }
  });

const conditionList = z.array(condition);

const containerState = z.looseObject({
  waiting: z.looseObject({ reason: z.string().optional(), message: z.string().optional() }).optional(),
  running: z.looseObject({ startedAt: dateTime.optional() }).optional(),
  terminated: z.looseObject({ exitCode: z.int(), reason: z.string().optional() }).optional(),
});

export const pod = z.looseObject({
  spec: podSpec,
  status: z
    .looseObject({
      phase: z.enum(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']).optional(),
      podIP: ip.or(z.literal('')).optional(),
      podIPs: z.array(z.looseObject({ ip })).optional(),
      hostIP: z.string().optional(),
      message: z.string().optional(),
      reason: z.string().optional(),
      conditions: conditionList.optional(),
      containerStatuses: z
        .array(
          z.looseObject({
            name: nonEmpty,
            ready: z.boolean().optional(),
            restartCount: z.int().min(0).optional(),
            state: containerState.optional(),
            lastState: containerState.optional(),
          }),
        )
        .optional(),
    })
    .optional(),
});

export const namespace = z.looseObject({
  status: z.looseObject({ phase: z.enum(['Active', 'Terminating']).optional() }).optional(),
});

export const node = z.looseObject({
  spec: z
    .looseObject({
      podCIDR: cidr.or(z.literal('')).optional(),
      podCIDRs: z.array(cidr).optional(),
      unschedulable: z.boolean().optional(),
      taints: z
        .array(
          z.looseObject({ key: nonEmpty, effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']) }),
        )
        .optional(),
    })
    .optional(),
  status: z
    .looseObject({
      addresses: z
        .array(
          z.looseObject({
            type: z.enum(['InternalIP', 'ExternalIP', 'Hostname', 'InternalDNS', 'ExternalDNS']),
            address: nonEmpty,
          }),
        )
        .optional(),
      conditions: conditionList.optional(),
    })
    .optional(),
});

const servicePort = z.looseObject({
  name: text(dnsLabelRule).optional(),
  port: portNumber,
  protocol: protocol.optional(),
  targetPort: portNumber.or(nonEmpty).optional(),
  nodePort: z.int().min(0).max(65535).optional(),
});

export const service = z.looseObject({
  spec: z
    .looseObject({
      type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).optional(),
      clusterIP: ip.or(z.enum(['', 'None'])).optional(),
      externalIPs: z.array(ip).optional(),
      selector: labelMap.optional(),
      ports: z.array(servicePort).optional(),
      loadBalancerIP: z.string().optional(),
      loadBalancerSourceRanges: z.array(cidr).optional(),
      externalTrafficPolicy: z.enum(['Cluster', 'Local']).optional(),
      internalTrafficPolicy: z.enum(['Cluster', 'Local']).optional(),
      sessionAffinity: z.enum(['None', 'ClientIP']).optional(),
    })
    .check(({ value, issues }) => {
      const ports = value.ports ?? [];
      if (ports.length === 0 && value.clusterIP !== 'None' && value.type !== 'ExternalName') {
        issues.push(required(['ports']));
      }
      for (const [at, port] of ports.entries()) {
        if (ports.length > 1 && port.name === undefined) issues.push(required(['ports', at, 'name']));
      }
      duplicates(ports, 'name', (at, name) => issues.push(duplicate(['ports', at, 'name'], name)));
    }),
});

export const configMap = z.looseObject({
  data: stringMap.optional(),
  binaryData: stringMap.optional(),
  immutable: z.boolean().optional(),
});

export const event = z
  .looseObject({
    metadata: z.looseObject({ namespace: z.string().optional() }),
    involvedObject: z.looseObject({ namespace: z.string().optional() }),
    reason: z.string().optional(),
    message: z.string().optional(),
    type: z.string().optional(),
    count: z.int().optional(),
    firstTimestamp: dateTime.optional(),
    lastTimestamp: dateTime.optional(),
    eventTime: dateTime.optional(),
  })
  .check(({ value, issues }) => {
    // Events about what has no namespace live in `default`.
    const about = value.involvedObject.namespace || 'default';
    if (value.metadata.namespace === about) return;
    const path = ['involvedObject', 'namespace'];
    issues.push({ code: 'custom', message: 'does not match event.namespace', path, input: about });
  });

export const lease = z.looseObject({
  spec: z
    .looseObject({
      holderIdentity: z.string().optional(),
      leaseDurationSeconds: z.int().min(1).optional(),
      leaseTransitions: z.int().min(0).optional(),
      acquireTime: dateTime.optional(),
      renewTime: dateTime.optional(),
    })
    .optional(),
});

export const endpoints = z.looseObject({
  subsets: z
    .array(
      z.looseObject({
        addresses: z.array(z.looseObject({ ip })).optional(),
        notReadyAddresses: z.array(z.looseObject({ ip })).optional(),
        ports: z.array(z.looseObject({ port: portNumber, protocol: protocol.optional() })).optional(),
      }),
    )
    .optional(),
});

export const endpointSlice = z.looseObject({
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: z
    .array(
      z.looseObject({
        addresses: z.array(nonEmpty).min(1),
        conditions: z
          .looseObject({
            ready: z.boolean().optional(),
            serving: z.boolean().optional(),
            terminating: z.boolean().optional(),
          })
          .optional(),
        nodeName: z.string().optional(),
      }),
    )
    .optional(),
  ports: z
    .array(
      z.looseObject({
        name: z.string().optional(),
        port: portNumber.optional(),
        protocol: protocol.optional(),
      }),
    )
    .optional(),
});

const countOrPercent = z.union([z.int().min(0), z.string().regex(/^\d+%$/)]);

const strategy = z
  .looseObject({
    type: z.enum(['RollingUpdate', 'Recreate']).optional(),
    rollingUpdate: z
      .looseObject({ maxSurge: countOrPercent.optional(), maxUnavailable: countOrPercent.optional() })
      .optional(),
  })
  .check(({ value, issues }) => {
    const { maxSurge, maxUnavailable } = value.rollingUpdate ?? {};
    if (!/^0%?$/.test(`${maxSurge}`) || !/^0%?$/.test(`${maxUnavailable}`)) return;
    const path = ['rollingUpdate', 'maxUnavailable'];
    issues.push({
      code: 'custom',
      message: 'may not be 0 when `maxSurge` is 0',
      path,
      input: maxUnavailable,
    });
  });

/** Deployment and ReplicaSet. */
export const workload = z.looseObject({
  spec: z
    .looseObject({
      replicas: z.int().min(0).optional(),
      minReadySeconds: z.int().min(0).optional(),
      progressDeadlineSeconds: z.int().min(1).optional(),
      revisionHistoryLimit: z.int().min(0).optional(),
      paused: z.boolean().optional(),
      strategy: strategy.optional(),
      selector: labelSelector,
      template: z.looseObject({ metadata: objectMeta.optional(), spec: podSpec }),
    })
    .check(({ value, issues }) => {
      const { selector, template } = value;
      const path = ['template', 'metadata', 'labels'];
      const labels = template.metadata?.labels;
      if (!selector.matchLabels && !selector.matchExpressions) {
        const message = 'empty selector is invalid for deployment';
        issues.push({ code: 'custom', message, path: ['selector'], input: selector });
      } else if (!matchesLabels(selector as never, labels)) {
        issues.push({
          code: 'custom',
          message: '`selector` does not match template `labels`',
          path,
          input: labels,
        });
      }
    }),
});

export const networkPolicy = z.looseObject({
  spec: z
    .looseObject({
      podSelector: labelSelector.optional(),
      policyTypes: z.array(z.enum(['Ingress', 'Egress'])).optional(),
      ingress: z.array(z.looseObject({})).optional(),
      egress: z.array(z.looseObject({})).optional(),
    })
    .optional(),
});
