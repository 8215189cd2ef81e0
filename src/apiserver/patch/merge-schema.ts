/**
 * How strategic merge patches treat a type: Kubernetes' `patchStrategy` and `patchMergeKey` tags.
 * Fields that are not named merge when they are objects and are replaced when they are lists.
 */
export interface MergeSchema {
  fields?: Record<string, MergeSchema>;
  /** This is a list of objects that merge by this field's value. */
  mergeKey?: string;
  /** How the objects of the list merge. */
  item?: MergeSchema;
  /** This is a list of strings or numbers that merges as a set. */
  set?: true;
}

const CONDITIONS: MergeSchema = { mergeKey: 'type' };
const BY_NAME: MergeSchema = { mergeKey: 'name' };
const CONTAINERS: MergeSchema = {
  mergeKey: 'name',
  item: {
    fields: {
      ports: { mergeKey: 'containerPort' },
      env: BY_NAME,
      volumeMounts: { mergeKey: 'mountPath' },
      volumeDevices: { mergeKey: 'devicePath' },
    },
  },
};
const METADATA: MergeSchema = {
  fields: { ownerReferences: { mergeKey: 'uid' }, finalizers: { set: true } },
};
const POD_SPEC: MergeSchema = {
  fields: {
    containers: CONTAINERS,
    initContainers: CONTAINERS,
    ephemeralContainers: CONTAINERS,
    volumes: BY_NAME,
    imagePullSecrets: BY_NAME,
    resourceClaims: BY_NAME,
    hostAliases: { mergeKey: 'ip' },
    topologySpreadConstraints: { mergeKey: 'topologyKey' },
  },
};
const STATUS_WITH_CONDITIONS: MergeSchema = { fields: { conditions: CONDITIONS } };
const WORKLOAD: MergeSchema = {
  fields: {
    spec: { fields: { template: { fields: { metadata: METADATA, spec: POD_SPEC } } } },
    status: STATUS_WITH_CONDITIONS,
  },
};

const BY_KIND: Record<string, MergeSchema> = {
  Namespace: { fields: { status: STATUS_WITH_CONDITIONS } },
  Node: {
    fields: {
      spec: { fields: { podCIDRs: { set: true } } },
      status: { fields: { conditions: CONDITIONS, addresses: { mergeKey: 'type' } } },
    },
  },
  Pod: {
    fields: {
      spec: POD_SPEC,
      status: {
        fields: { conditions: CONDITIONS, podIPs: { mergeKey: 'ip' }, hostIPs: { mergeKey: 'ip' } },
      },
    },
  },
  Service: {
    fields: { spec: { fields: { ports: { mergeKey: 'port' } } }, status: STATUS_WITH_CONDITIONS },
  },
  ServiceAccount: { fields: { secrets: BY_NAME, imagePullSecrets: BY_NAME } },
  Deployment: WORKLOAD,
  ReplicaSet: WORKLOAD,
};

/** How objects of a kind merge. */
export function mergeSchemaOf(kind: string): MergeSchema {
  return { fields: { ...BY_KIND[kind]?.fields, metadata: METADATA } };
}
