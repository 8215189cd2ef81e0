/** The parts that every Kubernetes object has. Times are RFC 3339 in UTC with whole seconds unless said otherwise. */

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  name: string;
  /** Asks the server for a name: this prefix and five random characters. Only read when `name` is absent. */
  generateName?: string;
  namespace?: string;
  uid?: string;
  /** Opaque to clients; compared for equality only. */
  resourceVersion?: string;
  /** Counts changes of what was asked for (not of status). Only kinds that have it. */
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
}

/** Any object of the API. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** An object as the server takes and returns it where the kind does not matter. */
export type AnyObject = KubeObject & Record<string, unknown>;

/** An object to be created: the server fills the rest of its metadata. */
export type NewObject<T extends KubeObject = AnyObject> = Omit<T, 'metadata'> & {
  metadata: Partial<ObjectMeta>;
};

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  lastUpdateTime?: string;
  lastHeartbeatTime?: string;
  lastProbeTime?: string;
  observedGeneration?: number;
}

export interface LabelSelectorRequirement {
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  values?: string[];
}

/** Selects objects by labels. `{}` selects all; an absent selector selects none. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: LabelSelectorRequirement[];
}

/** One reason of a refused request. */
export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

/** Kubernetes' answer where there is no object to return: every failure, and finished deletes. */
export interface Status {
  apiVersion: 'v1';
  kind: 'Status';
  metadata: Record<string, unknown>;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    uid?: string;
    causes?: StatusCause[];
    retryAfterSeconds?: number;
  };
  code?: number;
}

/** An event of a watch. `BOOKMARK` carries only a resourceVersion, `ERROR` a {@link Status}. */
export interface WatchEvent<T = AnyObject> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}
