import type { Kind } from '../model/kinds.ts';
import type { AnyObject, Binding, Pod, ReplicaSet } from '../model/types.ts';
import type { DeleteRequest } from './deletion.ts';
import { badRequest, conflict, invalid } from './failure.ts';
import { applyPatch } from './patch/apply.ts';
import { isObject, type JsonObject } from './patch/json.ts';
import type { ObjectKey, Registry } from './registry.ts';
import { timestamp } from './time.ts';

/** `pods/NAME/binding`: puts a Pod on a node, once. */
export function bindPod(registry: Registry, key: ObjectKey, body: unknown, dryRun: boolean): void {
  const target = isObject(body) ? (body as unknown as Partial<Binding>).target : undefined;
  const node = target?.name;
  if (typeof node !== 'string' || node === '') {
    throw invalid(key.kind, key.name, [{ field: 'target.name', type: 'Required value' }]);
  }
  const bound = (registry.get(key) as unknown as Pod).spec.nodeName;
  if (bound) {
    const why = `pod ${key.name} is already assigned to node "${bound}"`;
    throw conflict(key.kind, key.name, why, '/binding');
  }
  if (registry.get(key).metadata.deletionTimestamp) {
    throw conflict(
      key.kind,
      key.name,
      `pod ${key.name} is being deleted, cannot be assigned to a host`,
      '/binding',
    );
  }
  const now = timestamp(new Date());
  const bind = (object: AnyObject): void => {
    const pod = object as unknown as Pod;
    pod.spec.nodeName = node;
    pod.status ??= {};
    const others = (pod.status.conditions ?? []).filter(condition => condition.type !== 'PodScheduled');
    pod.status.conditions = [...others, { type: 'PodScheduled', status: 'True', lastTransitionTime: now }];
  };
  registry.amend(key, bind, dryRun);
}

/** `pods/NAME/eviction`: a deletion that disruption budgets could refuse; there are none. */
export function evictPod(registry: Registry, key: ObjectKey, body: unknown, dryRun: boolean): void {
  const options = isObject(body) ? (body['deleteOptions'] as DeleteRequest | undefined) : undefined;
  registry.delete(key, options ?? {}, dryRun);
}

/** The `scale` form of a Deployment or ReplicaSet. */
export function scaleOf(object: AnyObject): AnyObject {
  const { metadata, spec, status } = object as unknown as ReplicaSet;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata;
  const selector = Object.entries(spec.selector.matchLabels ?? {}).map(([k, v]) => `${k}=${v}`);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as AnyObject['metadata'],
    spec: { replicas: spec.replicas ?? 1 },
    status: { replicas: status?.replicas ?? 0, selector: selector.join(',') },
  };
}

/**
 * Writes the `scale` form.
 * @param body a Scale, or with `contentType` a patch of one
 */
export function writeScale(
  registry: Registry,
  key: ObjectKey,
  body: unknown,
  contentType: string | undefined,
  dryRun: boolean,
): AnyObject {
  const present = scaleOf(registry.get(key));
  const wanted =
    contentType === undefined
      ? body
      : applyPatch(key.kind, present as unknown as JsonObject, contentType, body);
  const scale = wanted as Partial<AnyObject> | undefined;
  const replicas = (scale?.['spec'] as { replicas?: unknown } | undefined)?.replicas ?? 0;
  if (!Number.isInteger(replicas) || (replicas as number) < 0) {
    throw badRequest(
      `spec.replicas: Invalid value: ${JSON.stringify(replicas)}: must be a non-negative integer`,
    );
  }
  registry.checkVersion(key, scale?.metadata?.resourceVersion);
  const change = (object: AnyObject): void => {
    const { spec, metadata } = object as unknown as ReplicaSet;
    if (spec.replicas !== replicas) metadata.generation = (metadata.generation ?? 0) + 1;
    spec.replicas = replicas as number;
  };
  return scaleOf(registry.amend(key, change, dryRun));
}

/** What a finished deletion answers. */
export function deletedStatus(kind: Kind, object: AnyObject): object {
  const { name, uid } = object.metadata;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, ...(kind.group !== '' && { group: kind.group }), kind: kind.plural, uid },
  };
}

/** The answer to a subresource that only acts. */
export function createdStatus(): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };
}
