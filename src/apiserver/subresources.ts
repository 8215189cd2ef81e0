import { isDeepStrictEqual } from 'node:util';
import { timestamp } from '../base/time.ts';
import type { Kind } from '../model/kinds.ts';
import { formatLabelSelector } from '../model/selectors.ts';
import type { AnyObject, Binding, Condition, Pod, ReplicaSet } from '../model/types.ts';
import type { DeleteRequest } from './deletion.ts';
import { badRequest, conflict, invalid } from './failure.ts';
import { applyPatch } from './patch/apply.ts';
import { isObject, type JsonObject } from './patch/json.ts';
import type { ObjectKey, Registry } from './registry.ts';

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

const POLICIES: unknown[] = ['Background', 'Foreground', 'Orphan'];
/** The versions of Eviction; its shape is the same in both. */
const EVICTION_VERSIONS = ['policy/v1', 'policy/v1beta1'];

/**
 * `pods/NAME/eviction`: a deletion that disruption budgets could refuse; there are none. The Pod says in its conditions
 * why it goes.
 */
export function evictPod(registry: Registry, key: ObjectKey, body: unknown, dryRun: boolean): void {
  expectKind(body, key, 'Eviction', EVICTION_VERSIONS);
  const options = deleteOptions(body['deleteOptions']);
  const dry = dryRun || options.dryRun?.includes('All') === true;
  // Refused, if at all, before anything is changed.
  registry.delete(key, options, true);
  const { preconditions: { resourceVersion: _checked, ...preconditions } = {}, ...rest } = options;
  const condition: Condition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    lastTransitionTime: timestamp(new Date()),
  };
  const mark = (object: AnyObject): void => {
    const pod = object as unknown as Pod;
    pod.status ??= {};
    const others = (pod.status.conditions ?? []).filter(({ type }) => type !== condition.type);
    pod.status.conditions = [...others, condition];
  };
  if (!registry.get(key).metadata.deletionTimestamp) registry.amend(key, mark, dry);
  registry.delete(key, { ...rest, preconditions }, dry);
}

function deleteOptions(given: unknown = {}): DeleteRequest & { dryRun?: string[] } {
  if (!isObject(given)) throw badRequest('deleteOptions must be DeleteOptions');
  const { gracePeriodSeconds, preconditions, dryRun, propagationPolicy } = given;
  const wrong =
    (gracePeriodSeconds !== undefined && !Number.isInteger(gracePeriodSeconds) && 'gracePeriodSeconds') ||
    (preconditions !== undefined && !isObject(preconditions) && 'preconditions') ||
    (dryRun !== undefined && !isDeepStrictEqual(dryRun, ['All']) && 'dryRun') ||
    (propagationPolicy !== undefined && !POLICIES.includes(propagationPolicy) && 'propagationPolicy');
  if (wrong) throw badRequest(`deleteOptions.${wrong}: Invalid value: ${JSON.stringify(given[wrong])}`);
  return given as DeleteRequest & { dryRun?: string[] };
}

function expectKind(
  body: unknown,
  { name }: ObjectKey,
  kind: string,
  versions: readonly string[],
): asserts body is JsonObject {
  if (!isObject(body)) throw badRequest(`the body of the request must be a ${kind}`);
  if (body['kind'] !== kind || !versions.includes(String(body['apiVersion']))) {
    throw badRequest(
      `the API version in the data (${body['apiVersion']}, Kind=${body['kind']}) does not match the expected API version (${versions[0]}, Kind=${kind})`,
    );
  }
  const metadata = body['metadata'] ?? {};
  const given = isObject(metadata) ? metadata['name'] : metadata;
  if (given !== undefined && given !== name) {
    throw badRequest(
      `the name of the object (${JSON.stringify(given)}) does not match the name on the URL (${name})`,
    );
  }
}

const SCALE_VERSIONS = ['autoscaling/v1'];
const MOST_REPLICAS = 2 ** 31 - 1;

/** The `scale` form of a Deployment or ReplicaSet. */
export function scaleOf(object: AnyObject): AnyObject {
  const { metadata, spec, status } = object as unknown as ReplicaSet;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata;
  return {
    kind: 'Scale',
    apiVersion: SCALE_VERSIONS[0]!,
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as AnyObject['metadata'],
    spec: { replicas: spec.replicas ?? 1 },
    status: { replicas: status?.replicas ?? 0, selector: formatLabelSelector(spec.selector) },
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
  expectKind(wanted, key, 'Scale', SCALE_VERSIONS);
  const spec = wanted['spec'] ?? {};
  const replicas = isObject(spec) ? (spec['replicas'] ?? 0) : spec;
  if (!Number.isInteger(replicas) || (replicas as number) > MOST_REPLICAS) {
    throw badRequest(`spec.replicas: Invalid value: ${JSON.stringify(replicas)}: must be an integer`);
  }
  if ((replicas as number) < 0) {
    const scale = { ...key.kind, group: 'autoscaling', kind: 'Scale' };
    const detail = 'must be greater than or equal to 0';
    throw invalid(scale, key.name, [
      { field: 'spec.replicas', type: 'Invalid value', value: replicas, detail },
    ]);
  }
  const { uid, resourceVersion } = (wanted as Partial<AnyObject>).metadata ?? {};
  if (uid && uid !== present.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${present.metadata.uid}`;
    throw conflict(key.kind, key.name, why);
  }
  registry.checkVersion(key, resourceVersion);
  const change = (object: AnyObject): void => {
    const { spec: own, metadata } = object as unknown as ReplicaSet;
    if (own.replicas !== replicas) metadata.generation = (metadata.generation ?? 0) + 1;
    own.replicas = replicas as number;
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
